"""What the service says when it does not take a request."""

from __future__ import annotations


class RefusedError(Exception):
    """A request that is not taken, and why.

    Attributes:
        status: The HTTP status of the answer.
        message: One sentence for the person who reads the answer.
        field: The part of the request at fault: a JSON path (`transcript[2].audioOffsetMs`),
            a header's name, or "" where it is the request as a whole.
    """

    def __init__(self, status: int, message: str, field: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.field = field

    def body(self) -> dict[str, dict[str, str]]:
        """The answer's JSON."""
        return {"error": {"message": self.message, "field": self.field}}
