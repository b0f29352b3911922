"""Rewards as TRL's `GRPOTrainer(reward_funcs=[...])` takes them."""

import asyncio


def names_the_voice(completions, task, **kwargs):
    """Score 1 for a completion that speaks of pitch, loudness or pace; other tasks do not count."""
    words = ("pitch", "loud", "quiet", "fast", "slow")
    return [
        None if name is not None else float(any(word in completion[0]["content"] for word in words))
        for completion, name in zip(completions, task, strict=True)
    ]


async def answers_with_a_choice(prompts, completions, choices, **kwargs):
    """Score 1 where the answer is one of the labels on offer; as one would ask a server."""
    await asyncio.sleep(0)
    return [
        float(any(f"<answer>{label}</answer>" in completion for label in offered))
        for completion, offered in zip(completions, choices, strict=True)
    ]
