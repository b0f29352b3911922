"""A long run with a fault every few steps, held against the same run without any.

    python -m tests.faults.soak [--steps 200] [--seed 0] [--demo runs/demo] [--output DIR]

The real command, Ray, vLLM and DeepSpeed with the demo's policy (`make demo` leaves it in
runs/demo). What was found is one table, `soak.md` in the output folder; the exit code is 1 if
anything was lost, counted twice, leaks or never ended. Called again with the same folder, it takes
runs that have ended as they are.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from data.files import write_atomically
from launch.preflight import ROOT
from tests.e2e.command import Shell, command, open_shell, wait_until
from tests.faults.soak_faults import Faults
from tests.faults.soak_plan import Fault, checkpoint_period, make_plan
from tests.faults.soak_report import GROUP_SIZE, PROMPTS, Checks, table
from tests.judge_server import JudgeServer, message_of, running

CONFIG = """\
defaults: {root}/configs/tiny.yaml
name: run
output_dir: {folder}
seed: {seed}
model:
  path: {demo}/sft/export
data:
  manifest: {corpus}/manifest.jsonl
  audio_root: {corpus}
  bad_clips: skip
rollout:
  group_size: {group_size}
  progress_timeout_s: 15
rewards:
  terms:
    - {{name: format, target: "rewards.format:FormatReward", weight: 0.3}}
    - {{name: accuracy, target: "rewards.accuracy:AccuracyReward", weight: 1.0}}
    - name: reasoning
      target: "rewards.reasoning:ReasoningReward"
      weight: 0.3
      judged: true
      concurrency: 4
      options:
        judge: "rewards.judges.http:HttpJudge"
        judge_options:
          url: {url}
          model: soak
          timeout_s: 2
          deadline_s: 3
          max_attempts: 2
          breaker_failures: 4
          breaker_cooldown_s: 1
train:
  num_steps: {steps}
  prompts_per_step: {prompts}
eval:
  every_steps: 0
  judged: false
checkpoint:
  every_steps: {every}
  export: false
log:
  samples_every: 1
  trackers: []
  report: false
parity:
  num_clips: 4
"""

WORDS = ("pitch", "energy", "rate", "intonation")
"""What the judge wants to read of; each is worth a point."""

MAX_START_S = 400.0
"""Longest time from a start to its first step."""

ROLES = {
    "ray::EngineActor": "engine",
    "ray::LearnerActor": "learner",
    "ray::RewardWorker": "rewards",
}
"""How the titles of the processes begin that are watched."""


@dataclass
class Record:
    """What was seen of a run."""

    wall_s: float = 0.0
    """From the first start to the last end."""
    exits: list[int] = field(default_factory=list[int])
    """Exit code of each life."""
    redone: int = 0
    """Steps that were done and then done again."""
    memory: list[tuple[int, str, int, float, float, int]] = field(default_factory=list)
    """(step, role, process, private MiB, resident MiB, descriptors), one for each step."""
    fired: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """See `Faults.fired`."""


class Judge:
    """A server that scores a reasoning by what it speaks of, and has bad times."""

    def __init__(self) -> None:
        self.mood = ""
        """`503` or `hang`; empty when it is well."""
        self.refused = 0
        self.server: JudgeServer

    def script(self, _number: int, body: Mapping[str, Any]) -> str:
        """Return what to answer; see `tests.judge_server.Script`."""
        with self.server.lock:
            self.refused += bool(self.mood)
            self.server.bodies.clear()  # thousands are asked in a soak
            self.server.headers.clear()
        text = message_of(dict(body))
        block = text[text.find("\nreasoning-fence-") : text.rfind("\nreasoning-fence-")]
        return self.mood or f"ok {1 + sum(word in block for word in WORDS)}"


class Run:
    """One command, started again as often as it ends early."""

    def __init__(self, shell: Shell, folder: Path, steps: int) -> None:
        self.shell, self.folder, self.steps = shell, folder, steps
        self.root = folder / "run"
        self.output = folder / "output.txt"
        self.record = Record()
        self.process: subprocess.Popen[str]
        self._pump: threading.Thread

    def start(self) -> None:
        """Start the command; its output comes through a pipe, which knows no full disk."""
        self.process = subprocess.Popen(
            command("rl", self.folder / "soak.yaml"),
            cwd=ROOT,
            env=self.shell.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
        )
        self._pump = threading.Thread(target=self._copy_output, args=(self.process,), daemon=True)
        self._pump.start()

    def _copy_output(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with self.output.open("a") as file:
            for line in process.stdout:
                file.write(line)
                file.flush()

    def last_step(self) -> int:
        """Return the last step that has its row; 0 without one."""
        path = self.root / "metrics.jsonl"
        if not path.is_file():
            return 0
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 2**16))
            steps = re.findall(rb'^\{"step": (\d+), .*\}\n', file.read(), re.MULTILINE)
        return int(steps[-1]) if steps else 0

    def first_step(self) -> int:
        """Return the first step that the newest start was to do."""
        last = (self.root / "starts.jsonl").read_text().splitlines()[-1]
        return max(1, int(json.loads(last)["first_step"]))

    def pids(self, title: str) -> list[int]:
        """Return the processes of the run whose titles begin so."""
        found: list[int] = []
        for pid in self.shell.processes():
            with suppress(OSError):  # it has ended since
                if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(title.encode()):
                    found.append(pid)
        return found

    def note_memory(self, step: int) -> None:
        """Write down what the processes hold after a step."""
        watched = {self.process.pid: "driver"}
        watched |= {pid: role for title, role in ROLES.items() for pid in self.pids(title)}
        for pid, role in watched.items():
            with suppress(psutil.Error):
                process = psutil.Process(pid)
                memory = process.memory_info()
                private, resident = (memory.rss - memory.shared) / 2**20, memory.rss / 2**20
                row = (step, role, pid, round(private, 1), round(resident, 1), process.num_fds())
                self.record.memory.append(row)

    def live(self, faults: Faults | None) -> int:
        """Run one life to its end, with faults in their time, and return the exit code."""
        self.start()
        before, began = self.last_step(), False
        deadline = time.monotonic() + MAX_START_S
        while self.process.poll() is None:
            step = self.last_step()
            if step == before:
                assert time.monotonic() < deadline, f"no step after {before} in {MAX_START_S:g} s"
                time.sleep(0.02)
                continue
            # Rows of steps that will be done again go when the run resumes; no step is done then.
            began = began or step > before
            before, deadline = step, time.monotonic() + MAX_START_S
            if began:
                self.note_memory(step)
                if faults is not None:
                    faults.after(step)
        self._pump.join(timeout=60)
        return self.process.returncode

    def go(self, faults: Faults | None) -> None:
        """Run to the end, the same command again after every life that a fault has ended."""
        start = time.monotonic()
        while True:
            done = self.last_step()
            code = self.live(faults)
            if len(self.record.exits):
                self.record.redone += max(0, done + 1 - self.first_step())
            self.record.exits.append(code)
            if code == 0:
                break
            expected = faults.expected_exit if faults is not None else 0
            assert code == expected, f"exit {code}, expected {expected}; see {self.output}"
            assert faults is not None
            faults.expected_exit = 0
            # Ray's agents look for a killed raylet about once a minute.
            wait_until(
                lambda: not self.shell.processes(), "no process is left of an ended run", 300
            )
        self.record.wall_s = time.monotonic() - start
        if faults is not None:
            self.record.fired = faults.fired
        write_atomically(self.folder / "record.json", json.dumps(asdict(self.record)) + "\n")


def soak(arguments: argparse.Namespace, name: str, plan: list[Fault], shell: Shell) -> Record:
    """Do one of the two runs, unless it is done; see the module."""
    folder: Path = arguments.output / name
    if (folder / "record.json").is_file():
        return Record(**json.loads((folder / "record.json").read_text()))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    demo = arguments.demo.resolve()
    corpus = folder / "corpus"
    shutil.copytree(demo / "material" / "corpus", corpus)
    judge = Judge()
    with running(judge.script) as judge.server:
        text = CONFIG.format(
            root=ROOT,
            folder=folder,
            seed=arguments.seed,
            demo=demo,
            corpus=corpus,
            url=judge.server.url,
            steps=arguments.steps,
            prompts=PROMPTS,
            group_size=GROUP_SIZE,
            every=checkpoint_period(arguments.steps),
        )
        (folder / "soak.yaml").write_text(text)
        run = Run(shell, folder, arguments.steps)
        samples = arguments.output / "undisturbed" / "run" / "samples"
        run.go(Faults(plan, run, judge, samples, corpus) if plan else None)
    return run.record


def main() -> int:
    """Do both runs, write the table and say what is wrong; 0 if nothing is."""
    parser = argparse.ArgumentParser(description="A long run with a fault every few steps.")
    parser.add_argument("--steps", type=int, default=200, help="12 or more")
    parser.add_argument("--seed", type=int, default=0, help="of the faults and of the run")
    parser.add_argument("--demo", type=Path, default=ROOT / "runs" / "demo", help="of make demo")
    parser.add_argument("--output", type=Path, default=ROOT / "runs" / "soak")
    arguments = parser.parse_args()
    arguments.output = arguments.output.resolve()
    plan = make_plan(arguments.seed, arguments.steps)
    print(*plan, sep="\n", flush=True)
    home = arguments.output / "home"
    home.mkdir(parents=True, exist_ok=True)
    with open_shell(home) as shell:
        undisturbed = soak(arguments, "undisturbed", [], shell)
        disturbed = soak(arguments, "disturbed", plan, shell)
    checks = Checks(arguments.output, undisturbed, disturbed, plan, arguments.steps)
    text = table(checks, arguments.seed)
    write_atomically(arguments.output / "soak.md", text)
    print(text)
    for problem in checks.problems:
        print(f"PROBLEM: {problem}")
    return int(bool(checks.problems))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no run is left behind
    sys.exit(main())
