"""What a service repeated of a customer's words is gone from what runs say of themselves."""

import json
from dataclasses import replace

import pytest
from erased_world import World, customer_of, erase, said

from backstory.live.record import record_event
from backstory.store.erasure import scope_of
from backstory.store.erasure_search import search
from backstory.store.words import Words, words_of

SENTENCE = "please ring the bell twice, my mother is deaf"
# As one was kept before services' words were not: whatever was done to hers, they are hers.
REPEATED = "1 CUSTOMER:  PLEASE RING\nTHE  BELL TWI"


def repeat(world: World, said: str) -> None:
    """Put what a service said where runs of earlier versions had it."""
    told = json.dumps({"reasons": {said: 2}})
    world.run(
        "UPDATE backfill_runs SET error = :said, report = report || CAST(:told AS jsonb),"
        " findings = findings || jsonb_build_object('summaries', CAST(:told AS jsonb))",
        "UPDATE audit_log SET payload = payload || CAST(:told AS jsonb)"
        " WHERE log = 'backstory' AND run_id IS NOT NULL",
        said=said,
        told=told,
    )


FOUR = {
    ("audit_log", "payload"),
    *(("backfill_runs", column) for column in ("error", "findings", "report")),
}


@pytest.mark.parametrize(
    "said",
    [
        f"a.example refused to answer (400): {REPEATED}",
        f"a.example refused to answer (400): {SENTENCE[6:30].upper()}",
    ],
)
def test_nothing_that_a_service_repeated_is_left(world: World, said: str) -> None:
    record_event(world.database, said_by_her(60))
    repeat(world, said)
    before = len(world.rows("SELECT 1 FROM backfill_runs"))
    assert erase(world).proof.clean
    for statement in (
        "SELECT error FROM backfill_runs",
        "SELECT CAST(report AS text) FROM backfill_runs",
        "SELECT CAST(findings AS text) FROM backfill_runs",
        "SELECT CAST(payload AS text) FROM audit_log WHERE run_id IS NOT NULL AND lead_id IS NULL",
    ):
        rows = world.rows(statement)
        assert len(rows) >= before
        assert not any("bell" in row[0].lower() for row in rows)


def test_what_was_said_is_taken_out_of_reports_in_whatever_case_and_spacing() -> None:
    words = Words(ids=(), keys=(), names=(), texts=(SENTENCE,))
    report = {"mode": "notes", "reasons": {f"nobody knows why: {REPEATED}": 2}}
    kept = {"mode": "notes", "reasons": {"nobody knows why: 1 CUSTOMER:  [erased]": 2}}
    assert words.redacted(report) == kept


def said_by_her(number: int) -> dict[str, object]:
    return said(number, "zebra-1", SENTENCE)


def test_the_search_finds_what_was_said_in_every_report_of_ours(world: World) -> None:
    record_event(world.database, said_by_her(60))
    with world.connection() as connection:
        scope = scope_of(connection, customer_of(world, "zebra-1"))
        words = replace(words_of(connection, scope), texts=(SENTENCE,))
    erase(world)
    repeat(world, REPEATED)
    with world.connection() as connection:
        left = search(connection, scope, words).left
    assert {(hit.table, hit.column) for hit in left} == FOUR
