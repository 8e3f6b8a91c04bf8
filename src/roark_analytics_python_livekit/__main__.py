"""`python -m roark_analytics_python_livekit recover | doctor`: the spool, by hand or from cron.

recover  delivers the calls that dead processes left in the spool
doctor   checks the key, the service and the spool, and says what to do
"""

from __future__ import annotations

import argparse
import asyncio
import os
import stat
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ._call.state import read_state
from ._config import (
    DEFAULT_BASE_URL,
    SettingsError,
    UseDefault,
    clean_api_key,
    clean_base_url,
    observability_enabled,
    resolve_spool_dir,
)
from ._delivery.call_spool import SpooledCall
from ._delivery.private_files import SpoolError
from ._delivery.spool import Spool
from ._delivery.stats import Outcome
from ._diagnostics import Guard, scrub
from ._recovery import Owner, Recovered, owner_of, recover_all
from ._summary import count_of
from ._version import __version__
from .client import RequestError, RoarkClient

OK, TROUBLE = 0, 1


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns its exit status: 0 if all is well."""
    parser = argparse.ArgumentParser(
        prog="python -m roark_analytics_python_livekit",
        description="The key is taken from ROARK_API_KEY only: arguments show in process lists.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True)
    for name, command, text in (
        ("recover", recover, "deliver the calls that dead processes left in the spool"),
        ("doctor", doctor, "check the key, the service and the spool"),
    ):
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument("--spool-dir", help="default: ROARK_SPOOL_DIR, else the user's own")
        sub.add_argument("--base-url", help=f"default: ROARK_BASE_URL, else {DEFAULT_BASE_URL}")
        if command is recover:
            sub.add_argument(
                "--any-key",
                action="store_true",
                help="also calls of other keys, with the key at hand: it was corrected or replaced",
            )
            sub.add_argument(
                "--any-service",
                action="store_true",
                help="also calls that were for another base URL: that one was wrong",
            )
        sub.set_defaults(command=command)
    options = parser.parse_args(arguments)
    return int(options.command(options))


def recover(options: argparse.Namespace) -> int:
    """Delivers what is in the spool, and says what became of each call."""
    try:
        client, path = _client(options), _spool_dir(options)
        if options.spool_dir is not None and path is not None and not path.exists():
            raise SettingsError(f"{path} does not exist: there is nothing to recover")
        spool = _spool(options)
    except (SettingsError, SpoolError) as error:
        print(_plain(str(error)), file=sys.stderr)
        return TROUBLE
    if spool is None:
        print("the spool is off (ROARK_SPOOL_DIR): there is nothing to recover")
        return OK
    found: list[Recovered] = []

    def on_call(recovered: Recovered) -> None:
        found.append(recovered)
        print(_line(recovered), flush=True)

    guard = Guard()

    async def deliver() -> None:
        async with client:
            await recover_all(
                spool,
                client,
                guard,
                any_key=options.any_key,
                any_service=options.any_service,
                on_call=on_call,
            )

    asyncio.run(deliver())
    left = sum(not call.claimed and not call.aside for call in spool.calls())
    delivered = sum(one.outcome is Outcome.OK for one in found)
    print(f"{delivered} delivered to {client.base_url}, {left} left in {spool.root}")
    if left:
        print("run `doctor`: it says what to do about them")
    return TROUBLE if left or guard.count else OK


_LINES = {
    Outcome.EMPTY: "a call without a readable journal: removed",
    Outcome.UNREADABLE: "a call without a readable journal: set aside",
    Outcome.FOREIGN: "{id}: left alone, it belongs to {reason}",
    Outcome.LATER: "{id}: kept ({reason}; {chunks} sent)",
    Outcome.OK: "{id}: delivered ({chunks} sent)",
}


def _line(one: Recovered) -> str:
    text = _LINES.get(one.outcome, _LINES[Outcome.OK])
    chunks = count_of(one.chunks, "recording chunk")
    return _plain(text.format(id=one.call_id, reason=one.reason or "no answer", chunks=chunks))


def _plain(text: str) -> str:
    """A line for a terminal: a journal and the environment may hold anything."""
    return "".join(one if one.isprintable() else "?" for one in scrub(text))


def doctor(options: argparse.Namespace) -> int:
    """Prints one line for each thing that is checked."""
    checks = _Checks()
    checks.say("version", True, __version__)
    try:
        is_on = observability_enabled()
        checks.say("switch", is_on, "on" if is_on else "off: ROARK_OBSERVABILITY_ENABLED says so")
    except SettingsError as error:
        checks.say("switch", False, f"{error}: nothing is observed")
    _check_service(options, checks)
    _check_spool(options, checks)
    return OK if checks.all_well else TROUBLE


_ADVICE = "is the base URL right, and the way out of here open (DNS, firewall, HTTPS_PROXY)?"


class _Checks:
    def __init__(self) -> None:
        self.all_well = True

    def say(self, what: str, well: bool, text: str) -> None:
        self.all_well = self.all_well and well
        print(f"{'ok  ' if well else 'FAIL'}  {what:<10} {_plain(text)}")


def _check_service(options: argparse.Namespace, checks: _Checks) -> None:
    key = base_url = None
    try:
        key = _key()
        checks.say("key", True, f"{len(key)} characters")
    except SettingsError as error:
        checks.say("key", False, str(error))
    try:
        base_url = _base_url(options)
        checks.say("base URL", True, base_url)
    except SettingsError as error:
        checks.say("base URL", False, str(error))
    if key and base_url:
        checks.say("service", *asyncio.run(_ask(RoarkClient(key, base_url=base_url))))
    else:
        checks.say("service", False, "not asked: that needs a key and a base URL")


async def _ask(client: RoarkClient) -> tuple[bool, str]:
    """Asks for an upload URL that nobody will use: the cheapest request that needs the key."""
    try:
        async with client:
            await client.create_upload("doctor", 0, "audio/pcm")
    except RequestError as error:
        if error.outcome is Outcome.UNAUTHORIZED:
            return False, f"answers, and refuses the key ({error.reason}): is it this project's?"
        if error.outcome is Outcome.UNTRUSTED:
            return False, f"{error.reason}: is there a proxy in between?"
        if error.status in (404, 405):
            return False, f"answers, and has no such path ({error.reason}): is the base URL right?"
        if error.status is None:
            return False, f"does not answer ({error.reason}): {_ADVICE}"
        return error.outcome is Outcome.REFUSED, f"answers ({error.reason})"
    except Exception as error:  # no connection can be made; its text may hold a proxy's password
        return False, f"cannot be asked ({type(error).__name__}): are the proxy variables right?"
    return True, "answers, and takes the key"


def _check_spool(options: argparse.Namespace, checks: _Checks) -> None:
    try:
        spool = _spool(options)
    except (SettingsError, SpoolError) as error:
        checks.say("spool", False, f"{error}: calls are kept in memory only")
        return
    if spool is None:
        checks.say("spool", True, "off: a killed process loses what is not delivered")
        return
    mode = stat.S_IMODE(spool.root.stat().st_mode)
    checks.say("spool", True, f"{spool.root} (mode {mode:04o}, quota {_size(spool.quota)})")
    calls = spool.calls()
    waiting = [call for call in calls if not call.claimed and not call.aside]
    aside = [call for call in calls if call.aside]
    checks.say("calls", True, f"{sum(call.claimed for call in calls)} in work")
    owners = _owners(options, spool) if waiting else {}
    whose = {call.path: owners.get(call.path, _Owned("ours")) for call in waiting}
    for owned in sorted(set(whose.values())):
        calls = [call for call in waiting if whose[call.path] == owned]
        what, advice = _LEFT[owned.owner]
        advice = advice.format(base_url=owned.base_url)
        checks.say(what, False, f"{_many(calls, 'waiting')}; {advice}")
    if not waiting:
        checks.say("left", True, "nothing waits to be delivered")
    if aside:
        text = f"{_many(aside, 'not readable')}: nobody can tell whose, they go by age and quota"
        checks.say("aside", True, text)


class _Owned(NamedTuple):
    owner: Owner
    base_url: str = ""  # where that is another one


_ELSEWHERE = (
    "run `recover --base-url {base_url}` with their key, or `recover --any-service` if that URL was"
    " wrong"
)
_LEFT: Mapping[Owner, tuple[str, str]] = {
    "ours": ("left", "run `recover`"),
    "other key": ("other key", "if the key was replaced, run `recover --any-key`"),
    "elsewhere": ("elsewhere", _ELSEWHERE),
}


def _owners(options: argparse.Namespace, spool: Spool) -> dict[Path, _Owned]:
    """Whose the calls are, as far as that can be told; none is changed."""
    try:
        base_url = _base_url(options)
    except SettingsError:
        return {}
    owners: dict[Path, _Owned] = {}
    key: str | None = None
    with suppress(SettingsError):
        key = _key()
    for call in spool.abandoned():
        state = None
        try:
            with suppress(OSError):
                state = read_state(call.read_journal().records())
        finally:
            call.release()
        if state is not None and state.call is not None:
            owner = owner_of(state.call, base_url, key or "")
            if key is None and owner == "other key":
                owner = "ours"
            there = state.call["base_url"] if owner == "elsewhere" else ""
            owners[call.path] = _Owned(owner, there)
    return owners


def _many(calls: list[SpooledCall], what: str) -> str:
    size = _size(sum(call.size for call in calls))
    oldest = max(call.age for call in calls) / 3600
    count = "1 call" if len(calls) == 1 else f"{len(calls)} calls"
    return f"{count} {what} ({size}, the oldest {oldest:.1f} h)"


def _size(count: int) -> str:
    return f"{count / 1024**2:.1f} MiB"


def _client(options: argparse.Namespace) -> RoarkClient:
    return RoarkClient(_key(), base_url=_base_url(options))


def _key() -> str:
    return clean_api_key(os.environ.get("ROARK_API_KEY"))


def _base_url(options: argparse.Namespace) -> str:
    return clean_base_url(options.base_url or os.environ.get("ROARK_BASE_URL") or DEFAULT_BASE_URL)


def _spool(options: argparse.Namespace) -> Spool | None:
    path = _spool_dir(options)
    return None if path is None else Spool(path)


def _spool_dir(options: argparse.Namespace) -> Path | None:
    given = options.spool_dir
    path = resolve_spool_dir(UseDefault.SPOOL_DIR if given is None else given)
    return None if path is None else path.absolute()


if __name__ == "__main__":
    sys.exit(main())
