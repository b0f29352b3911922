"""Corpora whose clips are described by their paths: one entry a corpus in `NAMED`.

None of them ships a list of its clips. What a path does not tell (who is a woman, what was read)
comes from a file beside the clips, or follows from the rules of the corpus.

Sources:
    RAVDESS: Livingstone and Russo (2018), doi:10.1371/journal.pone.0196391; Zenodo record 1188976.
    SAVEE: Haq and Jackson (2010), Machine Audition, chapter 17; http://kahlan.eps.surrey.ac.uk/savee.
    CREMA-D: Cao et al. (2014), doi:10.1109/TAFFC.2014.2336244; for the files with defects,
        https://github.com/CheyneyComputerScience/CREMA-D, issues 6 and 8.
    MEAD: Wang et al. (2020), doi:10.1007/978-3-030-58589-1_42; https://github.com/uniBruce/Mead.
    EARS: Richter et al. (2024), arXiv:2406.06185; https://github.com/facebookresearch/ears_dataset.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from annotate.corpora.annotations import read_object
from annotate.corpora.base import Clips, CorpusClip, finish, relative, require_file, require_folder
from annotate.corpora.clips import LeftOut, find_clips, find_files, in_any_case
from annotate.corpora.texts import read_csv
from configs.errors import UserError

Fields = dict[str, Any]
"""Name of a group of the pattern -> its text; a rule may add to it and change it."""


@dataclass(frozen=True, slots=True)
class Skip:
    """What a rule returns for a clip that is left out."""

    why: str
    """What such clips are, in the plural: they are counted by it."""


Rule = Callable[[Path, Fields], str | Skip]
"""Clip and its fields -> what is wrong with it, empty if nothing is; or why it is left out."""

_FIELDS = ("speaker", "session", "text", "split", "sex", "lang")
"""Fields of a clip that its name may say."""


@dataclass(frozen=True, slots=True)
class Named:
    """How the paths of one corpus are read."""

    title: str
    """Its name, for messages."""
    files: str
    """Glob of its clips below the root; the extension may be in any case."""
    pattern: str
    """Regular expression of a clip's whole path below the root, without its suffix. Groups named as
    fields of `CorpusClip` (`speaker`, which it needs, `session`, `text`, `split`, `sex`, `lang`)
    become these, and `label` the raw one."""
    expected: str
    """What its names are, for messages."""
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    """Group -> code -> what it stands for; another code makes the name wrong."""
    id: str = "{stem}"
    """Format of the clip's id, from the groups' codes; `stem` is the file's name."""
    extra: tuple[str, ...] = ()
    """Further groups that go into the row."""
    rule: Callable[[Path, list[str]], Rule] | None = None
    """Looks at the root once, adds to the problems, and returns what is asked of each clip."""
    lang: str = "en"
    """ISO 639-1 code of what is spoken, unless the group `lang` says otherwise."""

    def read(self, root: Path) -> Clips:
        """Return the clips below a folder.

        Raises:
            UserError: The folder is not the corpus's, or a clip's name or facts are not.
        """
        require_folder(root, self.title)
        clips = Clips()
        problems: list[str] = []
        rule = self.rule(root, problems) if self.rule else None
        left_out = LeftOut()
        for path in find_clips(root, self.files, left_out):
            audio = relative(path, root)
            match = re.fullmatch(self.pattern, audio.removesuffix(path.suffix))
            fields = match.groupdict() if match else {}
            if match is None or not all(
                fields[name] is None or fields[name] in codes for name, codes in self.values.items()
            ):
                problems.append(f"{path}: not {self.expected}")
                continue
            problem = rule(path, fields) if rule else ""
            if isinstance(problem, Skip):
                left_out.add(problem.why, path)
            elif problem:
                problems.append(f"{path}: {problem}")
            else:
                clips.append(self._clip(audio, path.stem, fields))
        return finish(self.title, root, clips, problems, left_out, fits=self._fits)

    def _fits(self, folder: Path) -> bool:
        # Without `**/`, which would look through the whole disk from a folder above the root.
        return any(folder.glob(self.files.removeprefix("**/")))

    def _clip(self, audio: str, stem: str, fields: Fields) -> CorpusClip:
        facts = {name: self.values.get(name, {}).get(code, code) for name, code in fields.items()}
        named = {field: facts[field] for field in _FIELDS if field in facts}
        return CorpusClip(
            id=self.id.format(stem=stem, **fields),
            audio=audio,
            raw_label=facts["label"],
            extra={name: facts[name] for name in self.extra if facts[name] is not None},
            **{"lang": self.lang, **named},
        )


def _ravdess(root: Path, problems: list[str]) -> Rule:
    # The sound of the videos (01) is that of the sound alone (03); 02 has none.
    has_sound_alone = bool(find_files(root, "**/03-*.wav"))

    def rule(path: Path, fields: Fields) -> str | Skip:
        if fields["channel"] != "01":
            return Skip("songs (channel 02)")
        if has_sound_alone and fields["modality"] != "03":
            return Skip("the sound of videos (modality 01 or 02), beside the sound alone (03)")
        if path.parent.name != f"Actor_{fields['speaker']}":
            return "named for actor {speaker}; move it to Actor_{speaker}".format(**fields)
        return ""

    return rule


SAVEE_SPEAKERS = ("DC", "JE", "JK", "KL")


def _savee(root: Path, problems: list[str]) -> Rule:
    def rule(path: Path, fields: Fields) -> str:
        fields["speaker"] = fields["speaker"] or path.parent.name
        fields["sex"] = "male"
        if fields["speaker"] in SAVEE_SPEAKERS:
            return ""
        return (
            f"speaker {fields['speaker']!r} is not one of {', '.join(SAVEE_SPEAKERS)}; "
            "keep each speaker's files in their folder"
        )

    return rule


CREMA_D_SENTENCES = {
    "DFA": "Don't forget a jacket.",
    "IEO": "It's eleven o'clock.",
    "IOM": "I'm on my way to the meeting.",
    "ITH": "I think I have a doctor's appointment.",
    "ITS": "I think I've seen this before.",
    "IWL": "I would like a new alarm clock.",
    "IWW": "I wonder what this is about.",
    "MTI": "Maybe tomorrow it will be cold.",
    "TAI": "The airplane is almost full.",
    "TIE": "That is exactly what happened.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}
CREMA_D_DEFECTIVE = {
    "1064_IEO_DIS_MD": "a minute long, with the sentence in every emotion",
    "1064_TIE_SAD_XX": "cut off",
    "1076_MTI_NEU_XX": "cut off",
    "1076_MTI_SAD_XX": "silent",
}
"""Clips that are left out -> why."""

_LFS_POINTER = b"version https://git-lfs"


def _crema_d(root: Path, problems: list[str]) -> Rule:
    require_folder(root, "CREMA-D", "AudioWAV")
    table = require_file(root, "CREMA-D", "VideoDemographics.csv")
    sexes = {row["ActorID"]: row["Sex"].lower() for _, row in read_csv(table, ("ActorID", "Sex"))}
    wrong = sorted(actor for actor, sex in sexes.items() if sex not in ("female", "male"))
    if wrong:
        raise UserError(f"{table}: actor {wrong[0]}: expected Sex to be Female or Male")

    def rule(path: Path, fields: Fields) -> str | Skip:
        if fields["speaker"] not in sexes:
            return f"actor {fields['speaker']} is not in VideoDemographics.csv"
        fields["sex"] = sexes[fields["speaker"]]
        fields["intensity"] = fields["intensity"].ljust(2, "X")
        with path.open("rb") as file:
            if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
                return f"a git-lfs pointer, no sound; run `git lfs pull` in {root}"
        name = NAMED["crema_d"].id.format(**fields)
        return Skip("clips with known defects") if name in CREMA_D_DEFECTIVE else ""

    return rule


_TO_WAV = 'ffmpeg -nostdin -n -i "$1" "${1%.m4a}.wav"'


def _mead(root: Path, problems: list[str]) -> Rule:
    for actor in sorted(root.glob("[MW][0-9][0-9][0-9]")):
        audio, packed = actor / "audio", actor / "audio.tar"
        if packed.is_file() and not audio.is_dir():
            problems.append(f"{packed}: still packed; run: tar -xf {packed} -C {actor}")
        elif not audio.is_dir():
            problems.append(f"{audio}: no such folder; it is in the actor's audio.tar")
        left = [
            path
            for path in (find_files(audio, "**/*.m4a") if audio.is_dir() else ())
            if not in_any_case(path.with_suffix(".wav")).exists()
        ]
        if left:
            problems.append(
                f"{min(left)}: one of {len(left)} M4A files of {actor.name} without a WAV file; "
                f"run: find {root} -path '*/audio/*.m4a' -exec sh -c '{_TO_WAV}' _ {{}} \\;"
            )
    return lambda path, fields: ""


def _ears(root: Path, problems: list[str]) -> Rule:
    speakers = read_object(require_file(root, "EARS", "speaker_statistics.json"))
    texts = read_object(require_file(root, "EARS", "transcripts.json"))
    for folder in sorted(root.glob("p[0-9][0-9][0-9]")):
        if folder.name not in speakers:
            problems.append(f"{folder}: not in speaker_statistics.json; download that again")

    def rule(path: Path, fields: Fields) -> str | Skip:
        if fields["speaker"] not in speakers:
            return Skip("clips of speakers that speaker_statistics.json does not have")
        if fields["other"]:
            return Skip("readings and sounds that are no emotional task")
        fields["text"] = texts.get(path.stem)
        if fields["text"] is None and fields["task"] != "freeform":
            return "not in transcripts.json; download that again"
        sex = speakers[fields["speaker"]].get("gender")
        fields["sex"] = sex if sex in ("female", "male") else None
        if fields["label"] is None:
            fields |= {"label": "whisper", "task": "sentences"}
        return ""

    return rule


NAMED = {
    # Modality, channel (01 speech, 02 song), emotion, intensity, statement, repetition, actor.
    "ravdess": Named(
        "RAVDESS",
        "**/Actor_*/*.wav",
        r"(?:.*/)?(?P<modality>[^-/]*)-(?P<channel>[^-/]*)-(?P<label>\d+)-(?P<intensity>\d+)-(?P<text>\d+)-[^-]*"
        r"-(?P<speaker>\d*(?P<sex>\d))",
        "a RAVDESS name (7 fields like 03-01-05-01-01-01-01.wav)",
        {
            "label": {
                **{"01": "neutral", "02": "calm", "03": "happy", "04": "sad", "05": "angry"},
                **{"06": "fearful", "07": "disgust", "08": "surprised"},
            },
            "intensity": {"01": "normal", "02": "strong"},
            "text": {"01": "Kids are talking by the door.", "02": "Dogs are sitting by the door."},
            "sex": {str(last): "male" if last % 2 else "female" for last in range(10)},
        },
        extra=("intensity",),
        rule=_ravdess,
    ),
    # `AudioData/DC/a01.wav`, or `ALL/DC_a01.wav` of the copy that circulates as one folder. The
    # sentences are not part of the release.
    "savee": Named(
        "SAVEE",
        "**/*.wav",
        r"(?:.*/)?(?:(?P<speaker>[A-Z]{2})_)?(?P<label>sa|su|[adfhn])(?P<number>\d{2})",
        "a SAVEE name (like DC/a01.wav or DC_a01.wav)",
        {
            "label": {
                **{"a": "anger", "d": "disgust", "f": "fear", "h": "happiness"},
                **{"n": "neutral", "sa": "sadness", "su": "surprise"},
            }
        },
        "{speaker}_{label}{number}",
        rule=_savee,
    ),
    # The label is the emotion that the actor was asked for; what listeners heard
    # (`processedResults/summaryTable.csv`) often differs and is not read.
    "crema_d": Named(
        "CREMA-D",
        "AudioWAV/*.wav",
        r"AudioWAV/(?P<speaker>\d{4})_(?P<text>[A-Z]{3})_(?P<label>[A-Z]{3})_"
        r"(?P<intensity>LO|MD|HI|XX?)",
        "a CREMA-D name (like 1001_DFA_ANG_XX.wav)",
        {
            "label": {code: code for code in ["ANG", "DIS", "FEA", "HAP", "NEU", "SAD"]},
            "text": CREMA_D_SENTENCES,
            # Older copies hold 1040_ITH_SAD_X.wav for 1040_ITH_SAD_XX.wav.
            "intensity": {"LO": "low", "MD": "medium", "HI": "high"}
            | dict.fromkeys(("X", "XX"), "unspecified"),
        },
        "{speaker}_{text}_{label}_{intensity}",
        ("intensity",),
        _crema_d,
    ),
    # The sound ships as AAC in M4A files, which are not read here: the clip is the WAV file that
    # ffmpeg makes beside each of them. Neutral speech has no levels and stands under level_1.
    "mead": Named(
        "MEAD",
        "[MW][0-9][0-9][0-9]/audio/**/*.wav",
        r"(?P<speaker>(?P<sex>[MW])\d{3})/audio/"
        r"(?P<label>angry|contempt|disgusted|fear|happy|neutral|sad|surprised)/"
        r"(?P<level>(?<=/neutral/)level_[123]|(?P<intensity>level_[123]))/(?P<take>[^/]+)",
        "a MEAD path (M003/audio/EMOTION/level_N/NNN.wav); move it away",
        {
            "intensity": {"level_1": "weak", "level_2": "medium", "level_3": "strong"},
            "sex": {"M": "male", "W": "female"},
        },
        "{speaker}-{label}-{level}-{take}",
        ("intensity",),
        _mead,
    ),
    # Emotional tasks, read or in own words, and whispered readings; the others are left out. Two
    # emotions are misspelled in the names: `embarassment`, `extasy`.
    "ears": Named(
        "EARS",
        "p[0-9][0-9][0-9]/*.wav",
        r"(?P<speaker>p\d{3})/(?:emo_(?P<label>[a-z]+)_(?P<task>sentences|freeform)"
        r"|(?:rainbow|sentences)_\d\d_whisper|(?P<other>(?!emo_).+))",
        "an EARS name (emo_EMOTION_sentences or _freeform)",
        id="{speaker}-{stem}",
        extra=("task",),
        rule=_ears,
    ),
}
"""Name -> how its clips are read."""
