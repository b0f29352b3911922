"""Rows that other trainers take: ms-swift's `messages`, LLaMA-Factory's two formats, with `audios`.

Of a row are kept its one clip, the label of the reply, and reasoning that stands before it. The
question is not: a run asks its own.

Sources: "Custom dataset" of the ms-swift documentation; `data/README.md` of LLaMA-Factory.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from annotate.corpora.clips import LeftOut
from annotate.sources.columns import choose_columns, describe_columns, renamed
from annotate.sources.folders import named_pattern
from annotate.sources.gather import SPLITS, Record
from annotate.sources.tables import JSON, columns_of, read_json, split_of, table_files
from configs.annotate_schema import SourceConfig
from configs.errors import UserError
from data.parsing import parse_output

logger = logging.getLogger(__name__)

MAX_LABEL_WORDS = 4
"""Words of a reply that is taken for a label as a whole."""

_ANSWER = re.compile(r"<answer>([^<]*)</answer>")
_REPLIES = ("assistant", "gpt", "model", "bot")
_OWN = ("messages", "conversations", "audios", "instruction", "input", "output", "history")
_OWN_TOO = ("system", "tools", "images", "videos", "objects", "rejected_response", "query")


def read_chats(config: SourceConfig, root: Path, left_out: LeftOut) -> Iterator[Record]:
    """Yield the rows of chats with one clip and one reply; others are counted as left out.

    The label is the reply: what is in `<answer>`, or all of it if it is a few words, or the group
    `label` of `source.pattern`. A column `solution` is the reply where the chat has none.

    Raises:
        UserError: A file that cannot be read, or a reply of which no label is known.
    """
    pattern = named_pattern(config.pattern, ("label",)) if config.pattern else None
    for path in table_files(config, root, JSON):
        columns = columns_of(read_json(path, config))
        others = [name for name in columns if name not in (*_OWN, *_OWN_TOO, "solution")]
        chosen = choose_columns(str(path), others, config.columns, ())
        for field in ("audio", "label", "start", "end", "duration"):
            chosen.pop(field, None)
        for line in describe_columns({"audio": "audios", **chosen}, [*others, "audios"]):
            logger.info(f"{path}: {line}")
        split = split_of(path) if "split" not in {*chosen, *config.columns} else None
        for number, row in read_json(path, config):
            where = f"{path}:{number}"
            audios = row.get("audios")
            audios = [audios] if isinstance(audios, str) else audios
            if not isinstance(audios, list) or len(audios) != 1:
                left_out.add("rows with no clip, or with several", where)
                continue
            replies = _replies(row, where)
            if len(replies) > 1:
                left_out.add("chats with several replies", where)
                continue
            fields = renamed(row, chosen) | {"audio": audios[0]}
            if split:
                fields["split"] = SPLITS[split]
            label_fields, extra = _label(replies[0] if replies else None, pattern, where)
            yield Record(where, {**fields, **label_fields}, path.parent, extra=extra)


def _replies(row: Mapping[str, Any], where: str) -> list[str]:
    turns = row.get("messages") or row.get("conversations")
    if turns is None:
        reply = row.get("output") or row.get("response") or row.get("solution")
        return [reply] if isinstance(reply, str) else []
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise UserError(f"{where}: its chat is no list of objects with 'role' and 'content'")
    replies = [
        turn.get("content", turn.get("value"))
        for turn in turns
        if turn.get("role", turn.get("from")) in _REPLIES
    ]
    if not replies and isinstance(row.get("solution"), str):
        return [row["solution"]]
    if not all(isinstance(reply, str) for reply in replies):
        raise UserError(f"{where}: a reply is no text")
    return replies


def _label(
    reply: str | None, pattern: re.Pattern[str] | None, where: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the fields that a reply says, and its reasoning."""
    if reply is None:
        return {"label": None}, {}
    if pattern is not None:
        match = pattern.search(reply)
        if match is None:
            raise UserError(f"{where}: source.pattern does not fit the reply {reply[:80]!r}")
        return match.groupdict(), {}
    parsed = parse_output(reply.strip())
    if parsed.well_formed:
        return {"label": parsed.answer}, {"reasoning": parsed.think}
    answers = _ANSWER.findall(reply)
    if len(answers) == 1:
        return {"label": answers[0].strip()}, {}
    if not answers and len(reply.split()) <= MAX_LABEL_WORDS and "<" not in reply:
        return {"label": reply.strip().rstrip(".").strip()}, {}
    raise UserError(
        f"{where}: no label is known of the reply {reply[:80]!r}; say where it stands: "
        r"source.pattern='emotion is (?P<label>\w+)'"
    )
