"""Pairs of prompts: which clips they hear, drawn from the seed alone, and who makes them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from msgspec import structs

from configs.load import load_config
from configs.schema import CounterfactualConfig, RunConfig
from data.audio import AudioError, read_audio
from data.counterfactual import PairBuilder, draw_move
from data.features import NUM_MEL_BINS
from data.prompts import PromptBuilder
from data.prosody.measure import measure
from data.prosody.renditions import UNCHANGED, analyse, move_clip, render
from data.records import Prompt
from tests.fixtures import make_example
from tests.unit.data.prosody.test_measure import voice
from tests.unit.task_clips import noise

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]


def test_the_draw_is_fair_and_follows_from_seed_epoch_and_example():
    moves = ["pitch", "rate", "energy"]
    drawn = {
        (seed, epoch, n): draw_move(seed, epoch, f"clip-{n}", moves)
        for seed in range(2)
        for epoch in range(10)
        for n in range(300)
    }
    counts = Counter(drawn.values())
    assert len(counts) == 6
    # 6,000 draws of six: 1,000 each, deviation 29.
    assert all(abs(number - 1000) < 120 for number in counts.values())
    assert drawn[0, 3, 7] == draw_move(0, 3, "clip-7", moves)
    for other in ((1, 3), (0, 4)):
        differ = sum(drawn[0, 3, n] != drawn[*other, n] for n in range(300))
        assert 200 < differ < 290, "5 in 6 by chance"


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    sf.write(folder / "voice.wav", voice([150, 140], 1.0), 16_000)
    sf.write(folder / "noise.wav", noise(0.5), 16_000)
    return folder


def test_a_clip_is_rendered_as_it_is_and_both_ways(clips: Path):
    heard, clean = move_clip(clips / "voice.wav", "pitch", 3.0, 0.1, 30.0)
    assert clean and list(heard) == [0, 1, -1]
    samples = read_audio(clips / "voice.wav", min_duration_s=0.1, max_duration_s=30.0)
    np.testing.assert_array_equal(heard[0], render(analyse(samples), UNCHANGED))
    pitch = {way: measure(clip, None).f0_median_hz for way, clip in heard.items()}
    assert pitch[0] is not None
    for way in (1, -1):
        assert pitch[way] == pytest.approx(pitch[0] * 2 ** (3 * way / 12), rel=0.02)
    slowed, clean = move_clip(clips / "voice.wav", "rate", 1.25, 0.1, 30.0)
    assert clean and len(slowed[-1]) == 20_000 and len(slowed[1]) == 12_800
    louder, clean = move_clip(clips / "voice.wav", "energy", 6.0, 0.1, 30.0)
    gain = np.square(louder[1]).mean() / np.square(louder[-1]).mean()
    assert clean and gain == pytest.approx(10**1.2, rel=1e-3)


def test_what_has_no_pitch_moves_cleanly_in_nothing(clips: Path):
    assert not move_clip(clips / "noise.wav", "pitch", 4.0, 0.1, 30.0)[1]


def run_config(checkpoint: Path, clips: Path, **pairs: Any) -> RunConfig:
    config = load_config(ROOT / "configs" / "tiny.yaml", [f"model.path={checkpoint}"])
    counterfactual = CounterfactualConfig(**({"moves": ["pitch"]} | pairs))
    return dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, audio_root=str(clips), num_workers=1),
        rollout=dataclasses.replace(config.rollout, counterfactual=counterfactual),
    )


@pytest.fixture(scope="module")
def made(tiny_checkpoint: Path, clips: Path) -> Iterator[tuple[PairBuilder, list[np.ndarray]]]:
    """A builder, and what it has published."""
    config = run_config(tiny_checkpoint, clips)
    published: list[np.ndarray] = []

    def publish(features: np.ndarray) -> int:
        published.append(features)
        return len(published) - 1

    build = PairBuilder(PromptBuilder(tiny_checkpoint, config.data), config, publish)
    yield build, published
    build.close()


VOICE = make_example(0, audio="voice.wav")


def parts_of(plain: Prompt) -> tuple[Prompt, Prompt]:
    assert plain.counterpart is not None and plain.counterpart.counterpart is None
    return plain, plain.counterpart


def test_both_halves_of_a_pair(made: tuple[PairBuilder, list[np.ndarray]], clips: Path):
    build, published = made
    epochs = {draw_move(0, epoch, VOICE.id, ["pitch"])[1]: epoch for epoch in range(20)}
    heard, _ = move_clip(clips / "voice.wav", "pitch", 4.0, 0.1, 30.0)
    extract = build._builder.extract_features
    for direction, epoch in epochs.items():
        plain, moved = parts_of(build(VOICE, epoch))
        for half, way in ((plain, 0), (moved, direction)):
            assert half.move is not None and half.example is VOICE
            assert dataclasses.astuple(half.move) == ("pitch", way, 4.0, True)
            assert half.is_moved == (way != 0)
            np.testing.assert_array_equal(published[half.features], extract(heard[way]))
            assert published[half.features].shape == (NUM_MEL_BINS, half.num_frames)
    assert len(epochs) == 2 and len(published) == 3, "taken apart once for all epochs"


def test_clips_beside_the_one_that_is_moved_stay_as_they_are(
    made: tuple[PairBuilder, list[np.ndarray]], clips: Path
):
    build, published = made
    example = structs.replace(VOICE, before=("noise.wav",))
    plain, moved = parts_of(build(example, 0))
    samples, _ = sf.read(clips / "noise.wav", dtype="float32")
    beside = build._builder.extract_features(samples)
    for half in (plain, moved):
        first, own = (published[place] for place in half.clips)
        np.testing.assert_array_equal(first, beside)
        assert half.num_frames == 50 + own.shape[1]
    assert plain.clips[0] == moved.clips[0] and plain.clips[1] != moved.clips[1]


def test_a_clip_that_cannot_be_used_is_named(made: tuple[PairBuilder, list[np.ndarray]]):
    build, _ = made
    with pytest.raises(AudioError, match=r"absent\.wav"):
        build(make_example(1, audio="absent.wav"), 0)


def test_the_moves_and_their_sizes_are_those_of_the_configuration(
    tiny_checkpoint: Path, clips: Path
):
    config = run_config(tiny_checkpoint, clips, moves=["rate"], rate=1.5)
    build = PairBuilder(PromptBuilder(tiny_checkpoint, config.data), config)
    plain, moved = parts_of(build(VOICE, 0))
    build.close()
    assert moved.move is not None and (moved.move.attribute, moved.move.size) == ("rate", 1.5)
    assert plain.num_frames == 100
    assert moved.num_frames == {1: 67, -1: 150}[moved.move.direction]
    assert len(moved.token_ids) != len(plain.token_ids)
