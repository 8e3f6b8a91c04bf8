"""The parts of the offline call by themselves: a voice, an ear, a mind."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("livekit.agents")

from livekit.agents import llm

from offline import caller
from offline.agents import BILLING_RULES, SUPPORT_RULES, digits
from offline.brain import RuleLLM
from offline.recognition import Recognizer
from offline.speech import SAMPLE_RATE, synthesize


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    """An ear for the support desk."""
    return Recognizer()


def test_the_same_text_gives_the_same_sound() -> None:
    """Whatever was said in between, and in whatever voice."""
    first = synthesize("hello, where is my order", "en-us+f3")
    synthesize("something else", "en-us+m3")
    assert np.array_equal(first, synthesize("hello, where is my order", "en-us+f3"))


def test_a_voice_is_loud_enough_and_does_not_clip() -> None:
    """Between a tenth of full scale and full scale."""
    peak = int(np.abs(synthesize("hello, where is my order").astype(np.int32)).max())
    assert 3_000 < peak < 32_000


def test_an_unknown_voice_is_refused() -> None:
    """With its name."""
    with pytest.raises(RuntimeError, match="nobody"):
        synthesize("hello", "nobody")


@pytest.mark.parametrize("line", caller.LINES)
@pytest.mark.parametrize("voice", [caller.CALLER_VOICE, "en-us+f3"])
def test_every_line_is_understood(recognizer: Recognizer, line: str, voice: str) -> None:
    """Word by word, in more than one voice."""
    heard = recognizer.hear(synthesize(line, voice), SAMPLE_RATE)
    assert heard == line.replace(",", "")


def test_silence_is_not_understood(recognizer: Recognizer) -> None:
    """Nothing is heard where nothing is said."""
    assert recognizer.hear(np.zeros(SAMPLE_RATE, dtype=np.int16), SAMPLE_RATE) == ""


def test_another_grammar_hears_other_words() -> None:
    """The grammar is a parameter."""
    recognizer = Recognizer("#JSGF V1.0; grammar colours; public <colour> = red | green;")
    assert recognizer.hear(synthesize("green"), SAMPLE_RATE) == "green"


def _after(*said: str) -> llm.ChatContext:
    conversation = llm.ChatContext.empty()
    conversation.add_message(role="system", content="Be brief.")
    for text in said:
        conversation.add_message(role="user", content=text)
    return conversation


def test_a_rule_calls_a_tool_with_what_the_caller_said() -> None:
    """The number is made of the words."""
    answer = RuleLLM(SUPPORT_RULES).answer(_after("hello where is my order four two seven"))
    assert (answer.tool, answer.arguments) == ("lookup_order", {"order_id": "427"})


def test_a_rule_answers_what_a_tool_returned() -> None:
    """The result of the tool is the newest thing then."""
    conversation = _after("where is my order four two seven")
    output = llm.FunctionCallOutput(
        name="lookup_order", call_id="1", output="It is on its way.", is_error=False
    )
    conversation.insert(output)
    answer = RuleLLM(SUPPORT_RULES).answer(conversation)
    assert answer.text.startswith("It is on its way.") and answer.tool is None


def test_an_agent_that_has_heard_nothing_introduces_itself() -> None:
    """Only then; and what no rule knows is answered, too."""
    billing = RuleLLM(BILLING_RULES, otherwise="Pardon?")
    assert billing.answer(_after()).text.startswith("Hello, this is billing.")
    assert billing.answer(_after("what")).text == "Pardon?"


async def test_an_answer_comes_word_by_word_with_its_usage() -> None:
    """As chunks, the usage in the last."""
    stream = RuleLLM(SUPPORT_RULES).chat(chat_ctx=_after("put me through to billing"))
    chunks = [chunk async for chunk in stream]
    words = [chunk.delta.content for chunk in chunks if chunk.delta and chunk.delta.content]
    calls = [call.name for chunk in chunks if chunk.delta for call in chunk.delta.tool_calls]
    usage = chunks[-1].usage
    assert "".join(words) == "Of course, I will put you through to billing."
    assert len(words) == 9 and calls == ["transfer_to_billing"]
    assert usage is not None and usage.prompt_tokens > 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_digits_are_read_as_they_are_spoken() -> None:
    """Other words are left out."""
    assert digits("Four two  seven please") == "427"
