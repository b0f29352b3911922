"""A run in words: method, rewards, optimiser, data, machine; for the report and the model card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from report.run_facts import RunFacts, SplitFacts

Config = Mapping[str, Any]

# A name that has no words here stands for itself.
LOSSES = {
    "clip": "clipped token ratios (PPO, GRPO)",
    "gspo": "one clipped ratio per completion (GSPO)",
    "cispo": "clipped ratios as weights (CISPO)",
}
ADVANTAGES = {
    "std": "reward minus the group's mean, over its standard deviation",
    "mean": "reward minus the group's mean",
    "per_term": "each reward term normalized within its group, then summed",
}
NOT_RECORDED = "not recorded"


def method_words(run: RunFacts) -> str:
    """Return what was done, in a sentence or two."""
    config = run.config
    train, lora = config["train"], config["model"]["lora"]
    weights = f"adapters of rank {lora['rank']}" if lora["rank"] else "all weights"
    if config["model"]["freeze"] and not lora["rank"]:
        weights += " but " + ", ".join(config["model"]["freeze"])
    if config["loss"]["kind"] == "sft":
        what = "texts with known scores" if run.is_judge else "reference answers"
        return (
            f"Supervised fine-tuning on {what}: {train['num_steps']} steps of "
            f"{train['prompts_per_step']} rows, {weights} trained."
        )
    loss, size = config["loss"], config["rollout"]["group_size"]
    judged = [term for term in config["rewards"]["terms"] if term["judged"] and term["weight"]]
    gated = any(term["schedule"]["kind"] == "gate" for term in judged)
    name = "GRPO-PTR" if gated and config["rewards"]["trust"]["enabled"] else "GRPO"
    advantage = config["advantage"]["normalize"]
    advantage = ADVANTAGES.get(advantage, advantage)
    kl = (
        f"KL to the start policy with weight {loss['kl_coef']:g}"
        if loss["kl_coef"]
        else "no KL term"
    )
    return (
        f"Reinforcement learning ({name}): {train['num_steps']} steps of "
        f"{train['prompts_per_step']} prompts with {size} completions each, {weights} trained. "
        f"Advantage: {advantage}; loss: {LOSSES.get(loss['policy'], loss['policy'])}, {kl}."
        f"{sampling_words(config)}"
    )


def sampling_words(config: Config) -> str:
    """Say which prompts are trained on, if not all in turn and as they are.

    Configs of old runs lack the keys.
    """
    rounds, by = (config["advantage"].get(f"refill_{key}") for key in ("rounds", "by"))
    words = " Prompts balanced by label." if config["data"].get("balance") == "label" else ""
    if rounds:
        flat = f"equal rewards or equal {by}" if by else "equal rewards"
        words += f" Groups of {flat} replaced by others, up to {rounds} times a step."
    if moves := config.get("rollout", {}).get("counterfactual", {}).get("moves"):
        words += f" Half of each group hears its clip with another {' or '.join(moves)}."
    return words


def reward_words(config: Config) -> list[tuple[str, str]]:
    """Return (name of a reward term, its weight and course in words), in the order of the terms."""
    terms: list[tuple[str, str]] = []
    for term in config["rewards"]["terms"]:
        words = f"weight {term['weight']:g}, {_course_words(term['schedule'])}"
        if not term["weight"]:
            words = "for the logs alone" if term["shadow"] else "not computed (weight 0)"
        if term["judged"]:
            judge = term["options"].get("judge")
            words += f"; a judge's opinion ({judge})" if isinstance(judge, str) else "; judged"
            if term["weight"]:
                trusted = config["rewards"]["trust"]["enabled"]
                words += (
                    ", damped where it prefers wrong answers" if trusted else ", always trusted"
                )
        terms.append((str(term["name"]), words))
    return terms


def _course_words(course: Config) -> str:
    kind = course["kind"]
    if kind == "constant":
        return "throughout"
    if kind == "gate":
        ramp = f", rising over {course['ramp_steps']} steps" if course["ramp_steps"] else ""
        return (
            f"once the accuracy of the rollouts has reached {course['threshold']:g} and moved by "
            f"at most {course['flatness']:g} in {course['window']} steps, not before step "
            f"{course['min_steps']}{ramp}"
        )
    return (
        f"times {course['start_frac']:g} up to step {course['begin_step']}, then {kind} to times "
        f"{course['end_frac']:g} over {course['num_steps']} steps"
    )


def optimiser_words(config: Config) -> str:
    """Return the optimiser and its settings."""
    optim = config["optim"]
    warmup = f", {optim['warmup_steps']} steps of warm-up" if optim["warmup_steps"] else ""
    course = optim["schedule"]
    if course != "constant":
        course += f" to {optim['min_lr_frac']:g} of it"
    return (
        f"AdamW, learning rate {optim['lr']:g} ({course}{warmup}), betas {optim['beta1']:g} and "
        f"{optim['beta2']:g}, weight decay {optim['weight_decay']:g}, gradient norm up to "
        f"{optim['grad_clip']:g}"
    )


def used_splits(facts: RunFacts) -> dict[str, str]:
    """Return split -> what the run uses it for; splits that it does not use are left out."""
    config = facts.config
    splits = {str(config["data"]["train_split"]): "training"}
    if facts.is_rl and config["eval"]["every_steps"] and config["eval"]["split"]:
        splits[str(config["eval"]["split"])] = "evaluation during the run"
    if facts.is_rl and config["eval"]["test_split"]:
        splits[str(config["eval"]["test_split"])] = "test before and after"
    return splits


def split_words(split: SplitFacts | None) -> str:
    """Return size and speakers of a split."""
    if split is None:
        return "size not known: the manifest is not here, or has no such rows"
    speakers = f", {split.num_speakers} speakers" if split.num_speakers else ""
    return f"{split.num_rows:,} rows{speakers}"


def machine_words(facts: RunFacts) -> str:
    """Return where the run was last started."""
    if not facts.starts:
        return NOT_RECORDED
    machine = facts.starts[-1]["machine"]
    gpus = f", GPUs: {', '.join(machine['gpus'])}" if machine["gpus"] else ", no GPU"
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']:g} GiB{gpus} "
        "(the driver's machine)"
    )


def version_words(facts: RunFacts) -> str:
    """Return the versions that the run was last started with."""
    if not facts.starts:
        return NOT_RECORDED
    start = facts.starts[-1]
    versions = [f"{name} {version}" for name, version in start["versions"].items()]
    code = f", code {start['code']}" if start["code"] else ""
    return f"Python {start['python']}, {', '.join(versions)}{code}"
