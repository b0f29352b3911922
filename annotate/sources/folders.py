"""A folder per label: what the path of a clip says."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

from annotate.corpora.clips import LeftOut, find_clips
from annotate.sources.columns import USUAL
from annotate.sources.gather import SPLITS, Record
from configs.annotate_schema import SourceConfig
from configs.errors import UserError

logger = logging.getLogger(__name__)

_CLIPS = "**/*.*"
_LABEL = r"(?P<label>[^/]+)/.+"
_SPLIT = rf"(?P<split>[^/]+)/{_LABEL}"


def read_folders(config: SourceConfig, root: Path, left_out: LeftOut) -> Iterator[Record]:
    """Yield the clips below a root, each with the groups of the pattern that its path fits.

    Without a pattern, the first folder is the label; or the second one, if the first folders are
    `train`, `test` and the like.

    Raises:
        UserError: A pattern that cannot be used.
    """
    pattern = config.pattern
    unfit = f"does not fit {pattern}"
    if not pattern:
        pattern = _SPLIT if _is_split(root) else _LABEL
        unfit = "lies in no folder of a label; source.pattern reads a label from a name"
        logger.info(f"{root}: paths are read as {pattern}")
    expression = named_pattern(pattern, ("label",))
    for path in find_clips(root, _CLIPS, left_out):
        audio = path.relative_to(root).as_posix()
        match = expression.fullmatch(audio.removesuffix(path.suffix))
        where = str(path) if match else f"{path} ({unfit})"
        yield Record(where, {**(match.groupdict() if match else {}), "audio": audio}, root)


def _is_split(root: Path) -> bool:
    """Return whether all clips lie in folders that are named as splits."""
    is_split = False
    for path in find_clips(root, _CLIPS, LeftOut()):
        is_split = path.relative_to(root).parts[0].casefold() in SPLITS
        if not is_split:
            break
    return is_split


def named_pattern(pattern: str, needed: tuple[str, ...] = ()) -> re.Pattern[str]:
    """Return the regular expression of `source.pattern`.

    Raises:
        UserError: It is none, or its groups are not fields of a clip.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UserError(f"source.pattern: is no regular expression ({error})") from error
    groups = expression.groupindex.keys()
    for group in groups:
        if group not in USUAL:
            raise UserError(
                f"source.pattern: the group {group!r} is none of {', '.join(USUAL)}; write (?:...) "
                "for what is not to be kept"
            )
    for field in needed:
        if field not in groups:
            raise UserError(f"source.pattern: has no group (?P<{field}>...); add it")
    return expression
