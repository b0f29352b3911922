"""Rewards, judges and their servers that fail, each in its own way, and come back."""

from __future__ import annotations

import itertools
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray

from configs.schema import RewardTermConfig
from data.records import RewardTerms
from rewards.base import RewardError, reward_class
from rewards.foreign import MAX_MESSAGE_CHARS
from rewards.pool import RewardPool
from tests.faults.foreign_rewards import RAISERS
from tests.judge_server import always, running
from tests.unit.make_groups import make_group

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("local_ray"),
]

HERE = "tests.faults.foreign_rewards"
PACKAGES = ("rewards", "tests")

TEXTS = {
    "http 429": r"HTTPStatusError: Client error '429 Too Many Requests'",
    "two arguments": r"TwoArgumentsError: 7: cannot be built again",
    "locked": r"LockedError: holds a lock",
    "local class": r"InnerError: of a class that is local",
    "mute": r"MuteError: \(its message cannot be read\)",
    "gigantic": r"RuntimeError: (much ?)+",
    "many lines": r"RuntimeError: first second \[31m third",
    "exit": r"SystemExit: leaves",
    "interrupt": r"KeyboardInterrupt: stops",
    "no exception": r"OddExit: of no known kind",
    "generator exit": r"GeneratorExit: closes",
    "group": r"BaseExceptionGroup: both \(2 sub-exceptions\)",
    "memory": r"MemoryError",
    "recursion": r"RecursionError: too deep",
}
"""What is raised -> what is said of it."""


def term(kind: str, name: str = "bad", **settings: Any) -> RewardTermConfig:
    return RewardTermConfig(name=name, target=f"{HERE}:{kind}", **settings)


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def pool_of() -> Iterator[Any]:
    pools: list[RewardPool] = []

    def start(*terms: RewardTermConfig) -> RewardPool:
        pools.append(RewardPool(terms, PACKAGES))
        return pools[-1]

    yield start
    for pool in pools:
        pool.close()


def scores(pool: RewardPool, *texts: str) -> dict[str, RewardTerms]:
    """Score a group of one completion per text with the one term of a pool."""
    groups = [make_group([text], id=f"{i} {text}") for i, text in enumerate(texts)]
    found = pool.score(groups, {"bad": 1.0})
    by_id = {group.prompt.example.id: terms for group, terms in found}
    return {text: by_id[f"{i} {text}"] for i, text in enumerate(texts)}


def outcome(terms: RewardTerms) -> float | str | None:
    """Return the score of a group of one completion, or why it has none."""
    (value,), (details,) = terms.values["bad"], terms.details["bad"]
    return details.get("missing") if value is None else value


def thinking(text: str) -> str:
    return f"<think>{text}</think><answer>sad</answer>"


@pytest.mark.fault(
    "a reward raises something that is no usual exception",
    happens="its group is left unscored by this term, with the exception's text in the samples",
    lost="one term of one group",
)
def test_whatever_a_reward_raises_costs_its_group_one_term(pool_of, caplog):
    pool = pool_of(term("Raising", concurrency=2))
    found = scores(pool, "before", *RAISERS, "after")
    assert outcome(found["before"]) == outcome(found["after"]) == 1.0
    assert TEXTS.keys() == RAISERS.keys()
    for what, text in TEXTS.items():
        reason = outcome(found[what])
        assert isinstance(reason, str), what
        assert re.match(text, reason), reason
        assert re.search(r" \(\w+\.py:\d+\)$", reason), reason  # where it was raised
        assert len(reason) <= MAX_MESSAGE_CHARS + 100 and reason.isprintable()
    # Nothing of it has killed a worker.
    assert not any("worker died" in record.getMessage() for record in caplog.records)


@pytest.mark.fault(
    "a reward with on_error: stop raises what cannot be unpickled",
    happens="the run ends with one line that names the term, the clip and the exception",
    lost="the step",
)
@pytest.mark.parametrize("what", ["http 429", "local class", "exit"])
def test_whatever_a_reward_raises_ends_the_run_if_it_is_to(pool_of, what: str):
    pool = pool_of(term("Raising", on_error="stop"))
    with pytest.raises(RewardError, match=rf"'bad'.*'0 {what}': {TEXTS[what]}"):
        scores(pool, what)


@pytest.mark.fault(
    "a judge raises what cannot be unpickled",
    happens="its group is left unscored by the reasoning term, with the exception's text",
    lost="one term of one group",
)
def test_whatever_a_judge_raises_costs_its_group_one_term(pool_of):
    judge = replace(
        term("none", judged=True, options={"judge": f"{HERE}:RaisingJudge"}),
        target="rewards.reasoning:ReasoningReward",
    )
    judge.options["context"] = {"packages": ["tests"]}
    found = scores(pool_of(judge), *map(thinking, ["calm", *RAISERS]))
    assert outcome(found[thinking("calm")]) == pytest.approx(0.8)
    for what, text in TEXTS.items():
        reason = outcome(found[thinking(what)])
        assert isinstance(reason, str) and re.match(text, reason), reason


@pytest.mark.fault(
    "the engine of a local judge stops",
    happens="the judge is started again in a new worker, and its groups are scored there",
    lost="the reasoning term of a group over which it stops twice",
)
def test_a_judge_that_broke_down_is_started_again(pool_of):
    judge = replace(
        term("none", judged=True, options={"judge": f"{HERE}:BreakingJudge"}),
        target="rewards.reasoning:ReasoningReward",
    )
    judge.options["context"] = {"packages": ["tests"]}
    pool = pool_of(judge)
    found = scores(pool, *map(thinking, ["calm", "break", "low", "high"]))
    for word in ("calm", "low", "high"):
        assert outcome(found[thinking(word)]) == pytest.approx(0.8)
    reason = outcome(found[thinking("break")])
    assert isinstance(reason, str)
    assert "judge BreakingJudge has broken down: engine stopped" in reason


@pytest.mark.fault(
    "a reward's constructor raises what cannot be unpickled",
    happens="the run does not start; one line names the term and the exception",
    lost="nothing",
)
@pytest.mark.parametrize("what", ["http 429", "local class", "locked", "mute", "no exception"])
def test_whatever_a_constructor_raises_is_said_at_the_start(pool_of, what: str):
    pool = pool_of(term("RaisingConstructor", options={"what": what}))
    with pytest.raises(RewardError, match=rf"'bad'.*in its constructor: {TEXTS[what]}"):
        pool.ping()


@pytest.mark.fault(
    "the constructor of a replaced worker raises",
    happens="groups are left unscored with its text; it is built again at the next step",
    lost="one term of the step's later groups",
)
def test_a_constructor_that_fails_later_is_tried_again_at_the_next_step(pool_of, tmp_path: Path):
    broken = tmp_path / "broken"
    options = {"what": "http 429", "when": str(broken)}
    pool = pool_of(term("RaisingConstructor", options=options))
    assert outcome(scores(pool, "a")["a"]) == 1.0
    broken.touch()
    found = scores(pool, "die", "b")
    reasons = {text: outcome(terms) for text, terms in found.items()}
    for reason in reasons.values():
        assert isinstance(reason, str) and "in its constructor: HTTPStatusError" in reason
    assert outcome(scores(pool, "c")["c"]) == reasons["b"]
    broken.unlink()
    assert outcome(scores(pool, "d")["d"]) == 1.0


@pytest.mark.fault(
    "a constructor fails at every step",
    happens="after six attempts in a row the run ends with its text",
    lost="the step",
)
def test_a_constructor_that_never_works_again_ends_the_run(pool_of, tmp_path: Path):
    broken = tmp_path / "broken"
    pool = pool_of(term("RaisingConstructor", options={"what": "exit", "when": str(broken)}))
    pool.ping()
    broken.touch()
    with pytest.raises(RewardError, match=r"replaced 6 times in a row.*SystemExit: leaves"):
        for _ in range(8):
            scores(pool, "die")


@pytest.mark.fault(
    "a reward returns details of a class that cannot leave its process",
    happens="they arrive as the plain JSON that they are",
    lost="nothing",
)
def test_details_arrive_as_plain_json(pool_of):
    terms = scores(pool_of(term("OddDetails")), "a")["a"]
    assert outcome(terms) == 1.0
    (details,) = terms.details["bad"]
    assert details == {"word": "said"} and type(details["word"]) is str


IMPORTS = {
    "raises": ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
    "exits": ("import sys; sys.exit('no licence')", "SystemExit: no licence"),
    "is no Python": ("def (", "SyntaxError: invalid syntax"),
    "misses a module": ("import no_such_module", "ModuleNotFoundError: No module named"),
}


@pytest.mark.fault(
    "a plug-in's module cannot be imported, for whatever reason",
    happens="refused before anything starts, with the target and the exception's text",
    lost="nothing",
)
@pytest.mark.parametrize("how", IMPORTS)
def test_a_module_that_cannot_be_imported_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
):
    source, text = IMPORTS[how]
    package = "plug_in_that_" + how.replace(" ", "_")
    (tmp_path / f"{package}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RewardError, match=rf"'{package}:Reward': cannot import it: {text}"):
        reward_class(f"{package}:Reward", [package])


def http_judge(url: str, **options: Any) -> RewardTermConfig:
    """Return a reasoning term whose judge is behind a server."""
    settings = {
        "url": url,
        "model": "judge",
        "max_attempts": 1,
        "timeout_s": 10.0,
        "max_concurrent_calls": 1,
        "breaker_failures": 2,
        "breaker_cooldown_s": 0.3,
        "cache_size": 0,
        **options,
    }
    return RewardTermConfig(
        name="bad",
        target="rewards.reasoning:ReasoningReward",
        judged=True,
        options={"judge": "rewards.judges.http:HttpJudge", "judge_options": settings},
    )


def wait_until_scored(pool: RewardPool, text: str) -> int:
    """Score step after step until there is a score; return the number of steps."""
    until = time.monotonic() + 60
    for step in itertools.count(1):
        if isinstance(outcome(scores(pool, text)[text]), float):
            return step
        assert time.monotonic() < until, "the judge never came back"
        time.sleep(0.1)
    raise AssertionError


@pytest.mark.fault(
    "the judge's server answers with errors for a while",
    happens="its scores are missing; after the cooldown one call probes it, and scoring goes on",
    lost="the reasoning term of the groups in between",
)
def test_a_judge_server_that_heals_is_used_again(pool_of):
    healed = threading.Event()
    text = thinking("calm")
    with running(lambda number, body: "ok 4" if healed.is_set() else "503") as server:
        pool = pool_of(http_judge(server.url))
        reasons = [outcome(scores(pool, text)[text]) for _ in range(4)]
        assert reasons == ["http 503"] * 2 + ["breaker open"] * 2
        asked = len(server.bodies)
        assert asked == 2  # it was left alone
        healed.set()
        wait_until_scored(pool, text)
        assert len(server.bodies) == asked + 1  # one probe, and it is in use
        assert outcome(scores(pool, text)[text]) == pytest.approx(0.8)


@pytest.mark.fault(
    "the judge's server is gone and comes back at the same address",
    happens="its scores are missing while it is gone; then scoring goes on without a restart",
    lost="the reasoning term of the groups in between",
)
def test_a_judge_server_that_was_gone_is_used_again(pool_of):
    text = thinking("calm")
    gone = threading.Event()
    with running(lambda number, body: "drop" if gone.is_set() else "ok 4") as server:
        port, url = server.server_address[1], server.url
        pool = pool_of(http_judge(url))
        assert outcome(scores(pool, text)[text]) == pytest.approx(0.8)
        gone.set()  # what is connected is dropped, and from then on nothing listens
        assert outcome(scores(pool, text)[text]) == "connection"
    reasons = [outcome(scores(pool, text)[text]) for _ in range(2)]
    assert reasons == ["connection", "breaker open"]
    with running(always("ok 5"), port):
        wait_until_scored(pool, text)
        assert outcome(scores(pool, text)[text]) == 1.0


@pytest.mark.fault(
    "a judge's worker is killed between two steps",
    happens="it is replaced when the next group is sent to it, and the group is scored",
    lost="nothing",
)
def test_a_judges_worker_that_was_killed_is_replaced(pool_of):
    text = thinking("calm")
    with running(always("ok 4")) as server:
        pool = pool_of(http_judge(server.url))
        assert outcome(scores(pool, text)[text]) == pytest.approx(0.8)
        worker = pool._workers["bad"][0].actor
        pid = ray.get(worker.__ray_call__.remote(lambda self: os.getpid()))
        os.kill(pid, signal.SIGKILL)
        assert outcome(scores(pool, text)[text]) == pytest.approx(0.8)
        successor = pool._workers["bad"][0].actor
        assert ray.get(successor.__ray_call__.remote(lambda self: os.getpid())) != pid
