"""Every record ends in exactly one outcome, whatever it is; and running again changes nothing."""

import json
import random
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import hostile
import pytest
from dumps import Dump, comparable, differences, logical, physical
from hypothesis import HealthCheck, Phase, assume, example, given, settings
from hypothesis import strategies as st
from loaded_world import World
from oracle import TIMES, Expected, expect, expect_leads
from sqlalchemy import Engine

from backstory.backfill import journey, manifest
from backstory.backfill.options import BackfillOptions
from backstory.backfill.plan import plan
from backstory.backfill.report import Report
from backstory.extract.identity import lead_id
from backstory.model import TombstoneKind
from backstory.store.engine import Database
from backstory.store.tables import Base
from backstory.store.tombstones import bury

PLACES = (
    "audit_log.seq",
    "messages.seq",
    "skips.position",
    "quarantine.position",
    "conflicts.position",
)
FIRST_RECORD = b'{"id": "first", "created_at": 0, "lead_id": "L1", "actor": "user", "payload": 1}'
FIRST_LEAD = b'{"id": "L1"}'

SMALL_BYTES = 400

# A world is emptied for each example, and an example may take as long as it wants. Failures are not
# made smaller: a log of 25 lines can be read, and each attempt loads it several times.
hostile_input = settings(
    max_examples=25,
    deadline=None,
    phases=[phase for phase in Phase if phase is not Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def world(engine: Engine, database_url: str, tmp_path: Path) -> "Emptied":
    return Emptied(Database(database_url, "backstory", engine), tmp_path)


class Emptied(World):
    """A world that can begin anew, and writes its inputs under the same names each time."""

    def begin(self) -> None:
        tables = ", ".join(sorted(Base.metadata.tables))
        self.run(
            f"TRUNCATE {tables} CASCADE",
            # Not drawn anew: what two runs leave behind is compared.
            "INSERT INTO tombstone_keys (id, secret) VALUES (gen_random_uuid(), 'secret')",
        )
        with self.connection() as connection:
            bury(connection, TombstoneKind.LEAD, [lead_id(hostile.ERASED)])
        # The first key counts; one that was drawn beside it would differ each time.
        self.run("DELETE FROM tombstone_keys WHERE secret <> 'secret'")

    def given(
        self, files: Sequence[Sequence[bytes]], leads: Sequence[bytes] | None, **more: Any
    ) -> Any:
        """Return options for a log in these files and a list of leads."""
        audit = []
        for number, lines in enumerate(files):
            audit.append(self.home / f"audit-{number}.jsonl")
            audit[-1].write_bytes(b"\n".join(lines) + b"\n")
        if leads is not None:
            (self.home / "leads.jsonl").write_bytes(b"\n".join(leads) + b"\n")
        return BackfillOptions(
            audit=tuple(map(str, audit)),
            leads=() if leads is None else (str(self.home / "leads.jsonl"),),
            **more,
        )

    def dump_of(
        self, files: Sequence[Sequence[bytes]], leads: Sequence[bytes] | None, **more: Any
    ) -> Dump:
        """Return what a run over these files leaves behind, wherever a record stood in them."""
        self.begin()
        options = self.given(files, leads, workers=more.pop("workers", 1))
        journey.start(self.database, self.home, options)
        return self.logical(**more)

    def logical(self, **more: Any) -> Dump:
        with self.connection() as connection:
            return logical(connection, **more)

    def physical(self) -> Dump:
        with self.connection() as connection:
            return physical(connection)


@hostile_input
@given(log=hostile.logs, leads=st.none() | hostile.lead_lists, ending=st.sampled_from([b"", b"\r"]))
@example(log=[*hostile.BROKEN, *hostile.ODD], leads=[], ending=b"")
@example(log=hostile.CONFLICT_OPENS_A_LEAD, leads=None, ending=b"")
@example(log=[*hostile.BROKEN, *hostile.ODD] * 2, leads=None, ending=b"\r")
@example(log=[b'{"lead_id": "erased", "id": true}'], leads=None, ending=b"\r")
def test_every_record_has_one_outcome_and_a_second_run_changes_no_row(
    world: Emptied, log: list[bytes], leads: list[bytes] | None, ending: bytes
) -> None:
    log = [line + ending for line in [FIRST_RECORD, *log]]
    leads = None if leads is None else [line + ending for line in [FIRST_LEAD, *leads]]
    listed, unreadable = ({}, 0) if leads is None else expect_leads(leads)
    known = None if leads is None else set(listed)
    expected = expect(log, leads=known, erased={hostile.ERASED})

    world.begin()
    options = world.given([log], leads)
    planned = plan(world.database, world.home, options)
    report = journey.start(world.database, world.home, options)
    assert comparable(report) == comparable(planned)
    check_report(report, expected, unreadable=unreadable)
    check_rows(world, report, expected)
    check_conversations(world, expected, listed)

    before = world.physical()
    planned = plan(world.database, world.home, options)
    again = journey.start(world.database, world.home, options)
    assert differences(before, world.physical()) == []
    assert comparable(again) == comparable(planned)
    check_second_report(again, report)


def check_report(report: Report, expected: Expected, *, unreadable: int) -> None:
    no_text = expected.skipped["no_text"]
    assert report.records_read == expected.records
    assert report.messages_created == len(expected.messages)
    assert report.messages_duplicate == expected.duplicates
    assert report.messages_conflicting == expected.conflicts
    assert report.records_quarantined == len(expected.quarantined)
    assert Counter(report.skipped_by_reason) == expected.skipped
    assert report.messages_skipped == expected.duplicates + no_text
    assert report.audits_skipped == expected.skipped.total() - no_text
    # The sums of the contract.
    assert report.records_read == (
        report.audits_processed + report.audits_skipped + report.records_quarantined
    )
    assert report.audits_processed == (
        report.messages_created + report.messages_skipped + report.messages_conflicting
    )
    roles = Counter(said.role for said in expected.messages.values())
    assert {role: share["count"] for role, share in report.roles.items()} == roles
    assert len(report.errors) == min(unreadable, 20)
    said = " ".join(report.warnings)
    assert (f"replaced by U+FFFD: {expected.replaced}." in said) == bool(expected.replaced)
    assert (f"last value taken: {expected.repeated_keys}." in said) == bool(expected.repeated_keys)


def check_rows(world: World, report: Report, expected: Expected) -> None:
    """The rows that are there, counted, are what the report says."""
    assert world.one("SELECT count(*) FROM audit_log WHERE log = 'audit'") == len(expected.messages)
    assert world.one("SELECT count(*) FROM messages") == report.messages_created
    assert world.one("SELECT count(*) FROM conflicts") == report.messages_conflicting
    skips = dict(world.rows("SELECT reason, count(*) FROM skips GROUP BY reason"))
    assert skips == report.skipped_by_reason
    raw = [bytes(row[0]) for row in world.rows("SELECT raw FROM quarantine")]
    assert Counter(raw) == Counter(expected.quarantined)
    outcomes = report.messages_created + report.messages_conflicting + len(raw)
    outcomes += sum(skips.values()) + report.messages_duplicate
    assert outcomes == expected.records


def check_conversations(world: World, expected: Expected, listed: dict[str, Any]) -> None:
    """Every lead has one conversation, and its messages are the ones the rules name, in order."""
    heard = expected.conversations
    rows = world.rows(
        "SELECT l.external_id, l.source, c.id, c.started_at, c.last_message_at, c.last_incoming_at "
        "FROM leads l LEFT JOIN conversations c ON c.lead_id = l.id"
    )
    assert {row.external_id for row in rows} == set(listed) | set(heard)
    for lead, source, conversation, started, last, incoming in rows:
        said = heard.get(lead, [])
        assert source == ("list" if lead in listed else "derived")
        assert last == max((each.created_at for each in said), default=None)
        users = [each.created_at for each in said if each.role == "user"]
        assert incoming == max(users, default=None)
        first = min((each.created_at for each in said), default=None)
        assert started == (listed.get(lead) or first)
        messages = world.rows(
            "SELECT audit_id, role, kind, content, created_at, metadata FROM messages "
            "WHERE conversation_id = :conversation ORDER BY created_at, seq, audit_id",
            conversation=conversation,
        )
        assert [tuple(row[:5]) for row in messages] == [
            (each.audit_id, each.role, each.kind, each.content, each.created_at) for each in said
        ]
        replaced = [row.metadata.get("replacedCharacters", 0) for row in messages]
        assert replaced == [each.replaced for each in said]


def check_second_report(again: Report, first: Report) -> None:
    assert again.messages_created == again.conversations_created == again.customers_created == 0
    assert again.messages_duplicate == first.messages_created + first.messages_duplicate
    for same in (
        "records_read",
        "messages_conflicting",
        "skipped_by_reason",
        "records_quarantined",
    ):
        assert getattr(again, same) == getattr(first, same)
    assert again.errors == first.errors
    assert again.leads_linked == 0


@settings(hostile_input, max_examples=10)
@given(log=hostile.logs, leads=st.none() | hostile.lead_lists, cuts=st.lists(st.integers(0, 25)))
def test_the_same_log_gives_the_same_rows_however_it_is_cut(
    world: Emptied, log: list[bytes], leads: list[bytes] | None, cuts: list[int]
) -> None:
    log = [FIRST_RECORD, *log]
    leads = None if leads is None else [FIRST_LEAD, *leads]
    whole = world.dump_of([log], leads)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest, "SEGMENT_BYTES", SMALL_BYTES)
        patch.setattr(manifest, "PARTITION_BYTES", SMALL_BYTES)
        assert differences(whole, world.dump_of([log], leads)) == []
    edges = [0, *sorted(min(cut + 1, len(log)) for cut in cuts), len(log)]
    files = [
        log[start:stop] for start, stop in pairwise(edges) if b"".join(log[start:stop]).strip()
    ]
    several = world.dump_of([[FIRST_RECORD, *file] for file in files], leads, without=PLACES)
    # Each file begins with the same record, so that none is taken for something else.
    repeated = [FIRST_RECORD] * (len(files) - 1)
    one = world.dump_of([[*log, *repeated]], leads, without=PLACES)
    assert differences(one, several) == []


@settings(hostile_input, max_examples=10)
@given(log=hostile.logs, order=st.randoms(use_true_random=False))
def test_without_conflicts_the_order_of_the_input_changes_no_row(
    world: Emptied, log: list[bytes], order: random.Random
) -> None:
    expected = expect(log, leads=None, erased={hostile.ERASED})
    assume(not expected.conflicts)
    # Equal records may differ in their time: then the first one's counts.
    assume(not expected.duplicates)
    shuffled = log.copy()
    order.shuffle(shuffled)
    before = world.dump_of([[FIRST_RECORD, *log]], None, without=PLACES)
    after = world.dump_of([[FIRST_RECORD, *shuffled]], None, without=PLACES)
    assert differences(before, after) == []


def test_any_number_of_workers_leaves_the_same_rows(
    world: Emptied, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(7)
    log = [FIRST_RECORD]
    for number in range(300):
        said = {"text": f"hello {dice.randrange(3)}"} if number % 5 else dice.choice([None, 7, [1]])
        log.append(
            json.dumps(
                {
                    "id": f"a{dice.randrange(250)}",
                    "lead_id": f"L{dice.randrange(40)}",
                    "actor": dice.choice(["customer", "agent", "robot"]),
                    "payload": said,
                    "created_at": dice.choice(TIMES)[0],
                }
            ).encode()
        )
        if number % 3 == 0:
            log.append(dice.choice([*hostile.BROKEN, *hostile.ODD]))
    expected = expect(log, leads=None, erased=set())
    assert expected.conflicts > 10 < expected.duplicates
    monkeypatch.setattr(manifest, "SEGMENT_BYTES", 20_000)
    monkeypatch.setattr(manifest, "PARTITION_BYTES", 12_000)
    alone = world.dump_of([log], None)
    assert len(alone["messages"]) == len(expected.messages)
    together = world.dump_of([log], None, workers=3)
    assert world.one("SELECT count(*) FROM run_partitions WHERE stage = 'read'") >= 4
    assert world.one("SELECT count(*) FROM run_partitions WHERE stage = 'write'") >= 8
    assert differences(alone, together) == []
