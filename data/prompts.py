"""Prompts as the models see them, through the checkpoint's own chat template and tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# Not the processor's class, nor an Auto class: they load the code for images, video and generation,
# for 3 s of every command.
from transformers import Qwen2Tokenizer, WhisperFeatureExtractor

from configs.errors import UserError
from configs.schema import DataConfig
from data.audio import AudioError, read_audio
from data.features import (
    NUM_MEL_BINS,
    FeatureCache,
    FeatureExtractor,
    keep_array,
    num_audio_tokens,
)
from data.manifest_row import fill_choices
from data.parsing import TAGS
from data.records import ClipFeatures, Example, FloatArray, IntArray, Prompt

FORBIDDEN_LOGIT = -100.0
"""Added to the logits of tokens that a completion may not contain, in engine and learner alike."""


class PromptError(UserError):
    """A checkpoint or an example that does not give a valid prompt; the message names it."""


class Processor(NamedTuple):
    """What of a checkpoint's processor is about texts and clips."""

    tokenizer: Any
    feature_extractor: WhisperFeatureExtractor
    chat_template: str
    audio_token: str
    """The placeholder of a clip in a text."""


def load_processor(checkpoint_path: str | Path) -> Processor:
    """Return the processor of a checkpoint folder; nothing is downloaded, no foreign code is run.

    Raises:
        PromptError: not a folder, a file of the processor is missing or damaged, or it has no chat
            template.
    """
    path = Path(checkpoint_path)
    if not path.is_dir():
        raise PromptError(f"{path}: is not a folder; set model.path to a Qwen2.5-Omni checkpoint")
    try:
        tokenizer: Any = Qwen2Tokenizer.from_pretrained(str(path), local_files_only=True)
        extractor = WhisperFeatureExtractor.from_pretrained(str(path), local_files_only=True)
        template = _chat_template(path)
        audio_token = tokenizer.audio_token
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise PromptError(
            f"{path}: its tokenizer and feature extractor cannot be loaded ({reason}); fetch the "
            "whole checkpoint again"
        ) from error
    if not template:
        raise PromptError(f"{path}: has no chat template; copy it from the original checkpoint")
    return Processor(tokenizer, extractor, template, audio_token)


def _chat_template(checkpoint: Path) -> str | None:
    """Return the template of the processor, wherever releases of transformers have put it."""
    for name in ("processor_config.json", "chat_template.json"):
        file = checkpoint / name
        if file.is_file():
            template = json.loads(file.read_text(encoding="utf-8")).get("chat_template")
            if template:
                return template
    file = checkpoint / "chat_template.jinja"
    return file.read_text(encoding="utf-8") if file.is_file() else None


def target_text(example: Example) -> str:
    """Return the reference answer of an example, for supervised fine-tuning.

    Its `target` if it has one, else its reasoning and label in tags.

    Raises:
        PromptError: the example has no reasoning, or its reasoning holds an answer tag.
    """
    if example.target is not None:
        return example.target
    if example.reasoning is None:
        raise PromptError(f"example {example.id!r} has no 'reasoning'; add it or drop the row")
    for tag in TAGS:
        if tag in example.reasoning:
            raise PromptError(
                f"the reasoning of example {example.id!r} holds {tag}; write the text between the "
                "tags only"
            )
    return f"<think>{example.reasoning}</think><answer>{example.label}</answer>"


class PromptBuilder:
    """Examples to prompts and text to tokens and back, all by the checkpoint's own processor."""

    end_token_id: int
    """The token that ends an answer."""
    pad_token_id: int
    """The tokenizer's padding token."""
    audio_token_id: int
    """The placeholder that audio embeddings replace."""
    forbidden_token_ids: tuple[int, ...]
    """Ascending: modality and chat control tokens, which no answer may contain. The end token is
    not among them, nor is a tag of the answer format that the tokenizer has as one token."""
    extract_features: FeatureExtractor
    """Samples -> features, as this checkpoint computes them."""

    def __init__(self, checkpoint_path: str | Path, config: DataConfig) -> None:
        """Load the processor of a checkpoint folder, and the system prompt of the config.

        Raises:
            PromptError: an unusable checkpoint, or a system prompt with control tokens.
        """
        processor = load_processor(checkpoint_path)
        self._tokenizer: Any = processor.tokenizer
        self._template = processor.chat_template
        self.extract_features = FeatureExtractor(processor.feature_extractor)
        added = self._tokenizer.added_tokens_decoder
        self.end_token_id = self._special_id(checkpoint_path, "eos_token")
        self.pad_token_id = self._special_id(checkpoint_path, "pad_token")
        self.audio_token_id = self._tokenizer.convert_tokens_to_ids(processor.audio_token)
        tags = set(self._tokenizer("".join(TAGS))["input_ids"])
        self._control_tokens = {i: str(token) for i, token in added.items() if i not in tags}
        self.forbidden_token_ids = tuple(sorted(self._control_tokens.keys() - {self.end_token_id}))
        self._refuse_control_tokens(config.system_prompt, "data.system_prompt")
        self._system_prompt = config.system_prompt

    def render(self, example: Example) -> str:
        """Return the chat-formatted prompt of an example, with one placeholder per clip.

        Its turns come first, then the question with the other clips before it. The question's
        `{choices}` is filled, should the example still carry the template.

        Raises:
            PromptError: the question or a turn holds a control token.
        """
        question = fill_choices(example.question, example.choices)
        self._refuse_control_tokens(question, f"the question of example {example.id!r}")
        messages: list[dict[str, Any]] = []
        for number, turn in enumerate(example.turns, start=1):
            self._refuse_control_tokens(turn.text, f"turn {number} of example {example.id!r}")
            messages.append(_message(turn.role, bool(turn.audio), turn.text))
        num_clips = len(example.before) + bool(example.audio) + len(example.after)
        messages.append(_message("user", num_clips, question))
        if self._system_prompt:
            system = [{"type": "text", "text": self._system_prompt}]
            messages.insert(0, {"role": "system", "content": system})
        return self._tokenizer.apply_chat_template(
            messages, chat_template=self._template, tokenize=False, add_generation_prompt=True
        )

    def build(
        self,
        example: Example,
        features: Any,
        num_frames: int,
        beside: Sequence[ClipFeatures] = (),
    ) -> Prompt:
        """Return the prompt of an example.

        Args:
            features: [M, F] float32 log-mel features of `example.audio`, or a reference to them;
                kept as it is.
            num_frames: their F; 0 if there is no such clip.
            beside: features of `example.others`.

        Raises:
            PromptError: question or turns hold a control token, or the chat template does not place
                every clip exactly once.
            AudioError: a clip is too short for the audio encoder.
        """
        text = self.render(example)
        token_ids = self._token_ids(text)
        places = np.flatnonzero(token_ids == self.audio_token_id)
        frames = [clip.num_frames for clip in beside]
        if example.audio:
            frames.insert(len(example.earlier), num_frames)
        if len(places) != len(frames):
            what, times = "clips", f"{len(frames)} times"
            if len(frames) == 1:
                what, times = "clip", "once"
            raise PromptError(
                f"the chat template places the {what} of example {example.id!r} {len(places)} "
                f"times instead of {times}; use the template of a Qwen2.5-Omni checkpoint"
            )
        repeats = np.ones(len(token_ids), np.int64)
        for place, clip, length in zip(places, example.clips, frames, strict=True):
            try:
                repeats[place] = num_audio_tokens(length)
            except ValueError as error:
                raise AudioError(f"{clip}: {error}; raise data.min_duration_s") from error
        expanded = np.repeat(token_ids, repeats)
        return Prompt(example, text, expanded, features, sum(frames), tuple(beside))

    def encode_target(self, text: str) -> IntArray:
        """Return [C] int64: the tokens of an answer and the end token.

        Raises:
            PromptError: the text holds a control token.
        """
        self.check_answer(text)
        return np.append(self.tokens_of(text), self.end_token_id)

    def tokens_of(self, text: str) -> IntArray:
        """Return [C] int64: the tokens of a text as it stands, special tokens read as such."""
        return self._token_ids(text, add_special_tokens=False)

    def check_answer(self, text: str) -> None:
        """Raise what `encode_target` raises, without tokenizing."""
        self._refuse_control_tokens(text, f"the answer {text[:40]!r}")

    def decode(self, token_ids: Sequence[int] | IntArray) -> str:
        """Return the text of a completion: its final end token goes, other tokens stay visible."""
        row = np.asarray(token_ids, dtype=np.int64).tolist()
        row = row[:-1] if row and row[-1] == self.end_token_id else row
        return self._tokenizer.decode(
            row, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )

    def _special_id(self, checkpoint_path: str | Path, name: str) -> int:
        token = self._tokenizer.special_tokens_map.get(name)
        if token is None:
            raise PromptError(f"{checkpoint_path}: the tokenizer has no {name}; set it there")
        return self._tokenizer.convert_tokens_to_ids(str(token))

    def _token_ids(self, text: str, *, add_special_tokens: bool = True) -> IntArray:
        encoded = self._tokenizer(text, add_special_tokens=add_special_tokens)
        return np.asarray(encoded["input_ids"], dtype=np.int64)

    def _refuse_control_tokens(self, text: str, where: str) -> None:
        for token in self._control_tokens.values():
            if token in text:
                raise PromptError(f"{where} holds the control token {token}; remove it")


def _message(role: str, num_clips: int, text: str) -> dict[str, Any]:
    """Return a message of a chat: its clips, then its text."""
    clips: list[dict[str, str]] = [{"type": "audio"}] * num_clips
    return {"role": role, "content": [*clips, *([{"type": "text", "text": text}] if text else [])]}


def feature_cache(
    builder: PromptBuilder,
    config: DataConfig,
    publish: Callable[[FloatArray], Any] = keep_array,
) -> FeatureCache:
    """Return the features of a run's clips by path; arguments as those of `prompt_function`."""

    def compute(path: Path) -> FloatArray:
        samples = read_audio(
            path, min_duration_s=config.min_duration_s, max_duration_s=config.max_duration_s
        )
        return builder.extract_features(samples)

    return FeatureCache(config.feature_cache_mb, compute, publish)


def prompt_function(
    builder: PromptBuilder,
    config: DataConfig,
    publish: Callable[[FloatArray], Any] = keep_array,
) -> Callable[[Example], Prompt]:
    """Return the way from an example to its prompt: read clips, compute or recall their features.

    Args:
        publish: features -> what prompts carry, such as a reference into shared memory.

    Returns:
        A function that threads may share. It raises AudioError for a clip that cannot be used, and
        PromptError for a question that cannot.
    """
    root = Path(config.audio_root)
    clips = feature_cache(builder, config, publish)

    @cache
    def nothing() -> ClipFeatures:
        return ClipFeatures.of(np.zeros((NUM_MEL_BINS, 0), np.float32), publish)

    def build(example: Example) -> Prompt:
        beside = [clips.get(root / audio) for audio in example.others]
        clip = clips.get(root / example.audio) if example.audio else nothing()
        return builder.build(example, clip.value, clip.num_frames, beside)

    return build
