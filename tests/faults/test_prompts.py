"""Prompts that no engine can sample, and engines that only seem to show one, with light actors."""

from __future__ import annotations

import pytest

from rollout.engine import RolloutError
from rollout.supervision import EngineLostError
from tests.faults.engine_runs import NAMES, MakeRun, tokens_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.usefixtures("cluster")]


@pytest.mark.parametrize("num_engines", [1, 2])
@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(
            bad,
            id=bad,
            marks=pytest.mark.fault(
                f"a prompt {what}",
                happens="tried once more alone, then left out of the step, named and counted",
                lost="that prompt in that step",
            ),
        )
        for bad, what in (
            ("refused", "that an engine refuses"),
            ("raises", "that makes any engine raise"),
            ("kills", "that kills any engine"),
        )
    ],
)
def test_data_fault(
    make_run: MakeRun, caplog: pytest.LogCaptureFixture, bad: str, num_engines: int
) -> None:
    # Only what kills is charged to the engines: nobody can tell it from a machine that fails.
    run = make_run(num_engines, max_restarts=3 if bad == "kills" else 0)
    expected = run.expected()
    names = (*NAMES[:3], bad, *NAMES[3:])
    assert tokens_of(run.generate(names)) == expected
    assert run.pool.metrics()["rollout/left_out_prompts"] == 1
    assert f"left out of this step: example '{bad}': " in caplog.text
    assert tokens_of(run.generate()) == expected


@pytest.mark.fault(
    "an engine raises whatever it samples",
    happens="its prompts go through elsewhere, so it is replaced and charged to the engines",
    lost="nothing",
)
def test_broken_engine_is_not_the_prompts_fault(make_run: MakeRun) -> None:
    run = make_run(2, max_restarts=1)
    expected = run.expected()
    run.file("raise", f"{run.pids()[1]}")
    assert tokens_of(run.generate()) == expected
    assert run.pool.metrics() == {"perf/engine_restarts": 1, "rollout/left_out_prompts": 0}
    run.file("raise", f"{run.pids()[0]}")
    with pytest.raises(EngineLostError, match="engine 0: RuntimeError: an illegal memory access"):
        list(run.generate())


@pytest.mark.fault(
    "many prompts in a row cannot be sampled",
    happens="the run ends with exit 4 and names the last ones",
    lost="steps since the last checkpoint",
)
def test_many_data_faults_in_a_row(make_run: MakeRun) -> None:
    run = make_run(1)
    with pytest.raises(RolloutError, match=r"8 prompts in a row .*example 'refused-7'[^;]*$"):
        list(run.generate([f"refused-{number}" for number in range(9)]))


@pytest.mark.fault(
    "no prompt of a step can be sampled",
    happens="the run ends with exit 4 and names them",
    lost="steps since the last checkpoint",
)
def test_no_prompt_can_be_sampled(make_run: MakeRun) -> None:
    run = make_run(1)
    with pytest.raises(RolloutError, match=r"no prompt could be sampled: example 'refused': Val"):
        list(run.generate(["refused"]))
