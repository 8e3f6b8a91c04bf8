"""`redact_pii`: a ready-made `redact` for card numbers, e-mail addresses and phone numbers."""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ["redact_pii"]

CARD, EMAIL, PHONE = "[card]", "[email]", "[phone]"

# All repetitions are bounded: a text takes time in proportion to its length, and no match reaches
# further than a few hundred characters.
_EMAIL = re.compile(
    r"(?<![\w.+%-])[\w.+%'-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w-])"
    # as a recognizer writes it: "jane dot doe at example dot com"
    r"|(?i:\b(?<!\w)(?<!\w[+-])(?<!\w[+-]{2})(?<!\w[+-]{3})"  # not in the middle of a name
    r"(?!(?:look|looking|online|us|it|page|site)\b(?![+-]))[\w+-]{1,64}"
    r"(?: (?:dot|underscore|dash) [\w+-]{1,64}){0,4}"
    r" at [\w-]{1,63}(?: dot [\w-]{1,63}){0,3} dot [a-z]{2,24}\b)"
)

_DASH = r"\-\u2010-\u2015"
_GAP = rf"[ \t\r\n\u00a0\u2009.,/{_DASH}]"  # people write it, recognizers put it between digits
_CARD_LIKE = re.compile(rf"(?<!\d)[2-6](?:{_GAP}{{0,3}}\d){{11,18}}")
_GROUP = re.compile(r"\d+")
_CARD_ISSUERS = re.compile(  # and how many digits each has
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|(?:5[1-5]|2[2-7])\d{14}"  # Mastercard, Mir
    r"|3[47]\d{13}"  # American Express
    r"|3(?:0[0-5]|[689]\d)\d{11}"  # Diners Club
    r"|35\d{14,17}"  # JCB
    r"|(?:6\d|5[06-8])\d{10,17}"  # Discover, UnionPay, Maestro
)

# A number may stand in a name, as in "sip_15105550100": an underscore is no part of it.
_BEGIN, _END = r"(?<![^\W_])", r"(?![^\W_])"
_SEP = rf"[ \u00a0./{_DASH}]"
_MARKED_PHONE = re.compile(  # `+`, `00` or brackets say what it is
    rf"(?<![\d+])\+\d(?:[ \u00a0./(){_DASH}]{{0,3}}\d){{6,14}}(?!\d)"
    rf"|{_BEGIN}(?<![+.])00[1-9](?:[ \u00a0./(){_DASH}]{{0,3}}\d){{7,14}}{_END}"
    rf"|{_BEGIN}(?<!\+)(?:1{_SEP}?)?\([2-9]\d\d\){_SEP}{{0,2}}\d{{3}}{_SEP}?\d{{4}}{_END}"
    rf"|{_BEGIN}(?<!\+)\(0\d{{1,5}}\)(?:{_SEP}{{0,2}}\d{{2,8}}){{1,4}}{_END}"
)
_PLAIN_PHONE = re.compile(
    rf"{_BEGIN}(?<![+@#-])(?<!\d[.,:/])(?:"
    rf"(?:1{_SEP}?)?[2-9]\d\d{_SEP}?[2-9]\d\d{_SEP}?\d{{4}}"  # North America: 510-555-0100
    r"|[2-9]\d\d-\d{4}"  # and without the area: 555-0100
    r"|0[1-9]\d{7,9}"  # with a trunk prefix: 01711234567
    rf"|0[1-9]\d{{0,4}}(?:{_SEP}{{1,3}}\d{{2,8}}){{1,5}}"  # in groups: 06 12 34 56 78
    r"|[6-9]\d{4}[ -]\d{5}"  # India: 98765 43210
    r"|[6-9]\d\d(?: \d{3}){2}|[6-9]\d\d(?: \d\d){3}"  # Spain, Portugal: 612 345 678
    # mobile numbers with the country in front: Britain, Germany, France, Spain, India
    r"|447\d{9}|491[5-7]\d{8,9}|33[67]\d{8}|34[67]\d{8}|91[6-9]\d{9}"
    rf"){_END}(?!@)(?![{_DASH}.,:/]\d)"
)
_DATE_OR_HOURS = re.compile(
    rf"\d\d?({_SEP})\d\d?\1(?:\d\d)?\d\d(?: {{1,2}}\d\d?(?:\.\d\d)?)?"
    rf"|\d\d?\.\d\d ?[{_DASH}] ?\d\d?\.\d\d"
)
_IDENTIFIER_BEFORE = re.compile(
    rf"(?i){_BEGIN}(?:order|invoice|ticket|tracking|reference|ref|confirmation|case|booking|customer|"
    r"serial|article|sku|isbn|item|product|part|id)"
    rf"[\W_]{{0,3}}(?:(?:number|no|nr|num|id|code){_END}[\W_]{{0,3}})?"
    r"(?:(?:is|was|of)\b\W{0,2})?$"
)

_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_DIGIT_OF = {word: str(digit) for digit, word in enumerate(_WORDS)} | {"oh": "0"}
_TIMES = {"double": 2, "triple": 3}
_DIGIT_WORD = rf"(?:{'|'.join([*_DIGIT_OF, *_TIMES])})"
_DIGIT_WORDS = re.compile(rf"(?i)\b{_DIGIT_WORD}(?:[ ,{_DASH}]{{1,2}}{_DIGIT_WORD}){{6,39}}\b")

STEP = 512  # characters of which a regular expression looks at the beginnings in one go

Replace = Callable[[re.Match[str]], tuple[str, int]]
"""A match → what stands in its place, and where it ends in the text."""


def redact_pii(text: str) -> str:
    """Replaces card numbers, e-mail addresses and phone numbers by `[card]`, `[email]`, `[phone]`.

    Card numbers are recognized by their issuer, length and check digit, in groups or not. Phone
    numbers are international ones, and national ones as they are written in North America, Europe
    and India. All of them also as recognizers write what was spelled out ("five one oh ...",
    "jane at example dot com"). Dates, times, amounts and what is called an order, ticket or
    invoice number are left as they are. A rule that fits your callers better is a function of
    your own.

    Args:
        text: Any text.

    Returns:
        The text without them.

    Example:
        >>> redact_pii("call +1 (510) 555-0100, card 4111 1111 1111 1111, or a.b@example.com")
        'call [phone], card [card], or [email]'
    """
    for pattern, replace, reach in _RULES:
        text = _replaced(pattern, replace, reach, text)
    return text


def _replaced(pattern: re.Pattern[str], replace: Replace, reach: int, text: str) -> str:
    """As `pattern.sub`, in steps: no other thread runs while a regular expression does.

    A match, with what the pattern looks at behind it, is at most `reach` characters long.
    """
    parts: list[str] = []
    done = position = 0
    while position < len(text):
        found = pattern.search(text, position, position + STEP + reach)
        if found is None or found.start() >= position + STEP:
            position += STEP
            continue
        replacement, end = replace(found)
        parts += text[done : found.start()], replacement
        position = done = end
    return "".join([*parts, text[done:]])


def _spelled(found: re.Match[str]) -> tuple[str, int]:
    """Digits in words: a card if it can be one, else a phone number if it has the length."""
    digits, times = "", 1
    for word in re.findall(r"[a-z]+", found.group().lower()):
        if word in _TIMES:
            times = _TIMES[word]
        else:
            digits, times = digits + times * _DIGIT_OF[word], 1
    if _is_card(digits):
        return CARD, found.end()
    return PHONE if 7 <= len(digits) <= 15 else found.group(), found.end()


def _card(found: re.Match[str]) -> tuple[str, int]:
    """Digits in groups, the first few of which may be a card's: the longest that can be is taken.

    Otherwise it may begin with the second group.
    """
    text, digits, card_end = found.string, "", None
    groups = list(_GROUP.finditer(text, found.start(), found.end()))
    first_end = groups[0].end()
    if text[found.end() : found.end() + 1].isdecimal():
        groups.pop()  # the match ends in the middle of it
    for group in groups:
        digits += group.group()
        if _is_card(digits):
            card_end = group.end()
    if card_end is not None:
        return CARD, card_end
    return text[found.start() : first_end], first_end


def _is_card(digits: str) -> bool:
    """An issuer's, with Luhn's check digit: every second from the right is doubled, and the digits
    of all of it add up to a multiple of ten.
    """
    if _CARD_ISSUERS.fullmatch(digits) is None:
        return False
    values = [int(digit) * (1 + index % 2) for index, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in values) % 10 == 0


def _email(found: re.Match[str]) -> tuple[str, int]:
    return EMAIL, found.end()


def _marked_phone(found: re.Match[str]) -> tuple[str, int]:
    return PHONE, found.end()


def _phone(found: re.Match[str]) -> tuple[str, int]:
    number = found.group()
    count = sum(character.isdigit() for character in number)
    if not 7 <= count <= 13 or _DATE_OR_HOURS.fullmatch(number):
        return number, found.end()
    before = found.string[max(0, found.start() - 40) : found.start()]
    return number if _IDENTIFIER_BEFORE.search(before) else PHONE, found.end()


_RULES: tuple[tuple[re.Pattern[str], Replace, int], ...] = (
    (_EMAIL, _email, 704),
    (_DIGIT_WORDS, _spelled, 320),
    (_CARD_LIKE, _card, 80),
    (_MARKED_PHONE, _marked_phone, 64),
    (_PLAIN_PHONE, _phone, 64),
)
