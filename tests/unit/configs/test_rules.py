"""Rules that tie keys of a run together: each broken once, and at its edge."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from configs.load import ConfigError, load_config
from configs.rules import check_rules

ROOT = Path(__file__).resolve().parents[3]
TINY = ROOT / "configs" / "tiny.yaml"
"""Breaks no rule itself."""


UNUSED = ("rewards.terms.2.weight=0", "rewards.terms.2.schedule.kind=constant")
"""Without the judge, which needs an outcome."""

PAIRS = (
    "rollout.counterfactual.moves=[pitch]",
    "rewards.terms.2={target: 'rewards.counterfactual:CounterfactualReward', judged: false, "
    "schedule: {kind: constant}}",
)
"""Pairs, and the reward for them in the place of the judge."""


def off(index: int) -> tuple[str, ...]:
    """Overrides that keep a term at 0 throughout."""
    key = f"rewards.terms.{index}.schedule"
    return (f"{key}.kind=linear", f"{key}.start_frac=0", f"{key}.end_frac=0")


COLOCATED = ("device=cuda", "rollout.colocate=true", "rollout.num_engines=1")

RULES = [
    (("sync.transport=nccl",), "sync.transport: found nccl; device: cpu needs host"),
    (("model.dtype=bfloat16",), "model.dtype: found bfloat16; device: cpu needs float32"),
    (("model.attention=flex",), "model.attention: found flex; device: cpu needs sdpa"),
    (("rollout.tensor_parallel=2",), "rollout.tensor_parallel: found 2; device: cpu needs 1"),
    (("device=cuda",), "sync.transport: host is for device: cpu"),
    (("device=cuda", "sync.transport=ipc"), "sync.transport: ipc needs rollout.colocate: true"),
    (
        (*COLOCATED, "sync.transport=nccl"),
        "sync.transport: found nccl; rollout.colocate needs ipc",
    ),
    (
        (*COLOCATED, "sync.transport=ipc", "learner.num_ranks=4"),
        "rollout.num_engines: 1 engine GPUs beside learner.num_ranks: 4",
    ),
    (
        (
            *COLOCATED,
            "sync.transport=ipc",
            "learner.num_ranks=2",
            "rollout.tensor_parallel=2",
        ),
        "rollout.tensor_parallel: found 2; rollout.colocate needs 1",
    ),
    (
        ("early_stop.metric=eval/uar",),
        "early_stop.metric: no step has a metric 'eval/uar'; did you mean 'eval/ua'?",
    ),
    (
        ("early_stop.metric=eval/recall_joy",),
        "early_stop.metric: no step has a metric 'eval/recall_joy'; did you",
    ),
    (
        ("early_stop.metric=test_after/ua",),
        "early_stop.metric: no step has a metric 'test_after/ua'",
    ),
    (
        ("early_stop.metric=reward/acuracy_mean",),
        "early_stop.metric: found 'reward/acuracy_mean', but the reward terms are format",
    ),
    (
        ("early_stop.metric=refill/rounds",),
        "early_stop.metric: found 'refill/rounds', but advantage.refill_rounds is 0",
    ),
    (
        ("early_stop.metric=eval/ua", "eval.every_steps=0"),
        "early_stop.metric: found 'eval/ua', but eval.every_steps is 0",
    ),
    (
        ("checkpoint.best_metric=rollout/acc",),
        "checkpoint.best_metric: no step has a metric 'rollout/acc'; did you mean 'rollout/acc",
    ),
    (
        ("advantage.refill_rounds=1", "advantage.refill_by=acc"),
        "advantage.refill_by: no term is named 'acc'; there are format, accuracy",
    ),
    (
        ("advantage.refill_by=accuracy",),
        "advantage.refill_by: needs advantage.refill_rounds of 1 or more",
    ),
    (("data.min_duration_s=30",), "data.min_duration_s: 30 is not below data.max_duration_s: 30"),
    (("data.choices=[sad, fear, ' Sad']",), "data.choices: listed more than once: sad"),
    (("data.choices=[sad]",), "data.choices: found ['sad']; needs at least two labels"),
    (("data.choices=[sad, '']",), "data.choices: found ['sad', '']; needs at least two labels"),
    (("data.question=' '",), "data.question: is empty"),
    (("data.question='Which? {labels}'",), "data.question: unknown placeholder {labels}"),
    (("data.train_split=''",), "data.train_split: is empty"),
    (("eval.split=''",), "eval.split: is empty, but eval.every_steps is above 0"),
    (("eval.split=train",), "eval.split: train is data.train_split"),
    (("eval.other_clips=true", "eval.judged=false"), "eval.other_clips: needs eval.judged"),
    (("eval.test_split=train",), "eval.test_split: train is data.train_split"),
    (("rollout.max_completion_tokens=512",), "rollout.max_completion_tokens: 512 leaves no room"),
    (("parity.mean_gap=0.1",), "parity.mean_gap: 0.1 is above parity.max_gap: 0.002"),
    (("rewards.terms.2.name=format",), "rewards.terms: 2 terms are named 'format'"),
    (("rewards.terms.0.name=''",), "rewards.terms.0.name: is empty"),
    (("rewards.terms.0.name=a/b",), "rewards.terms.0.name: found 'a/b'"),
    (("rewards.terms.0.target=''",), "rewards.terms.0.target: found ''; allowed is module:Class"),
    (("rewards.terms.0.target=os:system",), "rewards.terms.0.target: os:system is outside"),
    (("rewards.terms.0.options.api_key=x",), "rewards.terms.0.options.api_key: a secret does not"),
    (("rewards.terms=[]",), "rewards.terms: no term has a weight above 0"),
    (
        (
            "rewards.terms.0.weight=0",
            "rewards.terms.1.weight=0",
            "rewards.terms.2={weight: 0, schedule: {kind: constant}}",
        ),
        "rewards.terms: no term has a weight above 0",
    ),
    (
        ("rewards.terms.2.options.judge_options.api_key=x",),
        "rewards.terms.2.options.judge_options.api_key: a secret does not",
    ),
    (("rewards.terms.0.judged=true",), "rewards.terms: format, reasoning are judged and have"),
    (("judge.target=local",), "judge.target: found 'local'; allowed is module:Class"),
    (("judge.target_options.api_key=x",), "judge.target_options.api_key: a secret does not"),
    (("rewards.outcome=format2",), "rewards.outcome: 'format2' is needed for 'reasoning', but"),
    (
        ("rewards.outcome=acc", "rewards.terms.2.weight=0", "rewards.terms.2.schedule.kind=linear"),
        "rewards.outcome: no term is named 'acc'; did you mean 'accuracy'? there are format, ",
    ),
    (
        (*off(0), *off(1), *UNUSED),
        "rewards.terms: the schedules of all terms with a weight are 0 from the first step",
    ),
    (
        (
            *off(0),
            "rewards.terms.0.schedule.end_frac=1",
            "rewards.terms.0.schedule.begin_step=139",
            *off(1),
            *UNUSED,
        ),
        "rewards.terms: the schedules of all terms with a weight are 0 from the first step",
    ),
    (off(1), "rewards.outcome: 'accuracy' is needed for 'reasoning', but"),
    (("data.question='<audio> {choices}?'",), "data.question: holds '<audio>', which would be"),
    (("data.system_prompt='Hear <|AUDIO|>.'",), "data.system_prompt: holds '<|AUDIO|>', which"),
    (
        ("rewards.outcome=reasoning", "rewards.terms.2.schedule.kind=constant"),
        "rewards.outcome: 'reasoning' is needed for 'reasoning', but",
    ),
    (
        ("rewards.terms.2.schedule.min_steps=140",),
        "rewards.terms.2.schedule: the gate cannot open before step 140",
    ),
    (
        ("rewards.terms.2.schedule.window=139",),
        "rewards.terms.2.schedule: the gate cannot open before step 140",
    ),
    (
        ("rewards.terms.1.schedule={kind: gate, min_steps: 9}",),
        "rewards.terms.1.schedule: accuracy is rewards.outcome",
    ),
    (("rewards.aliases={calm: relaxed}",), "rewards.aliases: calm stands for 'relaxed'"),
    (("rewards.aliases={sad: fear}",), "rewards.aliases: sad is a label of data.choices itself"),
    (("optim.warmup_steps=141",), "optim.warmup_steps: 141 is above train.num_steps: 140"),
    (("model.lora={rank: 4, targets: []}",), "model.lora.targets: is empty"),
    (("loss.minibatches=33",), "train.prompts_per_step: 32 prompts do not fill"),
    (
        (*PAIRS, "rollout.group_size=5"),
        "rollout.group_size: found 5; rollout.counterfactual.moves cuts every group in two",
    ),
    ((*PAIRS, "rollout.group_size=2"), "rollout.group_size: found 2; rollout.counterfactual"),
    (
        (*PAIRS, "advantage.refill_rounds=1"),
        "advantage.refill_rounds: found 1; rollout.counterfactual.moves needs 0",
    ),
    (
        (*PAIRS, "rollout.counterfactual.moves=[rate, pitch, rate]"),
        "rollout.counterfactual.moves: found rate, pitch, rate; name each move once",
    ),
    (
        (PAIRS[0],),
        "rollout.counterfactual.moves: no reward term scores the moved half",
    ),
    (
        (PAIRS[1],),
        "rewards.terms: 'reasoning' scores counterfactual pairs, and there are none",
    ),
    (
        (*PAIRS, "rewards.terms.2.judged=true"),
        "rewards.terms: 'reasoning' is judged, and trust needs right and wrong answers",
    ),
    (
        (*PAIRS, "rollout.counterfactual.moves=[rate]", "data.max_duration_s=250"),
        "data.max_duration_s: 250 s slowed down by rollout.counterfactual.rate are 312.5 s",
    ),
    (("name=../elsewhere",), "name: found '../elsewhere'"),
    (("name=/runs/a",), "name: found '/runs/a'"),
    (("output_dir=''",), "output_dir: is empty"),
    (
        ("loss.policy=cipso",),
        "loss.policy: found 'cipso'; did you mean cispo? allowed is clip, gspo, cispo, or module:f",
    ),
    (("loss.policy=mine:1st",), "loss.policy: found 'mine:1st'; allowed is module:function"),
    (("loss.policy=mine:loss",), "loss.policy: mine:loss is outside rewards.packages: rewards"),
]


@pytest.mark.parametrize(("overrides", "message"), RULES, ids=[rule[1][:60] for rule in RULES])
def test_rules(overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(TINY, overrides)
    (problem,) = caught.value.problems
    assert problem.startswith(message)


def test_rules_that_hold_at_the_edge() -> None:
    edges = ["optim.warmup_steps=70", "loss.minibatches=32", "rollout.max_completion_tokens=511"]
    lora = ["model.lora.rank=4", "loss.kl_coef=0.04", "eval.every_steps=0", "eval.split=''"]
    load_config(TINY, [*edges, *lora, "rewards.aliases={calm: neutral}"])
    # One term is on, and one comes on at the last step but one.
    load_config(TINY, [*off(0)])
    late = ["rewards.terms.0.schedule.end_frac=1", "rewards.terms.0.schedule.begin_step=138"]
    load_config(
        TINY,
        [
            *off(0),
            *late,
            "rewards.terms.1.weight=0",
            *UNUSED,
        ],
    )
    colocated = ["rollout.colocate=true", "sync.transport=ipc", "rollout.num_engines=4"]
    load_config(ROOT / "configs" / "omni_7b.yaml", colocated)
    load_config(TINY, [*PAIRS, "rollout.group_size=4", "data.max_duration_s=300"])
    shadow = "rewards.terms.2={weight: 0, shadow: true, judged: false, schedule: {kind: constant}}"
    load_config(TINY, [*PAIRS, shadow])


def test_sft_needs_no_rewards() -> None:
    config = load_config(ROOT / "configs" / "tiny_sft.yaml", ["rewards.terms=[]"])
    assert check_rules(config) == []
    policy = replace(config, loss=replace(config.loss, kind="policy"))
    assert check_rules(policy) == [
        "rewards.terms: no term has a weight above 0, so every group would be flat and nothing "
        "would be learned"
    ]
