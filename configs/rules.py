"""Rules that tie several keys together; ranges of single keys stand in the schema."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, cast

from configs.hub import REPO
from configs.metric_rules import check_metrics
from configs.pair_rules import check_pairs
from configs.reward_schema import ADAPTERS, TermScheduleConfig
from configs.schema import RunConfig
from configs.section import keys_below
from configs.target_rules import check_targets

NAME_PATTERN = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
"""Names of reward terms and benchmarks: they are part of metric keys."""

RESERVED_NAMES = ("micro", "macro")
"""What no benchmark may be called: `bench/micro_accuracy` is the mean over their clips."""

PLACEHOLDER = re.compile(r"<\|?(?:audio|speech|sound|image|video)(?:_\d+|_?placeholder)?\|?>", re.I)
"""What other trainers write into a question where the clip goes."""

LOCAL_JUDGE = "rewards.judges.local:LocalJudge"
"""The judge that runs a model in its reward worker."""

LOCAL_JUDGE_MEMORY_FRAC = 0.85
"""Share of a GPU's memory that it takes by default."""


def check_rules(config: RunConfig) -> list[str]:
    """Return one line per broken rule, naming the keys and what to do; empty if all is well."""
    policy_only = (
        *_placement(config),
        *_staleness(config),
        *_reward_sum(config),
        *_step_size(config),
        *_reward_gpus(config),
        *_gates(config),
        *_courses(config),
        *check_pairs(config),
    )
    return [
        *_run(config),
        *_device(config),
        *_data(config),
        *_splits(config),
        *_benchmarks(config),
        *_lengths(config),
        *_reward_terms(config),
        *_aliases(config),
        *check_targets(config),
        *_optimizer(config),
        *check_metrics(config),
        *_resume(config),
        *(() if config.loss.kind == "sft" else policy_only),
    ]


def _run(config: RunConfig) -> Iterator[str]:
    name = PurePosixPath(config.name)
    if not name.parts or name.is_absolute() or ".." in name.parts:
        yield f"name: found {config.name!r}; allowed is a folder name that stays below output_dir"
    if not config.output_dir:
        yield "output_dir: is empty; name the folder that holds all runs"
    repo = config.checkpoint.push_to_hub
    if repo and not (REPO.fullmatch(repo) and config.checkpoint.export):
        yield f"checkpoint.push_to_hub: found {repo!r}; needs ORG/NAME and checkpoint.export: true"


def _device(config: RunConfig) -> Iterator[str]:
    if config.device == "cpu":
        for key, value, needed in (
            ("sync.transport", config.sync.transport, "host"),
            ("model.dtype", config.model.dtype, "float32"),
            ("model.attention", config.model.attention, "sdpa"),
            ("rollout.tensor_parallel", config.rollout.tensor_parallel, 1),
            ("rollout.colocate", config.rollout.colocate, False),
        ):
            if value != needed:
                yield f"{key}: found {value}; device: cpu needs {str(needed).lower()}"
    elif config.sync.transport == "host":
        yield "sync.transport: host is for device: cpu; on cuda use nccl, or ipc when colocated"


def _placement(config: RunConfig) -> Iterator[str]:
    rollout = config.rollout
    if rollout.colocate and config.sync.transport != "ipc":
        yield f"sync.transport: found {config.sync.transport}; rollout.colocate needs ipc"
    if config.sync.transport == "ipc" and not rollout.colocate:
        yield "sync.transport: ipc needs rollout.colocate: true; engines on their own GPUs use nccl"
    if not rollout.colocate:
        return
    if rollout.tensor_parallel > 1:
        yield (
            f"rollout.tensor_parallel: found {rollout.tensor_parallel}; rollout.colocate needs 1, "
            "since an engine shares the one GPU of its rank"
        )
    num_engine_gpus = rollout.num_engines * rollout.tensor_parallel
    if num_engine_gpus != config.learner.num_ranks:
        yield (
            f"rollout.num_engines: {num_engine_gpus} engine GPUs beside learner.num_ranks: "
            f"{config.learner.num_ranks}; rollout.colocate needs as many"
        )


def _staleness(config: RunConfig) -> Iterator[str]:
    if not config.async_.max_staleness:
        if config.async_.in_flight:
            yield "async.in_flight: needs async.max_staleness of 1 or more; 0 is strictly on-policy"
        return
    fault = f"async.max_staleness: found {config.async_.max_staleness}"
    if config.rollout.colocate:
        yield (
            f"{fault}; with rollout.colocate engines sleep while the learner works, so nothing can "
            "be sampled meanwhile: give them GPUs of their own (rollout.colocate: false)"
        )
    if config.loss.importance_cap == 0:
        yield (
            f"{fault}; completions of older weights need their importance weights: "
            "loss.importance_cap above 0, such as 2"
        )


def _data(config: RunConfig) -> Iterator[str]:
    data = config.data
    if data.min_duration_s >= data.max_duration_s:
        yield (
            f"data.min_duration_s: {data.min_duration_s:g} is not below data.max_duration_s: "
            f"{data.max_duration_s:g}"
        )
    yield from _labels("data.choices", data.choices)
    if not data.question.strip():
        yield "data.question: is empty; the policy needs a question"
    for key, text in (("question", data.question), ("system_prompt", data.system_prompt)):
        if match := PLACEHOLDER.search(text):
            yield (
                f"data.{key}: holds {match[0]!r}, which would be read as text; take it out: the "
                "clip comes before the question by itself"
            )
    unknown = sorted(set(re.findall(r"\{(\w*)\}", data.question)) - {"choices"})
    if unknown:
        yield f"data.question: unknown placeholder {{{unknown[0]}}}; allowed is {{choices}}"


def _labels(key: str, choices: list[str]) -> Iterator[str]:
    folded = Counter(choice.strip().casefold() for choice in choices)
    repeated = sorted(choice for choice, count in folded.items() if count > 1)
    if repeated:
        yield f"{key}: listed more than once: {', '.join(repeated)}"
    if len(folded) < 2 or "" in folded:
        yield f"{key}: found {choices}; needs at least two labels, none of them empty"


def _splits(config: RunConfig) -> Iterator[str]:
    train = config.data.train_split
    if not train:
        yield "data.train_split: is empty; name the value of `split` in the training rows"
    if config.eval.every_steps > 0 and not config.eval.split:
        yield "eval.split: is empty, but eval.every_steps is above 0; name a split or set 0"
    for key, split in (
        ("eval.split", config.eval.split),
        ("eval.test_split", config.eval.test_split),
    ):
        if split and split == train:
            yield f"{key}: {split} is data.train_split; clips of the training are no evaluation"
    if config.eval.other_clips and not config.eval.judged:
        yield "eval.other_clips: needs eval.judged: true"


def _benchmarks(config: RunConfig) -> Iterator[str]:
    counts = Counter(benchmark.name for benchmark in config.eval.benchmarks)
    for index, benchmark in enumerate(config.eval.benchmarks):
        key = f"eval.benchmarks.{index}"
        if not NAME_PATTERN.fullmatch(benchmark.name):
            yield f"{key}.name: found {benchmark.name!r}; allowed are letters, digits and _"
        elif counts[benchmark.name] > 1:
            yield f"{key}.name: {benchmark.name} names {counts[benchmark.name]} benchmarks"
        elif benchmark.name in RESERVED_NAMES or benchmark.name == config.eval.test_split:
            yield (
                f"{key}.name: {benchmark.name} is taken: {' and '.join(RESERVED_NAMES)} are means, "
                "and eval.test_split is a test set too"
            )
        if not benchmark.manifest:
            yield f"{key}.manifest: is empty; name the benchmark's JSON Lines file"
        if benchmark.choices:
            yield from _labels(f"{key}.choices", benchmark.choices)


def _lengths(config: RunConfig) -> Iterator[str]:
    rollout = config.rollout
    if rollout.max_completion_tokens >= rollout.max_model_len:
        yield (
            f"rollout.max_completion_tokens: {rollout.max_completion_tokens} leaves no room for a "
            f"prompt in rollout.max_model_len: {rollout.max_model_len}"
        )
    parity = config.parity
    for key, gap in (("mean_gap", parity.mean_gap), ("p99_gap", parity.p99_gap)):
        if gap > parity.max_gap:
            yield f"parity.{key}: {gap:g} is above parity.max_gap: {parity.max_gap:g}"


def _reward_terms(config: RunConfig) -> Iterator[str]:
    counts = Counter(term.name for term in config.rewards.terms)
    for name, count in counts.items():
        if count > 1:
            yield f"rewards.terms: {count} terms are named {name!r}; every term needs its own name"
    for index, term in enumerate(config.rewards.terms):
        key = f"rewards.terms.{index}"
        if not term.name:
            yield f"{key}.name: is empty; a new entry (the first is 0) needs name and target"
        elif not NAME_PATTERN.fullmatch(term.name):
            yield f"{key}.name: found {term.name!r}; allowed are letters, digits and _"
        limits = cast(list[float], term.options.get("limits") or [-1.0, 1.0])
        of_judge = term.judged and term.target.startswith(ADAPTERS)
        if of_judge and (min(limits) < 0 or max(limits) > 1):
            yield (
                f"{key}.judged: trust is made for scores in [0, 1], and a function of another "
                "trainer may give any number; set options.limits to [0, 1] if this one does not"
            )


def _reward_gpus(config: RunConfig) -> Iterator[str]:
    """Ray hides no GPU from an actor that claims none: a model there would take another's."""
    for index, term in enumerate(config.rewards.terms):
        key = f"rewards.terms.{index}.gpus"
        if config.device == "cpu":
            if term.gpus:
                yield f"{key}: found {term.gpus:g}; device: cpu needs 0"
            continue
        if term.gpus > 1 and term.gpus != int(term.gpus):
            yield f"{key}: found {term.gpus:g}; above 1 it must be a whole number"
        if term.options.get("judge") != LOCAL_JUDGE:
            continue
        options = cast(Mapping[str, Any], term.options.get("judge_options", {}))
        memory = float(options.get("gpu_memory_frac", LOCAL_JUDGE_MEMORY_FRAC))
        if not term.gpus:
            yield (
                f"{key}: found 0, but LocalJudge runs a model on a GPU, and would take one that a "
                "learner or an engine has; set it to 1"
            )
        elif memory > term.gpus:
            yield (
                f"{key}: found {term.gpus:g}, but judge_options.gpu_memory_frac is {memory:g}: "
                "workers that share a GPU would not fit; lower it, or set gpus to 1"
            )


def _reward_sum(config: RunConfig) -> Iterator[str]:
    rewards = config.rewards
    if not any(term.weight > 0 for term in rewards.terms):
        yield (
            "rewards.terms: no term has a weight above 0, so every group would be flat and nothing "
            "would be learned"
        )
    counted = [term.name for term in rewards.terms if term.judged and term.weight > 0]
    if len(counted) > 1:
        yield (
            f"rewards.terms: {', '.join(counted)} are judged and have a weight; trust is one "
            "factor a group, so only one of them may: set the weight of the others to 0"
        )
    outcomes = [
        term.name
        for term in rewards.terms
        if not term.judged and term.weight > 0 and any(_is_on(term.schedule, config))
    ]
    needs = [*counted, *(t.name for t in rewards.terms if t.schedule.kind == "gate")]
    if needs and rewards.outcome not in outcomes:
        yield (
            f"rewards.outcome: {rewards.outcome!r} is needed for {needs[0]!r}, but no term of that "
            f"name with a weight above 0 tells right from wrong; there are {', '.join(outcomes)}"
        )
    names = [term.name for term in rewards.terms]
    if names and not needs and rewards.outcome not in names:
        near = difflib.get_close_matches(rewards.outcome, names, n=1, cutoff=0.3)
        yield (
            f"rewards.outcome: no term is named {rewards.outcome!r}; "
            f"{f'did you mean {near[0]!r}? ' if near else ''}there are {', '.join(names)}"
        )


def _courses(config: RunConfig) -> Iterator[str]:
    """Yield that no term counts at any step, whatever their weights are."""
    weighted = [term for term in config.rewards.terms if term.weight > 0]
    if weighted and not any(any(_is_on(term.schedule, config)) for term in weighted):
        yield (
            "rewards.terms: the schedules of all terms with a weight are 0 from the first step to "
            f"the last ({config.train.num_steps} of train.num_steps), so nothing would be "
            "learned; raise start_frac or end_frac, or let a course begin earlier (begin_step)"
        )


def _is_on(course: TermScheduleConfig, config: RunConfig) -> Iterator[bool]:
    """Yield whether a course is above 0, at its start and once it moves, if the run goes so far."""
    last = config.train.num_steps - 1
    if course.kind == "gate":
        yield max(course.min_steps, course.window + 1) <= last
        return
    yield course.kind == "constant" or course.start_frac > 0
    yield course.begin_step < last and course.end_frac > 0


def _gates(config: RunConfig) -> Iterator[str]:
    for index, term in enumerate(config.rewards.terms):
        course = term.schedule
        earliest = max(course.min_steps, course.window + 1)
        if course.kind == "gate" and term.weight > 0 and earliest >= config.train.num_steps:
            yield (
                f"rewards.terms.{index}.schedule: the gate cannot open before step {earliest} "
                f"(min_steps, window), and train.num_steps is {config.train.num_steps}"
            )
        if course.kind == "gate" and term.name == config.rewards.outcome:
            yield (
                f"rewards.terms.{index}.schedule: {term.name} is rewards.outcome, whose accuracy "
                "opens gates; it cannot wait behind one"
            )


def _aliases(config: RunConfig) -> Iterator[str]:
    choices = config.data.choices
    for alias, label in config.rewards.aliases.items():
        if label not in choices:
            yield (
                f"rewards.aliases: {alias} stands for {label!r}, which is not in data.choices: "
                f"{', '.join(choices)}"
            )
        if alias in choices and alias != label:
            yield f"rewards.aliases: {alias} is a label of data.choices itself"


def _optimizer(config: RunConfig) -> Iterator[str]:
    optim = config.optim
    if optim.warmup_steps > config.train.num_steps:
        yield (
            f"optim.warmup_steps: {optim.warmup_steps} is above train.num_steps: "
            f"{config.train.num_steps}"
        )
    if config.model.lora.rank > 0 and not config.model.lora.targets:
        yield "model.lora.targets: is empty, but model.lora.rank is above 0"


def _step_size(config: RunConfig) -> Iterator[str]:
    prompts, ranks = config.train.prompts_per_step, config.learner.num_ranks
    if prompts < config.loss.minibatches:
        yield (
            f"train.prompts_per_step: {prompts} prompts do not fill loss.minibatches: "
            f"{config.loss.minibatches}; a minibatch holds whole groups"
        )
    groups = prompts // config.loss.minibatches
    if 0 < groups < ranks:
        yield (
            f"learner.num_ranks: {ranks} ranks for the {groups} groups of an update "
            f"(train.prompts_per_step: {prompts}, loss.minibatches: {config.loss.minibatches}); a "
            "group is never split, so some would have nothing to do"
        )
    engines, completions = config.rollout.num_engines, prompts * config.rollout.group_size
    if engines > completions:
        yield (
            f"rollout.num_engines: {engines} engines for the {completions} completions of a step "
            f"(train.prompts_per_step: {prompts}, rollout.group_size: "
            f"{config.rollout.group_size}); some would have nothing to do"
        )


def _resume(config: RunConfig) -> Iterator[str]:
    keys = set(keys_below(type(config)))
    for name in config.resume.allow:
        neutral = re.sub(r"(?<=\.)\d+(?=\.|$)", "0", name)
        parts = neutral.split(".")
        # Options and aliases have keys of their own below the schema's.
        heads = {".".join(parts[:end]) for end in range(1, len(parts) + 1)}
        free_form = heads & {"rewards.terms.0.options", "rewards.aliases", "judge.options"}
        if neutral not in keys and not free_form:
            yield f"resume.allow: found {name!r}; no key of a run has this name"
