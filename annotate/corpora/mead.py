"""MEAD: `M003/audio/angry/level_1/001.m4a`: actor (M = male, W = woman), emotion, level, take.

The sound ships as AAC in M4A files, which are not read here: the clip is the WAV file that ffmpeg
makes beside each of them.

Source: Wang et al. (2020), doi:10.1007/978-3-030-58589-1_42; https://github.com/uniBruce/Mead
"""

from __future__ import annotations

import re
from pathlib import Path

from annotate.corpora.base import CorpusClip, finish, relative, require_folder

EMOTIONS = ("angry", "contempt", "disgusted", "fear", "happy", "neutral", "sad", "surprised")
INTENSITIES = {"level_1": "weak", "level_2": "medium", "level_3": "strong"}
SEXES = {"M": "male", "W": "female"}

_ACTOR = re.compile(r"[MW]\d{3}")
_CONVERT = 'ffmpeg -nostdin -n -i "$1" "${1%.m4a}.wav"'


def read_mead(root: Path) -> list[CorpusClip]:
    """Return the clips of every actor's `audio` folder; the videos are not looked at.

    Raises:
        UserError: No actor's folder, sound that is still packed or still M4A, or a file in a
            folder that is not the corpus's.
    """
    require_folder(root, "MEAD")
    clips: list[CorpusClip] = []
    problems: list[str] = []
    for actor in sorted(path for path in root.iterdir() if _ACTOR.fullmatch(path.name)):
        audio = actor / "audio"
        if not audio.is_dir():
            packed = actor / "audio.tar"
            problems.append(
                f"{packed}: still packed; run: tar -xf {packed} -C {actor}"
                if packed.is_file()
                else f"{audio}: no such folder; it is in the actor's audio.tar"
            )
            continue
        files = sorted(path for path in audio.rglob("*") if path.suffix in (".wav", ".m4a"))
        waves = {path for path in files if path.suffix == ".wav"}
        left = [path for path in files if path.with_suffix(".wav") not in waves]
        if left:
            problems.append(
                f"{left[0]}: one of {len(left)} M4A files of {actor.name} without a WAV file; run: "
                f"find {root} -path '*/audio/*.m4a' -exec sh -c '{_CONVERT}' _ {{}} \\;"
            )
        for path in sorted(waves):
            clip = _clip(path, actor.name, root)
            if clip is None:
                problems.append(
                    f"{path}: not a MEAD path ({actor.name}/audio/EMOTION/level_N/NNN.wav); "
                    "move it away"
                )
            else:
                clips.append(clip)
    return finish("MEAD", root, clips, problems)


def _clip(path: Path, actor: str, root: Path) -> CorpusClip | None:
    """Return the clip that the path tells, unless it is none of the corpus's."""
    fields = path.relative_to(root).with_suffix("").parts
    if len(fields) != 5 or fields[2] not in EMOTIONS or fields[3] not in INTENSITIES:
        return None
    _, _, emotion, level, take = fields
    return CorpusClip(
        id=f"{actor}-{emotion}-{level}-{take}",
        audio=relative(path, root),
        raw_label=emotion,
        speaker=actor,
        sex=SEXES[actor[0]],
        lang="en",
        # Neutral speech stands under level_1 because it has no levels.
        extra={} if emotion == "neutral" else {"intensity": INTENSITIES[level]},
    )
