"""The HTTP judge on vLLM's own server: schema and clip are understood, its death is a reason."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from configs.vllm_env import vllm_environment
from data.records import Example, Prompt
from launch.preflight import ROOT
from rewards.judges.base import DIMENSIONS, JudgeContext, Judgement
from rewards.judges.http import HttpJudge
from rewards.judges.prompt import SCORES
from tests.e2e.command import free_ports

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

PROMPT_FILE = str(ROOT / "demo" / "judge_prompt.txt")
REASONINGS = ["the voice is high and loud.", "calm.", "low pitch and a slow pace."]
CLIP = "noise.wav"
MODEL = "judge"
START_S = 300


@pytest.fixture(scope="module")
def audio_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one clip of 1.3 s."""
    root = tmp_path_factory.mktemp("clips")
    samples = 0.1 * np.random.default_rng(0).standard_normal(20_800)
    soundfile.write(root / CLIP, samples, 16_000, subtype="PCM_16")
    return root


class Server:
    """vLLM's API server in a process group of its own."""

    def __init__(self, checkpoint: Path, log: Path) -> None:
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._log = log
        options = {
            "model": checkpoint,
            "served-model-name": MODEL,
            "dtype": "float32",
            "host": "127.0.0.1",
            "port": self.port,
            "max-model-len": 4096,
            "max-num-seqs": 8,
            "limit-mm-per-prompt": '{"audio": 1, "image": 0, "video": 0}',
        }
        # Random weights would write blanks between the numbers until their tokens are spent.
        options["structured-outputs-config"] = (
            '{"backend": "xgrammar", "disable_any_whitespace": true}'
        )
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--enforce-eager"]
        environment = {
            **os.environ,
            **vllm_environment(device="cpu", cpu_threads=1),
            "VLLM_CPU_KVCACHE_SPACE": "1",
        }
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [*command, *words],
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self._log.read_text()[-4000:]
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5):
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.5)
        raise AssertionError(f"not up after {START_S} s:\n{self._log.read_text()[-4000:]}")

    def kill(self) -> None:
        """End the whole group."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture(scope="module")
def server(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(tiny_checkpoint, tmp_path_factory.mktemp("server") / "log.txt")
    try:
        started.wait()
        yield started
    finally:
        started.kill()


def ask(server: Server, audio_root: Path, *, audio: bool) -> list[Judgement]:
    example = Example("clip", CLIP, "sad", "Which emotion?", ("sad", "happy"))
    prompt = Prompt(example, "", np.arange(4), None, 0)
    judge = HttpJudge(
        JudgeContext(str(audio_root)),
        url=server.url,
        model=MODEL,
        audio=audio,
        prompt_file=PROMPT_FILE,
        max_tokens=512,  # the tokenizer of the checkpoint has little more than letters
        timeout_s=120.0,
        deadline_s=120.0,
        max_attempts=2,
    )
    try:
        return judge.judge(prompt, REASONINGS)
    finally:
        judge.close()


def test_a_served_model_gives_four_scores(server: Server, audio_root: Path):
    read, heard = (ask(server, audio_root, audio=audio) for audio in (False, True))
    for judgements in (read, heard):
        check(judgements)
    # 25 embeddings a second, and the marks around them.
    for with_clip, without in zip(heard, read, strict=True):
        more = with_clip.details["prompt_tokens"] - without.details["prompt_tokens"]
        assert 1.3 * 25 - 1 <= more <= 1.3 * 25 + 4


def check(found: list[Judgement]) -> None:
    """Check that every reasoning has scores, from one call."""
    assert [judgement.missing for judgement in found] == [""] * len(REASONINGS)
    for judgement in found:
        assert judgement.scores.keys() == set(DIMENSIONS)
        assert set(judgement.scores.values()) <= set(SCORES)
        assert judgement.details["calls"] == 1
        assert judgement.details["completion_tokens"] > 20


def test_a_server_that_is_gone_is_a_reason(server: Server, audio_root: Path):
    server.kill()
    found = ask(server, audio_root, audio=False)
    assert [judgement.missing for judgement in found] == ["connection"] * len(REASONINGS)
    assert all(set(judgement.scores.values()) == {None} for judgement in found)
