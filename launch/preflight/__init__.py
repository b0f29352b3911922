"""Checks of the machine and the files, in seconds and before Ray starts.

Only what would fail later, and worse. A machine that joins a cluster speaks for itself alone: GPUs
of the cluster are counted by `launch.cluster.connect`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from cadence_rl.names import PACKAGES, ROOT
from configs.schema import RunConfig
from launch.placement import bundles, describe_need, num_gpus_needed
from launch.preflight.requirements import needs

SHARED_MEMORY = Path("/dev/shm")
"""Where Ray keeps objects; clips and weights travel through it."""

MAX_SOCKET_PATH = 107
"""Bytes that the path of a Unix socket may have."""

RAY_SOCKET = f"ray/session_2026-01-01_00-00-00_000000_{os.getpid()}/sockets/plasma_store"
"""The longest name of a socket that a Ray of this process makes in its temporary folder."""

MIN_STOP_WAIT_S = 60.0
"""Time that `ray job stop` must leave for the last checkpoint."""

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that will stop or hurt the run."""

    level: Literal["error", "warning"]
    """An error stops the run before it starts."""
    what: str
    """What was found, and where."""
    fix: str
    """What to do about it."""

    def __str__(self) -> str:
        """Return the problem and its fix on two lines."""
        return f"{self.level}: {self.what}\n  fix: {self.fix}"


def preflight(
    config: RunConfig, submit_dir: Path | None = None, *, learns: bool = True
) -> list[Problem]:
    """Return what stands in the way of a run, errors first.

    Args:
        submit_dir: The folder that is about to be uploaded by `ray job submit --working-dir`; None
            if the run starts here.
        learns: Whether it trains; an evaluation reads its test sets alone and saves no checkpoint.
    """
    # They need `Problem`.
    from launch.memory.estimate import check_memory
    from launch.preflight.checkpoint import check_checkpoint
    from launch.preflight.rewards import check_rewards
    from launch.preflight.trackers import check_trackers
    from launch.preflight.upload import check_upload

    problems = [
        *check_versions(config.device),
        *check_folder(Path.cwd()),
        *check_checkpoint(config),
        *check_data(config, learns=learns),
        *check_rewards(config, learns=learns),
        *check_loss(config, learns=learns),
        *check_trackers(config),
        *check_output(config, learns=learns),
        *check_shared_memory(config),
        *check_gpus(config, learns=learns),
        *check_memory(config, learns=learns),
        *check_ray_folder(),
        *check_authentication(submitting=submit_dir is not None),
    ]
    if in_ray_job():
        problems += check_job_stop()
    if submit_dir is not None:
        problems += check_upload(submit_dir)
    return sorted(problems, key=lambda problem: problem.level)


def stop_run(problems: Sequence[Problem]) -> bool:
    """Print problems, each on a line, and return whether one of them is an error."""
    for problem in problems:
        print(f"{problem.level}: {problem.what}; {problem.fix}", file=sys.stderr)
    return any(problem.level == "error" for problem in problems)


def in_ray_job() -> bool:
    """Return whether this process was started by `ray job submit`."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def joins_cluster() -> bool:
    """Return whether a running cluster is to be used rather than a Ray of our own."""
    return bool(os.environ.get("RAY_ADDRESS"))


if not joins_cluster():
    # Ray reads this when it is imported, and this module comes before. "0" means one machine only:
    # a local instance then opens its ports on 127.0.0.1 and not on all interfaces.
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    # By default Ray's workers yield to every other process of the machine, the driver included.
    os.environ.setdefault("RAY_worker_niceness", "0")
    # Workers that are started ahead of any actor lack its environment, so that no actor gets one.
    os.environ.setdefault("RAY_prestart_worker_first_driver", "0")


def check_folder(folder: Path) -> Iterator[Problem]:
    """Yield packages of the current folder that Ray workers would import instead of ours."""
    if folder.resolve() == ROOT:
        return
    same = [
        name
        for name in PACKAGES
        if (folder / name / "__init__.py").is_file() or (folder / f"{name}.py").is_file()
    ]
    if same:
        yield Problem(
            "error",
            f"{folder} has modules named like ours, and workers would import them: "
            f"{', '.join(same)}",
            f"start the run in {ROOT}, or in a folder without them",
        )


def check_versions(device: str) -> Iterator[Problem]:
    """Yield what differs from the Python and the packages that we say we need."""
    needed = needs(device)
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    if python not in needed.python:
        yield Problem(
            "error",
            f"Python {python}, but {needed.source} says {needed.python}",
            f"make an environment with that Python, and in it: {needed.command}",
        )
    for requirement in needed.packages:
        try:
            release = version(requirement.name)
        except PackageNotFoundError:
            what = f"{requirement.name} is not installed, and device is {device}"
            yield Problem("error", what, needed.command)
            continue
        if release not in requirement.specifier:
            what = f"{requirement.name} {release}, tested with {requirement.specifier} only"
            yield Problem("warning", what, needed.command)


def how_to_get(path: str) -> str:
    """Return what to do about a file or folder of the configuration that is not there."""
    if in_ray_job() and not Path(path).is_absolute():
        return "give an absolute path that every node sees: a job runs in a copy of the code alone"
    if path.startswith("runs/demo/"):
        return "run `make demo`, which makes the tiny checkpoint, its corpus and the SFT stage"
    return "fetch it to this place, or name the right one"


def check_data(config: RunConfig, *, learns: bool = True) -> Iterator[Problem]:
    """Yield missing or empty manifests and missing audio folders; rows are read later.

    Args:
        config: The run.
        learns: As `preflight`: `data` is then read, else only if `eval.test_split` is named.
    """
    files, folders = {}, {}
    if learns or config.eval.test_split:
        files["data.manifest"] = config.data.manifest
        folders["data.audio_root"] = config.data.audio_root
    for index, benchmark in enumerate(config.eval.benchmarks):
        key = f"eval.benchmarks.{index}"
        files[f"{key}.manifest"] = benchmark.manifest
        if benchmark.audio_root:
            folders[f"{key}.audio_root"] = benchmark.audio_root
        else:
            folders["data.audio_root"] = config.data.audio_root
    for key, name in files.items():
        manifest = Path(name)
        if not manifest.is_file():
            yield Problem("error", f"{key}: no file {manifest}", how_to_get(name))
        elif manifest.stat().st_size == 0:
            yield Problem("error", f"{key}: {manifest} is empty", "write it again")
    for key, name in folders.items():
        if not Path(name).is_dir():
            yield Problem("error", f"{key}: no folder {name}", how_to_get(name))


def check_loss(config: RunConfig, *, learns: bool = True) -> Iterator[Problem]:
    """Yield a KL term that regularizes nothing."""
    loss = config.loss
    if learns and loss.kind == "policy" and loss.kl_coef > 0 and loss.kl_estimator == "k1":
        yield Problem(
            "warning",
            "loss.kl_estimator: k1: as a loss term its expected gradient is 0 on-policy, so that "
            f"loss.kl_coef: {loss.kl_coef:g} adds noise and holds nothing",
            "use k3 or k2, or set loss.kl_coef=0",
        )


def check_output(config: RunConfig, *, learns: bool = True) -> Iterator[Problem]:
    """Yield an output folder that would vanish, cannot be written, or is too small."""
    output = Path(config.output_dir)
    if in_ray_job() and not output.is_absolute():
        yield Problem(
            "error",
            f"output_dir: {output} is relative, but a job runs in a folder that is deleted later",
            "give an absolute path that every node sees, such as output_dir=/data/runs",
        )
    existing = output.absolute()
    while not existing.exists():
        existing = existing.parent
    if not (existing.is_dir() and os.access(existing, os.W_OK)):
        yield Problem(
            "error",
            f"output_dir: {existing} is not a folder that you may write to",
            "choose another output_dir",
        )
        return
    if not learns:
        return
    weights = sum(path.stat().st_size for path in Path(config.model.path).glob("*.safetensors"))
    free = shutil.disk_usage(existing).free
    # Weights and two optimizer moments; bfloat16 weights come with all three in float32.
    checkpoint = weights * (7 if config.model.dtype == "bfloat16" else 3)
    kept = config.checkpoint.keep_last + 1 if config.checkpoint.every_steps else 0
    wanted = checkpoint * kept + weights * config.checkpoint.export
    if free < wanted:
        yield Problem(
            "error" if free < 3 * weights else "warning",
            f"output_dir: {free / GIB:.1f} GiB free in {existing}; full checkpoints and the export "
            f"take up to {wanted / GIB:.1f}",
            "free some space, choose another output_dir, or lower checkpoint.keep_last",
        )


def check_shared_memory(config: RunConfig) -> Iterator[Problem]:
    """Yield a /dev/shm that is too small for clips and weights, as in a plain container."""
    if not SHARED_MEMORY.is_dir():
        return
    needed = (config.data.feature_cache_mb + 2 * config.sync.bucket_mb) * 10**6
    total = shutil.disk_usage(SHARED_MEMORY).total
    if total < needed:
        yield Problem(
            "warning",
            f"{SHARED_MEMORY} has {total / GIB:.2f} GiB, clips and weights in transfer take up to "
            f"{needed / GIB:.2f}; Ray then uses the disk, which is slow",
            "in a container: --shm-size=16g (Kubernetes: an emptyDir with medium Memory)",
        )


def check_ray_folder() -> Iterator[Problem]:
    """Yield a temporary folder whose name is too long for the sockets of a Ray of our own."""
    if joins_cluster() or in_ray_job():
        return
    name = next((name for name in ("RAY_TMPDIR", "TMPDIR") if name in os.environ), "")
    folder = os.environ.get(name, "/tmp")
    longest = MAX_SOCKET_PATH - len(f"/{RAY_SOCKET}")
    if len(os.fsencode(folder)) > longest:
        yield Problem(
            "error",
            f"{name}: {folder} has {len(os.fsencode(folder))} bytes, and Ray cannot make its "
            f"sockets below a folder of more than {longest}",
            f"export RAY_TMPDIR=/tmp/ray-{os.getuid()}, or another short folder on this machine",
        )


def check_gpus(config: RunConfig, *, learns: bool = True) -> Iterator[Problem]:
    """Yield too few GPUs on this machine, and a split of the model that it does not allow."""
    needed = num_gpus_needed(config, learns=learns)
    if needed and not joins_cluster():
        import torch  # here alone: it takes seconds, and CPU runs need none of it

        visible = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if visible < needed:
            yield Problem(
                "error",
                f"{visible} CUDA devices, but the run takes "
                f"{describe_need(bundles(config, learns=learns))}",
                "lower learner.num_ranks and rollout.num_engines, join a cluster with RAY_ADDRESS, "
                "or run configs/tiny.yaml on the CPU",
            )
    model = Path(config.model.path) / "config.json"
    split = config.rollout.tensor_parallel
    if split > 1 and model.is_file():
        text = json.loads(model.read_text(encoding="utf-8"))["thinker_config"]["text_config"]
        heads = text["num_attention_heads"]
        if heads % split:
            fitting = [str(n) for n in range(2, heads + 1) if heads % n == 0]
            yield Problem(
                "error",
                f"rollout.tensor_parallel: {split} GPUs cannot share {heads} attention heads",
                f"take one of {', '.join(fitting)}, or 1",
            )


def check_authentication(*, submitting: bool) -> Iterator[Problem]:
    """Yield a token that others can read, and a cluster token that this shell would not send."""
    token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token"))
    has_token = token.is_file() or "RAY_AUTH_TOKEN" in os.environ
    if token.is_file() and token.stat().st_mode & 0o077:
        mode = token.stat().st_mode & 0o777
        what = f"{token} has mode {mode:o}: others on this machine can use your cluster"
        yield Problem("warning", what, f"chmod 600 {token}")
    speaks_to_cluster = submitting or (joins_cluster() and not in_ray_job())
    if speaks_to_cluster and has_token and "RAY_AUTH_MODE" not in os.environ:
        yield Problem(
            "warning",
            "RAY_AUTH_MODE is not set, but there is a Ray token: `ray start` turns token "
            "authentication on by itself, and clients that do not send the token are refused",
            "export RAY_AUTH_MODE=token",
        )


def check_job_stop() -> Iterator[Problem]:
    """Yield a grace period of `ray job stop` that is too short for a checkpoint."""
    wait_s = float(os.environ.get("RAY_JOB_STOP_WAIT_TIME_S", "3"))
    if wait_s < MIN_STOP_WAIT_S:
        yield Problem(
            "warning",
            f"`ray job stop` kills this run {wait_s:g} s after asking it to stop, too soon to save",
            "start the cluster with RAY_JOB_STOP_WAIT_TIME_S=300",
        )
