"""A mind without keys: an LLM of a few rules, which answers word by word as a real one does."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from livekit.agents import (
    DEFAULT_API_CONNECT_OPTIONS,
    NOT_GIVEN,
    APIConnectOptions,
    NotGivenOr,
    llm,
    utils,
)

THINKING_SECONDS = 0.15
"""How long a rule takes to find its first word."""

SECONDS_PER_WORD = 0.01
"""How long every further word takes: 100 words a second, as fast models do."""

TOKENS_PER_WORD = 4 / 3

Arguments = Callable[[re.Match[str]], Mapping[str, Any]]


@dataclass(frozen=True)
class Rule:
    """What to do when the newest thing in the conversation matches.

    Attributes:
        pattern: Searched for, in any case, in what the caller said last, or in what a tool
            returned last; "" if neither has happened yet.
        text: What to say. `{name}` stands for the group of that name in the pattern.
        tool: The name of a tool to call, after saying `text`.
        arguments: Makes the tool's arguments from the match.
        after: Matches only the result of the tool of this name, rather than the caller.
    """

    pattern: str
    text: str = ""
    tool: str | None = None
    arguments: Arguments = lambda _match: {}
    after: str | None = None


@dataclass(frozen=True)
class Answer:
    """What a rule came to."""

    text: str
    tool: str | None = None
    arguments: Mapping[str, Any] | None = None


class RuleLLM(llm.LLM[str]):
    """An LLM that follows rules.

    Args:
        rules: The first that matches answers.
        otherwise: What to say if none does.
        name: The model's name, as metrics carry it.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        otherwise: str = "I am sorry, I did not understand that.",
        name: str = "rules",
    ) -> None:
        super().__init__()
        self._rules = rules
        self._otherwise = otherwise
        self._name = name

    @property
    def model(self) -> str:
        """The name given."""
        return self._name

    @property
    def provider(self) -> str:
        """The name that metrics carry."""
        return "offline"

    def answer(self, chat_ctx: llm.ChatContext) -> Answer:
        """Return what to say and do next in a conversation."""
        newest, tool = _newest(chat_ctx.items)
        for rule in self._rules:
            match = re.search(rule.pattern, newest, re.IGNORECASE)
            if match and rule.after == tool and (rule.pattern or not newest):
                text = rule.text.format(**match.groupdict())
                return Answer(text, rule.tool, rule.arguments(match))
        return Answer(self._otherwise)

    def chat(
        self,
        *,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool] | None = None,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        parallel_tool_calls: NotGivenOr[bool] = NOT_GIVEN,
        tool_choice: NotGivenOr[llm.ToolChoice] = NOT_GIVEN,
        extra_kwargs: NotGivenOr[dict[str, Any]] = NOT_GIVEN,
    ) -> llm.LLMStream:
        """Answer the newest thing in the conversation."""
        return _RuleStream(
            self,
            self.answer(chat_ctx),
            chat_ctx=chat_ctx,
            tools=tools or [],
            conn_options=conn_options,
        )


class _RuleStream(llm.LLMStream):
    def __init__(self, model: RuleLLM, answer: Answer, **arguments: Any) -> None:
        super().__init__(model, **arguments)
        self._answer = answer
        self._id = utils.shortuuid("rules_")

    async def _run(self) -> None:
        await asyncio.sleep(THINKING_SECONDS)
        for word in re.findall(r"\S+\s*", self._answer.text):
            self._send(llm.ChoiceDelta(role="assistant", content=word))
            await asyncio.sleep(SECONDS_PER_WORD)
        if self._answer.tool is not None:
            self._send(llm.ChoiceDelta(role="assistant", tool_calls=[self._tool_call()]))
        usage = _usage(self.chat_ctx.items, self._answer)
        self._event_ch.send_nowait(llm.ChatChunk(id=self._id, usage=usage))

    def _send(self, delta: llm.ChoiceDelta) -> None:
        self._event_ch.send_nowait(llm.ChatChunk(id=self._id, delta=delta))

    def _tool_call(self) -> llm.FunctionToolCall:
        assert self._answer.tool is not None
        return llm.FunctionToolCall(
            name=self._answer.tool,
            arguments=json.dumps(self._answer.arguments),
            call_id=utils.shortuuid("call_"),
        )


def _newest(items: Iterable[llm.ChatItem]) -> tuple[str, str | None]:
    """Return what was said or returned last, and by which tool it was returned."""
    for item in reversed(list(items)):
        if item.type == "function_call_output":
            return item.output, item.name
        if item.type == "message" and item.role == "user":
            return item.text_content or "", None
    return "", None


def _usage(items: Iterable[llm.ChatItem], answer: Answer) -> llm.CompletionUsage:
    read = sum(len(str(item.model_dump(include=_READ)).split()) for item in items)
    wrote = len(answer.text.split()) + (10 if answer.tool else 0)
    prompt, completion = round(read * TOKENS_PER_WORD), round(wrote * TOKENS_PER_WORD)
    return llm.CompletionUsage(
        prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion
    )


_READ = {"content", "name", "arguments", "output"}
