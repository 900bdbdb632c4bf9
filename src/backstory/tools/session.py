"""A session of one lead: the authority under which an agent calls tools.

The host application opens it; nothing that the model says can change whom it concerns. Each call
is one transaction, bound to the customer the lead belongs to at that moment, and is written down.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, Protocol
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import Connection

from backstory.errors import RecordRefused, Refused, Transient, UsageError
from backstory.extract.parse import clean_text
from backstory.live.conversations import ensure_conversation
from backstory.memory.context import DEFAULT_BUDGET, ContextPack
from backstory.memory.context import context as context_pack
from backstory.model import Embedders
from backstory.store import agent_role, calls
from backstory.store.binding import Bound, bind, bound
from backstory.store.engine import Database, translated
from backstory.store.pipeline import Step, pipelined, prepared
from backstory.tools.arguments import read_arguments, shown
from backstory.tools.catalog import offered
from backstory.tools.schemas import Format
from backstory.tools.tool import Input, Tool
from backstory.tools.toolset import (
    LONGEST_KEY,
    Answer,
    checked_key,
    find_tool,
    listed,
    milliseconds_since,
    refused_answer,
)

Clock = Callable[[], datetime]

_TRIES = 3
_USES_UNPREPARED = 2
_MOST_ARGUMENTS = 20


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Rules:
    """What the host decides for its sessions; `region` reads phones without a country code.

    Recall heeds what messages mean where the model that serves is among the `embedders`.
    """

    memory_enabled: bool = False
    region: str = "US"
    embedders: Embedders | None = field(default=None, repr=False)
    clock: Clock = field(default=_now, repr=False)


class Elsewhere(Protocol):
    """Does for a session in another process what it would do here."""

    def call(
        self,
        session: "Session",
        name: str,
        arguments: Mapping[str, Any] | str,
        idempotency_key: str | None,
    ) -> Answer:
        """Do what `Session.call` does."""

    def context(self, session: "Session", query: str, budget: int) -> ContextPack:
        """Do what `Session.context` does."""


@dataclass(frozen=True)
class Session:
    """An agent's way to the data of one lead's customer; safe to share between threads.

    What takes long is done `elsewhere`, if anything is given there.
    """

    database: Database
    lead_id: UUID
    actor: str = "agent"
    rules: Rules = field(default_factory=Rules)
    elsewhere: Elsewhere | None = field(default=None, repr=False, compare=False)

    @property
    def offered(self) -> tuple[Tool, ...]:
        """The tools that are offered in this session."""
        return offered(memory_enabled=self.rules.memory_enabled)

    def tools(self, format: str = Format.CANONICAL) -> list[dict[str, Any]]:  # noqa: A002 - the word for it
        """Return the offered tools as a provider takes them: JSON objects, made anew at each call.

        `format`: canonical, openai, openai-chat, anthropic, gemini or mcp. Raises UsageError for
        another.
        """
        return listed(self.offered, format)

    def call(
        self, name: str, arguments: Mapping[str, Any] | str, *, idempotency_key: str | None = None
    ) -> Answer:
        """Call a tool as the agent; what is refused is an answer too, and is written down.

        `arguments` may come as the JSON of them, as some models' providers hand them on.
        Under an idempotency key the same arguments are answered as before, others are refused.
        Raises Transient or DatabaseError only if the database does not serve.
        """
        if self.elsewhere is not None:
            return self.elsewhere.call(self, name, arguments, idempotency_key)
        started = perf_counter()
        asked: Input | None = None
        try:
            tool = find_tool(self.offered, name)
            asked = read_arguments(tool, arguments)
            return self._served(tool, asked, checked_key(idempotency_key), started)
        except Refused as refusal:
            self._write_down(name, asked, arguments, refusal, started)
            return refused_answer(name, refusal, in_form=asked is not None)

    def context(self, query: str, *, budget: int = DEFAULT_BUDGET) -> ContextPack:
        """Return what a prompt should hold of the customer for these words, in `budget` tokens.

        Raises Refused while memory is switched off, UsageError for a budget that holds nothing,
        Transient where the same call may be repeated.
        """
        if self.elsewhere is not None:
            return self.elsewhere.context(self, query, budget)
        if not self.rules.memory_enabled:
            raise Refused(
                "memory_off",
                "Memory is switched off.",
                next_step="Set CONTEXT_MEMORY_ENABLED=true when `backstory ready` finds nothing.",
            )
        with self.bound() as mine:
            return context_pack(mine, query, budget=budget)

    @contextmanager
    def bound(self) -> Iterator[Bound]:
        """Yield a transaction that is bound to the customer of the session's lead."""
        with (
            translated(),
            self.database.engine.begin() as connection,
            bound(
                connection,
                self.database.schema,
                lead_id=self.lead_id,
                actor=self.actor,
                now=self.rules.clock(),
                region=self.rules.region,
                embedders=self.rules.embedders,
            ) as mine,
        ):
            yield mine

    def _served(self, tool: Tool, asked: Input, key: str | None, started: float) -> Answer:
        for left in reversed(range(_TRIES)):
            try:
                with (
                    translated(),
                    self.database.engine.begin() as connection,
                    prepared(connection, after=_USES_UNPREPARED),
                ):
                    return self._within(connection, tool, asked, key, started)
            except RecordRefused as refused:
                raise Refused(
                    "invalid_arguments",
                    "The database cannot hold these values.",
                    next_step="Use plain text and ordinary numbers.",
                ) from refused
            except Transient:
                if not left:
                    raise
        raise AssertionError("the last try returns or raises")

    def _within(
        self, connection: Connection, tool: Tool, asked: Input, key: str | None, started: float
    ) -> Answer:
        """Serve a call in the open transaction: the change and its record commit together."""
        given = asked.model_dump(mode="json", exclude_none=True)
        last: list[Step] = []
        before = key and calls.earlier(connection, lead=self.lead_id, tool=tool.name, key=key)
        if before:
            if before.arguments_hash != calls.arguments_hash(given):
                raise Refused(
                    "conflict",
                    "This idempotency key was used for other arguments.",
                    next_step="Repeat the call as it was, or use a new key.",
                )
            data, outcome = _as_given(tool, before.answer), str(before.answer["outcome"])
        else:
            mine = bind(
                connection,
                self.database.schema,
                lead_id=self.lead_id,
                actor=self.actor,
                now=self.rules.clock(),
                region=self.rules.region,
                embedders=self.rules.embedders,
            )
            output = tool.function(mine, asked)
            data, outcome = output.model_dump(mode="json"), output.outcome
            last = mine.last_steps()
        call = calls.Call(
            tool=tool.name,
            actor=self.actor,
            lead_id=self.lead_id,
            arguments=given,
            outcome="replayed" if before else outcome,
            refused=False,
            latency_ms=milliseconds_since(started),
            now=self.rules.clock(),
            idempotency_key=None if before else key,
            answer=data if key and not before else None,
        )
        # The rest in one round trip: what is left to write, the record as the owner, the commit.
        pipelined(connection, [*last, calls.recording(call)], commit=True)
        return Answer(tool.name, outcome, refused=False, data=data, replayed=bool(before))

    def _write_down(
        self,
        name: str,
        asked: Input | None,
        arguments: Mapping[str, Any] | str,
        refusal: Refused,
        started: float,
    ) -> None:
        """Record a refusal by itself: what was tried has been rolled back."""
        given = asked.model_dump(mode="json", exclude_none=True) if asked else _plain(arguments)
        known = [tool.name for tool in self.offered]
        with translated(), self.database.engine.begin() as connection:
            calls.record(
                connection,
                calls.Call(
                    tool=name if name in known else "unknown",
                    actor=self.actor,
                    lead_id=self.lead_id,
                    arguments=given,
                    outcome=refusal.outcome,
                    refused=True,
                    latency_ms=milliseconds_since(started),
                    now=self.rules.clock(),
                ),
            )


def open_session(
    database: Database, lead: str | UUID, *, actor: str = "agent", rules: Rules | None = None
) -> Session:
    """Open a session for a lead, by the id it has in your system or by ours.

    A lead without an open conversation gets one. Raises UsageError for an unknown lead,
    DatabaseError if the role of agents is not there.
    """
    rules = rules or Rules()
    with translated(), database.engine.begin() as connection:
        agent_role.require(connection, database.schema)
        found = calls.find_lead(connection, str(lead))
        if found is None:
            raise UsageError(
                f"There is no lead {str(lead)!r}: record an event of it, or load a list of leads."
            )
        ensure_conversation(connection, found, rules.clock())
    return Session(database, found, actor, rules)


def _as_given(tool: Tool, answer: dict[str, Any]) -> dict[str, Any]:
    """Return a kept answer with its keys in the order in which the tool gives them.

    One of an earlier version may have others: it is given as it was kept.
    """
    try:
        return tool.gives.model_validate(answer).model_dump(mode="json")
    except ValidationError:
        return answer


def _plain(arguments: object) -> dict[str, Any]:
    """Return arguments that were not understood, as far as they can be named and hashed."""
    if not isinstance(arguments, Mapping):
        return {}
    return {
        clean_text(name[:LONGEST_KEY] if isinstance(name, str) else shown(name))[0]: _told(value)
        for name, value in list(arguments.items())[:_MOST_ARGUMENTS]
    }


def _told(value: object) -> object:
    """Return a text, or texts, as they are; of anything else, which may be endless, its kind."""
    texts = value if isinstance(value, list) else [value]
    return value if all(isinstance(each, str) for each in texts) else shown(value)
