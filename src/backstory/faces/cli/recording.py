# ruff: noqa: PLC0415 - what a command needs is imported when it is run: help stays quick
"""`backstory record` and `backstory follow`: the log as it grows."""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from backstory.errors import SourceError, Transient
from backstory.faces.cli.call import Call, command
from backstory.faces.cli.ending import ExitCode
from backstory.faces.cli.groups import LOAD, shell
from backstory.faces.cli.loading import mapped
from backstory.faces.cli.plain import json_text
from backstory.faces.cli.source_options import (
    ActorOption,
    AuditTableOption,
    GrowingOption,
    LogOption,
    MapOption,
    RegionOption,
    ZoneOption,
)

if TYPE_CHECKING:
    from backstory.live.follow import Followed, Follower
    from backstory.live.reading import LiveOptions
    from backstory.live.writing import Recorded

_READ_BYTES = 256 * 1024
# What somebody should look at.
_FINDINGS = frozenset({"conflict", "quarantined"})


@command(
    shell,
    "record",
    panel=LOAD,
    example="""
    tail -n 3 audit.jsonl | backstory record -
    backstory record audit.jsonl --json
    """,
)
def record(
    call: Call,
    *,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Events as JSON lines; - is standard input.")
    ] = "-",
    log: LogOption = "audit",
    assume_tz: ZoneOption = "UTC",
    region: RegionOption = "US",
    unknown_actor: ActorOption = "skip",
) -> ExitCode:
    """Record events as they happen, one JSON object a line, and say what became of each.

    What is said in an event's `lead` (channel, phone, email, messenger_psid, name, stage) creates
    and links its lead: only put there what the transport knows for sure. The same event again is a
    duplicate. Exit code 1 means a conflict, or an event in quarantine.
    """
    from backstory.live.reading import EventReader
    from backstory.live.writing import Writer

    options = _options(
        call, log=log, assume_tz=assume_tz, region=region, unknown_actor=unknown_actor
    )
    told: list[dict[str, object]] = []
    outcomes: Counter[str] = Counter()
    with call.app() as app, _opened(file) as stream:
        read = EventReader(options)
        writer = Writer(app.for_writing().engine.begin, options)
        for lines in _lines(stream):
            done = writer.write([read(line) for line in lines])
            outcomes.update(each.outcome.value for each in done)
            if call.json:
                told += [each.as_json() for each in done]
            else:
                _tell(done)
    if call.json:
        call.answer({"outcomes": dict(outcomes), "events": told})
    return _ending(outcomes)


def _tell(done: "list[Recorded]") -> None:
    from backstory.faces.cli.plain import one_line

    for each in done:
        why = each.message or each.reason or str(each.record_id)
        line = f"{each.outcome:<11}  {one_line(each.audit_id or '-')}  {one_line(why)}"
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _opened(file: str) -> BinaryIO:
    if file == "-":
        return sys.stdin.buffer
    try:
        return Path(file).open("rb")
    except OSError as cause:
        raise SourceError(f"{file} cannot be read: {cause.strerror}.") from cause


def _lines(stream: BinaryIO) -> Iterator[list[bytes]]:
    """Yield lines as they come: all that are there, waiting only when there are none."""
    from backstory.live.queue import BATCH_EVENTS

    rest = b""
    while chunk := stream.read1(_READ_BYTES):  # type: ignore[attr-defined]  # a buffer has it
        *lines, rest = (rest + chunk).split(b"\n")
        said = [line for line in lines if line.strip()]
        for start in range(0, len(said), BATCH_EVENTS):
            yield said[start : start + BATCH_EVENTS]
    if rest.strip():
        yield [rest]


def _options(
    call: Call, *, log: str, assume_tz: str, region: str, unknown_actor: str
) -> "LiveOptions":
    """Return how events are read; the same words are right and wrong as for a backfill."""
    from backstory.backfill.options import UNKNOWN_ACTOR, BackfillOptions
    from backstory.live.reading import LiveOptions

    checked = BackfillOptions(
        audit=("-",), log=log, assume_tz=assume_tz, region=region, unknown_actor=unknown_actor
    ).check()
    return LiveOptions(
        log=checked.log,
        unknown_actor=UNKNOWN_ACTOR[checked.unknown_actor],
        assume_tz=checked.assume_tz,
        region=checked.region,
        hub_limit=call.settings.hub_limit,
        lines=call.lines,
    )


def _ending(outcomes: Counter[str]) -> ExitCode:
    return ExitCode.FINDINGS if _FINDINGS & outcomes.keys() else ExitCode.DONE


@command(
    shell,
    "follow",
    panel=LOAD,
    example="""
    backstory follow --audit audit.jsonl --once
    backstory follow --audit audit.jsonl --log archive --once --json
    """,
)
def follow(
    call: Call,
    *,
    audit: GrowingOption,
    audit_table: AuditTableOption = None,
    log: LogOption = "audit",
    mapping: MapOption = None,
    every: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.05, help="How long to wait between two looks.")
    ] = 2.0,
    overlap: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0, help="How far a look at a table goes back."),
    ] = 60.0,
    sweep: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0, help="How often a table is read whole, for what came late."
        ),
    ] = 3600.0,
    once: Annotated[bool, typer.Option("--once", help="Record what is there, then end.")] = False,
    assume_tz: ZoneOption = "UTC",
    unknown_actor: ActorOption = "skip",
) -> ExitCode:
    """Follow a log that grows, until Ctrl-C: what is new in it becomes messages at once.

    Load what is there with `backfill` first: it is quicker, and knows the list of leads. A
    follower that ends goes on where it stood; two of them double nothing. With --json each look
    that saw anything is an object on a line of its own.
    """
    from backstory.audit.tail import open_tail
    from backstory.live import follow as following

    options = _options(call, log=log, assume_tz=assume_tz, region="US", unknown_actor=unknown_actor)
    tail = open_tail(
        audit, table=audit_table, columns=mapped(mapping), overlap=overlap, sweep=sweep
    )
    with call.app() as app:
        follower = following.Follower(app.for_writing(), tail, options)
        if once:
            return _follow_once(call, follower)
        following.follow(
            follower,
            every=every,
            told=lambda done: _tell_look(call, done),
            failed=lambda away: _tell_failure(call, away),
        )
    return ExitCode.DONE


def _follow_once(call: Call, follower: "Follower") -> ExitCode:
    outcomes: Counter[str] = Counter()
    while True:
        done = follower.look()
        outcomes.update(done.outcomes)
        if not done.more:
            break
    seen = {"source": done.source, "seen": outcomes.total(), "outcomes": dict(outcomes)}
    call.answer(seen, _sentence(done.source, outcomes))
    return _ending(outcomes)


def _tell_look(call: Call, done: "Followed") -> None:
    in_json = json_text(done.as_json(), indented=False)
    said = in_json if call.json else _sentence(done.source, done.outcomes)
    sys.stdout.write(said + "\n")
    sys.stdout.flush()


def _tell_failure(call: Call, away: Transient) -> None:
    call.say(f"{away} Trying again.")


def _sentence(source: str, outcomes: "Counter[str] | dict[str, int]") -> str:
    from backstory.faces.cli.plain import one_line

    parts = [f"{count:,} {outcome}" for outcome, count in sorted(outcomes.items())]
    return f"{one_line(source)}: {', '.join(parts) or 'nothing new'}"
