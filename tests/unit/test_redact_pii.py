"""`redact_pii`: what it finds in many formats, and what it leaves alone."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roark_analytics_python_livekit.redaction import STEP, redact_pii
from tests.support.steps import is_in_steps

CARDS = [
    "4111111111111111",  # Visa
    "4111 1111 1111 1111",
    "4111-1111-1111-1111",
    "4111.1111.1111.1111",
    "4111, 1111, 1111, 1111",
    "4111 - 1111 - 1111 - 1111",
    "4111\n1111\n1111\n1111",
    "4111\r\n1111\r\n1111\r\n1111",
    "4111\u00a01111\u00a01111\u00a01111",
    "4111\u20111111\u20111111\u20111111",
    "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
    "4222222222222",
    "5555555555554444",  # Mastercard
    "5555 5555 5555 4444",
    "2223 0031 2200 3222",
    "378282246310005",  # American Express
    "3782 822463 10005",
    "30569309025904",  # Diners Club
    "6011 1111 1111 1117",  # Discover
    "3530 1113 3330 0000",  # JCB
    "6200 0000 0000 0005",  # UnionPay
    "four one one one, one one one one, one one one one, one one one one",
    "four triple one double one double one double one double one double one one one",
]
EMAILS = [
    "jane@example.com",
    "jane.doe+orders@mail.example.co.uk",
    "JANE_DOE@EXAMPLE.ORG",
    "o'neil@example.com",
    "jane@büro.example",
    "jane dot doe at example dot com",
    "jane underscore doe at mail dot example dot org",
    "look-jane at example dot com",
]
PHONES = [
    "+15105550100",
    "+1 510 555 0100",
    "+1 (510) 555-0100",
    "+1-510-555-0100",
    "1-800-555-0100",
    "(510) 555-0100",
    "(510)555-0100",
    "510-555-0100",
    "510.555.0100",
    "510 555 0100",
    "5105550100",
    "15105550100",
    "447911123456",
    "4915112345679",
    "33612345678",
    "34612345678",
    "919876543210",
    "555-0100",
    "+44 20 7946 0958",
    "+44 (0)20 7946 0958",
    "020 7946 0958",
    "07700 900123",
    "07700900123",
    "+49 30 1234567",
    "0049 30 1234567",
    "030/1234567",
    "(030) 1234567",
    "+33 6 12 34 56 78",
    "06 12 34 56 78",
    "06.12.34.56.78",
    "612 345 678",
    "+91 98765 43210",
    "98765 43210",
    "+86 138 0013 8000",
    "five one oh five five five oh one oh oh",
    "five one zero, five five five, zero one double zero",
]
OTHERS = [
    "order 5105550100",  # ten digits, and said to be something else
    "your order number is 5105550100",
    "ticket #510-555-0100",
    "invoice no. 0123456789",
    "order 427",
    "order A-5105550100",
    "4111111111111112",  # no check digit
    "1234567890123456",  # no issuer
    "1732435143412",  # milliseconds
    "2025-11-24",
    "24.11.2025",
    "24/11/2025",
    "11-24-2025",
    "2025-11-24T08:19:03.412+00:00",
    "2025-11-24 08:19:03",
    "from 08.30 - 17.00",
    "09:30 to 17:00",
    "$1,234,567.89",
    "1.234.567,89 EUR",
    "3.14159265358979",
    "192.168.100.200",
    "10.0.0.1",
    "550e8400-e29b-41d4-a716-446655440000",
    "in 2019, 2020 and 2021",
    "rooms 101 102 103",
    "one two three",
    "it is at the shop",
    "look at example dot com",
    "@jane wrote",
    "zip 94103-1234",
    "3:45 pm",
    "100%",
    "",
]


@pytest.mark.parametrize("card", CARDS)
def test_card_numbers_go(card: str) -> None:
    """Of each issuer, in one piece, in groups, digit by digit, and in words."""
    assert redact_pii(f"it is {card}, thanks") == "it is [card], thanks"
    assert redact_pii(card) == "[card]"


@pytest.mark.parametrize("email", EMAILS)
def test_email_addresses_go(email: str) -> None:
    """Written, and as a recognizer writes what was said."""
    assert redact_pii(f"mail {email}.") == "mail [email]."


@pytest.mark.parametrize("phone", PHONES)
def test_phone_numbers_go(phone: str) -> None:
    """International ones, and national ones as people write them."""
    assert redact_pii(f"call {phone} please") == "call [phone] please"
    assert redact_pii(phone) == "[phone]"


@pytest.mark.parametrize("text", OTHERS)
def test_what_is_none_of_them_stays(text: str) -> None:
    """Order numbers, dates, times, amounts, addresses of machines."""
    assert redact_pii(text) == text
    assert redact_pii(f"so {text} then") == f"so {text} then"


def test_all_of_them_in_one_text() -> None:
    """Each by its own mark, and nothing in between is lost."""
    text = "I am a.b@example.com, 510-555-0100; pay 4111 1111 1111 1111 12/27 123 for order 99."
    assert redact_pii(text) == "I am [email], [phone]; pay [card] 12/27 123 for order 99."


def test_a_card_next_to_another_number_is_found() -> None:
    """The longest run of groups that can be a card is one."""
    assert redact_pii("order 12345 4111 1111 1111 1111") == "order 12345 [card]"
    assert redact_pii("4111111111111111 5555555555554444") == "[card] [card]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sip_+15105550100", "sip_[phone]"),
        ("call-_+15105550100_x8Fh2k", "call-_[phone]_x8Fh2k"),
        ("sip_15105550100", "sip_[phone]"),
        ("sip_447911123456", "sip_[phone]"),
        ("sip_00447911123456_x", "sip_[phone]_x"),
        ("call-_15105550100_aB3", "call-_[phone]_aB3"),
        ("card_4111111111111111", "card_[card]"),
        ("CARD4111111111111111", "CARD[card]"),
        ("4111-1111-1111-1111x", "[card]x"),
        ("order_5105550100", "order_5105550100"),
        ("my_order_id_5105550100", "my_order_id_5105550100"),
        ("a5105550100", "a5105550100"),
        ("tel:+15105550100", "tel:[phone]"),
        ("sip:+15105550100@sip.example.com", "sip:[email]"),
    ],
)
def test_names_that_are_made_of_numbers_lose_them(text: str, expected: str) -> None:
    """Identities and rooms of SIP callers; keys of code. Orders' and ids keep them."""
    assert redact_pii(text) == expected


@given(st.text())
def test_any_text_is_taken(text: str) -> None:
    """And what was redacted is not redacted again."""
    once = redact_pii(text)
    assert redact_pii(once) == once


HUGE = [
    "4",
    "4 ",
    "4111 1111 ",
    "a",
    "a.",
    "a@",
    "one ",
    "a dot ",
    "+",
    "(",
    "0 ",
    "12-",
    "4\n",
    "4 - ",
    "4_",
    "_",
    "01 22 33 ",
    "+1",
    "a+",
    "a+-+-",
    "a'",
    "a@a.a.a.a.a.a.a.a.1 ",
    f"(01){'2' * 33} ",
    "[{(",
    " ",
    "It was about three on the 4th of May. ",
    '{"id": 12, "when": "2024-01-02T10:00:00", "price": 12.5}, ',
]


@pytest.mark.parametrize("part", HUGE)
def test_a_huge_text_takes_time_in_proportion(part: str) -> None:
    """Twice the text, not four times the time: far from a minute for 64 KiB of the worst."""
    began = time.process_time()
    redact_pii(part * (65_536 // len(part)))
    assert time.process_time() - began < 5.0


@pytest.mark.parametrize("part", HUGE)
def test_a_huge_text_holds_the_interpreter_for_no_more_than_an_instant(part: str) -> None:
    """A regular expression lets no other thread run: none looks at the whole text (fault 38)."""
    text = part * (65_536 // len(part))
    assert is_in_steps(lambda: redact_pii(text), 0.005)


@pytest.mark.parametrize(
    "found",
    [
        "4111 1111 1111 1111",
        "+1 (510) 555-0100",
        "510-555-0100",
        "jane.doe@mail.example.com",
        "jane dot doe at example dot com",
        "five one oh, five five five, oh one double oh",
    ],
)
def test_what_stands_over_the_end_of_a_step_is_found(found: str) -> None:
    """Wherever it begins."""
    marker = redact_pii(found)
    for before in range(STEP - len(found) - 1, STEP + 1):
        text = "x" * (before - 1) + " "
        assert redact_pii(f"{text}{found} {text}") == f"{text}{marker} {text}"
