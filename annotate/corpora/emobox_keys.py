"""Who speaks in a clip of EmoBox: what its key, or the path of its clip, tells.

EmoBox's manifests have no speakers, but most of its keys are the names of the corpora's files.

Sources: the corpora's own naming schemes, as EmoBox's `preprocess/scripts` read them (ASED, CaFE,
Oréau, ASVP-ESD, TurEV-DB, Urdu); the lists of speakers of Emo-DB and EmoV-DB in
`annotate.corpora.acted`, of ESD in `annotate.corpora.esd`. Every key that EmoBox publishes for
these corpora (of ESD and MEAD, those of the test sets) fits.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from re import Match

from annotate.corpora.acted import EMODB_SEXES, EMOVDB_SEXES
from annotate.corpora.esd import MALE as ESD_MEN

_LETTERS = {"f": "female", "m": "male"}


def _letter(match: Match[str]) -> str | None:
    """Return the sex that the group `sex` begins with; None for a child."""
    return _LETTERS.get(match["sex"][0].lower())


def _even_is(sex: str, other: str) -> Callable[[Match[str]], str | None]:
    return lambda match: sex if int(match["speaker"]) % 2 == 0 else other


@dataclass(frozen=True, slots=True)
class Key:
    """What the keys of one corpus are."""

    pattern: str
    """Regular expression of the whole key, without the corpus's name and the first hyphen, or of
    the path if `of_path`. The group `speaker` names the speaker."""
    sex: Callable[[Match[str]], str | None] = field(default=lambda match: None)
    """What the match tells of the sex."""
    of_path: bool = False
    """The end of the clip's path is matched, not the key."""


KEYS = {
    "aesdd": Key(r"[a-z]\d\d.*-(?P<speaker>\d+)\w*"),
    "ased": Key(
        r"[A-Za-z]\d-\d\d-\d\d-(?P<sex>\d\d)-(?P<speaker>\d+)",
        lambda match: {"01": "female", "02": "male"}.get(match["sex"]),
    ),
    "asvpesd": Key(r"(?:\d+-){5}(?P<speaker>\d+)(?:-.*)?", _even_is("male", "female")),
    "cafe": Key(r"(?P<speaker>\d\d)-[A-Z]-\d-\d", _even_is("female", "male")),
    "casia": Key(r"\d+-(?P<speaker>[a-z]+)-[a-z]+"),
    "cremad": Key(r"(?P<speaker>\d{4})-.*"),
    "emodb": Key(
        r"(?P<speaker>\d\d)[ab]\d\d[A-Z][a-z]", lambda match: EMODB_SEXES.get(match["speaker"])
    ),
    "emovdb": Key(
        r"(?P<speaker>[a-z]+)-[A-Za-z]+-\d+", lambda match: EMOVDB_SEXES.get(match["speaker"])
    ),
    "emovo": Key(r"[a-z]{3}-(?P<speaker>(?P<sex>[fm])\d)-\w+", _letter),
    # The files of subject 11 are named for 12; the folder is right.
    "enterface": Key(r"subject (?P<speaker>\d+)/.*", of_path=True),
    "esd": Key(
        r"(?P<speaker>\d{4})-\d+",
        lambda match: "male" if int(match["speaker"]) in ESD_MEN else "female",
    ),
    "iemocap": Key(r"(?P<session>Ses\d\d)[FM]_\w+_(?P<sex>[FM])\d{3}", _letter),
    "jlcorpus": Key(r"(?P<speaker>(?P<sex>female|male)\d)-.*", _letter),
    "mead": Key(
        r"(?P<speaker>(?P<sex>[MW])\d{3})-.*",
        lambda match: {"M": "male", "W": "female"}[match["sex"]],
    ),
    "mesd": Key(r"[A-Za-z]+_(?P<sex>[FMC])_[AB]_.*", _letter),
    "oreau": Key(r"(?P<sex>[fm])/sess\w/(?P<speaker>\d\d)[^/]*", _letter, of_path=True),
    "polish": Key(r"(?P<speaker>(?P<sex>[fm])\d)\..*", _letter),
    "ravdess": Key(r"(?:\d\d-){6}(?P<speaker>\d\d)", _even_is("female", "male")),
    "savee": Key(r"(?P<speaker>[A-Z]{2})-\w+", lambda match: "male"),
    "shemo": Key(r"(?P<speaker>(?P<sex>[FM])\d\d)[A-Z]\d+", _letter),
    "subesco": Key(r"(?P<speaker>(?P<sex>[FM])_\d\d)_.*", _letter),
    "tess": Key(r"(?P<speaker>[OY]AF)-.*", lambda match: "female"),
    "turevdb": Key(r"(?P<speaker>\d{4})_.*"),
    "urdu": Key(r"(?P<speaker>S(?P<sex>[FM])\d+)_.*", _letter),
}
"""Corpora of EmoBox whose keys or paths tell a speaker or a sex. Those of EMNS, Emozionalmente,
M3ED, MELD, MER2023, MSP-Podcast, PAVOQUE and RESD do not."""


def who_speaks(corpus: str, key: str, wav: str) -> tuple[str | None, str | None]:
    """Return speaker and sex of a clip, each None where nothing tells.

    Args:
        corpus: Name of its folder in EmoBox.
        key: `key` of its row.
        wav: `wav` of its row.
    """
    entry = KEYS.get(corpus)
    if entry is None:
        return None, None
    if entry.of_path:
        match = re.search(rf"(?:^|/){entry.pattern}$", wav)
    else:
        match = re.fullmatch(entry.pattern, key.removeprefix(f"{corpus}-"))
    if match is None:
        return None, None
    groups = match.groupdict()
    # IEMOCAP's speakers are the man and the woman of a session.
    speaker = (
        f"{groups['session']}{groups['sex']}" if "session" in groups else groups.get("speaker")
    )
    return speaker and f"{corpus}-{speaker}", entry.sex(match)
