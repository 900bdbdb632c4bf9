"""Staff find a customer by anything they may know of them."""

import pytest
from linked import START, add_conversation, insert, lead, link, rows

from backstory.model import Channel
from backstory.store.customers import find_customers


@pytest.fixture
def people(connection):
    link(
        connection,
        lead("lead-1", 1, psid="777", name="Ann 100% Lee", email="ann_lee@example.com"),
        lead("lead-2", 2, psid="777", phone="+15125550142"),
        lead("lead-3", 3, psid="888", name="Bo Fox"),
        lead("lead-4", 4, channel=Channel.SMS, phone="+15125550199", name="Cy"),
    )
    return connection


def names(connection, query=None, **options):
    return [row.display_name for row in find_customers(connection, query, **options)]


@pytest.mark.parametrize(
    "query",
    [
        *("ann", "LEE", "ann_lee@", "lead-2", "(512) 555-0142", "512.555.0142", "777", "100%"),
        *(" +1 512 555 0142 ", "5550142"),
    ],
)
def test_a_customer_is_found_by_any_part_of_what_is_known(people, query):
    assert names(people, query) == ["Ann 100% Lee"]


@pytest.mark.parametrize("query", ["zebra", "%", "_", "\\", "a%n", "\0", "\ud83d", "5550000"])
def test_nothing_is_a_wildcard_and_no_text_is_an_error(people, query):
    expected = ["Ann 100% Lee"] if query in ("%", "_") else []
    assert names(people, query) == expected


def test_without_a_query_everybody_is_listed_the_latest_first_and_page_by_page(people):
    everybody = ["Cy", "Bo Fox", "Ann 100% Lee"]
    assert names(people) == names(people, "  ") == everybody
    seen, after = [], None
    while page := find_customers(people, None, limit=2, after=after):
        seen += [row.display_name for row in page]
        after = page[-1].id
    assert seen == everybody


def test_a_row_counts_what_the_customer_has(people):
    conversation = add_conversation(people, "lead-1")
    customer = rows(people, "SELECT customer_id FROM conversations")[0][0]
    record = insert(
        people,
        "audit_log",
        log="audit",
        audit_id="1",
        actor="customer",
        action="said",
        payload="{}",
        payload_hash=b"",
        seq=0,
        created_at=START,
    )
    insert(
        people,
        "messages",
        id=record,
        conversation_id=conversation,
        customer_id=customer,
        log="audit",
        audit_id="1",
        role="user",
        kind="text",
        content="hello",
        seq=0,
        created_at=START,
    )
    (row,) = find_customers(people, "ann")
    assert (row.id, row.phone, row.email) == (customer, "+15125550142", "ann_lee@example.com")
    assert (row.leads, row.conversations, row.messages, row.last_message_at) == (2, 1, 1, START)


def test_a_customer_who_was_merged_away_is_not_listed(people):
    link(people, lead("bridge", 9, psid="888", phone="+15125550199"))
    assert names(people) == ["Bo Fox", "Ann 100% Lee"]
