from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from threading import Event
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from data.audio import AudioError
from data.loader import (
    CursorError,
    PromptLoader,
    balanced_order,
    manifest_digest,
    usable_in_threads,
    usable_prompts,
)
from data.records import Example, Prompt, Turn
from tests.fixtures import make_example

EXAMPLES = [make_example(number) for number in range(10)]


def build(example: Example) -> Prompt:
    return Prompt(example, example.id, np.arange(3), None, num_frames=3)


def build_but_not_3_and_7(example: Example) -> Prompt:
    if example.id in ("clip-3", "clip-7"):
        raise AudioError(f"{example.audio}: is silent")
    return build(example)


def make_loader(
    examples: list[Example] = EXAMPLES, num_prompts: int = 4, seed: int = 5, **options: Any
) -> PromptLoader:
    options = {"build": build, "num_workers": 2} | options
    of_example = options.pop("build")
    return PromptLoader(
        examples,
        lambda example, epoch: of_example(example),
        prompts_per_step=num_prompts,
        seed=seed,
        **options,
    )


def take(loader: PromptLoader, num_batches: int) -> list[list[str]]:
    batches = [[p.example.id for p in loader.next_batch()] for _ in range(num_batches)]
    loader.close()
    return batches


def expected_stream(seed: int = 5) -> list[str]:
    order: list[int] = []
    for epoch in range(4):
        order.extend(np.random.Generator(np.random.PCG64([seed, epoch])).permutation(10))
    return [f"clip-{index}" for index in order]


def test_batches_are_the_seeded_permutations_one_after_another() -> None:
    batches = take(make_loader(), 8)
    assert [len(batch) for batch in batches] == [4] * 8
    assert [id for batch in batches for id in batch] == expected_stream()[:32]
    assert sorted(expected_stream()[:10]) == sorted(example.id for example in EXAMPLES)


def test_another_seed_gives_another_order() -> None:
    assert take(make_loader(seed=6), 5) != take(make_loader(), 5)


@pytest.mark.parametrize("num_done", [0, 1, 2, 3, 5])
def test_a_resumed_stream_continues_exactly(num_done: int) -> None:
    loader = make_loader()
    for _ in range(num_done):
        loader.next_batch()
    state = json.loads(json.dumps(loader.state_dict()))
    rest = take(loader, 4)
    resumed = make_loader()
    resumed.next_batch()  # a batch that is under way must not leak into the resumed stream
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    assert take(resumed, 4) == rest


def test_the_saved_position_ignores_the_prefetched_batch() -> None:
    loader = make_loader()
    for _ in range(3):
        loader.next_batch()
    state = loader.state_dict()
    loader.close()
    assert (state["seed"], state["epoch"], state["position"]) == (5, 1, 2)


def test_the_next_batch_is_built_while_one_is_in_use() -> None:
    built = {example.id: Event() for example in EXAMPLES}

    def record(example: Example) -> Prompt:
        built[example.id].set()
        return build(example)

    loader = make_loader(build=record)
    loader.next_batch()
    assert all(built[id].wait(timeout=10) for id in expected_stream()[4:8])
    assert not any(built[id].is_set() for id in expected_stream()[8:10])
    loader.close()


def test_a_prompt_is_built_for_the_epoch_in_which_it_is_drawn() -> None:
    drawn: list[tuple[int, str]] = []

    def record(example: Example, epoch: int) -> Prompt:
        drawn.append((epoch, example.id))
        return build(example)

    loader = PromptLoader(EXAMPLES, record, prompts_per_step=4, seed=5, num_workers=1)
    for _ in range(4):
        loader.next_batch()
    loader.close()
    ids = expected_stream()
    assert drawn[:16] == [(n // 10, ids[n]) for n in range(16)]


def test_bad_clips_stop_the_run_by_default_and_name_the_example() -> None:
    loader = make_loader(build=build_but_not_3_and_7)
    with pytest.raises(AudioError, match=r"example 'clip-[37]': clip-[37]\.wav: is silent"):
        for _ in range(3):
            loader.next_batch()
    loader.close()


def test_skipped_clips_are_counted_and_replaced_by_the_next() -> None:
    loader = make_loader(build=build_but_not_3_and_7, bad_clips="skip")
    good = (id for id in expected_stream() if id not in ("clip-3", "clip-7"))
    assert take(loader, 4) == [list(islice(good, 4)) for _ in range(4)]
    assert loader.num_skipped == 4


def test_a_stream_with_skipped_clips_resumes_exactly() -> None:
    options = {"build": build_but_not_3_and_7, "bad_clips": "skip"}
    loader = make_loader(**options)
    for _ in range(3):
        loader.next_batch()
    state = loader.state_dict()
    resumed = make_loader(**options)
    resumed.load_state_dict(state)
    assert take(resumed, 3) == take(loader, 3)


def test_rows_that_are_left_out_move_no_other() -> None:
    out = {"clip-3", "clip-7"}
    loader = make_loader(left_out=out)
    stream = [id for id in expected_stream() if id not in out]
    assert take(loader, 7) == [stream[4 * n : 4 * n + 4] for n in range(7)]
    # The prefetched batch counts for nothing: of 28 draws the last epochs' two are among them.
    last = expected_stream().index(stream[27], 30)
    assert loader.num_skipped == sum(id in out for id in expected_stream()[:last])


@pytest.mark.parametrize("then", [set[str](), {"clip-1", "clip-3"}])
def test_a_run_goes_on_when_a_row_is_mended_or_left_out_later(then: set[str]) -> None:
    loader = make_loader(left_out={"clip-3"})
    taken = [prompt.example.id for _ in range(2) for prompt in loader.next_batch()]
    state = loader.state_dict()
    loader.close()
    resumed = make_loader(left_out=then)
    resumed.load_state_dict(state)
    rest = [id for id in expected_stream()[state["position"] :] if id not in then]
    assert take(resumed, 3) == [rest[4 * n : 4 * n + 4] for n in range(3)]
    assert taken == [id for id in expected_stream() if id != "clip-3"][:8]


def test_left_out_rows_do_not_fill_a_step() -> None:
    with pytest.raises(ValueError, match="has 3 rows and a step needs 4"):
        make_loader(left_out={f"clip-{n}" for n in range(7)})


def test_usable_prompts_leave_out_and_name(caplog: pytest.LogCaptureFixture) -> None:
    found = usable_prompts(EXAMPLES, build_but_not_3_and_7, "skip")
    kept = [f"clip-{n}" for n in range(10) if n not in (3, 7)]
    assert [prompt.example.id for prompt in found] == kept
    assert "left out example 'clip-3': clip-3.wav: is silent" in caplog.text
    with ThreadPoolExecutor(2) as pool:
        threaded = usable_in_threads(pool, EXAMPLES, build_but_not_3_and_7, "skip")
    assert [prompt.example.id for prompt in threaded] == kept
    with pytest.raises(AudioError, match=r"'clip-3': .* is silent\. .*data\.bad_clips=skip"):
        list(usable_prompts(EXAMPLES, build_but_not_3_and_7, "error"))


def test_a_corpus_of_bad_clips_ends_in_an_error() -> None:
    def refuse(example: Example) -> Prompt:
        raise AudioError(f"{example.audio}: is silent")

    loader = make_loader(build=refuse, bad_clips="skip")
    with pytest.raises(AudioError, match="is silent"):
        loader.next_batch()
    assert loader.num_skipped == 9
    loader.close()


def test_errors_that_are_no_clip_errors_are_not_skipped() -> None:
    def fail(example: Example) -> Prompt:
        raise ValueError("bug")

    loader = make_loader(build=fail, bad_clips="skip")
    with pytest.raises(ValueError, match="bug"):
        loader.next_batch()
    loader.close()


def test_a_batch_may_use_every_example_but_not_more() -> None:
    (batch,) = take(make_loader(num_prompts=10), 1)
    assert sorted(batch) == sorted(example.id for example in EXAMPLES)
    with pytest.raises(ValueError, match="has 10 rows and a step needs 11 prompts"):
        make_loader(num_prompts=11)


@pytest.mark.parametrize(
    "change", [{"label": "angry"}, {"audio": "other.wav"}, {"id": "other"}, None]
)
def test_a_position_in_other_examples_is_refused(change: dict[str, str] | None) -> None:
    saved = make_loader().state_dict()
    changed = list(reversed(EXAMPLES))
    if change is not None:
        changed = [make_example(0, **change), *EXAMPLES[1:]]
    with pytest.raises(CursorError, match="rows changed since the checkpoint"):
        make_loader(changed).load_state_dict(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 6}, "made with seed 6 and the run has 5"),
        ({"position": 11}, "impossible"),
        ({"epoch": -1}, "impossible"),
        ({"epoch": "1"}, "impossible"),
        ({"more": 1}, "has the keys"),
    ],
)
def test_a_position_that_cannot_be_is_refused(change: dict[str, object], message: str) -> None:
    loader = make_loader()
    with pytest.raises(CursorError, match=message):
        loader.load_state_dict(loader.state_dict() | change)


def test_the_digest_is_that_of_a_json_list_a_line() -> None:
    rows = [make_example(0), make_example(1, audio='a"b\\\u00fc.wav', label="\u4e2d\n")]
    lines = "".join(json.dumps([row.id, row.label, row.audio]) + "\n" for row in rows)
    assert manifest_digest(rows) == hashlib.sha256(lines.encode()).hexdigest()


def test_the_digest_of_rows_with_several_clips_holds_them_all() -> None:
    plain = manifest_digest([make_example(0)])
    rows = [
        make_example(0, before=("b.wav",)),
        make_example(0, after=("c.wav",)),
        make_example(0, turns=(Turn("user", "", "d.wav"),)),
    ]
    assert len({plain, *(manifest_digest([row]) for row in rows)}) == 4


def test_another_stream_is_another_order_and_the_first_is_the_one_of_before() -> None:
    assert take(make_loader(stream=0), 5) == take(make_loader(), 5)
    assert take(make_loader(stream=1), 5) != take(make_loader(), 5)


def test_a_batch_of_another_size_moves_on_by_as_many() -> None:
    loader = make_loader()
    sizes = [len(loader.next_batch(number)) for number in (1, 6, None)]
    assert sizes == [1, 6, 4] and loader.state_dict()["position"] == 1
    ids = [prompt.example.id for prompt in loader.next_batch(2)]
    loader.close()
    assert ids == expected_stream()[11:13]


def test_a_balanced_order_has_each_label_in_turn() -> None:
    labels = ["sad"] * 12 + ["angry"] * 3 + ["happy"] * 3
    order = balanced_order(labels, np.random.default_rng(1))
    turns = [{labels[row] for row in order[i : i + 3]} for i in range(0, 18, 3)]
    assert turns == [{"sad", "angry", "happy"}] * 6
    # 6 turns: rows of a rare label come twice, each once before any comes again.
    angry = [row for row in order if labels[row] == "angry"]
    assert sorted(angry[:3]) == sorted(angry[3:]) == [12, 13, 14]
    assert len({row for row in order if labels[row] == "sad"}) == 6
    assert (balanced_order(labels, np.random.default_rng(1)) == order).all()
    assert (balanced_order(labels, np.random.default_rng(2)) != order).any()


def test_balanced_batches_are_resumed_exactly() -> None:
    rows = [make_example(number) for number in range(10)]
    labels = ["sad"] * 7 + ["angry"] * 3
    rows = [structs.replace(row, label=label) for row, label in zip(rows, labels, strict=True)]
    loader = make_loader(rows, balance="label")
    for _ in range(2):
        batch = loader.next_batch()
        assert sorted(prompt.example.label for prompt in batch) == ["angry"] * 2 + ["sad"] * 2
    state, rest = loader.state_dict(), take(loader, 4)
    resumed = make_loader(rows, balance="label")
    resumed.load_state_dict(state)
    assert take(resumed, 4) == rest
