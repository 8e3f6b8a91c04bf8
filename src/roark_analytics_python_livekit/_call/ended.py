"""The call-ended event in the journal: its rows in records that are read and written in steps."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .records import EndedRecord, EndedRowsRecord

_PIECE = 64 * 1024  # characters of rows in one record


def ended_records(event: Mapping[str, Any]) -> Iterator[EndedRowsRecord | EndedRecord]:
    """The records that keep an event; the last of them says that it is all there."""
    rest, counts = dict(event), dict[str, int]()
    for name, rows in event.items():
        if isinstance(rows, list) and len(pieces := list(_pieces(rows))) > 1:
            rest[name], counts[name] = [], len(rows)
            start = 0
            for piece in pieces:
                yield {"type": "ended_rows", "name": name, "start": start, "rows": piece}
                start += len(piece)
    ended: EndedRecord = {"type": "ended", "event": rest}
    if counts:
        ended["rows"] = counts
    yield ended


def _pieces(rows: list[Any]) -> Iterator[list[Any]]:
    piece, size = list[Any](), 0
    for row in rows:
        piece.append(row)
        size += len(json.dumps(row))
        if size >= _PIECE:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


@dataclass
class EndedRows:
    """Rows of an event that is being read; those of an earlier one are overwritten."""

    _rows: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, record: EndedRowsRecord) -> None:
        """Takes the next rows; ValueError where those before are missing."""
        rows = self._rows.setdefault(record["name"], [])
        if not 0 <= record["start"] <= len(rows):
            raise ValueError("rows are missing")
        rows[record["start"] :] = record["rows"]

    def event(self, record: EndedRecord) -> dict[str, Any]:
        """The whole event; ValueError where rows are missing."""
        event = dict(record["event"])
        for name, count in record.get("rows", {}).items():
            event[name] = self._rows.get(name, [])[:count]
            if len(event[name]) < count:
                raise ValueError("rows are missing")
        return event
