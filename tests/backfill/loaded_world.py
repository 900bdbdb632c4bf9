"""A database of a test's own, and the shortest way to load records into it."""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from backstory.backfill import journey
from backstory.backfill.options import BackfillOptions
from backstory.backfill.report import Report
from backstory.backfill.rollback import RollbackPlan, RollbackReport, plan_rollback, rollback
from backstory.backfill.verify import Verdict, verify
from backstory.runs.run import get_run
from backstory.store.engine import Database
from backstory.store.tables import Base

NOW = datetime(2026, 6, 1, tzinfo=UTC)
BEGUN = datetime(2026, 5, 1, tzinfo=UTC)
# What a rollback keeps: the story of the runs, and of what we did.
LEDGERS = {"backfill_runs", "line_rules", "run_partitions", "run_changes"}
_files = itertools.count()

Line = Mapping[str, Any] | bytes


def record(number: int, lead: str = "lead-1", **other: Any) -> dict[str, Any]:
    """Return a record of a log: users say the odd ones, assistants the even ones."""
    return {
        "id": f"a-{number}",
        "lead_id": lead,
        "actor": "customer" if number % 2 else "agent",
        "action": "message_received" if number % 2 else "message_sent",
        "payload": {"text": f"message {number}"},
        "created_at": (BEGUN + timedelta(minutes=number)).isoformat(),
    } | other


def talk(lead: str, numbers: Iterable[int]) -> list[dict[str, Any]]:
    """Return records of one lead."""
    return [record(number, lead) for number in numbers]


def lead(name: str, /, **other: Any) -> dict[str, Any]:
    """Return a lead of a list; give it a phone, an e-mail or a psid to link it."""
    return {"id": name, "channel": "sms", "created_at": BEGUN.isoformat()} | other


def written(lines: Sequence[Line], path: Path) -> str:
    """Write lines to a file and return its name."""
    raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path.write_bytes(b"".join(line + b"\n" for line in raw))
    return str(path)


class World:
    """An open database and a home for the runs on it."""

    def __init__(self, database: Database, home: Path) -> None:
        self.database = database
        self.home = home

    def options(
        self, records: Sequence[Line], leads: Sequence[Line] | None = None, **more: Any
    ) -> BackfillOptions:
        number = next(_files)
        listed = () if leads is None else (written(leads, self.home / f"leads-{number}.jsonl"),)
        audit = (written(records, self.home / f"audit-{number}.jsonl"),)
        return BackfillOptions(audit=audit, leads=listed, allow_empty=True, **more)

    def load(
        self, records: Sequence[Line], leads: Sequence[Line] | None = None, **more: Any
    ) -> Report:
        return journey.start(self.database, self.home, self.options(records, leads, **more))

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        with self.database.engine.begin() as connection:
            yield connection

    def verify(self, **more: Any) -> Verdict:
        with self.connection() as connection:
            return verify(connection, now=NOW, **more)

    def run(self, *statements: str, **values: Any) -> None:
        with self.connection() as connection:
            for statement in statements:
                connection.execute(text(statement), values)

    def rows(self, statement: str, **values: Any) -> list[Any]:
        with self.connection() as connection:
            return list(connection.execute(text(statement), values))

    def one(self, statement: str, **values: Any) -> Any:
        (row,) = self.rows(statement, **values)
        return row[0]

    def dump(self) -> dict[str, list[str]]:
        """Return every table as the text of its rows, in order; the ledgers of runs aside."""
        found = {}
        for name in sorted(Base.metadata.tables.keys() - LEDGERS):
            own = "WHERE log <> 'backstory'" if name == "audit_log" else ""
            rows = self.rows(f'SELECT CAST(t AS text) FROM "{name}" t {own} ORDER BY 1')
            found[name] = [row[0] for row in rows]
        return found

    def roll_back(self, run_id: str | None = "last", **more: Any) -> RollbackReport:
        assert run_id is not None
        return rollback(self.database, run_id, **more)

    def plan_rollback(self, run_id: str | None = "last") -> RollbackPlan:
        assert run_id is not None
        with self.connection() as connection:
            return plan_rollback(connection, get_run(connection, run_id))


def differences(one: dict[str, list[str]], other: dict[str, list[str]]) -> dict[str, Any]:
    """Return the rows that are in one dump only."""
    return {
        name: (sorted(set(one[name]) - set(other[name])), sorted(set(other[name]) - set(one[name])))
        for name in one
        if one[name] != other[name]
    }
