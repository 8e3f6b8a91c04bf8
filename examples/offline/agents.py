"""Two agents of a shop: support, who knows orders, and billing, who takes over and says goodbye.

Each has a voice and rules of its own; their tools are ordinary LiveKit function tools.
"""

from __future__ import annotations

import re

from livekit.agents import Agent, RunContext, ToolError, function_tool

from offline.brain import Rule, RuleLLM
from offline.speech import EspeakTTS

SUPPORT_VOICE = "en-us+m3"
BILLING_VOICE = "en-gb-x-rp+f4"

ORDERS = {
    "427": "Order 4 2 7 left our warehouse on Monday, and arrives on Friday.",
    "519": "Order 5 1 9 is being packed, and leaves our warehouse tomorrow.",
}

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def digits(spoken: str) -> str:
    """Turn "four two seven" into "427"; words that are no digits are left out."""
    return "".join(str(_DIGITS.index(word)) for word in spoken.lower().split() if word in _DIGITS)


def _order_id(match: re.Match[str]) -> dict[str, str]:
    return {"order_id": digits(match["digits"])}


SUPPORT_RULES = (
    Rule(r"order (?P<digits>.+)", tool="lookup_order", arguments=_order_id),
    Rule(r"(?P<found>.+)", "{found} What else can I do for you?", after="lookup_order"),
    Rule(r"refund", tool="issue_refund", arguments=lambda _: {"whole_order": True}),
    Rule(
        r"closed",
        "I am sorry, but I cannot refund this order. Refunds close as soon as a parcel has left "
        "our warehouse, and yours left on Monday. You can still send the parcel back when it has "
        "arrived, and we will then return the price to your card within fourteen days.",
        after="issue_refund",
    ),
    Rule(r"billing", "Of course, I will put you through to billing.", tool="transfer_to_billing"),
)

BILLING_RULES = (
    Rule(r"", "Hello, this is billing. I have your order in front of me. How can I help?"),
    Rule(r"goodbye", "You are welcome. Goodbye, and have a nice day!", tool="end_call"),
)


class SupportAgent(Agent):
    """Answers the telephone and looks up orders; cannot refund anything."""

    def __init__(self) -> None:
        super().__init__(
            instructions="You are the support desk of a shop. Be brief and friendly.",
            llm=RuleLLM(SUPPORT_RULES, name="support-rules"),
            tts=EspeakTTS(SUPPORT_VOICE),
        )

    async def on_enter(self) -> None:
        """Greet the caller."""
        self.session.say("Hello, this is the support desk. Which order can I look up for you?")

    @function_tool
    async def lookup_order(self, context: RunContext[None], order_id: str) -> str:
        """Tell where an order is.

        Args:
            order_id: The digits of the order.
        """
        return ORDERS.get(order_id, f"I could not find an order {' '.join(order_id)}.")

    @function_tool
    async def issue_refund(self, context: RunContext[None], whole_order: bool) -> str:
        """Refund the order the caller asked about.

        Args:
            whole_order: Whether to refund everything in the order.
        """
        raise ToolError("refunds are closed for this order")

    @function_tool
    async def transfer_to_billing(self, context: RunContext[None]) -> Agent:
        """Hand the caller over to billing."""
        return BillingAgent()


class BillingAgent(Agent):
    """Takes over in a voice of its own, and ends the call."""

    def __init__(self) -> None:
        super().__init__(
            instructions="You are the billing desk of a shop. Be brief and friendly.",
            llm=RuleLLM(BILLING_RULES, name="billing-rules"),
            tts=EspeakTTS(BILLING_VOICE),
        )

    async def on_enter(self) -> None:
        """Introduce itself."""
        self.session.generate_reply(instructions="Introduce yourself.")

    @function_tool
    async def end_call(self, context: RunContext[None]) -> None:
        """End the call, once the goodbye has been heard."""
        await context.wait_for_playout()
        context.session.shutdown()
