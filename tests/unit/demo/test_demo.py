"""The demo's parts: the import hook, the tiny checkpoint, the synthesizer and the corpus."""

import hashlib
import json
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    Qwen2_5OmniConfig,
    Qwen2_5OmniProcessor,
    Qwen2_5OmniThinkerForConditionalGeneration,
)

from configs.schema import NINE_LABELS
from demo.checkpoint import SPECIAL_TOKENS, build_checkpoint
from demo.corpus import (
    SPLITS,
    Delivery,
    build_corpus,
    draw_delivery,
    prosody_levels,
    speakers,
)
from demo.designs import DEMO, LOUDNESS
from demo.material import prepare
from demo.speech import Synthesizer
from demo.texts import NUM_PHRASINGS, SENTENCES, describe, tokenizer_texts
from demo.torchvision_hook import install

pytestmark = pytest.mark.slow

SIZES = {"num_train": 27, "num_cold_start": 9, "num_eval": 9, "num_test": 9}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "checkpoint"
    build_checkpoint(path)
    return path


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("demo") / "corpus"
    build_corpus(root, **SIZES, seed=3)
    return root


def rows_of(corpus: Path) -> list[dict]:
    return [json.loads(line) for line in (corpus / "manifest.jsonl").open()]


# The import hook. Its environment here is a folder of stand-in packages with real version files;
# the real ones are imported through the installed hook by every test of the processor below.

TORCH_CPU = "cuda: Optional[str] = None\n"
TORCH_CUDA = "cuda: Optional[str] = '13.0'\n"
PROBE = """
import importlib.util, sys, site
site.addsitedir({site!r}); site.addsitedir({site!r})
assert not {{"torch", "torchvision", "torchaudio.ops"}} & set(sys.modules)
assert "torch" not in sys.modules, "finding must not import"
found = [name for name in ("torchaudio", "torchcodec") if importlib.util.find_spec(name)]
importlib.util.find_spec("torchvision")
assert "torch" not in sys.modules
import torch, torchvision
print(found, torch.library.defined, torchvision.defined_before_import)
"""


def hook_environment(folder: Path, torch_facts: str, build: str) -> str:
    sources = {
        "torch/__init__.py": "from torch import library\n",
        "torch/version.py": torch_facts,
        "torch/library.py": "defined = []\ndef define(name, schema): defined.append(name)\n",
        "torchvision/__init__.py": (
            "import torch\ndefined_before_import = len(torch.library.defined)\n"
        ),
        "torchvision/version.py": f"__version__ = '0.28.0{build}'\n",
        "torchaudio/__init__.py": "",
        "torchaudio/version.py": f"__version__ = '2.11.0{build}'\n",
        "torchcodec/__init__.py": "",
        "torchcodec/version.py": f"__version__ = '0.17.0{build}'",
    }
    for name, text in sources.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    install(folder)
    install(folder)
    command = [sys.executable, "-I", "-S", "-c", PROBE.format(site=str(folder))]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return result.stdout.strip()


def test_hook_acts_on_cuda_builds_beside_a_cpu_torch(tmp_path: Path):
    expected = "[] ['torchvision::nms', 'torchvision::qnms'] 2"
    assert hook_environment(tmp_path, TORCH_CPU, "+cu130") == expected


def test_hook_leaves_a_cuda_torch_alone(tmp_path: Path):
    expected = "['torchaudio', 'torchcodec'] [] 0"
    assert hook_environment(tmp_path, TORCH_CUDA, "+cu130") == expected


def test_hook_leaves_cpu_builds_alone(tmp_path: Path):
    assert hook_environment(tmp_path, TORCH_CPU, "+cpu") == "['torchaudio', 'torchcodec'] [] 0"


def test_hook_wants_an_existing_folder(tmp_path: Path):
    with pytest.raises(ValueError, match="not a folder"):
        install(tmp_path / "nowhere")


# The checkpoint.


def test_checkpoint_loads_completely(checkpoint: Path):
    model, info = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(
        checkpoint, output_loading_info=True
    )
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert 1_200_000 < sum(weight.numel() for weight in model.parameters()) < 1_400_000
    assert len(model.model.layers) == 4 and len(model.audio_tower.layers) == 2


def test_checkpoint_has_the_released_layout(checkpoint: Path):
    header_bytes = (checkpoint / "model.safetensors").open("rb").read(200_000)
    size = int.from_bytes(header_bytes[:8], "little")
    names = set(json.loads(header_bytes[8 : 8 + size])) - {"__metadata__"}
    parts = {".".join(name.split(".")[:2]) for name in names}
    assert parts == {"thinker.audio_tower", "thinker.visual", "thinker.model", "thinker.lm_head"}
    config = json.loads((checkpoint / "config.json").read_text())
    assert config["architectures"] == ["Qwen2_5OmniForConditionalGeneration"]
    assert config["enable_audio_output"] is False


def test_special_ids_agree(checkpoint: Path):
    tokenizer = Qwen2_5OmniProcessor.from_pretrained(checkpoint).tokenizer
    config = Qwen2_5OmniConfig.from_pretrained(checkpoint).thinker_config
    token_ids = [tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS]
    assert token_ids == list(range(11))
    assert tokenizer.convert_ids_to_tokens(config.audio_token_id) == "<|AUDIO|>"
    assert tokenizer.convert_ids_to_tokens(config.image_token_id) == "<|IMAGE|>"
    assert tokenizer.convert_ids_to_tokens(config.video_token_id) == "<|VIDEO|>"
    assert config.text_config.vocab_size == len(tokenizer)
    generation = json.loads((checkpoint / "generation_config.json").read_text())
    assert generation["eos_token_id"] == tokenizer.eos_token_id == 2
    assert config.text_config.eos_token_id == 2
    assert tokenizer.decode([2, 0, 3, 40], skip_special_tokens=True) == tokenizer.decode([40])


def test_tokenizer_spells_the_demo_in_few_tokens(checkpoint: Path):
    tokenizer = Qwen2_5OmniProcessor.from_pretrained(checkpoint).tokenizer
    for text in ("Grüße, 12 \n\n <think>x</think>", *list(tokenizer_texts())[:4]):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.tokenize("high pitch") == ["high", "Ġpitch"]
    assert tokenizer.tokenize("</answer>") == ["</", "answer", ">"]
    assert all(len(tokenizer.encode(label)) == len(label.split()) for label in NINE_LABELS)
    answer = (
        "<think>The pitch is low, the energy is low and the rate is slow.</think>"
        "<answer>sad</answer><|im_end|>"
    )
    assert len(tokenizer.encode(answer)) == 24


def test_chat_template(checkpoint: Path):
    processor = Qwen2_5OmniProcessor.from_pretrained(checkpoint)
    messages = [
        {"role": "system", "content": "Listen."},
        {
            "role": "user",
            "content": [{"type": "audio", "audio": "a"}, {"type": "text", "text": "Q"}],
        },
    ]
    text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == (
        "<|im_start|>system\nListen.<|im_end|>\n"
        "<|im_start|>user\n<|audio_bos|><|AUDIO|><|audio_eos|>Q<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_features_are_128_mel_bins_for_clips_up_to_300_s(checkpoint: Path):
    extractor = Qwen2_5OmniProcessor.from_pretrained(checkpoint).feature_extractor
    assert (extractor.feature_size, extractor.n_samples) == (128, 300 * 16000)


def test_weights_come_from_the_seed(checkpoint: Path, tmp_path: Path):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    build_checkpoint(tmp_path / "same")
    assert torch.equal(torch.random.get_rng_state(), before)
    build_checkpoint(tmp_path / "other", seed=1)
    weights = [
        (folder / "model.safetensors").read_bytes()
        for folder in (checkpoint, tmp_path / "same", tmp_path / "other")
    ]
    assert weights[0] == weights[1] != weights[2]


def test_checkpoint_refuses_what_it_cannot_build(checkpoint: Path, tmp_path: Path):
    with pytest.raises(ValueError, match="multiple of 32"):
        build_checkpoint(tmp_path / "new", hidden_size=100)
    with pytest.raises(ValueError, match="exists"):
        build_checkpoint(checkpoint)
    assert list(tmp_path.iterdir()) == []


# The synthesizer.


def say(synthesizer: Synthesizer, **changes) -> np.ndarray:
    settings = {"voice": "en-us+m3", "rate_wpm": 160, "pitch": 50, "pitch_range": 50, "volume": 60}
    samples, rate_hz = synthesizer.say("we are going home now.", **(settings | changes))
    assert rate_hz == 22050 and samples.dtype == np.float32
    return samples


def pitch_hz(samples: np.ndarray) -> float:
    """Median over 50 ms frames of the lag with the strongest autocorrelation."""
    lags = []
    for start in range(2000, len(samples) - 3100, 1100):
        frame = samples[start : start + 1100]
        if np.abs(frame).max() > 0.1:
            products = [frame @ samples[start + lag : start + lag + 1100] for lag in range(60, 300)]
            lags.append(60 + int(np.argmax(products)))
    return 22050 / float(np.median(lags))


def test_each_setting_is_heard():
    synthesizer = Synthesizer()
    usual = say(synthesizer)
    assert 0.5 < len(say(synthesizer, rate_wpm=240)) / len(usual) < 0.8
    assert pitch_hz(say(synthesizer, pitch=80)) > 1.2 * pitch_hz(usual)
    ratio = np.std(say(synthesizer, volume=30)) / np.std(usual)
    assert ratio == pytest.approx(0.5, abs=0.05)
    assert not np.array_equal(say(synthesizer, pitch_range=0)[:20000], usual[:20000])


def test_a_new_synthesizer_repeats_to_the_last_bit():
    first, second = Synthesizer(), Synthesizer()
    voices = ["en-us+m3", "en+f2", "en-us+m3"]
    ones = [say(first, voice=voice) for voice in voices]
    others = [say(second, voice=voice) for voice in voices]
    assert all(np.array_equal(one, other) for one, other in zip(ones, others, strict=True))


def test_synthesizer_names_what_it_cannot_do():
    synthesizer = Synthesizer()
    with pytest.raises(ValueError, match="no voice 'xx-nowhere'"):
        say(synthesizer, voice="xx-nowhere")
    with pytest.raises(ValueError, match="pitch is 120, allowed is 0 to 99"):
        say(synthesizer, pitch=120)


# The corpus.


def test_levels_by_hand():
    usual = Delivery(rate=1.0, pitch=0, liveliness=50, energy_db=0, breath=0, rises=False)
    assert prosody_levels(usual) == {
        "pitch": "normal",
        "energy": "normal",
        "rate": "normal",
        "intonation": "falling",
    }
    slow = Delivery(rate=0.8, pitch=-22, liveliness=20, energy_db=-5, breath=0, rises=False)
    assert list(prosody_levels(slow).values()) == ["low", "low", "slow", "flat"]
    lively = Delivery(rate=1.2, pitch=25, liveliness=80, energy_db=5, breath=0, rises=False)
    assert list(prosody_levels(lively).values()) == ["high", "high", "fast", "expressive"]
    asking = Delivery(rate=1.2, pitch=25, liveliness=80, energy_db=5, breath=0, rises=True)
    assert prosody_levels(asking)["intonation"] == "rising"


def test_levels_are_about_thirds():
    rng = np.random.default_rng(0)
    levels = [
        prosody_levels(draw_delivery(DEMO.styles[label], rng))
        for label in DEMO.styles
        for _ in range(300)
    ]
    for name in ("pitch", "energy", "rate"):
        values = [row[name] for row in levels]
        shares = [values.count(value) / len(values) for value in set(values)]
        assert len(shares) == 3 and min(shares) > 0.25 and max(shares) < 0.42, (name, shares)


def test_descriptions():
    prosody = {"pitch": "low", "energy": "high", "rate": "slow", "intonation": "flat"}
    texts = [describe(prosody, phrasing) for phrasing in range(NUM_PHRASINGS)]
    assert texts[0] == "The pitch is low, the energy is high and the rate is slow."
    assert len(set(texts)) == NUM_PHRASINGS >= 4
    for text in texts:
        assert 8 <= len(text.split()) <= 14
        assert all(word in text for word in ("pitch", "energy", "rate", "low", "high", "slow"))


def test_speakers_and_sentences():
    accents = [{speaker.voice.split("+")[0] for speaker in speakers(split)} for split in SPLITS]
    assert sum(map(len, accents)) == len(set.union(*accents)), "an accent is heard in two splits"
    assert len({speaker.voice for split in SPLITS for speaker in speakers(split)}) == 56
    assert [s.voice for s in speakers("cold_start", LOUDNESS)] == ["en-029+m1", "en-029+m3"]
    assert speakers("test") == speakers("test")
    assert len(set(SENTENCES)) == len(SENTENCES) >= 40
    synthesizer = Synthesizer()
    for split in SPLITS:
        for speaker in speakers(split):
            assert len(say(synthesizer, voice=speaker.voice)) > 10_000


def test_manifest(corpus: Path):
    rows = rows_of(corpus)
    assert tuple(DEMO.styles) == tuple(NINE_LABELS)
    assert len({row["id"] for row in rows}) == len(rows) == 54
    assert set(rows[0]) == {
        "id", "audio", "label", "speaker", "split", "text", "words", "dataset", "settings",
        "reasoning",
    }  # fmt: skip
    for split in SPLITS:
        labels = [row["label"] for row in rows if row["split"] == split]
        assert len(labels) == SIZES[f"num_{split}"]
        assert {label: labels.count(label) for label in NINE_LABELS} == dict.fromkeys(
            NINE_LABELS, len(labels) // 9
        )
        cast = {speaker.voice for speaker in speakers(split)}
        assert {row["speaker"] for row in rows if row["split"] == split} <= cast
    for row in rows:
        assert row["text"] in DEMO.sentences and row["dataset"] == "synthetic"
        levels = row["settings"]["levels"]
        assert row["reasoning"] in [describe(levels, i) for i in range(NUM_PHRASINGS)]
        assert set(row["settings"]) == {"levels", *Delivery.__dataclass_fields__}


def test_clips_are_16_khz_pcm_of_a_fair_length_and_level(corpus: Path):
    for row in rows_of(corpus):
        with wave.open(str(corpus / row["audio"])) as clip:
            assert (clip.getframerate(), clip.getsampwidth(), clip.getnchannels()) == (16000, 2, 1)
            samples = np.frombuffer(clip.readframes(clip.getnframes()), "<i2") / 32768
        assert 0.8 <= len(samples) / 16000 <= 2.7
        assert -45 < 20 * np.log10(np.std(samples)) < -10
        assert np.abs(samples).max() < 1


def test_a_whisper_has_no_pitch(corpus: Path):
    """The strongest autocorrelation at a voice's periods, over that at zero lag."""

    def periodicity(row: dict) -> float:
        with wave.open(str(corpus / row["audio"])) as clip:
            samples = np.frombuffer(clip.readframes(clip.getnframes()), "<i2").astype(float)
        peaks = []
        for start in range(0, len(samples) - 1200, 400):
            frame = samples[start : start + 800]
            if np.std(frame) > np.std(samples):
                lags = [frame @ samples[start + lag : start + lag + 800] for lag in range(45, 250)]
                peaks.append(max(lags) / (frame @ frame))
        return float(np.median(peaks))

    by_label = {label: [] for label in NINE_LABELS}
    for row in rows_of(corpus):
        by_label[row["label"]].append(periodicity(row))
    assert np.mean(by_label["whisper"]) < 0.75 * np.mean(by_label["happy"])


def digest(root: Path) -> str:
    total = hashlib.sha256((root / "manifest.jsonl").read_bytes())
    for path in sorted((root / "audio").iterdir()):
        total.update(path.name.encode() + path.read_bytes())
    return total.hexdigest()


def test_same_seed_same_bytes(corpus: Path, tmp_path: Path):
    build_corpus(tmp_path / "same", **SIZES, seed=3)
    build_corpus(tmp_path / "other", **SIZES, seed=4)
    assert digest(tmp_path / "same") == digest(corpus) != digest(tmp_path / "other")
    with pytest.raises(ValueError, match="exists"):
        build_corpus(tmp_path / "same", **SIZES, seed=3)


def test_prepare_builds_what_is_absent(tmp_path: Path):
    material = prepare(tmp_path / "material", **SIZES)
    assert (material.checkpoint / "model.safetensors").exists()
    rows = rows_of(material.corpus)
    assert len(rows) == 54
    for row in rows:
        assert row["prosody"]["energy"] in ("low", "normal", "high")
        # A whisper has no pitch, and a few short clips too little voice to measure one.
        assert row["prosody"]["pitch"] is not None or row["prosody"]["voiced_frac"] < 0.35
    (material.corpus / "manifest.jsonl").write_text("kept\n")
    prepare(tmp_path / "material", **SIZES)
    assert (material.corpus / "manifest.jsonl").read_text() == "kept\n"
    assert sorted(path.name for path in material.corpus.parent.iterdir()) == [
        "checkpoint",
        "corpus",
    ]
