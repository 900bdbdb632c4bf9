"""What may be confirmed: what was shown in this conversation, as it still is; all or nothing."""

import uuid

import pytest
from remembered_world import JUNE, NOW, ago
from sqlalchemy import text

from backstory.errors import Refused
from backstory.memory.candidates import fetch
from backstory.memory.confirm import confirm
from backstory.model import MemorySource


def fetched(someone, query="garage piano dog Oak", at=NOW):
    """Return the ids of what is shown, by source."""
    with someone.talking(at) as bound:
        return {each.source.value: each.candidate_id for each in fetch(bound, query, k=10)}


def confirmed(someone, *ids):
    with someone.talking() as bound:
        return confirm(bound, ids)


def refused(someone, *ids) -> Refused:
    with someone.talking() as bound, pytest.raises(Refused) as raised:
        confirm(bound, ids)
    return raised.value


def confirmations(someone) -> list[tuple]:
    rows = someone.connection.execute(
        text(
            "SELECT candidate_id, confirmed_at FROM confirmations WHERE customer_id = :id"
            " AND confirmed_at IS NOT NULL ORDER BY candidate_id"
        ),
        {"id": someone.id},
    )
    return [tuple(row) for row in rows]


def test_what_was_shown_is_confirmed_with_its_details_and_ids(jane):
    shown = fetched(jane)
    job, address, note = confirmed(jane, shown["job"], shown["address"], shown["note"])
    ((job_id, address_id),) = jane.connection.execute(
        text("SELECT id, service_address_id FROM jobs WHERE customer_id = :id"), {"id": jane.id}
    )
    assert (job.source, job.job_id, job.address_id) == (MemorySource.JOB, job_id, address_id)
    told = '"Garage clean-out" at "12 Oak St, Austin" with "1 x sofa, 1 x two mattresses"'
    assert told in job.details
    assert (address.job_id, address.address_id) == (None, address_id)
    assert '"Has a dog, call before arriving"' in note.details
    assert [each for each, _ in confirmations(jane)] == sorted(
        [shown["job"], shown["address"], shown["note"]]
    )


def test_confirming_again_changes_nothing(jane):
    shown = fetched(jane)
    first = confirmed(jane, shown["job"])
    before = confirmations(jane)
    with jane.talking(ago(minutes=-5)) as bound:
        assert confirm(bound, [shown["job"], shown["job"]]) == first
    assert confirmations(jane) == before == [(shown["job"], NOW)]


def test_a_job_tells_once_that_it_was_spoken_of(jane):
    shown = fetched(jane)
    confirmed(jane, shown["job"])
    confirmed(jane, shown["job"], shown["address"])
    events = jane.connection.execute(
        text("SELECT event_type, payload FROM job_events WHERE customer_id = :id"), {"id": jane.id}
    ).all()
    told = {"candidate_id": shown["job"], "conversation_id": str(jane.conversation)}
    assert [tuple(event) for event in events] == [("context_confirmed", told)]
    assert fetched(jane)["job"] == shown["job"]


def test_what_was_never_fetched_is_refused_and_named(jane):
    shown = fetched(jane)
    forged = "job-0123456789abcdef"
    refusal = refused(jane, shown["job"], forged)
    assert refusal.outcome == "not_found"
    assert forged in refusal.message
    assert shown["job"] not in refusal.message
    assert "fetch" in refusal.next_step
    assert confirmations(jane) == []


@pytest.mark.parametrize(
    "form", ["job-xyz", "", "job-5D2F0C9BE1A47F36", "a\0b", "\ud800", "x" * 9999]
)
def test_what_is_no_candidate_id_is_not_found_either(jane, form):
    refusal = refused(jane, form)
    assert refusal.outcome == "not_found"
    assert len(refusal.message) < 200


def test_another_customers_candidate_is_not_found_in_the_same_words(jane, person):
    john = person("John")
    john.ordered("Basement clean-out")
    theirs = fetched(john, "basement")["job"]
    fetched(jane)
    forged = "job-0123456789abcdef"
    assert str(refused(jane, theirs)) == str(refused(jane, forged)).replace(forged, theirs)
    assert confirmations(john) == []


def test_what_was_fetched_in_another_conversation_is_not_found(jane):
    shown = fetched(jane)
    jane.lead, _ = jane.contact("Jane again")
    assert refused(jane, shown["job"]).outcome == "not_found"
    assert fetched(jane)["job"] == shown["job"]
    assert confirmed(jane, shown["job"])


CHANGES = {
    "job": "UPDATE jobs SET title = 'Attic clean-out' WHERE customer_id = :id",
    "job's address": "UPDATE customer_addresses SET line1 = '13 Oak St' WHERE customer_id = :id",
    "job's item": "UPDATE job_items SET name = 'chair' WHERE customer_id = :id AND position = 1",
    "address": "UPDATE customer_addresses SET access_notes = 'gate' WHERE customer_id = :id",
    "note": "UPDATE memory_notes SET text = 'No dog' WHERE customer_id = :id",
    "note rejected": "UPDATE memory_notes SET status = 'rejected' WHERE customer_id = :id",
    "lead": "UPDATE leads SET stage = 'lost' WHERE customer_id = :id",
    "message": "UPDATE messages SET content = 'Not the piano' WHERE customer_id = :id",
    "message gone": "DELETE FROM messages WHERE customer_id = :id",
    "note gone": "DELETE FROM memory_notes WHERE customer_id = :id",
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_changed_since_it_was_shown_is_refused_until_fetched_again(jane, what):
    source = what.partition(" ")[0].removesuffix("'s")
    shown = fetched(jane)
    other = next(shown[each] for each in ("lead", "note") if each != source)
    jane.change(CHANGES[what], id=jane.id)
    refusal = refused(jane, other, shown[source])
    assert refusal.outcome == "changed"
    assert shown[source] in refusal.message
    assert other not in refusal.message
    assert confirmations(jane) == []
    again = fetched(jane).get(source)
    assert again != shown[source]
    assert (again is None) == ("gone" in what or "rejected" in what)
    if again:
        assert confirmed(jane, again)


def test_a_change_beyond_what_is_shown_of_a_long_text_is_seen(jane):
    long = "piano " + "la " * 5_000
    message = jane.says(long, JUNE)
    with jane.talking() as bound:
        shown = [c for c in fetch(bound, "piano la", k=10) if "la la" in c.summary]
    jane.change("UPDATE messages SET content = content || 'x' WHERE id = :id", id=message)
    assert refused(jane, shown[0].candidate_id).outcome == "changed"


def test_a_note_that_is_confirmed_in_talk_keeps_its_status(jane):
    note = jane.noted("Pays by card", status="candidate")
    with jane.talking() as bound:
        shown = [c for c in fetch(bound, "pay by card", k=10) if "card" in c.summary]
        assert confirm(bound, [shown[0].candidate_id])
    status = jane.connection.execute(
        text("SELECT status FROM memory_notes WHERE id = :id"), {"id": note}
    ).scalar_one()
    assert status == "candidate"


def test_a_contact_without_a_conversation_is_told_what_to_do(person):
    john = person("John")
    john.change("DELETE FROM conversations WHERE id = :id", id=john.conversation)
    refusal = refused(john, f"job-{uuid.uuid4().hex[:16]}")
    assert refusal.outcome == "no_conversation"
    assert "message" in refusal.next_step
