"""The words of what the agent says, and how many of them were heard."""

from __future__ import annotations

import inspect
from typing import Any

from livekit.agents.voice import io


class Captions(io.TextOutput):
    """An `AgentSession`'s transcription output, from which its audio output knows the words.

    An output that says which words it played is what livekit-agents cuts an interrupted message
    by. This one takes it that each word is as long as its letters.
    """

    def __init__(self) -> None:
        known = inspect.signature(io.TextOutput).parameters
        options: dict[str, Any] = {"label": "Captions", "next_in_chain": None}
        super().__init__(**{name: value for name, value in options.items() if name in known})
        self._text = ""
        self._is_complete = False

    async def capture_text(self, text: str) -> None:
        """Take the next piece of what is being said; the first one of a speech begins anew."""
        if self._is_complete:
            self._text, self._is_complete = "", False
        self._text += text

    def flush(self) -> None:
        """Mark the speech as complete."""
        self._is_complete = True

    def heard(self, part: float) -> str:
        """Return the words that were heard whole, where `part` of the sound (0 to 1) was."""
        length = part * len(self._text)
        end = 0
        for word in self._text.split():
            begin = self._text.index(word, end)
            if begin + len(word) > length:
                break
            end = begin + len(word)
        return self._text[:end].strip()
