"""An ear without keys: pocketsphinx with a small grammar, as a LiveKit STT.

The acoustic model comes in the wheel. It is an old one: it understands a clear synthetic voice
well, as long as a grammar says what can be said.
"""

from __future__ import annotations

import asyncio
import threading

import numpy as np
from livekit import rtc
from livekit.agents import (
    DEFAULT_API_CONNECT_OPTIONS,
    NOT_GIVEN,
    APIConnectOptions,
    LanguageCode,
    NotGivenOr,
    stt,
    utils,
)
from pocketsphinx import (  # type: ignore[import-untyped]  # ships no types
    Config,
    Decoder,
    get_model_path,
)

from offline.sound import Samples, from_frame, resample

MODEL_RATE = 16_000
"""The rate of the acoustic model, in Hz."""

PADDING = 0.3
"""Seconds of room put around an utterance: the decoder wants to hear where it starts and ends."""

ROOM_NOISE = 30.0
"""Standard deviation of the noise laid under an utterance, in steps of 16 bits (-61 dBFS).

The model learnt from rooms, and digital silence upsets it: of 140 lines in four espeak-ng voices
35 were misunderstood without this noise, 6 with it.
"""

SUPPORT_GRAMMAR = """#JSGF V1.0;
grammar support;
public <line> = <order> | <refund> | <billing> | <goodbye>;
<order> = [hello] [please] (where is | look up) my order <digit> <digit> <digit>;
<refund> = [then] i would like a refund [please];
<billing> = [stop] please put me through to billing;
<goodbye> = (thank you | that is all) [very much] goodbye;
<digit> = zero | one | two | three | four | five | six | seven | eight | nine;
"""
"""What a caller of the support desk can say."""


class Recognizer:
    """pocketsphinx with one grammar; blocking, and one utterance at a time.

    Args:
        grammar: A JSGF grammar; its words must be in the CMU dictionary, in lower case.
    """

    def __init__(self, grammar: str = SUPPORT_GRAMMAR) -> None:
        self._grammar = grammar
        self._decoder: Decoder | None = None
        self._lock = threading.Lock()

    def load(self) -> None:
        """Load the model, which takes about half a second, unless it is loaded."""
        with self._lock:
            self._loaded()

    def hear(self, samples: Samples, rate: int) -> str:
        """Return what was said in mono `samples` at `rate` Hz, or "" if that was nothing."""
        sound = _in_a_room(resample(samples, rate, MODEL_RATE))
        with self._lock:
            decoder = self._loaded()
            decoder.start_utt()
            decoder.process_raw(sound.tobytes(), full_utt=True)
            decoder.end_utt()
            hypothesis = decoder.hyp()
        return hypothesis.hypstr if hypothesis else ""

    def _loaded(self) -> Decoder:
        if self._decoder is None:
            config = Config(
                hmm=get_model_path("en-us/en-us"),
                dict=get_model_path("en-us/cmudict-en-us.dict"),
                samprate=float(MODEL_RATE),
                # Wide beams, and no second pass over the lattice: both cut sentences short.
                beam=1e-80,
                wbeam=1e-60,
                pbeam=1e-80,
                bestpath=False,
                loglevel="FATAL",
            )
            self._decoder = Decoder(config)
            self._decoder.add_jsgf_string("calls", self._grammar)
            self._decoder.activate_search("calls")
        return self._decoder


def _in_a_room(samples: Samples) -> Samples:
    padding = round(PADDING * MODEL_RATE)
    sound = np.pad(samples.astype(np.float64), padding)
    noise = np.random.default_rng(0).normal(0.0, ROOM_NOISE, len(sound))
    return np.clip(sound + noise, -32_768, 32_767).astype(np.int16)


class PocketSphinxSTT(stt.STT[str]):
    """pocketsphinx as an STT of an `AgentSession`, which lets its VAD cut the utterances.

    Args:
        recognizer: What understands; by default a new one with the grammar of the support desk,
            which loads its model when it first hears something.
    """

    def __init__(self, recognizer: Recognizer | None = None) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=False, interim_results=False))
        self._recognizer = recognizer or Recognizer()

    @property
    def model(self) -> str:
        """The acoustic model's name."""
        return "en-us"

    @property
    def provider(self) -> str:
        """The name that metrics carry."""
        return "pocketsphinx"

    async def _recognize_impl(
        self,
        buffer: utils.AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> stt.SpeechEvent:
        frame = rtc.combine_audio_frames(buffer)
        text = await asyncio.to_thread(self._recognizer.hear, from_frame(frame), frame.sample_rate)
        return stt.SpeechEvent(
            type=stt.SpeechEventType.FINAL_TRANSCRIPT,
            request_id=utils.shortuuid("sphinx_"),
            alternatives=[stt.SpeechData(language=LanguageCode("en"), text=text)],
        )
