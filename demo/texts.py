"""Every sentence of the demo: what is said in the clips, and how their delivery is described."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product

from configs.schema import NINE_LABELS, DataConfig

SENTENCES = (
    "the meeting starts at nine",
    "she said it was over",
    "we are going home now",
    "look at the old house",
    "they never called me back",
    "this is what you wanted",
    "open the door for him",
    "it is raining again today",
    "the children are outside",
    "he left the keys with you",
    "my brother has the tickets",
    "there is a letter for you",
    "you put the box upstairs",
    "the train leaves at seven",
    "I saw them in the garden",
    "the lights are still on",
    "we have to wait for her",
    "nobody told me about this",
    "that was my last piece",
    "the shop is closed on Monday",
    "your coat is in the hall",
    "they painted the wall green",
    "I found it under the table",
    "he is talking to the doctor",
    "the water is in the glass",
    "you can take the other one",
    "she moved to the city",
    "the dog is behind the car",
    "all of them came along",
    "we talked about it before",
    "the phone is on the desk",
    "I know what he means",
    "it happened on the bridge",
    "you were here last week",
    "the paper is on the chair",
    "they are coming this evening",
    "he wrote it in his book",
    "the window was open all night",
    "she works in that office",
    "I left my bag at school",
    "the bus stops over there",
    "we bought bread and milk",
    "his name is on the list",
    "the kitchen is on the left",
)
"""What is said in the clips: neutral in content, so that only the delivery tells the emotion."""

SHORT_SENTENCES = (
    "it is late",
    "come in here",
    "this is mine",
    "he knows her",
    "they are here",
    "we are ready",
    "I saw it",
    "that is all",
    "she is home",
    "you told me",
    "it was him",
    "now we go",
    "they saw us",
    "we can wait",
)
"""Shorter ones of the same kind."""

PITCH_LEVELS = ("low", "normal", "high")
ENERGY_LEVELS = ("low", "normal", "high")
RATE_LEVELS = ("slow", "normal", "fast")
INTONATIONS = ("flat", "falling", "expressive", "rising")

_TEMPLATES = (
    "The pitch is {pitch}, the energy is {energy} and the rate is {rate}.",
    "I hear {pitch} pitch, {energy} energy, a {rate} rate and {intonation} intonation.",
    "The speaker uses {pitch} pitch, {energy} energy and a {rate} rate.",
    "The intonation is {intonation}, with {pitch} pitch, {energy} energy and {rate} rate.",
    "With {energy} energy and {rate} rate, the pitch is {pitch} and {intonation}.",
)

NUM_PHRASINGS = len(_TEMPLATES)
"""In how many ways the same delivery is described."""


def describe(prosody: Mapping[str, str], phrasing: int) -> str:
    """Describe a delivery in one sentence of 11 to 13 words.

    Args:
        prosody: one of the levels above for each of pitch, energy, rate and intonation.
        phrasing: which wording, 0 to NUM_PHRASINGS - 1.
    """
    return _TEMPLATES[phrasing].format_map(prosody)


def tokenizer_texts() -> Iterator[str]:
    """Yield what the demo's tokenizer is trained on: the prompt, and every possible answer once."""
    data = DataConfig()
    question = data.question.format(choices=", ".join(NINE_LABELS))
    prompt = f"system\n{data.system_prompt}\nuser\n{question}\nassistant\n"
    deliveries = product(PITCH_LEVELS, ENERGY_LEVELS, RATE_LEVELS, INTONATIONS)
    for index, levels in enumerate(deliveries):
        names = ("pitch", "energy", "rate", "intonation")
        prosody: dict[str, str] = dict(zip(names, levels, strict=True))
        yield "\n".join((*names, *levels, *NINE_LABELS))
        for phrasing in range(NUM_PHRASINGS):
            reasoning = describe(prosody, phrasing)
            label = NINE_LABELS[(index + phrasing) % len(NINE_LABELS)]
            yield prompt
            yield f"<think>{reasoning}</think><answer>{label}</answer>"
            yield f"<think> {reasoning} </think> <answer> {label} </answer>"
