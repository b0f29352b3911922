"""Every key of the schema says whether a resumed run may change it."""

from __future__ import annotations

import pytest

from configs.load import ConfigError, load_config
from configs.resume_rules import FREE, METHOD, PATHS, class_of, is_named
from configs.schema import RunConfig
from configs.section import entry_section, fields_of, keys_below


def leaves() -> list[str]:
    """Keys that hold a value; lists of sections among them, for they may be empty."""
    keys = list(keys_below(RunConfig))
    return [key for key in keys if not any(k.startswith(f"{key}.") for k in keys)] + [
        "rewards.terms",
        "eval.benchmarks",
    ]


def test_every_key_is_in_exactly_one_class():
    keys = leaves()
    for key in keys:
        assert [key in each for each in (FREE, PATHS, METHOD)].count(True) == 1, key
    assert set(keys) == FREE | PATHS | METHOD, "a key that does not exist"
    assert entry_section(fields_of(RunConfig)["resume"].annotation) is None


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("learner.tokens_per_microbatch", "free"),
        ("rollout.gpu_memory_frac", "free"),
        ("data.bad_clips", "free"),
        ("log.trackers", "free"),
        ("log.tensorboard", "free"),  # of runs before `log.trackers`
        ("rewards.terms.12.timeout_s", "free"),
        ("rewards.terms.1.options.url", "free"),
        ("eval.benchmarks.3.manifest", "free"),
        ("data.audio_root", "path"),
        ("rewards.terms.0.options.model_path", "path"),
        ("rewards.terms.1.options.temperature", "method"),
        ("rewards.terms.2.weight", "method"),
        ("rewards.aliases.joy", "method"),
        ("optim.lr", "method"),
    ],
)
def test_keys_as_differences_name_them(key: str, kind: str):
    assert class_of(key) == kind


def test_a_key_without_a_class_is_no_free_key():
    with pytest.raises(KeyError):
        class_of("rollout.new_knob")


def test_a_section_may_be_named_as_a_whole():
    assert is_named("optim.lr", ["optim"]) and is_named("optim.lr", ["optim.lr"])
    assert not is_named("optim.lr_x", ["optim.lr"])


def test_a_name_in_resume_allow_must_exist():
    load_config("configs/tiny.yaml", ["resume.allow=[optim.lr,rewards.terms.1.weight,optim]"])
    with pytest.raises(ConfigError, match=r"resume\.allow: found 'optim\.rate'; no key"):
        load_config("configs/tiny.yaml", ["resume.allow=[optim.rate]"])


def test_the_best_checkpoint_needs_an_evaluation_of_its_step():
    fits = ["checkpoint.best_metric=eval/ua", "checkpoint.every_steps=20", "eval.every_steps=10"]
    load_config("configs/tiny.yaml", fits)
    with pytest.raises(ConfigError, match=r"checkpoint\.best_metric: found 'eval/ua'"):
        load_config("configs/tiny.yaml", [*fits, "eval.every_steps=15"])
