"""The gates: what must hold of a loaded database, as one list that every face prints.

A gate is a name, a severity, a sentence and a statement of the same name in `store/sql/verify.sql`
that returns the offenders; no offender means sound. A `required` gate that finds one fails the
verdict, a `warn` gate says so, an `info` gate only shows what it finds. A threshold is a share (or
what the sentence says) up to which nothing is said; `dataclasses.replace` gives a gate another.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from backstory.backfill.finish import stage_counts, sums
from backstory.model import PartitionStage, Vocabulary
from backstory.runs.run import short_id
from backstory.store.statements import sql, statements

OFFENDERS_SHOWN = 20
SEARCH_INDEX = "messages_search_idx"


class Severity(Vocabulary):
    """What an offender means for the verdict."""

    REQUIRED = "required"
    WARN = "warn"
    INFO = "info"


@dataclass(frozen=True)
class Found:
    """How many offenders there are, and the first of them as a reader would name them."""

    count: int = 0
    offenders: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gate:
    """A check as data; `find` is how the offenders are found where a statement is not enough."""

    name: str
    severity: Severity
    sentence: str
    threshold: float | None = None
    find: "Callable[[Connection, Gate, datetime], Found] | None" = None

    def __call__(self, connection: Connection, now: datetime) -> Found:
        """Return the offenders; `now` is the clock that times are compared with."""
        return (self.find or by_statement)(connection, self, now)


def by_statement(connection: Connection, gate: Gate, now: datetime) -> Found:
    """Return what the statement of the gate's name finds."""
    values = {"shown": OFFENDERS_SHOWN, "threshold": gate.threshold, "now": now}
    rows = connection.execute(sql(gate.name), values).all()
    return Found(rows[0].total if rows else 0, tuple(row.offender for row in rows))


def outcomes_that_differ(connection: Connection, gate: Gate, now: datetime) -> Found:
    """Return every sum of a finished run that does not come out, from its rows and its ledger."""
    del gate, now
    said = []
    for run in connection.execute(sql("rows_of_runs")).mappings():
        ledger = stage_counts(connection, run["id"], PartitionStage.WRITE)
        read = stage_counts(connection, run["id"], PartitionStage.READ)
        found = sums(ledger, read, dict(run), taken_away=run["taken_away"] or {})
        said += [f"Run {short_id(run['id'])}: {each}" for each in found]
    return Found(len(said), tuple(said[:OFFENDERS_SHOWN]))


def search_without_index(connection: Connection, gate: Gate, now: datetime) -> Found:
    """Return what keeps the search index from answering; small tables need not use it."""
    found = by_statement(connection, gate, now)
    messages: float = connection.execute(sql("messages_estimate")).scalar_one()
    if found.count or messages < (gate.threshold or 0):
        return found
    probe = text(f"EXPLAIN (FORMAT JSON) {statements()['search_probe'].body}")
    if SEARCH_INDEX in json.dumps(connection.execute(probe).scalar_one()):
        return found
    return Found(1, (f"the planner does not use {SEARCH_INDEX} for a search of one rare word",))


_REQUIRED, _WARN, _INFO = Severity.REQUIRED, Severity.WARN, Severity.INFO

GATES: tuple[Gate, ...] = (
    Gate("leads_linked", _REQUIRED, "Every lead is linked to a customer who was not merged away."),
    Gate("references_hold", _REQUIRED, "Every reference names a row that is there."),
    Gate(
        "leads_have_conversations",
        _REQUIRED,
        "Every lead with records in the log has a conversation.",
    ),
    Gate(
        "conversations_have_customers",
        _REQUIRED,
        "Every conversation has a customer: that of its lead and of its messages.",
    ),
    Gate(
        "messages_have_records",
        _REQUIRED,
        "Every message belongs to a conversation and has the audit record of its log and id.",
    ),
    Gate(
        "records_have_messages",
        _REQUIRED,
        "Every record of a lead that says something is a message.",
    ),
    Gate("one_open_conversation", _REQUIRED, "No lead has more than one open conversation."),
    Gate(
        "outcomes_add_up",
        _REQUIRED,
        "Every record that a finished run read has one outcome, and the rows are there.",
        find=outcomes_that_differ,
    ),
    Gate("audit_ids_unique", _REQUIRED, "No audit id occurs twice in a log."),
    Gate("times_agree", _REQUIRED, "Every message has the time of its record."),
    Gate(
        "search_index_sound",
        _REQUIRED,
        "The search index is there and valid, and searches of 20,000 messages or more use it.",
        threshold=20_000,
        find=search_without_index,
    ),
    Gate(
        "embeddings_agree",
        _REQUIRED,
        "Every vector has its model's length and its message's conversation and customer.",
    ),
    Gate(
        "summaries_agree",
        _REQUIRED,
        "Every summary covers messages of its conversation, and no more than there are.",
    ),
    Gate(
        "role_balance",
        _WARN,
        "Users and assistants each say at least 10 % of the messages.",
        threshold=0.10,
    ),
    Gate(
        "empty_conversations",
        _WARN,
        "At most 25 % of the conversations have no message.",
        threshold=0.25,
    ),
    Gate("event_share", _WARN, "At most 50 % of the messages are events.", threshold=0.50),
    Gate("quarantine_rate", _WARN, "At most 1 % of the records are in quarantine.", threshold=0.01),
    Gate("conflict_rate", _WARN, "No record lost against another under its id.", threshold=0.0),
    Gate(
        "embeddings_wait",
        _WARN,
        "At most 10 % of the messages wait to be embedded by the model that serves.",
        threshold=0.10,
    ),
    Gate(
        "times_in_range",
        _WARN,
        "No message and no lead is of before 2000 or more than one day ahead.",
        threshold=1.0,
    ),
    Gate("customers_sample", _INFO, "The busiest customers, and what they have."),
)
