"""Makes conversations again from `audit_log` and compares them with what is stored.

The extraction is the loader's own: a payload is read back from jsonb as text and parsed as a line
of the log would be. Whatever differs is a finding that names the message and the field.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from backstory.audit.event import AuditEvent
from backstory.extract.identity import conversation_id, message_id
from backstory.extract.line_rules import LineRules
from backstory.extract.messages import Projection, project, role_of
from backstory.extract.parse import Unreadable, microseconds, strict_json
from backstory.model import CREATED_BY, SOURCE_BACKFILL, Role
from backstory.store.lines import kept_rules
from backstory.store.statements import sql

FINDINGS_KEPT = 100
_SHOWN_CHARS = 80
_AT_ONCE = 2000

Record = Row[Any]
Difference = tuple[str, object, object]


@dataclass(frozen=True)
class Finding:
    """A field that is not what the log says; `message` is log/audit id, None: the conversation."""

    conversation: UUID
    message: str | None
    field: str
    expected: str
    stored: str

    def __str__(self) -> str:
        where = f"message {self.message}" if self.message else f"conversation {self.conversation}"
        return f"{where}: {self.field} is {self.stored}, the log says {self.expected}"


@dataclass
class SampleResult:
    """How much was rebuilt, how many fields differ, and the first of them.

    Lines of `unchecked_lines` were made by rules that are not here, or as lines were made then.
    """

    conversations: int = 0
    messages: int = 0
    differences: int = 0
    unchecked_lines: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether all that was rebuilt is what is stored."""
        return not self.differences

    def note(self, conversation: UUID, message: str | None, difference: Difference) -> None:
        """Count a difference, and keep it while there are few."""
        self.differences += 1
        if len(self.findings) < FINDINGS_KEPT:
            name, expected, stored = difference
            shown = (_shown(expected), _shown(stored))
            self.findings.append(Finding(conversation, message, name, *shown))


def _shown(value: object) -> str:
    text = "absent" if value is None else repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"


def rebuild_sample(connection: Connection, sample: int, *, seed: str = "") -> SampleResult:
    """Rebuild `sample` conversations, drawn by a hash of seed and id, and return what differs."""
    result = SampleResult()
    lines = _Lines(connection, result)
    drawn = {"sample": sample, "seed": seed}
    for conversation in connection.execute(sql("sampled_conversations"), drawn).all():
        result.conversations += 1
        _rebuild(connection, conversation, result, lines)
    return result


@dataclass
class _Lines:
    """Makes lines again by the rules that made them: not by those of today."""

    connection: Connection
    result: SampleResult
    _rules: dict[str, LineRules | None] = field(default_factory=dict)

    def differ(
        self, row: Record, event: AuditEvent, projection: Projection
    ) -> Iterator[Difference]:
        """Yield the line if it is not what its rules make of the record."""
        name = row.line_rules
        if name is None:
            yield from [("line", None, row.line)] if row.line is not None else []
            return
        if name not in self._rules:
            self._rules[name] = kept_rules(self.connection, name)
        rules = self._rules[name]
        if rules is None:
            self.result.unchecked_lines += 1
            return
        expected = rules.line(event, projection) or None
        if expected != row.line:
            yield "line", expected, row.line


def _rebuild(
    connection: Connection, conversation: Record, result: SampleResult, lines: _Lines
) -> None:
    said = _Times(conversation.run_id)
    wanted = {"lead_id": conversation.lead_id, "conversation_id": conversation.id}
    paged = {"yield_per": _AT_ONCE}
    for row in connection.execute(sql("sampled_records"), wanted, execution_options=paged):
        result.messages += row.id is not None
        for difference in _differences(conversation, row, said, lines):
            result.note(conversation.id, f"{row.log}/{row.audit_id}", difference)
    for difference in _in_conversation(conversation, said):
        result.note(conversation.id, None, difference)


@dataclass
class _Times:
    """When a conversation began and was last heard of, from its records."""

    run_id: UUID | None
    first_of_run: datetime | None = None
    last: datetime | None = None
    last_incoming: datetime | None = None

    def hear(self, moment: datetime, role: Role, run_id: UUID | None) -> None:
        """Take one message in; they come in order of time."""
        if run_id == self.run_id and self.first_of_run is None:
            self.first_of_run = moment
        self.last = moment
        if role is Role.USER:
            self.last_incoming = moment


def _differences(
    conversation: Record, row: Record, said: _Times, lines: _Lines
) -> Iterator[Difference]:
    if row.record_id is None:
        yield "record", None, "a message without a record of this lead"
        return
    # The one thing an option can make of an unknown actor is `system`.
    role = role_of(row.actor) or Role.SYSTEM
    try:
        event = kept_event(row)
        projection = project(event, role)
    except Unreadable as reason:
        yield "payload", "readable", str(reason)
        return
    if projection is not None:
        said.hear(row.record_created_at, role, row.record_run_id)
    if projection is None or row.id is None:
        if (projection is None) is not (row.id is None):
            yield "message", projection and projection.content, row.content
        return
    yield from _in_message(conversation, row, projection)
    yield from lines.differ(row, event, projection)


def kept_event(row: Record) -> AuditEvent:
    """Return a record as it is in `audit_log`; raise Unreadable if its payload cannot be read."""
    payload = strict_json(b'{"payload":' + row.payload.encode() + b"}")[0]["payload"]
    created_us = microseconds(row.record_created_at)
    return AuditEvent(
        row.audit_id, row.lead_external_id, row.actor, row.action, payload, created_us, 0, 0
    )


def _in_message(conversation: Record, row: Record, projection: Projection) -> Iterator[Difference]:
    expected: dict[str, object] = {
        "id": UUID(bytes=message_id(row.log, row.audit_id)),
        "customer_id": conversation.customer_id,
        "role": projection.role.value,
        "kind": projection.kind.value,
        "author": projection.author,
        "content": projection.content,
        "attachment_text": projection.attachment_text,
        "seq": row.record_seq,
        "created_at": row.record_created_at,
        "run_id": row.record_run_id,
    }
    yield from _compare(expected, row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    trace = {
        "auditId": row.audit_id,
        "auditAction": row.action,
        "auditActor": row.actor,
        "createdBy": CREATED_BY,
    }
    if row.record_run_id is not None:
        trace["source"] = SOURCE_BACKFILL
    for name, wanted, stored in _compare(trace, row.metadata):
        yield f"metadata.{name}", wanted, stored


def _compare(expected: Any, stored: Any) -> Iterator[Difference]:
    for name, wanted in expected.items():
        if stored.get(name) != wanted:
            yield name, wanted, stored.get(name)


def _in_conversation(conversation: Record, said: _Times) -> Iterator[Difference]:
    expected: dict[str, object] = {
        "id": UUID(bytes=conversation_id(conversation.lead_external_id, conversation.ordinal)),
        "customer_id": conversation.lead_customer_id,
        "last_message_at": said.last,
        "last_incoming_at": said.last_incoming,
    }
    # Only the first conversation of a lead is made of what its list says.
    if conversation.ordinal == 0:
        expected |= {"channel": conversation.lead_channel, "external_id": conversation.contact}
        if conversation.lead_created_at is not None or not conversation.lead_changed:
            expected["started_at"] = conversation.lead_created_at or said.first_of_run
    yield from _compare(expected, conversation._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
