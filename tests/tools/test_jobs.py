"""Jobs, their lines and their events: money adds up, and status moves along one table only."""

import uuid
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tools_world import NOON, Clock, agent, people, refused, rows, told

from backstory.model import JobEventType, JobItemKind, JobStatus
from backstory.store.job_events import TRANSITIONS

WINDOW = {
    "scheduled_start": "2026-06-05T09:00:00-05:00",
    "scheduled_end": "2026-06-05T11:00:00-05:00",
}


def job(session, title="Garage clean-out", **fields):
    return told(session, "create_job", title=title, **fields)["job"]


def happened(session, job_id, event_type, **fields):
    return told(session, "record_job_event", job_id=job_id, event_type=event_type, **fields)


def test_a_job_has_a_number_a_status_and_its_address(ana):
    place = told(ana, "add_address", line1="12 Oak St", city="Austin", region="TX")["address"]
    made = job(ana, address_id=place["address_id"], **WINDOW)
    assert made["status"] == "scheduled"
    assert made["job_number"] > 0
    assert made["address"] == "12 Oak St, Austin, TX"
    assert job(ana, "Attic")["status"] == "unscheduled"


def test_a_price_is_the_first_line_and_totals_are_the_sum_of_lines(ana):
    made = job(ana, price_cents=10_000)
    assert made["totals"] == {
        "subtotal_cents": 10_000,
        "total_cents": 10_000,
        "currency": "USD",
        "unpriced_items": 0,
    }
    line = {"job_id": made["job_id"], "kind": "item", "name": "Sofa"}
    told(ana, "add_job_item", **line, quantity=1.5, unit_price_cents=333)
    told(ana, "add_job_item", **line)
    last = told(
        ana, "add_job_item", **line | {"kind": "discount", "name": "Loyal"}, unit_price_cents=500
    )
    # 333 * 1.5 = 499.5, half a cent rounds up.
    assert last["totals"] == {
        "subtotal_cents": 10_500,
        "total_cents": 10_000,
        "currency": "USD",
        "unpriced_items": 1,
    }


def test_two_equal_lines_are_two_and_the_answer_says_so(ana):
    line = {"job_id": job(ana)["job_id"], "kind": "item", "name": "Chair", "unit_price_cents": 100}
    assert told(ana, "add_job_item", **line)["note"] is None
    second = told(ana, "add_job_item", **line)
    assert "1 like this" in second["note"]
    assert second["item"]["position"] == 2
    assert second["totals"]["total_cents"] == 200


def test_a_discount_beyond_the_rest_is_refused_and_leaves_no_line(database, ana):
    made = job(ana, price_cents=100)
    said = refused(
        ana,
        "add_job_item",
        job_id=made["job_id"],
        kind="discount",
        name="Too much",
        unit_price_cents=101,
    )
    assert "unit_price_cents" in said["message"]
    assert len(rows(database, "SELECT 1 FROM job_items")) == 1


def test_the_same_title_within_minutes_is_the_same_job(ana, clock):
    first = told(ana, "create_job", title="Sofa pickup")
    again = told(ana, "create_job", title="sofa PICKUP")
    assert again["outcome"] == "duplicate"
    assert again["job"]["job_id"] == first["job"]["job_id"]
    assert again["note"]
    clock.move(minutes=11)
    assert told(ana, "create_job", title="Sofa pickup")["outcome"] == "created"


def test_another_place_or_window_is_another_job_though_the_title_is_the_same(ana):
    oak = told(ana, "add_address", line1="12 Oak St")["address"]["address_id"]
    elm = told(ana, "add_address", line1="5 Elm St")["address"]["address_id"]
    first = told(ana, "create_job", title="Pickup", address_id=oak, **WINDOW)
    for same in ({}, {"address_id": oak}, WINDOW):
        again = told(ana, "create_job", title="Pickup", **same)
        assert (again["outcome"], again["job"]) == ("duplicate", first["job"])
    later = {"scheduled_start": "2026-06-06T09:00:00-05:00"}
    for other in ({"address_id": elm}, later, {"address_id": oak} | later):
        assert told(ana, "create_job", title="Pickup", **other)["outcome"] == "created"


def test_a_job_that_is_closed_is_no_longer_the_same_job(ana):
    """A line is refused with the advice to open a new job: so a new one it is."""
    for title, closing in (("Sofa pickup", ("started", "completed")), ("Attic", ("canceled",))):
        first = told(ana, "create_job", title=title)["job"]["job_id"]
        for what in closing:
            told(ana, "record_job_event", job_id=first, event_type=what)
        advice = refused(ana, "add_job_item", job_id=first, kind="item", name="Chair")["next_step"]
        assert "create_job" in advice
        assert told(ana, "create_job", title=title)["outcome"] == "created"


def test_a_window_must_begin_before_it_ends(ana):
    backwards = {
        "scheduled_start": WINDOW["scheduled_end"],
        "scheduled_end": WINDOW["scheduled_start"],
    }
    for window in (backwards, {"scheduled_end": WINDOW["scheduled_end"]}):
        assert "scheduled_end" in refused(ana, "create_job", title="Shed", **window)["message"]


def test_a_day_of_work_moves_the_job_along(ana, clock):
    made = job(ana, **WINDOW)["job_id"]
    for kind, status in (
        ("confirmed", "scheduled"),
        ("en_route", "scheduled"),
        ("arrived", "scheduled"),
        ("started", "in_progress"),
        ("on_hold", "on_hold"),
        ("resumed", "in_progress"),
        ("completed", "completed"),
        ("payment_received", "completed"),
    ):
        clock.move(minutes=10)
        assert happened(ana, made, kind)["job"]["status"] == status


def test_a_resumed_job_is_what_it_was_before_it_was_held(ana, clock):
    made = job(ana)["job_id"]
    for kind, status in (
        ("started", "in_progress"),
        ("on_hold", "on_hold"),
        ("scheduled", "scheduled"),
        ("no_show", "on_hold"),
        ("note_added", "on_hold"),
        ("resumed", "scheduled"),
        ("on_hold", "on_hold"),
        ("resumed", "scheduled"),
        ("completed", "completed"),
    ):
        clock.move(minutes=10)
        fields = WINDOW if kind == "scheduled" else {}
        assert happened(ana, made, kind, **fields)["job"]["status"] == status


WAYS = {
    JobStatus.UNSCHEDULED: [],
    JobStatus.SCHEDULED: ["scheduled"],
    JobStatus.IN_PROGRESS: ["started"],
    JobStatus.ON_HOLD: ["on_hold"],
    JobStatus.COMPLETED: ["started", "completed"],
    JobStatus.CANCELED: ["canceled"],
}


@pytest.mark.parametrize("status", list(JobStatus))
def test_an_event_moves_a_job_only_as_the_table_says(ana, status):
    for kind, (states, after) in TRANSITIONS.items():
        made = job(ana, f"For {kind}")["job_id"]
        for step in WAYS[status]:
            happened(ana, made, step, **_window(step))
        if status in states:
            moved = happened(ana, made, kind, **_window(kind))
            assert moved["event"]["from_status"] == status
            assert moved["job"]["status"] == moved["event"]["to_status"]
            if kind != JobEventType.RESUMED:
                assert moved["job"]["status"] == (after or status)
            continue
        said = refused(ana, "record_job_event", job_id=made, event_type=kind, **_window(kind))
        assert said["outcome"] == "invalid_transition"
        ways = said["next_step"].removeprefix("What can: ").removesuffix(".").split(", ")
        assert set(ways) == {each for each, (states, _) in TRANSITIONS.items() if status in states}


def _window(kind):
    return WINDOW if kind in ("scheduled", "rescheduled") else {}


def test_an_event_needs_what_it_speaks_of(ana):
    made = job(ana)["job_id"]
    asked = {"job_id": made}
    for event, field in (
        ({"event_type": "scheduled"}, "scheduled_start"),
        ({"event_type": "started", **WINDOW}, "scheduled_start"),
        ({"event_type": "note_added", "canceled_by": "customer"}, "canceled_by"),
        (
            {"event_type": "note_added", "occurred_at": (NOON + timedelta(hours=1)).isoformat()},
            "occurred_at",
        ),
    ):
        said = refused(ana, "record_job_event", **asked, **event)
        assert said["outcome"] == "invalid_arguments"
        assert field in said["message"]


def test_work_is_not_completed_before_it_began(ana, clock):
    made = job(ana)["job_id"]
    happened(ana, made, "started")
    earlier = (clock.now - timedelta(hours=1)).isoformat()
    said = refused(
        ana, "record_job_event", job_id=made, event_type="completed", occurred_at=earlier
    )
    assert "occurred_at" in said["message"]


def test_a_canceled_job_says_by_whom_and_takes_no_more_lines(database, ana):
    made = job(ana)["job_id"]
    happened(ana, made, "canceled", canceled_by="business")
    assert rows(database, "SELECT canceled_by FROM jobs")[0].canceled_by == "business"
    said = refused(ana, "add_job_item", job_id=made, kind="item", name="Late")
    assert said["outcome"] == "job_closed"


def test_a_like_event_is_recorded_and_said_to_be_one_more(ana):
    made = job(ana)["job_id"]
    happened(ana, made, "note_added", note="Beware of the dog")
    assert "1 like this" in happened(ana, made, "note_added", note="Beware of the dog")["note"]


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(JobItemKind),
            st.decimals("0.001", 1000, places=3),
            st.none() | st.integers(0, 10**7),
        ),
        max_size=6,
    )
)
def test_totals_are_what_the_accepted_lines_come_to(database, lines):
    session = agent(database, "ana-1", clock=Clock())
    # A title of its own: a job of the same one, minutes ago, would be taken for this one.
    made = told(session, "create_job", title=str(uuid.uuid4()))["job"]["job_id"]
    total = {"subtotal_cents": None, "total_cents": None}
    for kind, quantity, price in lines:
        answer = session.call(
            "add_job_item",
            {
                "job_id": made,
                "kind": kind.value,
                "name": "x",
                "quantity": float(quantity),
                "unit_price_cents": price,
            },
        )
        if not answer.refused:
            total = answer.data["totals"]
    sums = rows(
        database,
        "SELECT sum(round(quantity * unit_price_cents)) FILTER (WHERE kind <> 'discount') AS plus,"
        " sum(round(quantity * unit_price_cents)) FILTER (WHERE kind = 'discount') AS minus"
        " FROM job_items WHERE job_id = :job",
        job=made,
    )[0]
    if sums.plus is None and sums.minus is None:
        assert total["total_cents"] is None
    else:
        assert total["subtotal_cents"] == (sums.plus or 0)
        assert total["total_cents"] == (sums.plus or 0) - (sums.minus or 0) >= 0


def test_every_vocabulary_of_events_is_in_the_table_or_written_by_the_store():
    own = {JobEventType.CREATED, JobEventType.ITEM_ADDED, JobEventType.CONTEXT_CONFIRMED}
    assert set(TRANSITIONS) == set(JobEventType) - own


def test_people_is_a_world_of_two(database_url):
    database = people(database_url)
    assert len(rows(database, "SELECT 1 FROM customers WHERE merged_into_id IS NULL")) == 2
    database.engine.dispose()
