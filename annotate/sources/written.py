"""Clips that a source holds itself, or cuts out of recordings: written as files of their own."""

from __future__ import annotations

import re
import shutil
from pathlib import Path, PurePosixPath

from annotate.sources.paths import PathError
from configs.errors import UserError
from data.audio import AudioError, probe, read_part
from data.files import replacing
from data.stored import HashMap, text_hash

ROUNDING_S = 0.0051
"""Seconds by which a part may end after its recording: times are often rounded to hundredths."""

_KINDS = (
    (b"RIFF", ".wav"),
    (b"RF64", ".wav"),
    (b"fLaC", ".flac"),
    (b"OggS", ".ogg"),
    (b"FORM", ".aiff"),
    (b"ID3", ".mp3"),
    (b"\xff", ".mp3"),
)
"""How files begin -> their extension, for clips that have no name."""


class WrittenClips:
    """The folder of the clips that one source writes."""

    def __init__(self, folder: Path) -> None:
        """Write into a folder, which is made when the first clip comes."""
        self.folder = folder
        self.names = HashMap()
        """Hashes of the paths of what was written, below the folder."""

    def write(self, name: str, content: bytes, split: str) -> str:
        """Write a clip as it is and return its path below the folder.

        Args:
            name: What the source calls its file; of a path that leaves its folder, the last part.
            content: The file.
            split: Folder for a clip whose name another one has.

        Raises:
            PathError: Two clips of the same name.
        """
        plain = PurePosixPath(name.replace("\\", "/"))
        if plain.is_absolute() or ".." in plain.parts or ":" in name:
            plain = PurePosixPath(plain.name)
        audio = re.sub(r"[\x00-\x1f]", "_", str(plain)) if name else f"row-{len(self.names):07d}"
        if not PurePosixPath(audio).suffix:
            audio += next((end for start, end in _KINDS if content.startswith(start)), ".wav")
        if self._has(audio) and split:
            audio = f"{split}/{audio}"
        if self._has(audio):
            raise PathError(f"its clip is called {audio}, as that of a row before; rename one")
        self._put(audio, content)
        return audio

    def part(
        self, root: Path, audio: str, start_s: float, end_s: float | None, name: str | None
    ) -> str:
        """Write a part of a recording, and return its path; the whole stays as it is.

        Args:
            root: Folder of the recording.
            audio: The recording, below the root.
            start_s: Where it begins, in seconds.
            end_s: Where it ends, in seconds; None = with the recording.
            name: Id of the clip, if it has one.

        Raises:
            PathError: The recording cannot be read, or the part is not in it.
        """
        try:
            info = probe(root / audio)
            length = info.duration_s
            end = length if end_s is None else end_s
            if not start_s < end or end > length + ROUNDING_S:
                raise PathError(
                    f"goes from {start_s:g} to {end:g} s, and {audio} lasts {length:.3f} s; mend "
                    "the times"
                )
            end = min(end, length)
            if start_s == 0 and length - end < 1 / info.sample_rate:
                return audio
            content = read_part(root / audio, start_s, end)
        except AudioError as error:
            raise PathError(str(error)) from error
        path = PurePosixPath(audio)
        times = f"{path.stem}_{round(start_s * 1000):07d}_{round(end * 1000):07d}"
        stem = re.sub(r"[^\w.-]", "_", name) if name else times
        cut = str(path.with_name(f"{stem}.wav"))
        if self._has(cut):
            raise PathError(f"its part would be called {cut}, as that of a row before; change ids")
        self._put(cut, content)
        return cut

    def copy(self, root: Path, audio: str) -> None:
        """Copy a clip that lies below the root to the same path here, unless it was written."""
        if not self._has(audio):
            target = self.folder / audio
            target.parent.mkdir(parents=True, exist_ok=True)
            with (root / audio).open("rb") as source, replacing(target) as copy:
                shutil.copyfileobj(source, copy)
            self._add(audio)

    def refuse_old(self) -> None:
        """Refuse a folder of clips that an earlier source left, where this one has written none.

        Raises:
            UserError: There is one.
        """
        if not self.names and self.folder.exists():
            raise UserError(
                f"{self.folder}: clips of another source; give another output, or remove the folder"
            )

    def _has(self, audio: str) -> bool:
        return self.names.get(text_hash(audio)) is not None

    def _add(self, audio: str) -> None:
        self.names.put(text_hash(audio), len(self.names))

    def _put(self, audio: str, content: bytes) -> None:
        path = self.folder / audio
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(content)
        self._add(audio)
