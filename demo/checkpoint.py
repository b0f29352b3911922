"""A complete Qwen2.5-Omni checkpoint with about 1.3 million random weights.

Same architecture, file layout, weight names, processor and chat format as the released 7B folder
(thinker only, no talker), so whatever loads that loads this. Only the sizes and the vocabulary are
small.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    AddedToken,
    GenerationConfig,
    Qwen2_5OmniConfig,
    Qwen2_5OmniForConditionalGeneration,
    Qwen2_5OmniProcessor,
    Qwen2_5OmniThinkerConfig,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    WhisperFeatureExtractor,
)
from transformers.utils import logging

from demo.texts import tokenizer_texts

VOCAB_SIZE = 512
"""Of the demo: byte alphabet, merges and special tokens together."""

HEAD_DIM = 32
"""Size of an attention head in the language model and the audio tower."""

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|AUDIO|>",
    "<|audio_bos|>",
    "<|audio_eos|>",
    "<|IMAGE|>",
    "<|VIDEO|>",
    "<|vision_bos|>",
    "<|vision_eos|>",
    "<|vision_pad|>",
)
"""The released tokenizer's names; here they are the first ids."""

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] in ('audio', 'audio_url', 'input_audio') %}"
    "<|audio_bos|><|AUDIO|><|audio_eos|>"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Roles as in the released template; a part's audio becomes one placeholder."""


def _build_tokenizer(texts: Iterable[str], vocab_size: int) -> Qwen2Tokenizer:
    """A byte-level BPE tokenizer in which frequent words of the texts are one token each."""
    empty = Qwen2Tokenizer()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = empty.backend_tokenizer.pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    state = json.loads(tokenizer.to_str())["model"]
    trained = Qwen2Tokenizer(
        vocab=state["vocab"],
        merges=[tuple(pair) for pair in state["merges"]],
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens={
            "image_token": "<|IMAGE|>",
            "audio_token": "<|AUDIO|>",
            "video_token": "<|VIDEO|>",
            "vision_bos_token": "<|vision_bos|>",
            "vision_eos_token": "<|vision_eos|>",
            "audio_bos_token": "<|audio_bos|>",
            "audio_eos_token": "<|audio_eos|>",
        },
    )
    trained.add_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS])
    return trained


def build_processor(texts: Iterable[str], vocab_size: int) -> Qwen2_5OmniProcessor:
    """Return tokenizer, chat format, image transforms, and mel features of clips up to 300 s."""
    features = WhisperFeatureExtractor(
        feature_size=128,
        sampling_rate=16000,
        hop_length=160,
        chunk_length=300,
        n_fft=400,
        return_attention_mask=True,
    )
    return Qwen2_5OmniProcessor(
        Qwen2VLImageProcessor(),
        Qwen2VLVideoProcessor(),
        features,
        _build_tokenizer(texts, vocab_size),
        chat_template=CHAT_TEMPLATE,
    )


@dataclass(frozen=True, slots=True)
class ThinkerSize:
    """Dimensions of a thinker; what is not here is the same in all of them."""

    hidden_size: int
    """Width of the language model."""
    intermediate_size: int
    """Inner width of its gated layers."""
    num_layers: int
    num_heads: int
    num_kv_heads: int
    vocab_size: int
    """Rows of embedding and head; at least the tokenizer's."""
    max_positions: int
    audio_width: int
    audio_intermediate_size: int
    audio_layers: int
    audio_heads: int


def small_size(hidden_size: int, num_layers: int, vocab_size: int) -> ThinkerSize:
    """Return the demo's dimensions: heads of `HEAD_DIM`, and an audio tower of two layers."""
    num_heads = hidden_size // HEAD_DIM
    return ThinkerSize(
        hidden_size=hidden_size,
        intermediate_size=2 * hidden_size,
        num_layers=num_layers,
        num_heads=num_heads,
        num_kv_heads=max(1, num_heads // 2),
        vocab_size=vocab_size,
        max_positions=4096,
        audio_width=hidden_size,
        audio_intermediate_size=2 * hidden_size,
        audio_layers=2,
        audio_heads=num_heads,
    )


def thinker_config(tokenizer: Qwen2Tokenizer, size: ThinkerSize) -> Qwen2_5OmniThinkerConfig:
    """Return the configuration of a thinker with these dimensions.

    Args:
        size: the dimensions. The vision tower always has one layer: no run reads images.
    """
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS}
    head_dim = size.hidden_size // size.num_heads
    audio = {
        "num_mel_bins": 128,
        "encoder_layers": size.audio_layers,
        "encoder_attention_heads": size.audio_heads,
        "encoder_ffn_dim": size.audio_intermediate_size,
        "d_model": size.audio_width,
        "output_dim": size.hidden_size,
    }
    vision = {
        "depth": 1,
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_heads": 2,
        "out_hidden_size": size.hidden_size,
        "fullatt_block_indexes": [0],
    }
    text = {
        "vocab_size": size.vocab_size,
        "hidden_size": size.hidden_size,
        "intermediate_size": size.intermediate_size,
        "num_hidden_layers": size.num_layers,
        "max_window_layers": size.num_layers,
        "num_attention_heads": size.num_heads,
        "num_key_value_heads": size.num_kv_heads,
        "head_dim": head_dim,
        "max_position_embeddings": size.max_positions,
        "rope_parameters": {
            "rope_type": "default",
            # Time, height and width: 16, 24 and 24 of the released heads of 128.
            "mrope_section": [head_dim // 8, head_dim * 3 // 16, head_dim * 3 // 16],
            "rope_theta": 1e6,
        },
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": ids["<|im_end|>"],
        "pad_token_id": ids["<|endoftext|>"],
    }
    return Qwen2_5OmniThinkerConfig(
        audio_config=audio,
        vision_config=vision,
        text_config=text,
        audio_token_index=ids["<|AUDIO|>"],
        image_token_index=ids["<|IMAGE|>"],
        video_token_index=ids["<|VIDEO|>"],
        audio_start_token_id=ids["<|audio_bos|>"],
        audio_end_token_id=ids["<|audio_eos|>"],
        vision_start_token_id=ids["<|vision_bos|>"],
        vision_end_token_id=ids["<|vision_eos|>"],
        user_token_id=ids["<|im_start|>"],
        pad_token_id=ids["<|endoftext|>"],
    )


def generation_config(tokenizer: Qwen2Tokenizer) -> GenerationConfig:
    """Return how a checkpoint is sampled by default."""
    return GenerationConfig(
        do_sample=True,
        temperature=1.0,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _widen(model: Qwen2_5OmniForConditionalGeneration) -> None:
    """Enlarge the initial weights, whose usual size suits a width of thousands.

    The convolutions most of all: their output is added to position embeddings of size 1, and the
    clip would drown in them.
    """
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                weight *= 6 if "audio_tower.conv" in name else 2


def build_checkpoint(
    path: Path,
    *,
    hidden_size: int = 128,
    num_layers: int = 4,
    seed: int = 0,
    texts: Iterable[str] | None = None,
    vocab_size: int = VOCAB_SIZE,
) -> None:
    """Write a checkpoint folder; it appears only once it is complete.

    Args:
        hidden_size: width of the language model and the audio tower; a multiple of 32. The
            default sizes give about 1.3 million weights.
        texts: what the tokenizer is trained on; None = the demo's prompts and answers.

    Raises:
        ValueError: the folder exists already, or `hidden_size` is not a multiple of 32.
    """
    # It warns of token ids above the small vocabulary, which belong to tasks that nobody trains.
    logging.set_verbosity_error()
    if path.exists():
        raise ValueError(f"{path} exists: remove it, or build elsewhere")
    if hidden_size % HEAD_DIM != 0:
        raise ValueError(f"hidden_size is {hidden_size}, must be a multiple of {HEAD_DIM}")
    processor = build_processor(tokenizer_texts() if texts is None else texts, vocab_size)
    tokenizer = processor.tokenizer
    thinker = thinker_config(tokenizer, small_size(hidden_size, num_layers, len(tokenizer)))
    config = Qwen2_5OmniConfig(thinker_config=thinker.to_dict(), enable_audio_output=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2_5OmniForConditionalGeneration(config).to(torch.float32)
    _widen(model)
    model.generation_config = generation_config(tokenizer)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as unfinished:
        folder = Path(unfinished) / path.name
        processor.save_pretrained(folder)
        model.save_pretrained(folder)
        folder.rename(path)
