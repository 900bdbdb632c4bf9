"""What a prompt is given: what may be used, what is to be asked first, and never too much of it."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from remembered_world import JUNE, NOW, ago
from sqlalchemy import text

from backstory.errors import Refused, UsageError
from backstory.memory.confirm import LASTS, confirm
from backstory.memory.context import NOTHING, PREAMBLE, Section, context
from backstory.memory.telling import TALK
from backstory.memory.tokens import upper_bound

QUERY = "same place as last time, it is about the piano and the sofa"


_TABLES = ("customers", "leads", "jobs", "customer_addresses", "memory_notes", "messages")


def packed(someone, query=QUERY, at=NOW, **options):
    with someone.talking(at) as bound:
        return context(bound, query, **{"budget": 3_000, **options})


def told(pack, section: Section) -> list[str]:
    return [line.text for line in pack.lines if line.section is section]


def candidate(pack, words: str) -> str:
    """Return the candidate id of the one line that is to be asked about and has these words."""
    (found,) = [line for line in pack.lines if line.shown and words in line.text]
    return found.shown.candidate_id


def test_what_is_from_before_is_only_to_be_asked_about(jane):
    pack = packed(jane)
    asked = " ".join(told(pack, Section.BEFORE))
    assert "Garage clean-out" in asked
    assert '"12 Oak St, Austin"' in asked
    assert "an old piano" in asked
    usable = [line for line in pack.lines if line.section is not Section.BEFORE]
    assert [line.source for line in usable] == ["customer", "note"]
    assert all(line.shown for line in pack.lines if line.section is Section.BEFORE)


def test_every_line_has_its_source_and_its_date_and_text_begins_with_the_rules(jane):
    pack = packed(jane)
    assert pack.text.startswith(PREAMBLE)
    known = {
        str(row.id)
        for table in _TABLES
        for row in jane.connection.execute(text(f"SELECT id FROM {table}"))
    }
    assert len(pack.lines) == 6
    for line in pack.lines:
        assert str(line.source_id) in known
        name = line.shown.candidate_id if line.shown else line.source
        assert f"- [{name}, {str(line.source_id)[:8]}, 2026-06-03] {line.text}" in pack.text


def test_after_a_yes_the_details_may_be_used(jane):
    first = packed(jane)
    with jane.talking() as bound:
        confirm(bound, [candidate(first, "Garage clean-out")])
    second = packed(jane)
    (detail,) = told(second, Section.CONFIRMED)
    assert '"Garage clean-out" at "12 Oak St, Austin"' in detail
    assert "job_id" in detail
    assert "address_id" in detail
    asked = " ".join(told(second, Section.BEFORE))
    assert "Garage" not in asked
    assert "Oak" not in asked


def test_a_yes_lasts_for_days_and_not_for_years(jane):
    with jane.talking(ago(days=1)) as bound:
        confirm(bound, [candidate(context(bound, QUERY), "Garage clean-out")])
    assert told(packed(jane, at=ago(days=1) + LASTS - timedelta(1)), Section.CONFIRMED)
    late = ago(days=1) + LASTS
    pack = packed(jane, at=late)
    assert told(pack, Section.CONFIRMED) == []
    with jane.talking(late) as bound:
        confirm(bound, [candidate(pack, "Garage clean-out")])
    assert told(packed(jane, at=late), Section.CONFIRMED)


def test_what_was_confirmed_and_changed_is_to_be_asked_about_again(jane):
    with jane.talking() as bound:
        confirm(bound, [candidate(context(bound, QUERY), "Garage clean-out")])
    jane.change("UPDATE jobs SET title = 'Attic clean-out' WHERE customer_id = :id", id=jane.id)
    pack = packed(jane)
    assert told(pack, Section.CONFIRMED) == []
    assert candidate(pack, "Attic clean-out")


def test_a_confirmation_of_another_conversation_is_none(jane):
    with jane.talking() as bound:
        confirm(bound, [candidate(context(bound, QUERY), "Garage clean-out")])
    jane.lead, _ = jane.contact("Jane again")
    pack = packed(jane)
    assert told(pack, Section.CONFIRMED) == []
    assert candidate(pack, "Garage clean-out")


def test_the_talk_that_is_going_on_and_open_work_of_this_contact_may_be_used(jane):
    other, _ = jane.contact("Jane on messenger", "messenger")
    lately = NOW - timedelta(days=2)
    jane.ordered("Move a harp", status="scheduled", lead_id=jane.lead, created_at=lately)
    jane.ordered("Move a cello", status="scheduled", lead_id=jane.lead)
    jane.ordered("Move an organ", status="scheduled", lead_id=other)
    jane.ordered("Moved a flute", status="canceled", lead_id=jane.lead)
    jane.says("And now the trombone", NOW - TALK + timedelta(seconds=1))
    jane.says("Earlier it was the trumpet", NOW - TALK - timedelta(seconds=1))
    pack = packed(jane, "move harp cello organ flute trombone trumpet")
    now, before = (" ".join(told(pack, each)) for each in (Section.NOW, Section.BEFORE))
    assert "harp" in now
    assert "trombone" in now
    for word in ("cello", "organ", "flute", "trumpet"):
        assert word in before
        assert word not in now


def test_what_opens_a_door_is_told_after_a_yes_only(jane):
    jane.change("UPDATE customer_addresses SET access_notes = 'Gate code 4711'")
    address = "1 job there"
    first = packed(jane, "Oak gate code")
    assert "4711" not in first.text
    with jane.talking() as bound:
        confirm(bound, [candidate(first, address)])
    assert 'access "Gate code 4711"' in packed(jane).text


def test_notes_are_told_if_somebody_has_confirmed_them(jane):
    jane.noted("Pays late", status="candidate")
    jane.noted("Is a landlord", status="rejected")
    jane.noted("Was abroad", status="confirmed", valid_until=ago(days=1))
    jane.noted("Will move", status="confirmed", valid_from=ago(days=-1))
    pack = packed(jane, "pays late landlord abroad move dog")
    assert "Has a dog" in " ".join(told(pack, Section.NOW))
    for words in ("Pays late", "landlord", "abroad", "Will move"):
        assert words not in pack.text


def test_a_note_about_an_address_is_asked_about_like_the_address(jane):
    address = jane.lives("9 Elm St")
    jane.noted("Elm is the office", status="confirmed", address_id=address)
    pack = packed(jane, "the office")
    assert candidate(pack, "Elm is the office")
    assert "office" not in " ".join(told(pack, Section.NOW))


def test_messages_come_with_what_was_said_around_them(jane):
    jane.says("The attic has three harmoniums", JUNE + timedelta(minutes=10))
    jane.says("Noted, three of them.", JUNE + timedelta(minutes=11), role="assistant")
    jane.says("A day later I spoke of the weather", JUNE + timedelta(days=1))
    lines = told(packed(jane, "harmoniums"), Section.BEFORE)
    at = next(number for number, line in enumerate(lines) if "harmoniums" in line)
    assert "piano" in lines[at - 1]
    assert "Noted, three of them." in lines[at + 1]
    assert "weather" not in " ".join(lines)


def test_a_summary_is_there_and_is_not_to_be_used(jane):
    jane.change(
        "UPDATE conversations SET summary = 'Wants \"all\" gone' WHERE id = :id",
        id=jane.conversation,
    )
    (line,) = [each for each in packed(jane).lines if each.source == "conversation"]
    assert line.section is Section.BEFORE
    assert line.text == "Summary of the conversation: \"Wants 'all' gone\""
    assert line.source_id == jane.conversation


def test_a_summary_says_what_it_covers_and_is_of_its_last_message(jane):
    last = jane.says("And the shed.", JUNE.replace(day=5))
    jane.change(
        "INSERT INTO conversation_summaries (conversation_id, customer_id, made_by, messages,"
        " left_out, first_message_id, last_message_id, last_at)"
        " SELECT conversation_id, customer_id, 'extractive-1', 2, 0, id, id, created_at"
        " FROM messages WHERE id = :last",
        last=last,
    )
    jane.change(
        "UPDATE conversations SET summary = 'Wants it gone' WHERE id = :id", id=jane.conversation
    )
    jane.says("Hello again", JUNE.replace(day=9))
    (line,) = [each for each in packed(jane).lines if each.source == "conversation"]
    assert line.text == 'Summary of the conversation (2 messages, by extractive-1): "Wants it gone"'
    assert line.at == JUNE.replace(day=5)


def test_the_same_question_is_answered_to_the_byte(jane):
    for number in range(5):
        jane.ordered("Twin", created_at=JUNE)
        jane.says("piano twin", JUNE, role="assistant")
        jane.lives(f"{number} Twin St")
    assert packed(jane).text == packed(jane).text


def test_of_a_new_customer_nothing_is_known(person):
    nobody = person(None)
    pack = packed(nobody, "")
    assert pack.text == f"{PREAMBLE}\n\n{NOTHING}"
    assert (pack.lines, pack.left_out) == ((), 0)


def test_a_budget_that_holds_nothing_says_how_much_would(jane):
    with pytest.raises(UsageError, match=r"give \d+ or more") as raised:
        packed(jane, budget=10)
    least = int(str(raised.value).split("give ")[1].split()[0])
    assert packed(jane, budget=least).tokens <= least


def test_without_a_conversation_there_is_no_pack(jane):
    jane.lead = jane.contact("x")[0]
    jane.change("DELETE FROM conversations WHERE lead_id = :id", id=jane.lead)
    with pytest.raises(Refused):
        packed(jane)


@pytest.fixture
def crowded(jane):
    """Return a customer of whom much is known, in several scripts."""
    for number in range(12):
        jane.ordered(f"Piano and sofa {number} " + "très lourd " * number, status="completed")
        jane.says(f"Пианино № {number}: piano 钢琴 sofa " * (1 + number * 3), JUNE)
        jane.noted(f"Sofa {number}", status="confirmed")
        jane.lives(f"{number} Sofa St")
    return jane


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    budget=st.integers(min_value=1, max_value=4_000),
    count=st.sampled_from(
        [upper_bound, len, lambda said: len(said.split()), lambda said: len(said) ** 2 // 5_000]
    ),
    query=st.sampled_from([QUERY, "", "钢琴", "x" * 10_000]),
)
def test_a_budget_is_never_exceeded_whatever_counts(crowded, budget, count, query):
    try:
        pack = packed(crowded, query, budget=budget, count=count)
    except UsageError:
        assert count(f"{PREAMBLE}\n\n{NOTHING}") > budget
        return
    assert pack.tokens == count(pack.text) <= budget


def test_a_larger_budget_holds_more_and_says_what_is_left_out(crowded):
    packs = [packed(crowded, budget=budget) for budget in (200, 500, 1_000, 2_000, 20_000)]
    held = [len(pack.lines) for pack in packs]
    assert held == sorted(set(held))
    left = [pack.left_out for pack in packs]
    assert left == sorted(left, reverse=True)
    assert left[-1] == 0 < left[0]


def test_only_what_is_in_the_pack_can_be_confirmed(crowded):
    small = packed(crowded, budget=1_000)
    large = packed(crowded, budget=4_000)
    shown = {line.shown.candidate_id for line in small.lines if line.shown}
    crowded.change("DELETE FROM confirmations")
    packed(crowded, budget=1_000)
    beyond = [
        line.shown.candidate_id
        for line in large.lines
        if line.shown and line.shown.candidate_id not in shown
    ]
    assert beyond
    with crowded.talking() as bound:
        assert confirm(bound, sorted(shown))
        with pytest.raises(Refused):
            confirm(bound, beyond[:1])
