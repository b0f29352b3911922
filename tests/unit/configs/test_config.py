"""The configuration: loading, messages, rules, and the pages that are written from the schema."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from configs.annotate_schema import AnnotateConfig
from configs.load import (
    ABSENT,
    ConfigError,
    config_differences,
    dump_config,
    load_config,
    load_sections,
)
from configs.reference import DOCS, PAGES, reference_text
from configs.schema import RewardTermConfig, RunConfig
from configs.section import keys_below

ROOT = Path(__file__).resolve().parents[3]
TINY = ROOT / "configs" / "tiny.yaml"
SHIPPED = sorted((ROOT / "configs").glob("*.yaml"))


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def problems_of(path: Path, *overrides: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    return caught.value.problems


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_files_load_and_say_what_they_are(path: Path) -> None:
    assert isinstance(load_config(path), RunConfig)
    header = path.read_text(encoding="utf-8").split("\nname:", 1)[0]
    for word in ("# Hardware:", "# Run time:", "# Result:", "# Measured:"):
        assert word in header


def test_the_data_file_loads_and_says_what_it_is() -> None:
    path = ROOT / "configs" / "data" / "demo.yaml"
    config = load_sections(path, AnnotateConfig, ["tasks.num_rows=7", "tasks.shares={asr: 2.5}"])
    assert (config.tasks.num_rows, config.tasks.shares["asr"]) == (7, 2.5)
    assert config.splits.allow == ["transcript"]
    header = path.read_text(encoding="utf-8").split("\nmanifest:", 1)[0]
    for word in ("# Hardware:", "# Run time:", "# Result:", "# Measured:"):
        assert word in header
    said = r"tasks\.num_row: unknown key; the nearest is tasks\.num_rows"
    with pytest.raises(ConfigError, match=said):
        load_sections("", AnnotateConfig, ["tasks.num_row=7"])


def test_the_four_files_are_shipped() -> None:
    names = {path.name for path in SHIPPED}
    assert {"tiny.yaml", "tiny_sft.yaml", "omni_3b.yaml", "omni_7b.yaml"} <= names


def test_precedence_command_line_file_defaults_schema(tmp_path: Path) -> None:
    write(tmp_path / "base.yaml", "optim: {lr: 3e-4, warmup_steps: 5}\nseed: 7\n")
    (tmp_path / "sub").mkdir()
    child = write(tmp_path / "sub" / "run.yaml", "defaults: ../base.yaml\noptim:\n  lr: 2e-4\n")
    config = load_config(child, ["seed=8", "seed=9"])
    assert config.optim.lr == 2e-4
    assert config.optim.warmup_steps == 5
    assert config.optim.beta2 == 0.95
    assert config.seed == 9
    assert load_config(child, ["optim.lr=1e-5"]).optim.lr == 1e-5


def test_defaults_of_defaults(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", "seed: 1\nname: a\ntrain: {num_steps: 11}\n")
    write(tmp_path / "b.yaml", "defaults: a.yaml\nseed: 2\nname: b\n")
    config = load_config(write(tmp_path / "c.yaml", "defaults: b.yaml\nseed: 3\n"))
    assert (config.seed, config.name, config.train.num_steps) == (3, "b", 11)


def test_defaults_in_a_circle_and_of_wrong_type(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", "defaults: b.yaml\n")
    (problem,) = problems_of(write(tmp_path / "b.yaml", "defaults: a.yaml\n"))
    assert "b.yaml: defaults: the files name each other in a circle" in problem
    (problem,) = problems_of(write(tmp_path / "c.yaml", "defaults: [a.yaml]\n"))
    assert "one file name" in problem


def test_lists_are_replaced_and_mappings_merged(tmp_path: Path) -> None:
    base = "rewards:\n  aliases: {glad: happy}\n  terms:\n    - {name: a, target: 'rewards.x:A'}\n"
    write(tmp_path / "base.yaml", base + "model: {freeze: [audio_tower, visual]}\n")
    child = (
        "defaults: base.yaml\n"
        "model: {freeze: [lm_head]}\n"
        "rewards:\n"
        "  outcome: b\n"
        "  aliases: {upset: sad}\n"
        "  terms:\n"
        "    - {name: b, target: 'rewards.x:B', weight: 2, options: {scale: 1e-3}}\n"
        "    - {name: c, target: 'rewards.x:C'}\n"
    )
    config = load_config(write(tmp_path / "run.yaml", child), ["rewards.terms.1.options.deep.k=5"])
    assert config.model.freeze == ["lm_head"]
    assert config.rewards.aliases == {"glad": "happy", "upset": "sad"}
    assert config.rewards.terms == [
        RewardTermConfig("b", "rewards.x:B", 2.0, options={"scale": 1e-3}),
        RewardTermConfig("c", "rewards.x:C", options={"deep": {"k": 5}}),
    ]


def test_override_of_one_reward_term_keeps_the_others() -> None:
    config = load_config(TINY, ["rewards.terms.0.weight=0.5", "rewards.aliases.disgust=fear"])
    assert [(term.name, term.weight) for term in config.rewards.terms] == [
        ("format", 0.5),
        ("accuracy", 1.0),
        ("reasoning", 0.5),
    ]
    assert config.rewards.aliases == {"disgust": "fear"}
    (problem,) = problems_of(TINY, "rewards.terms.4.weight=1")
    assert "rewards.terms has no entry 4" in problem


def test_the_next_entry_of_a_list_is_added() -> None:
    short = "{name: short, target: 'rewards.format:FormatReward', weight: 0.1}"
    config = load_config(TINY, [f"rewards.terms.3={short}", "rewards.terms.3.weight=0.2"])
    last = [(term.name, term.weight) for term in config.rewards.terms[2:]]
    assert last == [("reasoning", 0.5), ("short", 0.2)]
    assert problems_of(TINY, "rewards.terms.3.weight=1") == (
        "rewards.terms.3.name: is empty; a new entry (the first is 0) needs name and target",
        "rewards.terms.3.target: found ''; allowed is module:Class",
    )


@pytest.mark.parametrize(
    ("typo", "nearest"),
    [
        ("rollout.temperatures", "rollout.temperature"),
        ("lr", "optim.lr"),
        ("train.lr", "optim.lr"),
        ("rollout.groupsize", "rollout.group_size"),
        ("rewards.terms.1.weights", "rewards.terms.1.weight"),
        ("optim.betas", "optim.beta1"),
        ("loss.kl", "loss.kl_coef"),
    ],
)
def test_typo_names_the_nearest_key(typo: str, nearest: str) -> None:
    (problem,) = problems_of(TINY, f"{typo}=1")
    assert problem == f"command line: {typo}: unknown key; the nearest is {nearest}"


def test_typo_in_a_file_names_the_file(tmp_path: Path) -> None:
    base = write(tmp_path / "base.yaml", "sync: {transports: host}\n")
    text = "defaults: base.yaml\nrewards:\n  terms:\n    - {name: a, targets: 'rewards.x:A'}\n"
    second, first = problems_of(write(tmp_path / "run.yaml", text))
    assert (
        first
        == f"{tmp_path / 'run.yaml'}: rewards.terms.0.targets: unknown key; the nearest is "
        + ("rewards.terms.0.target")
    )
    assert second == f"{base}: sync.transports: unknown key; the nearest is sync.transport"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.lr=0", "optim.lr: found 0; allowed is a number, > 0"),
        ("optim.lr=.nan", "optim.lr: found nan; allowed is a finite number"),
        ("optim.lr=.inf", "optim.lr: found inf; allowed is a finite number"),
        ("optim.lr=fast", "optim.lr: found 'fast'; allowed is a number, > 0"),
        ("train.num_steps=2.5", "train.num_steps: found 2.5; allowed is a whole number"),
        ("train.num_steps=true", "train.num_steps: found True; allowed is a whole number"),
        (
            "rollout.max_engine_restarts=-1",
            "rollout.max_engine_restarts: found -1; allowed is a whole number, >= 0",
        ),
        (
            "rollout.progress_timeout_s=0",
            "rollout.progress_timeout_s: found 0; allowed is a number, > 0",
        ),
        ("train.max_restarts=-1", "train.max_restarts: found -1; allowed is a whole number, >= 0"),
        ("rollout.group_size=1", "rollout.group_size: found 1; allowed is a whole number, >= 2"),
        (
            "learner.zero_stage=4",
            "learner.zero_stage: found 4; allowed is a whole number, >= 1, <= 3",
        ),
        ("optim.beta2=1", "optim.beta2: found 1; allowed is a number, >= 0, < 1"),
        ("train.num_steps=2.0", "train.num_steps: found 2.0; allowed is a whole number"),
        ("optim.lr=true", "optim.lr: found True; allowed is a number"),
        ("device=gpu", "device: found 'gpu'; allowed is one of cpu, cuda"),
        ("eval.mode=reasond", "eval.mode: found 'reasond'; did you mean reasoned? allowed is one"),
        ("eval.controls=[silense]", "eval.controls: found ['silense']; did you mean silence?"),
        ("log.report='yes'", "log.report: found 'yes'; allowed is true or false"),
        ("log.report=2", "log.report: found 2; allowed is true or false"),
        ("log.trackers=[wandbb]", "log.trackers: found ['wandbb']; did you mean wandb?"),
        ("name=", "name: found nothing (write '' for an empty text); allowed is a text"),
        ("model.freeze=visual", "model.freeze: found 'visual'; allowed is a list of texts"),
        ("data.choices=[yes, no]", "data.choices: found [True, False]; allowed is a list of texts"),
        (
            "rewards.terms.0.weight=-1",
            "rewards.terms.0.weight: found -1; allowed is a number, >= 0",
        ),
        ("rewards.terms={}", "rewards.terms: found {}; allowed is a list of sections"),
        ("rewards.terms.0.options=3", "rewards.terms.0.options: found 3; allowed is a mapping"),
        ("rewards.terms=[3]", "rewards.terms.0: found 3; a section with keys name, target"),
        ("model=big", "model: found 'big'; a section with keys path, dtype"),
        ("nonsense", "found 'nonsense'; write dotted.key=value"),
        ("model.freeze=[a", "model.freeze: '[a' is not a YAML value"),
    ],
)
def test_wrong_values_say_what_is_allowed(override: str, message: str) -> None:
    (problem,) = problems_of(TINY, override)
    assert problem.startswith(f"command line: {message}")


def test_everything_wrong_is_listed_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "run.yaml", "seed: -1\nlearner: {ranks: 2}\nloss: {kind: dpo}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path, ["optim.lr=-1", "optim.beta1=x"])
    message = str(caught.value)
    assert len(caught.value.problems) == 5
    assert message.startswith(f"{path}: 5 configuration problem(s):\n")
    for found in ("seed", "learner.ranks", "loss.kind", "optim.lr", "optim.beta1"):
        assert f"{found}: " in message


def test_each_file_answers_for_what_it_says(tmp_path: Path) -> None:
    base = write(tmp_path / "base.yaml", "seed: x\noptim: {lr: 0, lrs: 1}\ndevice: cpu\n")
    run = write(tmp_path / "run.yaml", "defaults: base.yaml\noptim: {lr: 1e-4, lrs: 2}\n")
    assert problems_of(run, "seed=3") == (
        f"{base}: seed: found 'x'; allowed is a whole number, >= 0",
        f"{base}: optim.lr: found 0; allowed is a number, > 0",
        f"{base}: optim.lrs: unknown key; the nearest is optim.lr",
        f"{run}: optim.lrs: unknown key; the nearest is optim.lr",
    )


def test_a_number_and_its_text_are_the_same() -> None:
    config = load_config(TINY, ["optim.lr='1e-4'", "name=7", "model.freeze=[1.5]"])
    assert (config.optim.lr, config.name, config.model.freeze) == (1e-4, "7", ["1.5"])


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    missing = tmp_path / "missing.yaml"
    assert f"{missing}: cannot be read" in problems_of(missing)[0]
    (tmp_path / "missing_2.yaml").write_text("")
    assert f"; did you mean {tmp_path / 'missing_2.yaml'}?" in problems_of(missing)[0]
    assert "not valid YAML" in problems_of(write(tmp_path / "a.yaml", "seed: [1\n"))[0]
    assert "duplicate key seed" in problems_of(write(tmp_path / "b.yaml", "seed: 1\nseed: 2\n"))[0]
    assert "found a list" in problems_of(write(tmp_path / "c.yaml", "- seed\n"))[0]


def test_environment_is_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sentinel-value")
    term = (
        "rewards:\n  outcome: a\n  terms:\n"
        "    - {name: a, target: 'rewards.x:A', options: {key: OPTION}}\n"
    )
    path = write(tmp_path / "run.yaml", term.replace("OPTION", "'${oc.env:JUDGE_KEY}'"))
    (problem,) = problems_of(path)
    assert "rewards.terms.0.options.key: `${...}` is not supported" in problem
    assert "sentinel-value" not in problem
    (problem,) = problems_of(TINY, "data.question=${oc.env:JUDGE_KEY}")
    assert "data.question: `${...}` is not supported" in problem
    named = write(tmp_path / "named.yaml", term.replace("key: OPTION", "api_key_env: JUDGE_KEY"))
    config = load_config(named)
    assert config.rewards.terms[0].options == {"api_key_env": "JUDGE_KEY"}
    assert "sentinel-value" not in dump_config(config)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_dump_reads_back_equal(path: Path, tmp_path: Path) -> None:
    config = load_config(path)
    assert load_config(write(tmp_path / "config.yaml", dump_config(config))) == config


def test_differences_for_a_resume() -> None:
    old = load_config(TINY)
    overrides = ["optim.lr=1e-4", "rewards.terms.1.weight=2", "model.freeze=[audio_tower]"]
    new = load_config(TINY, [*overrides, "rewards.aliases.disgust=fear"])
    assert config_differences(dump_config(old), old) == []
    assert config_differences(dump_config(old), new) == [
        ("model.freeze", [], ["audio_tower"]),
        ("rewards.terms.1.weight", 1.0, 2.0),
        ("rewards.aliases.disgust", ABSENT, "fear"),
        ("optim.lr", 2.5e-4, 1e-4),
    ]
    gone = dump_config(old) + "retired: 3\n"
    assert config_differences(gone, old) == [("retired", 3, ABSENT)]


@pytest.mark.parametrize("page", PAGES)
def test_reference_page_is_up_to_date(page: Path) -> None:
    text = reference_text(page)
    assert page.read_text(encoding="utf-8") == text, "run `python -m configs.reference`"
    for line in text.splitlines():
        if line.startswith("| `"):
            assert not line.endswith("|  |"), f"{line}: has no description in the schema"


def test_every_key_has_a_row() -> None:
    text = reference_text(DOCS / "configuration.md")
    for key in keys_below(RunConfig):
        name = key.replace(".0.", ".N.")
        assert f"| `{name}`" in text or f"## `{name}`" in text
    assert "| `optim.lr` | a number, > 0 | `1e-06` | Peak learning rate. |" in text


def test_importing_the_configuration_loads_no_heavy_library() -> None:
    code = (
        "import sys, configs.load, configs.reference, configs.rules\n"
        "print([name for name in ('torch', 'ray', 'vllm', 'numpy') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
