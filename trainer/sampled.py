"""Completions as JSON: what a checkpoint keeps of steps that are sampled and not yet learned."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data.records import Completion, Group, Prompt


def pack_groups(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Return groups as JSON data, without their prompts' texts and clips."""
    return [
        {
            "index": group.index,
            "id": group.prompt.example.id,
            "completions": [_pack(completion) for completion in group.completions],
        }
        for group in groups
    ]


def unpack_groups(packed: Sequence[Mapping[str, Any]], prompts: Sequence[Prompt]) -> list[Group]:
    """Return what `pack_groups` was given.

    Args:
        prompts: of the step, in the order in which they were drawn.

    Raises:
        ValueError: they are not those that were sampled.
    """
    groups: list[Group] = []
    for item in packed:
        index = int(item["index"])
        if index >= len(prompts) or prompts[index].example.id != item["id"]:
            raise ValueError(f"prompt {index} was of example {item['id']!r}, and is another now")
        completions = tuple(_unpack(completion) for completion in item["completions"])
        groups.append(Group(prompts[index], completions, index))
    return groups


def _pack(completion: Completion) -> dict[str, Any]:
    return {
        "token_ids": _text(completion.token_ids.astype("<i8")),
        "rollout_logprobs": _text(completion.rollout_logprobs.astype("<f4")),
        "text": completion.text,
        "finish_reason": completion.finish_reason,
        "policy_version": completion.policy_version,
        "allow_truncated": completion.allow_truncated,
    }


def _unpack(item: Mapping[str, Any]) -> Completion:
    return Completion(
        token_ids=np.frombuffer(base64.b64decode(item["token_ids"]), "<i8"),
        rollout_logprobs=np.frombuffer(base64.b64decode(item["rollout_logprobs"]), "<f4"),
        text=item["text"],
        finish_reason=item["finish_reason"],
        policy_version=item["policy_version"],
        allow_truncated=item["allow_truncated"],
    )


def _text(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")
