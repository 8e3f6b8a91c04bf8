"""HTML put together so that text cannot become markup by accident."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TypeAlias, Union

_VOID = {"link", "meta"}


class Markup(str):
    """HTML that is finished. Any other string is text, and is escaped where it is put in."""

    __slots__ = ()


Child: TypeAlias = Union[str, None, "Iterable[Child]"]
Attribute: TypeAlias = str | int | float | bool | None


def el(tag: str, *children: Child, **attributes: Attribute) -> Markup:
    """An element.

    Args:
        tag: Its name.
        children: What is in it; None is left out, and iterables are taken apart.
        attributes: Underscores stand for hyphens, and one at the end keeps a name that is Python's
            (`class_`). None and False leave an attribute out, True writes its name alone.

    Example:
        >>> el("a", "<b>", href="/calls/1", class_="call")
        '<a href="/calls/1" class="call">&lt;b&gt;</a>'
    """
    head = "".join([tag, *(_attribute(name, value) for name, value in attributes.items())])
    if tag in _VOID:
        return Markup(f"<{head}>")
    return Markup(f"<{head}>{join(children)}</{tag}>")


def join(children: Iterable[Child]) -> Markup:
    """Several pieces, one behind the other."""
    return Markup("".join(_html(child) for child in children))


def _html(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    if isinstance(child, str):
        return escape(child)
    return join(child)


def _attribute(name: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'
