"""More corpora whose clips are described by their paths, as in `annotate.corpora.named`.

Names, speakers and counts were checked against the lists of files of EmoBox
(https://github.com/emo-box/EmoBox, `data/`), which has all of these corpora.

Sources:
    Emo-DB: Burkhardt et al. (2005), doi:10.21437/Interspeech.2005-446; http://emodb.bilderbar.info.
    TESS: Dupuis and Pichora-Fuller (2010), doi:10.5683/SP2/E8H2MF.
    eNTERFACE'05: Martin et al. (2006), doi:10.1109/ICDEW.2006.145; http://www.enterface.net.
    CASIA: Zhang and Jia (2008), Institute of Automation, Chinese Academy of Sciences; the part of
        4 speakers and 50 sentences. It does not say who is a woman, nor what the sentences are.
    EmoV-DB: Adigwe et al. (2018), arXiv:1806.09514; https://openslr.org/115; its sentences are
        those of http://www.festvox.org/cmu_arctic/cmuarctic.data.
    JL-Corpus: James et al. (2018), doi:10.21437/Interspeech.2018-1349.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from annotate.corpora.clips import find_files, in_any_case
from annotate.corpora.named import Fields, Named, Rule, Skip
from annotate.corpora.texts import read_lines, read_text
from configs.errors import UserError

EMODB_SEXES = {
    **dict.fromkeys(("03", "10", "11", "12", "15"), "male"),
    **dict.fromkeys(("08", "09", "13", "14", "16"), "female"),
}
EMODB_SENTENCES = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": ("An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht."),
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}
EMODB_LABELS = {
    **{"W": "anger", "L": "boredom", "E": "disgust", "A": "fear"},
    **{"F": "happiness", "T": "sadness", "N": "neutral"},
}
"""Letter of the German word (Wut, Langeweile, Ekel, Angst, Freude, Trauer) -> emotion."""

EMOVDB_SEXES = {"bea": "female", "jenie": "female", "josh": "male", "sam": "male"}

ARCTIC = "cmuarctic.data"
"""File of the sentences of CMU ARCTIC, which EmoV-DB numbers and does not ship."""

_ARCTIC_LINE = re.compile(r'\(\s*arctic_a(\d{4})\s+"(.*)"\s*\)')


def wanted_wavs(root: Path, glob: str, left_out: re.Pattern[str] | None = None) -> list[str]:
    """Return what is wrong with videos that have no WAV file beside them, and what to run.

    Args:
        root: Folder of the corpus.
        glob: Of the videos, with the extension in lower case.
        left_out: Names without extension that need none.
    """
    end = glob.rpartition(".")[2]
    left = [
        path
        for path in find_files(root, glob)
        if not (left_out and left_out.fullmatch(path.stem))
        and not in_any_case(path.with_suffix(".wav")).exists()
    ]
    if not left:
        return []
    return [
        f"{left[0]}: one of {len(left)} videos without a WAV file of the same name; run: find "
        f"{shlex.quote(str(root))} -iname '*.{end}' -exec sh -c 'ffmpeg -nostdin -n -i \"$1\" -vn "
        '"${1%.*}.wav"\' _ {} \\;'
    ]


def _emodb(root: Path, problems: list[str]) -> Rule:
    def rule(path: Path, fields: Fields) -> str:
        fields["sex"] = EMODB_SEXES[fields["speaker"]]
        return ""

    return rule


def _tess(root: Path, problems: list[str]) -> Rule:
    def rule(path: Path, fields: Fields) -> str:
        # One file of each copy that circulates is called OA_bite_neutral.wav.
        fields["speaker"] = fields["speaker"].upper().removesuffix("F") + "F"
        fields["label"] = fields["label"].lower()
        fields |= {"sex": "female", "text": f"Say the word {fields['word'].lower()}."}
        return ""

    return rule


_WHOLE_RECORDING = re.compile(r"s_?\d+_[a-z]{2}")


def _enterface(root: Path, problems: list[str]) -> Rule:
    problems += wanted_wavs(root, "**/*.avi", _WHOLE_RECORDING)

    def rule(path: Path, fields: Fields) -> str | Skip:
        if fields["number"] is None:
            return Skip("recordings of all five sentences in one (subject 6)")
        return ""

    return rule


def _emovdb(root: Path, problems: list[str]) -> Rule:
    lists = find_files(root, f"**/{ARCTIC}")
    texts = _arctic(lists[0]) if lists else {}

    def rule(path: Path, fields: Fields) -> str:
        fields["label"] = fields["label"].lower()
        fields["sex"] = EMOVDB_SEXES[fields["speaker"]]
        fields["text"] = texts.get(fields["number"])
        if texts and not fields["text"]:
            return f"{ARCTIC} has no sentence arctic_a{fields['number']}; download that again"
        return ""

    return rule


def _arctic(path: Path) -> Mapping[str, str]:
    """Return number -> sentence of the first part of CMU ARCTIC."""
    texts = {
        match[1]: match[2] for _, line in read_lines(path) if (match := _ARCTIC_LINE.search(line))
    }
    if not texts:
        raise UserError(f'{path}: has no line such as ( arctic_a0001 "..." ); download it again')
    return texts


def _jl(root: Path, problems: list[str]) -> Rule:
    def rule(path: Path, fields: Fields) -> str:
        words = path.with_suffix(".txt")
        try:
            fields["text"] = " ".join(read_text(words).split()) or None if words.exists() else None
        except UserError as error:
            return f"its text: {error}"
        return ""

    return rule


JL_LABELS = (
    *("angry", "anxious", "apologetic", "assertive", "concerned"),
    *("encouraging", "excited", "happy", "neutral", "sad"),
)
CASIA_LABELS = ("angry", "fear", "happy", "neutral", "sad", "surprise")
CASIA_SPEAKERS = ("liuchanhg", "wangzhe", "zhaoquanyin", "zhaozuoxiang")

ACTED = {
    "casia": Named(
        "CASIA",
        "**/*.wav",
        r"(?:.*/)?(?P<speaker>[a-z]+)/(?P<label>[a-z]+)/(?P<number>\d{3})",
        "a CASIA path (SPEAKER/EMOTION/NNN.wav, like wangzhe/angry/201.wav)",
        {
            "speaker": {name: name for name in CASIA_SPEAKERS},
            "label": {name: name for name in CASIA_LABELS},
        },
        "{speaker}-{label}-{number}",
        lang="zh",
    ),
    # Speaker, sentence, emotion, version. Of the names, only the sound is read: what lies in `lab`
    # or `silb` has other extensions.
    "emodb": Named(
        "Emo-DB",
        "**/*.wav",
        r"(?:.*/)?(?P<speaker>\d\d)(?P<text>[ab]\d\d)(?P<label>[A-Z])(?P<version>[a-z])",
        "an Emo-DB name (speaker, sentence, emotion, version: 03a01Wa.wav)",
        {
            "speaker": {name: name for name in EMODB_SEXES},
            "text": EMODB_SENTENCES,
            "label": EMODB_LABELS,
        },
        lang="de",
        rule=_emodb,
    ),
    "emovdb": Named(
        "EmoV-DB",
        "**/*.wav",
        r"(?:.*/)?(?P<speaker>bea|jenie|josh|sam)(?:[_/-]\w+)?/(?:.*/)?"
        r"(?P<label>(?i:amused|anger|disgust|neutral|sleepiness))_\d+[-_]\d+_(?P<number>\d{4})",
        "an EmoV-DB path (SPEAKER_STYLE/STYLE_FROM-TO_NNNN.wav, bea_Amused/amused_1-28_0001.wav)",
        id="{speaker}-{label}-{number}",
        rule=_emovdb,
    ),
    # The folder tells the speaker: the files of subject 11 are named for 12.
    "enterface": Named(
        "eNTERFACE'05",
        "**/*.wav",
        r"(?:.*/)?(?i:subject) ?(?P<speaker>\d+)/[a-z]+/(?:sentence ?\d/)?"
        r"s_?\d+_(?P<label>[a-z]{2})(?:_(?P<number>\d)(?:avi)?)?",
        "an eNTERFACE'05 path (subject 1/anger/sentence 1/s1_an_1.wav)",
        {
            "label": {
                **{"an": "anger", "di": "disgust", "fe": "fear", "ha": "happiness"},
                **{"sa": "sadness", "su": "surprise"},
            }
        },
        "s{speaker}_{label}_{number}",
        rule=_enterface,
    ),
    "jl": Named(
        "JL-Corpus",
        "**/*.wav",
        r"(?:.*/)?(?P<speaker>(?P<sex>female|male)\d)_(?P<label>[a-z]+)_(?P<number>\d+[ab])_\d",
        "a JL-Corpus name (like female1_angry_10a_1.wav)",
        {"label": {name: name for name in JL_LABELS}},
        rule=_jl,
    ),
    "tess": Named(
        "TESS",
        "**/*.wav",
        r"(?:.*/)?(?P<speaker>(?i:[OY]AF?))_(?P<word>[A-Za-z]+)_"
        r"(?P<label>(?i:angry|disgust|fear|happy|neutral|ps|sad))",
        "a TESS name (SPEAKER_WORD_EMOTION, like OAF_back_angry.wav)",
        id="{speaker}_{word}_{label}",
        rule=_tess,
    ),
}
"""Name -> how its clips are read."""
