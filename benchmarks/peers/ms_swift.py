"""The job of benchmarks/step.py in ms-swift."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
import torch

from benchmarks.setup import SAMPLE_RATE_HZ, endless, make_clip
from benchmarks.step import NUM_WARMUP_STEPS
from configs.schema import RunConfig
from configs.vllm_env import vllm_environment
from data.prompts import PromptBuilder
from demo.checkpoint import build_checkpoint
from launch.cluster import thread_environment

HERE = Path(__file__).resolve().parent


class Way(NamedTuple):
    """A setting of ms-swift."""

    padding_s: int
    """Seconds to which every clip is padded, `chunk_length` of the checkpoint's processor: 300 in
    the released model, 30 in Whisper's."""
    vllm: bool
    """Whether vLLM generates, in the trainer's process (`colocate`); else transformers."""


WAYS = {
    "vllm-30": Way(30, vllm=True),
    "vllm-300": Way(300, vllm=True),
    "transformers-30": Way(30, vllm=False),
}


def write_checkpoint(folder: Path, padding_s: int, forbidden: Sequence[int]) -> None:
    """Write the model of our side, with another padding and without tokens to be sampled."""
    build_checkpoint(folder)
    edits: dict[str, dict[str, Any]] = {
        "processor_config.json": {
            "chunk_length": padding_s,
            "n_samples": padding_s * SAMPLE_RATE_HZ,
            "nb_max_frames": padding_s * 100,
        },
        "generation_config.json": {"suppress_tokens": list(forbidden)},
    }
    for name, edit in edits.items():
        content = json.loads((folder / name).read_text(encoding="utf-8"))
        content.get("feature_extractor", content).update(edit)
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    # The voices of the talker, which there is none of; loading the whole model asks for the file.
    torch.save({}, folder / "spk_dict.pt")


def write_prompts(folder: Path, config: RunConfig, clips: Sequence[float], num_steps: int) -> Path:
    """Write clips, and a data set in which all steps with clips of one length follow each other."""
    draw = np.random.default_rng(0)
    rows = []
    for clip_s in clips:
        for i in range(config.train.prompts_per_step * num_steps):
            path = folder / f"{clip_s:g}-{i}.wav"
            soundfile.write(path, make_clip(clip_s, draw), SAMPLE_RATE_HZ)
            message = {"role": "user", "content": f"<audio>{config.data.question}"}
            rows.append({"messages": [message], "audios": [str(path)], "clip_s": clip_s})
    data = folder / "prompts.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return data


def arguments(
    way: Way,
    config: RunConfig,
    model: Path,
    data: Path,
    *,
    num_steps: int,
    microbatch: int,
    processes: int,
) -> list[str]:
    """Return the arguments of `swift rlhf`: one update a step, as our configuration has it."""
    rollout = config.rollout
    num_completions = config.train.prompts_per_step * rollout.group_size
    settings: dict[str, Any] = {
        "model": model,
        "system": config.data.system_prompt,
        "dataset": data,
        "output_dir": data.parent / "out",
        "num_generations": rollout.group_size,
        "max_completion_length": rollout.max_completion_tokens,
        "temperature": rollout.temperature,
        "beta": config.loss.kl_coef,
        "learning_rate": config.optim.lr,
        "per_device_train_batch_size": microbatch,
        "gradient_accumulation_steps": num_completions // (microbatch * processes),
        "max_steps": num_steps,
        "use_vllm": way.vllm,
        "vllm_max_num_seqs": rollout.max_num_seqs,
        "vllm_max_model_len": rollout.max_model_len,
    }
    if way.vllm:
        settings["vllm_mode"] = "colocate"
    words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    return [str(HERE / "grpo.yaml"), *words, "--external_plugins", str(HERE / "swift_plugin.py")]


def process_environment(config: RunConfig, processes: int) -> dict[str, str]:
    """Return the environment of ms-swift: threads as in ours, vLLM in its process, no hub."""
    num_threads = config.learner.cpu_threads // processes
    return {
        **os.environ,
        **vllm_environment(device="cpu", cpu_threads=num_threads),
        **thread_environment(num_threads),
        "VLLM_CPU_KVCACHE_SPACE": f"{config.rollout.kv_cache_gib:g}",
        "CUDA_VISIBLE_DEVICES": "",
        # Its command starts torchrun then; each process has its share of the prompts, and vLLM.
        **({"NPROC_PER_NODE": str(processes)} if processes > 1 else {}),
        "HF_HUB_OFFLINE": "1",
    }


def run(
    python: Path,
    way: Way,
    config: RunConfig,
    builder: PromptBuilder,
    *,
    folder: Path,
    clips: Sequence[float],
    num_steps: int,
    microbatch: int,
    processes: int,
) -> dict[float, list[dict[str, Any]]]:
    """Train, and return the figures of the steps that count.

    Args:
        python: of ms-swift's environment.
        folder: an empty one, for the model, the clips and the log.
        num_steps: steps that count, per clip length; a warm-up comes before each.
        microbatch: completions per forward pass.
        processes: data-parallel ones, which share the threads.

    Returns:
        Clip length -> what `StepClock` noted of each step.

    Raises:
        RuntimeError: ms-swift failed, or did another job; the message has the end of its log.
    """
    model = folder / "model"
    write_checkpoint(model, way.padding_s, endless(builder))
    num_all = NUM_WARMUP_STEPS + num_steps
    data = write_prompts(folder, config, clips, num_all)
    words = arguments(
        way,
        config,
        model,
        data,
        num_steps=num_all * len(clips),
        microbatch=microbatch,
        processes=processes,
    )
    result, log = folder / "steps.json", folder / "log"
    environment = {
        **process_environment(config, processes),
        "PEERS_MODEL": str(model),
        "PEERS_RESULT": str(result),
    }
    command = [python, "-m", "swift.cli.main", "rlhf", *words]
    with log.open("w", encoding="utf-8") as output:
        kept = {"stdout": output, "stderr": subprocess.STDOUT}
        done = subprocess.run(command, cwd=folder, env=environment, check=False, **kept)
    if done.returncode or not result.exists():
        end = log.read_text(encoding="utf-8", errors="replace")[-4000:]
        raise RuntimeError(f"ms-swift ended with {done.returncode}:\n{end}")
    steps = json.loads(result.read_text(encoding="utf-8"))
    check(steps, config.rollout.max_completion_tokens)
    return {
        clip_s: [step for step in steps if step["clip_s"] == clip_s][NUM_WARMUP_STEPS:]
        for clip_s in clips
    }


def medians(steps: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the medians of the parts of a step, named as on our side where they are the same.

    `data` is what makes the features for the trainer; those for vLLM are made in the rollout.
    `update` has the log-probs before the update and those of the reference.
    """
    laps = []
    for step in steps:
        parts = step["parts"]
        inputs, scoring = parts["_prepare_inputs"], parts["_prepare_batch_inputs"]
        data, sync = parts["encode_sample"], parts.get("_move_model_to_vllm", 0.0)
        laps.append(
            {
                "time/data_s": data,
                "time/rollout_s": inputs - scoring - sync,
                "time/reward_s": 0.0,
                "time/update_s": step["seconds"] - inputs + scoring - data,
                "time/sync_s": sync,
                "time/step_s": step["seconds"],
            }
        )
    return {name: statistics.median(lap[name] for lap in laps) for name in laps[0]}


def check(steps: Sequence[dict[str, Any]], num_tokens: int) -> None:
    """Raise RuntimeError unless every step trained on completions of full length."""
    for step in steps:
        lengths = {step[f"completions/{which}_length"] for which in ("min", "max")}
        finite = np.isfinite([step["loss"], step["grad_norm"]]).all()
        if lengths != {num_tokens} or not finite or not step["grad_norm"] > 0:
            raise RuntimeError(f"not the job that was asked for: {step}")
