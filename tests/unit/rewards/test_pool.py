"""The border to reward plug-ins, and the pool that runs them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import ray
import torch

from configs.schema import RewardTermConfig
from data.records import Move
from rewards.base import RewardError, Scores, load_reward, validate_scores
from rewards.format import FormatReward
from rewards.pool import RewardPool
from tests.unit.make_groups import make_group

pytestmark = pytest.mark.slow

TOYS = "tests.unit.toy_rewards"
PACKAGES = ("rewards", "tests")
GROUP = make_group(["a", "b"], id="clip-9")


# Loading.


def test_a_target_is_loaded_with_its_options():
    assert isinstance(load_reward("rewards.format:FormatReward", {}, PACKAGES), FormatReward)
    toy = load_reward(f"{TOYS}:Constant", {"value": 0.25}, PACKAGES)
    assert toy.score(make_group(["", ""])).values == (0.25, 0.25)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("os:system", "'os' is not in rewards.packages"),
        ("rewardsx:Evil", "'rewardsx' is not in rewards.packages"),
        ("rewards.format", "expected 'module:ClassName'"),
        ("rewards.format:", "expected 'module:ClassName'"),
        (":FormatReward", "expected 'module:ClassName'"),
        ("rewards..format:FormatReward", "expected 'module:ClassName'"),
        ("rewards.base:importlib.os", "expected 'module:ClassName'"),
        ("rewards.format:FormatRewards", "has no class FormatRewards"),
        ("rewards.base:importlib", "has no class importlib"),
        ("rewards.parse:parse_output", "has no class parse_output"),
        (f"{TOYS}:NOT_A_CLASS", "has no class NOT_A_CLASS"),
        (f"{TOYS}:NoScore", "score method"),
        ("rewards.formats:FormatReward", "cannot import it"),
    ],
)
def test_other_targets_are_refused_by_name(target: str, message: str):
    with pytest.raises(RewardError, match=message) as caught:
        load_reward(target, {}, PACKAGES)
    assert repr(target) in str(caught.value)


def test_the_allow_list_comes_before_the_import():
    with pytest.raises(RewardError, match=r"rewards\.packages \(empty\)"):
        load_reward("no_such_package_at_all:Reward", {}, ())


@pytest.mark.parametrize("target", ["rewards.format:FormatReward", f"{TOYS}:Constant"])
def test_an_unknown_option_is_refused_with_the_signature(target: str):
    with pytest.raises(RewardError, match=r"options \['worth'\] do not fit .*\(") as caught:
        load_reward(target, {"worth": 1}, PACKAGES)
    assert target in str(caught.value)


# Checking.


@pytest.mark.parametrize(
    "values",
    [
        (1.0, None),
        (True, None),
        (1, None),
        [np.float32(1.0), None],
        (np.bool_(True), None),
        (torch.tensor(1.0), None),
        (torch.tensor([1.0]), None),
    ],
)
def test_scores_become_plain_floats(values):
    plain = validate_scores("humor", GROUP, Scores(values))
    assert plain.values == (1.0, None)
    assert type(plain.values[0]) is float
    assert plain.details == ({}, {})


@pytest.mark.parametrize("values", [torch.tensor([0.5, 1.0]), np.array([0.5, 1.0])])
def test_a_whole_array_is_taken(values):
    assert validate_scores("humor", GROUP, Scores(values)).values == (0.5, 1.0)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (Scores((1.0,)), "1 values for 2 completions"),
        (Scores((1.0, 0.0, 1.0)), "3 values for 2 completions"),
        (Scores(()), "0 values"),
        (Scores(None), "values are None"),  # pyright: ignore[reportArgumentType]
        (Scores((1.0, float("nan"))), "value 1 is nan"),
        (Scores((float("inf"), 1.0)), "value 0 is inf"),
        (Scores((0.5, 1.0001)), "value 1 is 1.0001, outside"),
        (Scores((-0.1, 1.0)), "value 0 is -0.1, outside"),
        (Scores((4, 5)), "value 0 is 4, outside"),
        (Scores(("0.5", 1.0)), "value 0 is '0.5', expected a number"),  # pyright: ignore
        (Scores((torch.ones(2), 1.0)), "value 0 is tensor"),  # pyright: ignore
        (Scores((1.0, 1.0), ({},)), "1 details for 2 completions"),
        (Scores((1.0, 1.0), ({"x": np.float32(1)}, {})), "not JSON"),
        (Scores((1.0, 1.0), ({"x": float("nan")}, {})), "not JSON"),
        (Scores((1.0, 1.0), ("no", "dicts")), "not JSON"),  # pyright: ignore
        ((1.0, 1.0), "returned tuple"),
        (None, "returned NoneType"),
    ],
)
def test_what_is_no_score_is_refused_by_name(scores, message: str):
    with pytest.raises(RewardError, match=message) as caught:
        validate_scores("humor", GROUP, scores)
    assert "'humor'" in str(caught.value) and "'clip-9'" in str(caught.value)


# The pool, on a real Ray.


@pytest.fixture
def start(ray_cluster):
    """Return a function that starts a pool of terms, all closed at the end."""
    pools: list[RewardPool] = []

    def _start(*terms: RewardTermConfig) -> RewardPool:
        pools.append(RewardPool(terms, PACKAGES))
        pools[-1].ping()
        return pools[-1]

    yield _start
    for pool in pools:
        pool.close()


def toy(name: str, kind: str, workers: int = 1, timeout_s: float = 60.0, **options):
    return RewardTermConfig(
        name=name, target=f"{TOYS}:{kind}", workers=workers, timeout_s=timeout_s, options=options
    )


def test_terms_of_weight_zero_are_not_computed_and_not_scored(start):
    pool = start(toy("said", "Spoken"), toy("half", "Constant", value=0.5))
    groups = [make_group(["0.25", "none"], id="a"), make_group(["1", "0", "raise"], id="b")]
    ((group, terms),) = pool.score(groups[:1], {"said": 1.0, "half": 0.2})
    assert group is groups[0]
    assert terms.values == {"said": (0.25, None), "half": (0.5, 0.5)}
    assert terms.details == {"said": ({}, {}), "half": ({}, {})}
    ((_, terms),) = pool.score(groups[1:], {"said": 0.0, "half": 0.2})
    assert terms.values == {"said": (None,) * 3, "half": (0.5,) * 3}
    ((_, terms),) = pool.score(groups[1:], {"said": 0.0, "half": 0.0})
    assert terms.values == {"said": (None,) * 3, "half": (None,) * 3}
    assert list(pool.score([], {"said": 1.0, "half": 0.2})) == []


def test_of_a_moved_clip_only_terms_that_say_so_are_asked(start):
    pool = start(
        RewardTermConfig(name="format", target="rewards.format:FormatReward"),
        toy("half", "Constant", value=0.5),
    )
    plain = make_group(["a", "<think>b</think><answer>sad</answer>"])
    for direction, half in ((0, (0.5, 0.5)), (1, (None, None))):
        move = Move("pitch", direction, 4.0, clean=True)
        group = replace(plain, prompt=replace(plain.prompt, move=move))
        ((_, terms),) = pool.score([group], {"format": 0.3, "half": 1.0})
        assert terms.values == {"format": (0.0, 1.0), "half": half}
        assert [d.get("not_applicable", False) for d in terms.details["half"]] == [direction] * 2
    ((_, terms),) = pool.score([group], {"format": 0.0, "half": 1.0})
    assert terms.values == {"format": (None, None), "half": (None, None)}


def test_order_of_arrival_does_not_change_a_score(start):
    pool = start(toy("said", "Spoken", workers=2))
    groups = [make_group([f"{i / 16}", "none"], id=str(i)) for i in range(16)]
    for arrivals in (groups, groups[::-1]):
        scored = {g.prompt.example.id: t for g, t in pool.score(arrivals, {"said": 1.0})}
        assert {id: terms.values["said"] for id, terms in scored.items()} == {
            str(i): (i / 16, None) for i in range(16)
        }


def test_groups_are_scored_while_others_are_still_generated(start, tmp_path: Path):
    pool = start(toy("gated", "Gated", workers=2, folder=str(tmp_path)))

    def wait_for(name: str) -> None:
        until = time.monotonic() + 30
        while not (tmp_path / name).exists():
            assert time.monotonic() < until, name
            time.sleep(0.005)

    seen = []

    def arrivals() -> Iterator:
        yield make_group([""], id="slow")
        yield make_group([""], id="fast")
        # Both are at work before the third group exists, on a worker each.
        wait_for("slow.begun")
        wait_for("fast.begun")
        (tmp_path / "fast.go").touch()
        # The fast one comes out while groups still arrive and the slow one is under way.
        until = time.monotonic() + 30
        while "fast" not in seen:
            assert time.monotonic() < until, seen
            time.sleep(0.02)
            (tmp_path / "late.go").touch()
            yield make_group([""], id="late")
        (tmp_path / "slow.go").touch()

    for group, _ in pool.score(arrivals(), {"gated": 1.0}):
        seen.append(group.prompt.example.id)
    assert seen[0] == "fast" and "slow" in seen


def test_features_travel_only_to_terms_that_read_them(start):
    pool = start(toy("loud", "Loud"), toy("half", "Constant"))
    features = np.array([[0.0, 0.75, 0.5]], np.float32)
    for sent in (features, ray.put(features)):
        group = make_group([""], features=sent)
        ((same, terms),) = pool.score([group], {"loud": 1.0, "half": 1.0})
        assert terms.values == {"loud": (0.75,), "half": (0.5,)}
        assert terms.details["loud"] == ({"shape": [1, 3]},)
        assert same.prompt.features is sent


FAULTS = [
    ("Spoken", "raise", "KeyError.*no such prosody"),
    ("Spoken", "die", "its worker died"),
    ("Spoken", "hang", "no result within its timeout_s of 0.5 s"),
    ("Spoken", "1.5", "value 0 is 1.5, outside"),
    ("Spoken", "nan", "value 0 is nan, outside"),
    ("Short", "", "0 values for 1 completions"),
]


@pytest.mark.parametrize(("kind", "text", "message"), FAULTS)
def test_a_failing_plug_in_can_end_the_run_by_name(start, kind: str, text: str, message: str):
    # Short for the one that hangs alone: on a busy machine a worker takes its time to die.
    timeout_s = 0.5 if text == "hang" else 60.0
    pool = start(replace(toy("bad", kind, timeout_s=timeout_s), on_error="stop"))
    with pytest.raises(RewardError, match=message) as caught:
        list(pool.score([make_group([text], id="clip-7")], {"bad": 1.0}))
    for name in ("'bad'", f"{TOYS}:{kind}", "'clip-7'"):
        assert name in str(caught.value)


@pytest.mark.parametrize(("kind", "text", "message"), FAULTS)
def test_a_failing_plug_in_costs_its_group_one_term_and_nothing_else(
    start, caplog: pytest.LogCaptureFixture, kind: str, text: str, message: str
):
    timeout_s = 0.5 if text == "hang" else 60.0
    pool = start(toy("bad", kind, timeout_s=timeout_s), toy("half", "Constant"))
    groups = [
        make_group(["1"], id="before"),
        make_group([text], id="clip-7"),
        make_group(["1"], id="after"),
    ]
    begin = time.monotonic()
    found = {g.prompt.example.id: t for g, t in pool.score(groups, {"bad": 1.0, "half": 1.0})}
    assert time.monotonic() - begin < 20
    assert found.keys() == {"before", "clip-7", "after"}
    assert all(terms.values["half"] == (0.5,) for terms in found.values())
    assert found["clip-7"].values["bad"] == (None,)
    assert re.search(message, found["clip-7"].details["bad"][0]["missing"])
    if kind == "Spoken":  # the other one fails at everything
        assert found["before"].values["bad"] == found["after"].values["bad"] == (1.0,)
    (warning,) = {record.getMessage() for record in caplog.records}
    for name in ("'bad'", f"{TOYS}:{kind}", message.split(".*")[0]):
        assert name in warning


def test_a_plug_in_that_always_kills_its_worker_ends_the_run(start):
    pool = start(toy("bad", "Spoken"))
    with pytest.raises(RewardError, match=r"'bad'.*replaced 6 times"):
        list(pool.score([make_group(["die"], id=str(i)) for i in range(9)], {"bad": 1.0}))


def test_groups_in_the_queue_of_a_dead_worker_are_scored_by_its_successor(start):
    pool = start(toy("bad", "Spoken"))
    texts = ["1", "die", "0.25", "0.5", "0.75"]
    groups = [make_group([text], id=str(i)) for i, text in enumerate(texts)]
    found = {g.prompt.example.id: t.values["bad"][0] for g, t in pool.score(groups, {"bad": 1.0})}
    assert found == {"0": 1.0, "1": None, "2": 0.25, "3": 0.5, "4": 0.75}


def test_a_group_beside_one_that_kills_its_worker_is_not_blamed_for_it(start):
    # Two deaths in its company, as of a worker that takes a finished result along.
    pool = start(replace(toy("bad", "Spoken"), concurrency=2))
    groups = [make_group([text], id=text) for text in ("wait", "die", "0.25", "0.5")]
    found = {g.prompt.example.id: t.values["bad"][0] for g, t in pool.score(groups, {"bad": 1.0})}
    assert found == {"wait": 1.0, "die": None, "0.25": 0.25, "0.5": 0.5}


def test_an_answer_in_between_forgives_the_workers_that_were_replaced(start):
    pool = start(toy("bad", "Spoken"))
    for i in range(4):  # two workers each, more than six together
        groups = [make_group(["die"], id=f"die {i}"), make_group(["1"], id="fine")]
        found = {g.prompt.example.id: t.values["bad"] for g, t in pool.score(groups, {"bad": 1.0})}
        assert found == {f"die {i}": (None,), "fine": (1.0,)}


def test_one_worker_scores_several_groups_at_a_time(start, tmp_path: Path):
    term = replace(toy("gated", "Gated", folder=str(tmp_path)), concurrency=3)
    pool = start(term)

    def arrivals() -> Iterator:
        for name in "abc":
            yield make_group([""], id=name)
        until = time.monotonic() + 30
        while not all((tmp_path / f"{name}.begun").exists() for name in "abc"):
            assert time.monotonic() < until  # with one thread, only the first would begin
            time.sleep(0.005)
        for name in "cba":
            (tmp_path / f"{name}.go").touch()

    assert len(list(pool.score(arrivals(), {"gated": 1.0}))) == 3


def test_a_shadow_term_is_computed_at_weight_zero(start):
    pool = start(replace(toy("shadow", "Constant"), shadow=True), toy("off", "Constant"))
    ((_, terms),) = pool.score([make_group(["", ""])], {"shadow": 0.0, "off": 0.0})
    assert terms.values == {"shadow": (0.5, 0.5), "off": (None, None)}


def test_a_queue_is_no_timeout(start):
    pool = start(toy("slow", "Constant", timeout_s=1.0, pause_s=0.25))
    groups = [make_group([""], id=str(i)) for i in range(6)]
    assert len(list(pool.score(groups, {"slow": 1.0}))) == 6


def test_a_failing_constructor_is_named(ray_cluster):
    pool = RewardPool([toy("bad", "Broken")], PACKAGES)
    with pytest.raises(RewardError, match=r"'bad'.*Broken.*constructor.*OSError: judge.bin"):
        pool.ping()
    pool.close()


def test_a_bad_target_is_refused_before_any_worker_starts():
    term = RewardTermConfig(name="bad", target="os:system")
    with pytest.raises(RewardError, match=r"rewards\.packages"):
        RewardPool([term], PACKAGES)
