"""How benchmarks of others score an answer, as their own scripts do.

A rule is given the prediction: what stands in the answer block, or the whole text if there is no
readable one. The scripts know no blocks, and would take words of the reasoning for the answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from configs.errors import UserError
from data.records import Example


def mmau(prediction: str, answer: str, choices: Sequence[str]) -> bool:
    r"""Return whether a prediction counts in MMAU.

    It has all words of the answer, and none of the words that only wrong choices have. Words are
    `\b\w+\b` in small letters.

    Source: `string_match` of evaluation.py, https://github.com/Sakshi113/MMAU (Sakshi et al. 2024,
    arXiv:2410.19168).
    """
    said, right = _words(prediction), _words(answer)
    wrong = {word for choice in choices for word in _words(choice) - right}
    return bool(said) and right <= said and not said & wrong


def _words(text: str) -> set[str]:
    return set(re.findall(r"\b\w+\b", text.lower()))


def mmsu(prediction: str, answer: str, choices: Sequence[str]) -> bool | None:
    """Return whether a prediction counts in MMSU; None if it is left out of the accuracy.

    Its letter is the first character, if that is one of A to D, else the last but one ("The answer
    is B."). A prediction without such a letter is a wrong format and in neither count. Line breaks
    are taken out first. (The script gives an empty prediction the letter of the row before; here
    it is a wrong format as well.)

    Source: mmsu_evaluation.py, https://github.com/dingdongwang/MMSU_Bench (Wang et al. 2025,
    arXiv:2506.04779).
    """
    text = prediction.strip().replace("\n", "")
    letter = next((mark for mark in (text[:1], text[-2:-1]) if mark and mark in "ABCD"), None)
    if letter is None or text == "None":
        return None
    place = "ABCD".index(letter)
    return place < len(choices) and choices[place] == answer


@dataclass(frozen=True, slots=True)
class Rule:
    """How a benchmark scores."""

    says: str
    """What counts, for the page."""
    score: Callable[[str, str, Sequence[str]], bool | None] | None
    """Prediction, answer, choices -> whether it counts (None = in no count); None if a language
    model decides."""


_JUDGED = Rule(
    "the official score is a language model's (Llama-3-70B-Instruct, 0 or 1 an answer) and is not "
    "computed here: beside it stands the accuracy of the label that can be read",
    None,
)

RULES: Mapping[str, Rule] = {
    "mmau": Rule("all words of the answer, and none that only wrong choices have", mmau),
    "mmsu": Rule(
        "the first character, or else the last but one, is the right letter of A to D; an answer "
        "without such a letter is in no count",
        mmsu,
    ),
    "audiobench_iemocap": _JUDGED,
    "audiobench_meld": _JUDGED,
}
"""`scoring.rule` of rows -> the rule. AudioBench: Wang et al. 2024, arXiv:2406.16020;
`llama3_70b_as_judge_binary` in https://github.com/AudioLLMs/AudioBench."""


def check_rules(manifest: str, examples: Sequence[Example]) -> None:
    """Refuse rows that name an unknown rule.

    Raises:
        UserError: One does.
    """
    for example in examples:
        if example.scoring and example.scoring["rule"] not in RULES:
            raise UserError(
                f"{manifest}: row {example.id!r} has the scoring rule "
                f"{example.scoring['rule']!r}; known are {', '.join(RULES)}"
            )


def official_score(example: Example, prediction: str) -> bool | None:
    """Return what the benchmark of a row says of a prediction; None if it is in no count."""
    score = RULES[example.scoring["rule"]].score if example.scoring else None
    return score(prediction, example.label, example.choices) if score else None
