"""The staff's way to their tools: across all customers, by explicit ids, and only to read.

No agent's session has these tools, and no key but a staff's opens them. Each call is a transaction
that cannot write, and is written down in another one before it is answered.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from sqlalchemy import Connection

from backstory.errors import RecordRefused, Refused
from backstory.store import calls
from backstory.store.engine import Database, translated
from backstory.tools.arguments import read_arguments
from backstory.tools.catalog import STAFF_TOOLS
from backstory.tools.schemas import Format
from backstory.tools.session import Rules
from backstory.tools.tool import Input, Tool
from backstory.tools.toolset import (
    Answer,
    checked_key,
    find_tool,
    listed,
    milliseconds_since,
    refused_answer,
)

# What a call that shows one thing has shown: kept, so that it can be seen who looked at a customer.
# Of a search or a list, those it has found are not.
_SEEN = ("customer_id", "conversation_id")


@dataclass(frozen=True)
class Staff:
    """Somebody of the staff, by name; safe to share between threads."""

    database: Database
    actor: str = "staff"
    rules: Rules = field(default_factory=Rules)

    @property
    def offered(self) -> tuple[Tool, ...]:
        """The staff's tools."""
        return STAFF_TOOLS

    def tools(self, format: str = Format.CANONICAL) -> list[dict[str, Any]]:  # noqa: A002 - the word for it
        """Return the staff's tools as a provider takes them; see `Session.tools`."""
        return listed(self.offered, format)

    def call(
        self, name: str, arguments: Mapping[str, Any] | str, *, idempotency_key: str | None = None
    ) -> Answer:
        """Call a tool as one of the staff; what is refused is an answer too, and is written down.

        Reading can be repeated: an idempotency key is taken, and changes nothing. Raises Transient
        or DatabaseError only if the database does not serve.
        """
        started = perf_counter()
        asked: Input | None = None
        try:
            tool = find_tool(self.offered, name)
            asked = read_arguments(tool, arguments)
            checked_key(idempotency_key)
            with self._reading() as connection:
                output = tool.function(connection, asked)
            answer = Answer(
                name, output.outcome, refused=False, data=output.model_dump(mode="json")
            )
        except Refused as refusal:
            answer = refused_answer(name, refusal, in_form=asked is not None)
        self._write_down(answer, asked, started)
        return answer

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """Yield a connection that can only read."""
        try:
            with translated(), self.database.engine.connect() as connection:
                yield connection.execution_options(postgresql_readonly=True)
        except RecordRefused as refused:
            raise Refused(
                "invalid_arguments",
                "The database cannot look for these values.",
                next_step="Use plain text and ordinary numbers.",
            ) from refused

    def _write_down(self, answer: Answer, asked: Input | None, started: float) -> None:
        given = asked.model_dump(mode="json", exclude_none=True) if asked else {}
        seen = {name: answer.data[name] for name in _SEEN if answer.data.get(name)}
        known = [tool.name for tool in self.offered]
        with translated(), self.database.engine.begin() as connection:
            calls.record(
                connection,
                calls.Call(
                    tool=answer.tool if answer.tool in known else "unknown",
                    actor=self.actor,
                    lead_id=None,
                    arguments=given | seen,
                    outcome=answer.outcome,
                    refused=answer.refused,
                    latency_ms=milliseconds_since(started),
                    now=self.rules.clock(),
                ),
            )
