"""ESD: `0011/Angry/train/0011_000401.wav`, transcripts of a speaker in `0011/0011.txt`.

Speakers 0001 to 0010 speak Mandarin, 0011 to 0020 English. Newer copies have no folders for the
split; there it follows from the number: each emotion has 350 sentences, of which the first 20 are
for evaluation and the next 30 for test.

Source: Zhou et al. (2022), arXiv 2105.14762; https://github.com/HLTSingapore/Emotional-Speech-Data.
"""

from __future__ import annotations

import re
from pathlib import Path

from annotate.corpora.base import CorpusClip, finish, relative, require_folder

EMOTIONS = ("Angry", "Happy", "Neutral", "Sad", "Surprise")
SPLITS = {"train": "train", "evaluation": "eval", "test": "test"}
MALE = frozenset({4, 5, 6, 8, 10, 11, 12, 13, 14, 20})
NUM_SPEAKERS = 20
LAST_MANDARIN = 10

_NUM_SENTENCES, _NUM_EVAL, _NUM_TEST = 350, 20, 30
_SPEAKER = re.compile(r"\d{4}")
_NAME = re.compile(r"(\d{4})_(\d{6})")


def read_esd(root: Path) -> list[CorpusClip]:
    """Return the clips of all speakers there are, with the official split.

    A few lines of the transcripts are damaged in the release; their clips have no text.

    Raises:
        UserError: A WAV file whose name or folder is not the corpus's, a speaker without
            transcripts or with unreadable ones, or no speaker at all.
    """
    require_folder(root, "ESD")
    clips: list[CorpusClip] = []
    problems: list[str] = []
    for folder in sorted(root.iterdir()):
        if not folder.is_dir() or not _SPEAKER.fullmatch(folder.name):
            continue
        number = int(folder.name)
        if not 1 <= number <= NUM_SPEAKERS:
            problems.append(f"{folder}: speakers go from 0001 to {NUM_SPEAKERS:04d}; move it away")
            continue
        texts = _read_texts(folder / f"{folder.name}.txt", problems)
        for path in sorted(folder.glob("**/*.wav")):
            if path.name.startswith("._"):  # left by macOS beside the real files
                continue
            place = path.relative_to(folder).parts[:-1]
            wrong = _what_is_wrong(path.stem, folder.name, place)
            if wrong:
                problems.append(f"{path}: {wrong}")
                continue
            clips.append(
                CorpusClip(
                    id=path.stem,
                    audio=relative(path, root),
                    raw_label=place[0],
                    speaker=folder.name,
                    text=texts.get(path.stem),
                    split=SPLITS[place[1]] if len(place) == 2 else official_split(path.stem),
                    sex="male" if number in MALE else "female",
                    lang="zh" if number <= LAST_MANDARIN else "en",
                )
            )
    return finish("ESD", root, clips, problems)


def official_split(name: str) -> str:
    """Return the split of an utterance such as `0011_000401`: `train`, `eval` or `test`."""
    sentence = (int(name.rpartition("_")[2]) - 1) % _NUM_SENTENCES
    if sentence < _NUM_EVAL:
        return "eval"
    return "test" if sentence < _NUM_EVAL + _NUM_TEST else "train"


def _what_is_wrong(stem: str, speaker: str, place: tuple[str, ...]) -> str | None:
    """Say what keeps a file in the folders `place` of a speaker from being a clip."""
    name = _NAME.fullmatch(stem)
    if name is None:
        return "not an ESD name (like 0011_000401.wav)"
    if name[1] != speaker:
        return f"named for speaker {name[1]}; move it to {name[1]}"
    if len(place) not in (1, 2) or place[0] not in EMOTIONS:
        return f"expected it in {speaker}/EMOTION or {speaker}/EMOTION/SPLIT, EMOTION one of " + (
            ", ".join(EMOTIONS)
        )
    if len(place) == 2 and place[1] not in SPLITS:
        return f"the folder of a split is one of {', '.join(SPLITS)}, not {place[1]}"
    return None


def _read_texts(path: Path, problems: list[str]) -> dict[str, str]:
    """Return utterance -> text, from lines `NAME<tab>TEXT<tab>EMOTION`."""
    if not path.is_file():
        problems.append(f"{path}: no such file; each speaker has the transcripts in one")
        return {}
    try:
        content = _decode(path.read_bytes(), mandarin=int(path.stem) <= LAST_MANDARIN)
    except UnicodeDecodeError as error:
        problems.append(f"{path}: in no encoding that the release uses ({error})")
        return {}
    rows = [line.split("\t") for line in content.splitlines()]
    texts = {row[0].strip(): " ".join(row[1].split()) for row in rows if len(row) == 3}
    return {name: text for name, text in texts.items() if text}


def _decode(content: bytes, *, mandarin: bool) -> str:
    """Decode transcripts: each speaker's file has one of four encodings and rarely says which."""
    if b"\x00" in content:
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("gb18030" if mandarin else "cp1252")
