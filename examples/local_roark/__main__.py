"""`python -m local_roark`: serve the stand-in, and say how to point an agent at it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ._faults import Fault, Faults
from ._serve import listen, make_server, url_of
from .app import create_app


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves until it is interrupted.

    Args:
        arguments: The command line; by default the process's own.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    app = create_app(
        options.dir,
        api_keys=options.api_key,
        faults=Faults(options.fault),
        url_lifetime=options.url_lifetime,
    )
    try:
        listener = listen(options.host, options.port)
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]
        parser.error(f"cannot listen on {options.host}:{options.port}: {reason}")
    with listener, suppress(KeyboardInterrupt):
        print(greeting(url_of(listener), options.dir), flush=True)
        make_server(app).run([listener])


def greeting(base_url: str, directory: Path) -> str:
    """What is said at the start: where to look, and what to set."""
    return (
        f"Local Roark keeps calls in {directory} and shows them at {base_url}\n"
        f"Point an agent at it with ROARK_BASE_URL={base_url}\n"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local_roark",
        description="A stand-in for the Roark service: keeps calls in a directory, shows them, "
        "and misbehaves on request.",
        epilog="Faults: ENDPOINT:KIND[,count=N][,after=N], where ENDPOINT is events, "
        "chunk-upload-url, uploads or * and KIND is status=CODE[,retry-after=S], delay=S, hang, "
        "drop (no answer) or drop-answer (the work is done, its answer is lost). "
        "Example: --fault events:status=503,count=2",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address (default: %(default)s)")
    parser.add_argument("--port", type=int, default=4100, help="port (default: %(default)s)")
    parser.add_argument(
        "--dir", type=Path, default=Path("calls"), help="where calls go (default: %(default)s)"
    )
    parser.add_argument(
        "--api-key", action="append", metavar="K", help="a key that is known (default: any is)"
    )
    parser.add_argument(
        "--fault", action="append", default=[], type=_fault, metavar="SPEC", help="misbehave so"
    )
    parser.add_argument(
        "--url-lifetime",
        type=float,
        default=300,
        metavar="S",
        help="how long a presigned URL is good, in seconds (default: %(default)s)",
    )
    return parser


def _fault(spec: str) -> Fault:
    try:
        return Fault.parse(spec)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    main()
