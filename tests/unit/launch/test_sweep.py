"""Sweep files: what they mean, what is refused, and the runs that follow from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from configs.load import ConfigError, dump_config, load_config
from configs.sweep import fill, load_sweep, override
from launch.preflight import ROOT
from launch.sweep import main
from launch.sweep_plan import PlannedRun, plan_runs, read_states, select_runs
from trainer.run_folder import lock_folder

TINY = ROOT / "configs" / "tiny.yaml"
SHIPPED = [
    path
    for path in sorted((ROOT / "configs" / "sweeps").glob("*.yaml"))
    if "\ntrials:\n" in path.read_text()
]
SWEEP = """\
name: small
output_dir: {folder}/runs
seeds: [0, 1]
baseline: plain
metrics: [{{key: test_after/accuracy}}]
prepare:
  - {{name: sft, command: sft, config: {configs}/tiny_sft.yaml}}
trials:
  - name: plain
    config: {configs}/tiny.yaml
    set: {{model.path: "{{sweep}}/prepare/sft/seed_{{seed}}/export"}}
  - name: untrained
    config: {configs}/tiny.yaml
    set: {{model.path: /nowhere}}
"""


def write_sweep(folder: Path, *changes: tuple[str, str]) -> Path:
    text = SWEEP.format(folder=folder, configs=ROOT / "configs")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "sweep.yaml"
    path.write_text(text)
    return path


def plan(path: Path) -> list[PlannedRun]:
    return plan_runs(load_sweep(path))


def leave_behind(run: PlannedRun, state: str, **values: Any) -> None:
    """Write what a run of the plan leaves behind after a step."""
    folder = run.folder
    folder.root.mkdir(parents=True)
    folder.config_path.write_text(dump_config(run.config))
    folder.write_status(state, 1, "", "")
    folder.metrics_path.write_text(json.dumps({"step": 1, **values}) + "\n")


def problems_of(*changes: tuple[str, str], folder: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        plan(write_sweep(folder, *changes))
    return str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        "constant",
        "rewards.judges.local:LocalJudge",
        "/data/with blank",
        "a: b",
        "true",
        "No",
        "null",
        "",
        "0.5",
        'it\'s "quoted" = # {x}, [y] \\ end',
        "Gefühl",
        ["a", "b: c", 1.5, True],
        {"model": "x", "deep": {"list": [1e-5, 2, "3"]}},
        2.5e-4,
        1e-05,
        -3,
        False,
    ],
    ids=repr,
)
def test_the_loader_reads_back_what_an_override_was_made_of(value: Any):
    read = load_config(TINY, [override("rewards.terms.0.options.thing", value)])
    found = read.rewards.terms[0].options["thing"]
    assert found == value
    assert type(found) is type(value)


def test_places_are_filled_at_any_depth_and_other_braces_stay():
    value = {"a": ["{sweep}/x", 3], "q": "one of {choices}", "s": "{seed}{seed}"}
    filled = fill(value, {"sweep": "runs/s", "seed": "7"})
    assert filled == {"a": ["runs/s/x", 3], "q": "one of {choices}", "s": "77"}


def test_every_trial_runs_with_every_seed_after_what_it_needs(tmp_path: Path):
    runs = plan(write_sweep(tmp_path))
    assert [run.title for run in runs] == [
        "prepare/sft/seed_0",
        "prepare/sft/seed_1",
        "plain/seed_0",
        "untrained/seed_0",
        "plain/seed_1",
        "untrained/seed_1",
    ]
    plain = runs[4]
    assert plain.needs == ("prepare/sft/seed_1",)
    assert runs[5].needs == ()
    assert plain.config.seed == 1
    assert plain.config.model.path == f"{tmp_path}/runs/small/prepare/sft/seed_1/export"
    assert Path(plain.config.output_dir) / plain.config.name == plain.folder.root
    assert plain.arguments[0] == "launch/rl.py"
    assert load_config(plain.arguments[2], plain.arguments[3:]) == plain.config


def test_seed_1_is_not_needed_by_what_names_seed_11(tmp_path: Path):
    runs = plan(write_sweep(tmp_path, ("[0, 1]", "[1, 11]")))
    assert {run.title: run.needs for run in runs}["plain/seed_11"] == ("prepare/sft/seed_11",)


def test_axes_make_a_trial_of_every_combination(tmp_path: Path):
    axes = "axes: {optim.lr: [1e-3, 1e-4], loss.kind: [policy]}\ntrials:"
    path = write_sweep(tmp_path, ("trials:", axes), ("baseline: plain", "baseline: ''"))
    trials = load_sweep(path).trials
    assert [trial.name for trial in trials] == [
        f"{name}-lr={rate}-kind=policy"
        for name in ("plain", "untrained")
        for rate in ("0.001", "0.0001")
    ]
    assert trials[1].label == "plain, lr 0.0001, kind policy"
    assert [run.config.optim.lr for run in plan(path)[2:6]] == [1e-3, 1e-4] * 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("seeds:", "sedes:"), "sedes: unknown key; the nearest is seeds"),
        (("  - name: plain", "  - nme: x\n    name: plain"), "trials.0.nme: unknown key; the near"),
        (
            ("baseline: plain", "baseline: plane"),
            "plane, which is no reported trial; the nearest is plain",
        ),
        (("name: untrained", "name: plain"), "trials: plain stands there 2 times"),
        (("name: untrained", "name: prepare"), "trials: prepare: allowed names"),
        (("/nowhere", "/x, seed: 3"), "untrained: set: seed is given by the sweep"),
        (("[0, 1]", "[0, 0]"), "seeds: found [0, 0]"),
        (("[0, 1]", "[]"), "seeds: found []"),
        (
            ("name: small", "name: small\nconcurrency: 0"),
            "concurrency: found 0; allowed is a",
        ),
        (("name: small", "name: small\nbackend: slurm"), "allowed is one of local, jobs"),
        (("/nowhere", "/x, optim.lrr: 3"), "untrained: command line: optim.lrr: unknown key; the"),
        (("command: sft", "command: rl"), "loss.kind is sft; command: rl needs policy"),
        (("[{key: test_after/accuracy}]", "[]"), "metrics: none are named"),
        (("trials:", "axes: {optim.lr: []}\ntrials:"), "axes: optim.lr has no values"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, change: tuple[str, str], said: str):
    assert said in problems_of(change, folder=tmp_path)


def test_all_problems_of_all_trials_are_listed_once(tmp_path: Path):
    two = (("/nowhere", "/x, optim.lrr: 3"), ("command: sft", "command: rl"))
    assert problems_of(*two, folder=tmp_path).startswith("sweep small: 2 configuration problem(s)")


def test_jobs_need_an_absolute_folder(tmp_path: Path):
    changes = (("name: small", "name: small\nbackend: jobs"), (f"{tmp_path}/runs", "runs"))
    assert "backend: jobs needs an absolute path" in problems_of(*changes, folder=tmp_path)


def test_local_runs_do_not_share_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    gpu = (f"{ROOT}/configs/tiny.yaml", f"{ROOT}/configs/omni_7b.yaml")
    two_at_a_time = ("name: small", "name: small\nconcurrency: 2")
    assert "the same GPUs" in problems_of(gpu, two_at_a_time, folder=tmp_path)
    assert plan(write_sweep(tmp_path, gpu))


def test_only_takes_what_a_trial_needs_along(tmp_path: Path):
    runs = plan(write_sweep(tmp_path))
    titles = [run.title for run in select_runs(runs, ["plain"])]
    assert titles == ["prepare/sft/seed_0", "prepare/sft/seed_1", "plain/seed_0", "plain/seed_1"]
    assert [run.title for run in select_runs(runs, ["untrained"])] == [
        "untrained/seed_0",
        "untrained/seed_1",
    ]
    with pytest.raises(ConfigError, match="--only plane: no such trial; the nearest is plain"):
        select_runs(runs, ["plane"])


@pytest.mark.slow
def test_states_follow_from_the_run_folders(tmp_path: Path):
    runs = plan(write_sweep(tmp_path))
    leave_behind(runs[0], "finished")
    leave_behind(runs[2], "running")
    leave_behind(runs[3], "failed")
    leave_behind(runs[5], "failed")
    runs[5].folder.metrics_path.unlink()
    assert list(read_states(runs).values()) == [
        "done",
        "new",
        "half-done",
        "half-done",
        "new",
        "new",
    ]


def test_a_done_run_with_another_configuration_is_not_reused(tmp_path: Path):
    leave_behind(plan(write_sweep(tmp_path))[3], "finished")
    runs = plan(write_sweep(tmp_path, ("/nowhere", "/elsewhere")))
    with pytest.raises(ConfigError, match=r"model\.path: /nowhere there, /elsewhere now"):
        read_states(runs)


def test_a_trial_from_a_cold_start_that_is_gone_is_not_reused(tmp_path: Path):
    runs = plan(write_sweep(tmp_path))
    leave_behind(runs[2], "finished")
    with pytest.raises(ConfigError, match="started from prepare/sft/seed_0, which has to be made"):
        read_states(runs)


def test_dry_run_prints_commands_and_touches_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = write_sweep(tmp_path)
    assert main(["--config", str(path), "--dry-run", "--only", "untrained"]) == 0
    printed = capsys.readouterr().out
    assert f"new       {tmp_path}/runs/small/untrained/seed_1" in printed
    assert f"python launch/rl.py --config {TINY} name=small/untrained/seed_1" in printed
    assert "2 runs: 0 done, 0 half-done, 2 new" in printed
    assert not (tmp_path / "runs").exists()


def test_a_mistake_ends_with_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = write_sweep(tmp_path, ("/nowhere", "/x, optim.lrr: 3"))
    assert main(["--config", str(path)]) == 2
    assert "the nearest is optim.lr" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_two_sweeps_do_not_share_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "runs" / "small"
    folder.mkdir(parents=True)
    lock_folder(folder)
    assert main(["--config", str(write_sweep(tmp_path))]) == 2
    assert "in use by process" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_sweeps_are_valid_and_say_what_they_are(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(ROOT)
    runs = plan(path)
    seeds = set(load_sweep(path).seeds)
    assert {run.seed for run in runs} == seeds and len(seeds) >= 3
    assert all(run.needs for run in runs if not run.row.startswith("prepare/"))
    header = path.read_text(encoding="utf-8").split("\nname:", 1)[0]
    for word in ("# Hardware:", "# Run time:", "# Result:", "# Measured:"):
        assert word in header
