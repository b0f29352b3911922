#!/usr/bin/env python
"""Ask a policy about one sound file: its answer, its reasoning, and what the voice measures.

python launch/listen.py CLIP --run RUN_FOLDER [key=value ...] [--json]
python launch/listen.py CLIP --config FILE model.path=CHECKPOINT [key=value ...] [--json]
python launch/listen.py CLIP --before OTHER [--before ANOTHER] --run RUN_FOLDER

The engine is that of rollouts and evaluation, in this process, and the prompt is theirs; the answer
is greedy. No Ray, no learner, no reward. With a run folder, its configuration and its export are
taken.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":
    # The repository in the place of this folder, whose files have names of packages.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from configs.errors import UserError
from configs.load import load_config
from configs.schema import RunConfig
from configs.sweep import override
from launch.command import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_PREFLIGHT,
    WHOLE_MODELS,
    be_quiet,
    fail,
    run_command,
)

if TYPE_CHECKING:  # heavy: a wrong path should not wait for it
    from data.prompts import PromptBuilder
    from data.prosody.measure import Prosody
    from data.records import Completion, FloatArray, Prompt

SHOWN = (
    ("median pitch", "f0_median_hz", "Hz"),
    ("pitch range", "f0_range_st", "semitones"),
    ("last pitch against the phrase", "f0_end_st", "semitones"),
    ("energy", "energy_dbfs", "dBFS"),
    ("rate", "nuclei_per_s", "syllables a second"),
    ("pauses", "pause_frac", "of the time"),
)
"""Measurements that are printed: name, field of `Prosody`, unit."""


@dataclass(frozen=True)
class Heard:
    """One clip, what was asked about it, and what came back."""

    clip: Path
    model: str
    prompt: Prompt
    completion: Completion
    answer: str | None
    """As spelled in the choices; None if the completion is not in the form that was trained."""
    prosody: Prosody

    def as_json(self) -> dict[str, Any]:
        """Return everything by name."""
        parsed, before = self.completion.parsed, list(self.prompt.example.before)
        return {
            "clip": str(self.clip),
            **({"before": before} if before else {}),
            "model": self.model,
            "question": self.prompt.example.question,
            "choices": list(self.prompt.example.choices),
            "answer": self.answer,
            "reasoning": parsed.think,
            "format": parsed.reason,
            "text": self.completion.text,
            "finish_reason": self.completion.finish_reason,
            "prosody": self.prosody.as_json(),
        }

    def __str__(self) -> str:
        """Return it for a terminal; what the policy wrote cannot steer one."""
        parsed = self.completion.parsed
        lines = [f"before:    {clip}" for clip in self.prompt.example.before]
        lines += [f"clip:      {self.clip} ({self.prosody.duration_s:.2f} s)"]
        if parsed.well_formed:
            lines += [f"answer:    {_plain(self.answer)}", f"reasoning: {_plain(parsed.think)}"]
        else:
            wrote = _plain(self.completion.text)
            lines += [f"answer:    none, its output is malformed ({parsed.reason})"]
            lines += [f"it wrote:  {wrote}"]
        measured = self.prosody.as_json()
        values = [(name, measured[key], unit) for name, key, unit in SHOWN]
        facts = [f"{name} {value:.3g} {unit}" for name, value, unit in values if value is not None]
        indented = f"\n{' ' * len('measured:  ')}"
        lines += [f"measured:  {indented.join(facts) or 'no speech was found'}"]
        return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code: 0 done, 2 settings or clip, 3 machine or checkpoint, 4 not answered."""
    parser = argparse.ArgumentParser(description="Ask a policy about one sound file.")
    parser.add_argument("clip", type=Path, help="WAV, FLAC, MP3 or Ogg file")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="dotted settings over the configuration, such as model.path=FOLDER",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", type=Path, metavar="FOLDER", help="a finished run: its export")
    source.add_argument("--config", metavar="FILE", help="YAML file of a run; set model.path too")
    parser.add_argument(
        "--before",
        type=Path,
        action="append",
        default=[],
        metavar="CLIP",
        help="a clip that is heard before it, such as the voice in a neutral mood; may come again",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    return run_command(parser, listen, argv)


def listen(arguments: argparse.Namespace) -> int:
    """Check settings, clip and machine, then ask."""
    from data.audio import read_audio
    from data.prosody.measure import measure
    from launch.preflight import stop_run

    be_quiet()
    config = config_of(arguments)
    limits = config.data
    between = {"min_duration_s": limits.min_duration_s, "max_duration_s": limits.max_duration_s}
    clips = [(p, read_audio(p, **between)) for p in (*arguments.before, arguments.clip)]
    if stop_run(list(check(config))):
        return EXIT_PREFLIGHT
    with only_result(arguments.json) as out:
        builder, prompt = prompt_of(clips, config)
        completion = ask(config, builder, prompt)
        if isinstance(completion, str):
            return fail(EXIT_FAILED, f"{arguments.clip}: the engine refused it: {completion}")
        heard = Heard(
            clip=arguments.clip,
            model=config.model.path,
            prompt=prompt,
            completion=completion,
            answer=answer_of(config, prompt, completion),
            prosody=measure(clips[-1][1], None),
        )
        print(json.dumps(heard.as_json()) if arguments.json else heard, file=out, flush=True)
    return EXIT_DONE


def config_of(arguments: argparse.Namespace) -> RunConfig:
    """Return the configuration to ask with: engines alone, and one of them.

    Raises:
        UserError: The run folder holds no configuration, it cannot be used, or names an adapter.
    """
    path, given = arguments.config, []
    if arguments.run is not None:
        path = arguments.run / "config.yaml"
        if not path.is_file():
            raise UserError(f"{arguments.run}: holds no config.yaml; name the folder of a run")
        # The export has the adapter in it.
        whole = {"model.path": str(arguments.run / "export"), "model.adapter": ""}
        given = [override(key, value) for key, value in whole.items()]
    config = load_config(path, [*given, *arguments.overrides])
    if config.model.adapter:
        raise UserError(WHOLE_MODELS.format(config.model.adapter))
    return replace(
        config,
        rollout=replace(config.rollout, colocate=False, num_engines=1),
        rewards=replace(config.rewards, terms=[]),
    )


def check(config: RunConfig) -> Iterator[Any]:
    """Yield what stands in the way of an engine on this machine."""
    from launch.preflight import check_gpus, check_versions
    from launch.preflight.checkpoint import check_checkpoint

    yield from check_versions(config.device)
    yield from check_checkpoint(config)
    yield from check_gpus(config, learns=False)


def prompt_of(
    clips: Sequence[tuple[Path, FloatArray]], config: RunConfig
) -> tuple[PromptBuilder, Prompt]:
    """Return the prompt about the last of some clips, as training and evaluation build it.

    Raises:
        UserError: It leaves no room for an answer, or the checkpoint gives no prompt.
    """
    from data.prompts import PromptBuilder
    from data.records import ClipFeatures, Example

    builder = PromptBuilder(config.model.path, config.data)
    arrays = [builder.extract_features(samples) for _, samples in clips]
    *before, features = [ClipFeatures(array, array.shape[1], array.nbytes) for array in arrays]
    clip = clips[-1][0]
    example = Example(
        id=clip.name,
        audio=str(clip),
        label="",
        question=config.data.question,
        choices=tuple(config.data.choices),
        before=tuple(str(path) for path, _ in clips[:-1]),
    )
    prompt = builder.build(example, features.value, features.num_frames, before)
    room = config.rollout.max_model_len - config.rollout.max_completion_tokens
    if len(prompt.token_ids) > room:
        raise UserError(
            f"{clip}: its prompt has {len(prompt.token_ids)} tokens, and rollout.max_model_len "
            f"less rollout.max_completion_tokens leaves {room}; cut the clip or raise max_model_len"
        )
    return builder, prompt


def ask(config: RunConfig, builder: PromptBuilder, prompt: Prompt) -> Completion | str:
    """Return the greedy completion of a prompt, or why the engine refused it."""
    from rollout.engine import EngineSpec, Refusal, RolloutEngine, SampleRequest

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of vLLM about what it imports
        engine = RolloutEngine(EngineSpec.of(config, builder, len(prompt.example.clips)))
    request = SampleRequest(prompt, num_completions=1, seed=config.seed)
    ((_, result),) = [pair for batch in engine.generate([request], greedy=True) for pair in batch]
    return result.reason if isinstance(result, Refusal) else result[0]


def answer_of(config: RunConfig, prompt: Prompt, completion: Completion) -> str | None:
    """Return the answer as evaluation reads it; None if it is unreadable."""
    from evaluation.answer_reader import AnswerReader, aliases_beside

    choices = prompt.example.choices
    aliases = aliases_beside(choices, config.rewards.aliases)
    return AnswerReader.of(choices, aliases).answer(prompt.example, completion)


@contextmanager
def only_result(alone: bool) -> Iterator[Any]:
    """Give the stream for the result; if it is to stand alone, all else goes to standard error.

    vLLM and what it loads write to the file descriptor itself, so that is what is moved.
    """
    if not alone:
        yield sys.stdout
        return
    sys.stdout.flush()
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)
        try:
            yield out
        finally:
            sys.stdout.flush()
            os.dup2(out.fileno(), 1)


def _plain(text: str | None) -> str:
    return "".join(c if c.isprintable() else " " for c in text or "")


if __name__ == "__main__":
    sys.exit(main())
