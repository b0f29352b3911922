"""What a resumed run may change, and whether its model and data are still the same."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.errors import UserError
from configs.resume_rules import PATH_OPTIONS, class_of, is_named
from configs.schema import RunConfig
from configs.shipped import find_shipped
from data.files import file_sha256
from data.manifest import clips_of
from trainer.lr import learning_rate

logger = logging.getLogger(__name__)

Difference = tuple[str, Any, Any]
"""Config key, value in the folder, value now."""

WHOLE_BYTES = 2**24
"""Files up to this size count with all their bytes, larger ones with their ends and size: the
weights of a large model are not read from end to end at every start."""

END_BYTES = 2**20

NUM_CLIPS_READ = 256
"""Clips, spread over the manifest, that count with their content; all count with name and size."""


class ChangedRunError(UserError):
    """The folder's run was started with other settings or other data; the message lists them."""


def check_changes(
    where: Path,
    differences: Sequence[Difference],
    allowed: Sequence[str],
    then: Mapping[str, str],
    now: Mapping[str, str],
) -> list[Difference]:
    """Return the differences that a resumed run may have.

    Args:
        where: Run folder, for messages.
        allowed: `resume.allow`.
        then: Path key -> digest at the start of the run, see `input_digests`.
        now: The same of this start.

    Raises:
        ChangedRunError: A method setting, or what a path leads to, differs and is not allowed.
    """
    refused: list[Difference] = []
    for difference in differences:
        key = difference[0]
        kind = class_of(key)
        same = kind == "path" and then.get(key) is not None and then.get(key) == now.get(key)
        if kind == "free" or same or is_named(key, allowed):
            word = "" if kind == "free" else ", same content" if same else ", as resume.allow says"
            logger.info(
                f"resumed with {key}: {_shown(difference[2])}, was {_shown(difference[1])}{word}"
            )
        else:
            refused.append(difference)
    if refused:
        raise ChangedRunError(f"{where}: was started with another config:\n{_table(refused)}")
    moved = {key for key, _, _ in differences}
    for key in sorted(then.keys() & now.keys() - moved):
        if then[key] != now[key]:
            logger.warning(f"{key}: its content has changed since the run was started")
    return list(differences)


def _table(refused: Sequence[Difference]) -> str:
    rows = [("key", "in the folder", "now")]
    rows += [(key, _shown(old), _shown(new)) for key, old, new in refused]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [f"  {key:<{widths[0]}}  {old:<{widths[1]}}  {new}" for key, old, new in rows]
    names = ",".join(key for key, _, _ in refused)
    moved = [key for key, _, _ in refused if class_of(key) == "path"]
    hint = (
        f"What {', '.join(moved)} leads to is not what the run was started with. " if moved else ""
    )
    return "\n".join(
        [
            *lines,
            f"{hint}Set these back to go on with that run, choose another `name` or `output_dir`, "
            f"or say resume.allow=[{names}] to go on with the change.",
        ]
    )


def input_digests(config: RunConfig) -> dict[str, str]:
    """Return path key -> digest of what it leads to; a path to nothing has none.

    Model folders count with their files, the audio root with the clips of the manifest.
    """
    manifest, root = Path(config.data.manifest), Path(config.data.audio_root)
    paths = {"model.path": Path(config.model.path), "data.manifest": manifest}
    if config.model.adapter:
        paths["model.adapter"] = Path(config.model.adapter)
    if config.judge.prompt_file:
        paths["judge.prompt_file"] = find_shipped(config.judge.prompt_file)
    for number, term in enumerate(config.rewards.terms):
        for name in PATH_OPTIONS & term.options.keys():
            paths[f"rewards.terms.{number}.options.{name}"] = Path(str(term.options[name]))
    digests = {key: digest for key, path in paths.items() if (digest := _path_digest(path))}
    if manifest.is_file():
        digests["data.audio_root"] = clips_digest(root, clips_of(manifest))
    return digests


def _path_digest(path: Path) -> str:
    if path.is_file():
        return file_sha256(path)
    if not path.is_dir():
        return ""
    files = sorted(file for file in path.iterdir() if file.is_file() and file.name[0] != ".")
    return _joined(f"{file.name} {file.stat().st_size} {_content(file)}" for file in files)


def clips_digest(root: Path, clips: Iterable[str]) -> str:
    """Return a digest of names and sizes of all clips and the content of `NUM_CLIPS_READ`."""
    names = sorted(set(clips))
    stride = max(1, len(names) // NUM_CLIPS_READ)
    return _joined(
        f"{name} {_size(f'{root}/{name}')} {_content(root / name) if not i % stride else ''}"
        for i, name in enumerate(names)
    )


def _size(path: str) -> int:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return -1
    return status.st_size if stat.S_ISREG(status.st_mode) else -1


def _content(path: Path) -> str:
    if not path.is_file():
        return "absent"
    size = path.stat().st_size
    if size <= WHOLE_BYTES:
        return file_sha256(path)
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(END_BYTES))
        file.seek(-END_BYTES, os.SEEK_END)
        digest.update(file.read())
    return digest.hexdigest()


def _joined(lines: Iterable[str]) -> str:
    digest, between = hashlib.sha256(), ""
    for line in lines:
        digest.update(f"{between}{line}".encode())
        between = "\n"
    return digest.hexdigest()


def log_rate_change(config: RunConfig, changes: Sequence[Difference], step: int) -> None:
    """Say in one line that another number of steps moves the learning rate of the next step."""
    steps = next((old for key, old, _ in changes if key == "train.num_steps"), None)
    if steps is None or not step < config.train.num_steps:
        return
    # The rate that the run ended on, which is what its next step would have been held at.
    before = learning_rate(min(step, int(steps) - 1), int(steps), config.optim)
    after = learning_rate(step, config.train.num_steps, config.optim)
    if before != after:
        logger.warning(
            f"train.num_steps is {config.train.num_steps} and was {steps}: the "
            f"{config.optim.schedule} course is stretched, and the learning rate of step "
            f"{step + 1} is {after:.3g} instead of {before:.3g}"
        )


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "..."
