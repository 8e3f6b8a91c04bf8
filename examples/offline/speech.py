"""A voice without keys: espeak-ng, as a function and as a LiveKit TTS.

The library and its data come in the `espeakng-loader` wheel, so nothing has to be installed.
"""

from __future__ import annotations

import _ctypes
import asyncio
import contextlib
import ctypes
import threading
from collections.abc import Iterator

import espeakng_loader  # type: ignore[import-untyped]  # ships no types
import numpy as np
from livekit.agents import DEFAULT_API_CONNECT_OPTIONS, APIConnectOptions, tts, utils

from offline.sound import NOTHING, Samples, silence

SAMPLE_RATE = 22_050
"""The rate espeak-ng speaks at, in Hz."""

DEFAULT_VOICE = "en-us+f3"
DEFAULT_RATE = 170
"""Words a minute."""

_VOLUME = 70  # of espeak-ng's 100, at which some voices clip

SENTENCE_PAUSE = 0.2
"""Seconds of silence after a sentence of the TTS; espeak-ng itself ends with the last sound."""

# From espeak-ng's speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000
_PARAMETER_RATE = 1
_PARAMETER_VOLUME = 2
_POSITION_CHARACTER = 1
_CHARS_UTF8 = 1
_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)

_lock = threading.Lock()  # espeak-ng keeps its state in globals: one voice at a time


def synthesize(text: str, voice: str = DEFAULT_VOICE, rate: int = DEFAULT_RATE) -> Samples:
    """Speak `text` and return the sound; the same text always gives the same samples.

    Takes some 5 ms, blocking: call it off the event loop.

    Args:
        text: What to say, in English.
        voice: An espeak-ng voice, with a variant after the plus sign.
        rate: Words a minute.

    Returns:
        Mono samples at `SAMPLE_RATE`, from the first sound to the last.

    Raises:
        RuntimeError: espeak-ng does not know the voice, or could not speak.
    """
    spoken: list[Samples] = []

    def receive(sound: ctypes._Pointer[ctypes.c_short], count: int, _events: int) -> int:
        if sound and count > 0:
            spoken.append(np.ctypeslib.as_array(sound, (count,)).astype(np.int16))
        return 0

    callback = _CALLBACK(receive)  # must outlive the synthesis
    with _lock, _espeak() as lib:
        lib.espeak_SetSynthCallback(callback)
        _check(lib.espeak_SetVoiceByName(voice.encode()), f"the voice {voice!r}")
        _check(lib.espeak_SetParameter(_PARAMETER_RATE, rate, 0), f"the rate {rate}")
        _check(lib.espeak_SetParameter(_PARAMETER_VOLUME, _VOLUME, 0), f"the volume {_VOLUME}")
        data = text.encode()
        status = lib.espeak_Synth(
            data, len(data) + 1, 0, _POSITION_CHARACTER, 0, _CHARS_UTF8, None, None
        )
        _check(status, "this text")
    return np.concatenate([NOTHING, *spoken])


@contextlib.contextmanager
def _espeak() -> Iterator[ctypes.CDLL]:
    """Load espeak-ng afresh, and unload it again.

    The flutter of its voices runs on from one text to the next in a static variable that nothing
    else resets; unloading does, in under 1 ms.
    """
    lib = ctypes.CDLL(espeakng_loader.get_library_path())
    try:
        data_path = espeakng_loader.get_data_path().encode()
        rate = lib.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, data_path, _INITIALIZE_DONT_EXIT)
        if rate != SAMPLE_RATE:
            raise RuntimeError(f"espeak-ng did not start with the data in {data_path.decode()}")
        lib.espeak_ng_SetRandSeed(ctypes.c_long(1))
        yield lib
        lib.espeak_Terminate()
    finally:
        if hasattr(_ctypes, "dlclose"):
            _ctypes.dlclose(lib._handle)


def _check(status: int, what: str) -> None:
    if status:
        raise RuntimeError(f"espeak-ng refused {what} (status {status})")


class EspeakTTS(tts.TTS[str]):
    """espeak-ng as a TTS of an `AgentSession`.

    Args:
        voice: As in `synthesize`.
        rate: Words a minute.
    """

    def __init__(self, voice: str = DEFAULT_VOICE, rate: int = DEFAULT_RATE) -> None:
        super().__init__(
            capabilities=tts.TTSCapabilities(streaming=False),
            sample_rate=SAMPLE_RATE,
            num_channels=1,
        )
        self.voice = voice
        self.rate = rate

    @property
    def model(self) -> str:
        """The voice, which is all espeak-ng has of models."""
        return self.voice

    @property
    def provider(self) -> str:
        """The name that metrics carry."""
        return "espeak-ng"

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        """Speak one sentence."""
        return _EspeakStream(tts=self, input_text=text, conn_options=conn_options)


class _EspeakStream(tts.ChunkedStream):
    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        assert isinstance(self._tts, EspeakTTS)
        samples = await asyncio.to_thread(
            synthesize, self._input_text, self._tts.voice, self._tts.rate
        )
        output_emitter.initialize(
            request_id=utils.shortuuid("espeak_"),
            sample_rate=SAMPLE_RATE,
            num_channels=1,
            mime_type="audio/pcm",
        )
        output_emitter.push(samples.tobytes())
        output_emitter.push(silence(SENTENCE_PAUSE, SAMPLE_RATE).tobytes())
        output_emitter.flush()
