"""Texts scored by the rewards of a configuration, in this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from configs.errors import UserError
from configs.reward_schema import RewardTermConfig
from configs.rules import LOCAL_JUDGE
from configs.schema import RunConfig
from configs.secrets import hide_variables_of
from data.prosody.claims import MARGIN, find_claims, truth_of
from data.records import Completion, Example, Group, IntArray, Prompt, RewardTerms, ScoredGroup
from launch.tried_texts import Tried
from rewards.accuracy import answer_of, is_correct
from rewards.base import (
    REASONING_TARGET,
    Reward,
    Scores,
    limits_of,
    load_reward,
    reads_features,
    validate_scores,
    with_run_options,
)
from rewards.calls import unscored
from rewards.combine import CombineRules, combine
from rewards.foreign import Failure, attempt


@dataclass(frozen=True)
class Terms:
    """The reward terms of a run, built in this process."""

    rewards: Mapping[str, Reward]
    not_asked: Mapping[str, str]
    """Term -> why it is left out here."""
    needs_clips: bool
    """One of them reads the features of a clip."""


def build_terms(config: RunConfig, without: Sequence[str]) -> Terms:
    """Build every reward term, but for judges that run a model and those that are not wanted.

    Raises:
        UserError: A term cannot be built, or `without` names none.
    """
    terms = with_run_options(config)
    names = [term.name for term in terms]
    unknown = sorted(set(without) - set(names))
    if unknown:
        raise UserError(f"--without {unknown[0]}: no such term; there are {', '.join(names)}")
    not_asked = dict.fromkeys(without, "left out by --without")
    for term in terms:
        if term.options.get("judge") == LOCAL_JUDGE:
            not_asked[term.name] = "its judge runs a model, which is not started here"
    rewards: dict[str, Reward] = {}
    for term in terms:
        if term.name in not_asked:
            continue
        hide_variables_of(term.options)
        reward = attempt(partial(load_reward, term.target, term.options, config.rewards.packages))
        if isinstance(reward, Failure):
            raise UserError(f"rewards.terms: {term.name!r} cannot be built: {reward.reason}")
        rewards[term.name] = reward
    needs_clips = any(_needs_clip(t, rewards[t.name]) for t in terms if t.name in rewards)
    return Terms(rewards, not_asked, needs_clips)


def _needs_clip(term: RewardTermConfig, reward: Reward) -> bool:
    """Of our own judges only the one with a model reads features; an HTTP one sends the file."""
    ours = term.target == REASONING_TARGET and str(term.options["judge"]).startswith("rewards.")
    return reads_features(type(reward)) and not ours


class GroupBuilder:
    """Makes groups of texts as the rollouts make them, as far as there is a checkpoint for it."""

    def __init__(self, config: RunConfig, *, needs_clips: bool) -> None:
        """Load the processor of `model.path`, if that is a folder.

        Raises:
            UserError: A term reads clips, and there is no checkpoint to compute features with.
        """
        self._config = config
        self._needs_clips = needs_clips
        self.builder: Any = None
        if Path(config.model.path).is_dir():
            # Model libraries: a configuration without a checkpoint does without them.
            from data.prompts import PromptBuilder

            self.builder = PromptBuilder(config.model.path, config.data)
        elif needs_clips:
            raise UserError(
                f"model.path: {config.model.path} is not a folder, and a reward reads the features "
                "of clips, which its processor computes; set it, or leave the term out (--without)"
            )

    def group(self, texts: Sequence[Tried], index: int) -> Group:
        """Return the group of texts that answer one row."""
        return Group(
            self._prompt(texts[0].example),
            tuple(
                Completion(
                    ids := self._token_ids(item),
                    np.zeros(len(ids), np.float32),
                    item.text,
                    item.finish_reason,
                    policy_version=0,
                    allow_truncated=self._config.rollout.allow_truncated,
                )
                for item in texts
            ),
            index,
        )

    def _prompt(self, example: Example) -> Prompt:
        if self.builder is None:
            return Prompt(example, example.question, np.zeros(0, np.int64), None, 0)
        if self._needs_clips:
            from data.prompts import prompt_function

            return prompt_function(self.builder, self._config.data)(example)
        return Prompt(example, self.builder.render(example), np.zeros(0, np.int64), None, 0)

    def _token_ids(self, item: Tried) -> IntArray:
        if item.num_tokens is not None:
            return np.zeros(item.num_tokens, np.int64)
        if self.builder is None:
            return np.zeros(0, np.int64)
        ends = item.finish_reason == "stop"
        ids = self.builder.tokens_of(item.text)
        return np.append(ids, self.builder.end_token_id) if ends else ids


def score_group(
    group: Group, terms: Terms, config: RunConfig
) -> tuple[ScoredGroup, dict[str, str]]:
    """Return a group with its rewards, as a step of training has them, and which terms failed.

    Weights are those of the configuration, without schedules.
    """
    scores = {name: unscored(group, reason) for name, reason in terms.not_asked.items()}
    failed: dict[str, str] = {}
    for name, reward in terms.rewards.items():
        result = attempt(partial(_checked, name, reward, group))
        if isinstance(result, Failure):
            failed[name] = result.reason
            result = unscored(group, result.reason)
        scores[name] = result
    weights = {term.name: term.weight for term in config.rewards.terms}
    raw = RewardTerms(
        {name: scores[name].values for name in weights},
        {name: scores[name].details for name in weights},
    )
    return combine(group, raw, weights, CombineRules.from_config(config.rewards)), failed


def _checked(name: str, reward: Reward, group: Group) -> Scores:
    return validate_scores(name, group, reward.score(group), limits_of(reward))


def rows_of(scored: ScoredGroup, config: RunConfig, terms: Terms) -> Iterator[dict[str, Any]]:
    """Yield what is said of each text of a group, as JSON data."""
    example, aliases = scored.group.prompt.example, config.rewards.aliases
    prosody = example.prosody or {}
    for i, completion in enumerate(scored.group.completions):
        parsed = completion.parsed
        claims = find_claims(parsed.think or "")
        yield {
            "id": example.id,
            "label": example.label,
            "text": completion.text,
            "tokens": len(completion.token_ids) or None,
            "parsed": {
                "well_formed": parsed.well_formed,
                "fault": None if parsed.well_formed else parsed.reason,
                "answer": answer_of(parsed, aliases),
                "right": is_correct(parsed, example.label, aliases),
                "think": parsed.think,
            },
            "claims": [
                {
                    "attribute": claim.attribute,
                    "level": claim.level,
                    "negated": claim.negated,
                    "truth": truth_of(claim, prosody, MARGIN),
                }
                for claim in claims
            ],
            "terms": {
                term.name: _term_row(scored, term, i, terms) for term in config.rewards.terms
            },
            "trust": scored.trust,
            "total": scored.rewards[i],
        }


def _term_row(scored: ScoredGroup, term: RewardTermConfig, i: int, terms: Terms) -> dict[str, Any]:
    name = term.name
    filled = scored.filled.get(name)
    detail = dict((scored.terms.details.get(name) or ({},) * (i + 1))[i])
    return {
        "value": scored.terms.values[name][i],
        "weight": term.weight,
        "factor": scored.factors.get(name, 0.0),
        "filled": None if filled is None else filled[i],
        "contribution": None if filled is None else scored.factors[name] * filled[i],
        "note": _note(scored, term, i, terms, detail),
        "details": detail,
    }


def _note(
    scored: ScoredGroup, term: RewardTermConfig, i: int, terms: Terms, detail: Mapping[str, Any]
) -> str:
    """Return why a term counts otherwise than its value and weight say."""
    name, values = term.name, scored.terms.values[term.name]
    if name in terms.not_asked:
        return f"not asked: {terms.not_asked[name]}"
    notes = []
    if values[i] is None:
        why = "does not apply" if detail.get("not_applicable") else ""
        why = detail.get("missing") or ("malformed" if detail.get("malformed") else why)
        notes.append(f"not scored{f': {why}' if why else ''}")
    if name in scored.filled:
        if values[i] is None:
            notes.append(f"counts as {scored.filled[name][i]:.4g}")
        if term.judged and scored.trust < 1:
            notes.append(f"trust {scored.trust:.3f}")
    elif term.weight == 0:
        notes.append("weight 0: for the logs alone")
    elif values[i] is not None:
        scored_too_few = "too few texts of the row are scored (rewards.trust.min_judged)"
        one_sided = "trust needs a right and a wrong text of the row (rewards.trust.one_sided)"
        notes.append(f"left out: {one_sided if term.judged else scored_too_few}")
    return "; ".join(notes)
