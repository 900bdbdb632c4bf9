"""Rows for tests of the search, and ways to ask for them."""

import itertools
import json
import uuid
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from backstory.extract.identity import conversation_id, customer_id, lead_id, message_id
from backstory.search.text import SearchQuery, search_messages

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
_numbers = itertools.count()


def as_uuid(raw: bytes) -> uuid.UUID:
    return uuid.UUID(bytes=raw)


ADDITIONS = """
INSERT INTO customers (id, display_name, created_at) VALUES (:customer, :name, :at)
ON CONFLICT DO NOTHING;
INSERT INTO leads (id, external_id, customer_id, channel, source)
VALUES (:lead, :external, :customer, :channel, 'list');
INSERT INTO conversations (id, lead_id, customer_id, channel, status)
VALUES (:conversation, :lead, :customer, :channel, 'open')
"""


def add_lead(connection, lead, *, channel="messenger", customer=None, name="Joanie"):
    """Add a lead with its conversation; `customer` is the lead who founded them."""
    person = as_uuid(customer_id(customer or lead))
    rows = {
        "customer": person,
        "lead": as_uuid(lead_id(lead)),
        "external": lead,
        "conversation": as_uuid(conversation_id(lead, 0)),
        "channel": channel,
        "name": name,
        "at": NOON,
    }
    for statement in ADDITIONS.split(";"):
        connection.execute(text(statement), rows)
    return person


MESSAGES = """
WITH given AS (
    SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g (
        id uuid, audit_id text, content text, attachment_text text, author text, role text,
        kind text, seq bigint, created_at timestamptz)
), logged AS (
    INSERT INTO audit_log (id, log, audit_id, actor, action, payload, payload_hash, seq, created_at)
    SELECT id, 'audit', audit_id, 'customer', 'message_received', '{}', '', seq, created_at
    FROM given
)
INSERT INTO messages (id, conversation_id, customer_id, log, audit_id, role, kind, author, content,
                      attachment_text, seq, created_at)
SELECT g.id, c.id, c.customer_id, 'audit', g.audit_id, coalesce(g.role, 'user'),
       coalesce(g.kind, 'text'), g.author, g.content, g.attachment_text, g.seq, g.created_at
FROM given AS g, conversations AS c WHERE c.id = :conversation
"""


def say(connection, lead, *contents, at=NOON, **fields):
    """Add messages to a lead's conversation, a minute apart; return their ids."""
    rows = []
    for number, content in enumerate(contents):
        audit_id = f"a{next(_numbers)}"
        own = {
            "id": str(as_uuid(message_id("audit", audit_id))),
            "audit_id": audit_id,
            "content": content,
            "seq": number,
            "created_at": (at + timedelta(minutes=number)).isoformat(),
        }
        rows.append(own | fields)
    here = {"rows": json.dumps(rows), "conversation": as_uuid(conversation_id(lead, 0))}
    connection.execute(text(MESSAGES), here)
    return [uuid.UUID(row["id"]) for row in rows]


def contents_found(connection, query, **fields):
    answer = search_messages(connection, SearchQuery(query, **fields))
    assert not answer.capped
    return sorted(hit.snippet_plain() for hit in answer.hits)


def every_page(connection, query, *, most=10_000):
    """Follow `next` to the end."""
    answers = [search_messages(connection, query)]
    while answers[-1].next is not None:
        assert len(answers) < most
        answers.append(
            search_messages(connection, SearchQuery(**(vars(query) | {"after": answers[-1].next})))
        )
    return answers
