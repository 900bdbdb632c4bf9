"""Sums conversations up as a run: planned, resumed where it stopped, safe to repeat, taken back.

What is pending is told from the tables: a conversation without a summary, or whose summary was made
by another version or of other messages than there are now. So a run has no place to remember, and
one after another run does only what has come since.
"""

import uuid
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from backstory.errors import Interrupted, RunError, UsageError
from backstory.memory.chat import Chat, ChatSettings
from backstory.memory.extractive import Said
from backstory.memory.summary_writers import ByChat, Extractive, Writer, Written
from backstory.model import MessageKind, RunMode, RunStatus
from backstory.runs import run as runs
from backstory.runs.journey import add_run, end_run, lead_run, resumable, take_back
from backstory.runs.progress import Listener, Stopwatch
from backstory.runs.run import Run, short_id
from backstory.store import summaries as store
from backstory.store.engine import Database, translated

AUDIT_ACTION = "summarize_conversations"
BATCH = 25
# So many talks are with a language model at once.
_AT_ONCE = 4
_REASONS_KEPT = 3
_FIRST = uuid.UUID(int=0)


@dataclass(frozen=True)
class SummaryPlan:
    """What a run would do: of so many conversations so many are to be summed up."""

    made_by: str
    conversations: int
    pending: int


@dataclass
class _Tally:
    """What a run has done so far; kept with the run, so that it goes on counting."""

    written: int = 0
    kept: int = 0
    removed: int = 0
    fell_back: int = 0
    waiting: int = 0
    reasons: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class SummaryReport:
    """What a run has done.

    `fell_back` were to be made by a language model and were not: `reasons` says why, each with how
    often; of them `kept` had a summary of all they say already. `calls` and `tokens` went to the
    model since the run was begun or resumed. `waiting` were in other hands, and
    come with the next run.
    """

    run_id: str
    mode: str
    made_by: str
    conversations: int
    written: int
    kept: int
    removed: int
    fell_back: int
    waiting: int
    calls: int
    tokens: int
    reasons: dict[str, int]
    seconds_by_step: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return asdict(self)


def open_writer(settings: ChatSettings) -> Writer:
    """Return who writes summaries by the settings; raise UsageError where they are half-given."""
    if bool(settings.url) != bool(settings.model):
        given, lacking = ("URL", "MODEL") if settings.url else ("MODEL", "URL")
        raise UsageError(
            f"A language model has an address and a name: BACKSTORY_CHAT_{given} is given, "
            f"BACKSTORY_CHAT_{lacking} (or --{lacking.lower()}) is not."
        )
    return ByChat(Chat(settings)) if settings.url else Extractive()


def plan(
    connection: Connection, writer: Writer, *, conversation: uuid.UUID | None = None
) -> SummaryPlan:
    """Return what a run would do; writes nothing and asks no model."""
    return SummaryPlan(writer.name, *store.extent(connection, writer.name, only=conversation))


def start(
    database: Database,
    home: Path,
    writer: Writer,
    listener: Listener | None = None,
    *,
    conversation: uuid.UUID | None = None,
) -> SummaryReport:
    """Sum up every conversation that has no summary of all it says by this writer.

    Raises Interrupted when the run was paused or canceled on the way; `resume` goes on.
    """
    with translated(), database.engine.begin() as connection:
        run_id = add_run(
            connection,
            home,
            mode=RunMode.SUMMARIZE,
            options={"made_by": writer.name, "conversation": conversation},
            records=store.extent(connection, writer.name, only=conversation).pending,
        )
    return _go(database, run_id, writer, listener)


def resume(
    database: Database, reference: str, writer: Writer, listener: Listener | None = None
) -> SummaryReport:
    """Continue a run that was paused, failed or killed; raise RunError for another writer's."""
    run = resumable(database, reference, RunMode.SUMMARIZE)
    if run.options["made_by"] != writer.name:
        raise RunError(
            f"Run {short_id(run.id)} sums up by {run.options['made_by']}, not {writer.name}: "
            "name that model, or cancel the run and begin anew."
        )
    return _go(database, run.id, writer, listener)


def rollback(database: Database, reference: str) -> int:
    """Take a run's summaries away; return how many went.

    Those of other runs that it replaced come back where they are still true of what is said; where
    none does, the next run makes one.
    """
    return take_back(
        database,
        reference,
        RunMode.SUMMARIZE,
        table="conversation_summaries",
        undo=lambda connection, run: store.remove_run(connection, run)._asdict(),
    )


# --- one journey ------------------------------------------------------------------------------


def _go(
    database: Database, run_id: uuid.UUID, writer: Writer, listener: Listener | None
) -> SummaryReport:
    def steps(connection: Connection, run: Run, watch: Stopwatch) -> SummaryReport:
        return _steps(connection, run, writer, watch)

    return lead_run(database, run_id, steps, listener)


@dataclass
class _Work:
    """A run under way: who writes, in which threads, and what has been done."""

    run: Run
    writer: Writer
    tally: _Tally
    pool: ThreadPoolExecutor


def _steps(connection: Connection, run: Run, writer: Writer, watch: Stopwatch) -> SummaryReport:
    tally = _Tally(**run.findings.get("summaries", {}))
    watch.begin("summarize", total=run.records_read)
    done = tally.written + tally.kept + tally.removed + tally.waiting
    watch.go_on_from(done)
    after = _FIRST
    with ThreadPoolExecutor(_AT_ONCE if isinstance(writer, ByChat) else 1) as pool:
        work = _Work(run, writer, tally, pool)
        while todo := _next(connection, run, writer, after):
            _batch(connection, work, todo)
            after = todo[-1].conversation_id
            done += len(todo)
            watch.tell(done)
    watch.end()
    with connection.begin():
        return _report(connection, work, watch)


def _next(
    connection: Connection, run: Run, writer: Writer, after: uuid.UUID
) -> list[store.Pending]:
    """Return the next conversations to sum up; raise Interrupted if something else is wished."""
    with connection.begin():
        now = runs.get_run(connection, str(run.id))
        if now.wish:
            raise Interrupted(now.wish)
        if now.status is not RunStatus.RUNNING:
            raise RunError(f"Run {short_id(run.id)} is {now.status} by now.")
        only = run.options["conversation"]
        one = uuid.UUID(only) if only else None
        return store.pending(connection, writer.name, after=after, limit=BATCH, only=one)


def _batch(connection: Connection, work: _Work, todo: Sequence[store.Pending]) -> None:
    tally = work.tally
    with connection.begin():
        said = store.messages(connection, [each.conversation_id for each in todo])
    talks = [each for each in todo if each.conversation_id in said]
    texts = [_said(said[each.conversation_id]) for each in talks]
    made = []
    for each, one in zip(talks, work.pool.map(work.writer.write, texts), strict=True):
        if one.fell_back:
            _note(tally, one.fell_back)
        # A summary of all that was said is no worse than the one to fall back on.
        if one.fell_back and each.covered:
            tally.kept += 1
        else:
            made.append(_summary(each, one, said[each.conversation_id]))
    silent = [each.conversation_id for each in todo if each.conversation_id not in said]
    with connection.begin():
        saved = store.save(connection, made, run_id=work.run.id)
        tally.written += saved
        tally.waiting += len(made) - saved
        tally.removed += store.forget(connection, silent)
        runs.note(connection, work.run.id, findings={"summaries": asdict(tally)})


def _said(messages: Sequence[store.Message]) -> list[Said]:
    return [
        Said(each.role, each.content, each.attachment_text)
        for each in messages
        if each.kind is MessageKind.TEXT
    ]


def _summary(each: store.Pending, one: Written, messages: Sequence[store.Message]) -> store.Summary:
    return store.Summary(
        conversation_id=each.conversation_id,
        text=one.text,
        made_by=one.made_by,
        messages=len(messages),
        left_out=max(each.messages - len(messages), 0),
        first_message_id=messages[0].id,
        last_message_id=messages[-1].id,
        last_at=messages[-1].created_at,
    )


def _note(tally: _Tally, reason: str) -> None:
    tally.fell_back += 1
    most = Counter(tally.reasons)
    most[reason] += 1
    tally.reasons = dict(most.most_common(_REASONS_KEPT))


def _report(connection: Connection, work: _Work, watch: Stopwatch) -> SummaryReport:
    run, writer = work.run, work.writer
    chat = writer.chat if isinstance(writer, ByChat) else None
    only = run.options["conversation"]
    extent = store.extent(connection, writer.name, only=uuid.UUID(only) if only else None)
    report = SummaryReport(
        run_id=str(run.id),
        mode=RunMode.SUMMARIZE,
        made_by=writer.name,
        conversations=extent.conversations,
        **asdict(work.tally),
        calls=chat.calls if chat else 0,
        tokens=chat.tokens if chat else 0,
        seconds_by_step=watch.seconds,
    )
    end_run(connection, run, AUDIT_ACTION, report=report.as_json(), watch=watch)
    return report
