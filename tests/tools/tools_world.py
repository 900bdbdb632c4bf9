"""Two customers, each with what is theirs, and sessions for their leads."""

import json
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from backstory.live.record import record_events
from backstory.store.engine import Database
from backstory.tools.session import Rules, open_session

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
SCHEMA = "backstory"
# Ana comes by messenger, then by SMS under the same phone; Bob is somebody else.
PEOPLE = {
    "ana-1": {"channel": "messenger", "messenger_psid": "p-ana", "phone": "+12025550101"},
    "ana-2": {"channel": "sms", "phone": "(202) 555-0101", "name": "Ana"},
    "bob-1": {"channel": "sms", "phone": "+12025550177", "email": "bob@example.com", "name": "Bob"},
}


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self, now=NOON):
        self.now = now

    def __call__(self):
        return self.now

    def move(self, **by):
        self.now += timedelta(**by)


def event(number, lead, said, /, *, actor="customer", at=None, **fields):
    moment = at or NOON - timedelta(days=30) + timedelta(minutes=number)
    return {
        "id": f"e-{number}",
        "lead_id": lead,
        "actor": actor,
        "action": "message_received",
        "payload": {"text": said},
        "created_at": moment.isoformat(),
        **fields,
    }


def people(url):
    """Return a database in which Ana and Bob have written."""
    database = Database.open(url, SCHEMA)
    record_events(
        database,
        [
            event(number, lead, f"Hello, this is about the sofa at {lead}", lead=known)
            for number, (lead, known) in enumerate(PEOPLE.items())
        ],
    )
    return database


def agent(database, lead, *, clock=None, memory=True):
    """Return a session for a lead."""
    rules = Rules(memory_enabled=memory, clock=clock or Clock())
    return open_session(database, lead, rules=rules)


def told(session, tool, /, *, key=None, **arguments):
    """Call a tool that should serve, and return its answer's data."""
    answer = session.call(tool, arguments, idempotency_key=key)
    assert not answer.refused, answer.data
    return answer.data


def refused(session, tool, /, *, key=None, **arguments):
    """Call a tool that should refuse, and return what it says."""
    answer = session.call(tool, arguments, idempotency_key=key)
    assert answer.refused, answer.data
    return answer.data


def rows(database, statement, **parameters):
    """Read as the owner."""
    with database.engine.connect() as connection:
        return connection.execute(text(statement), parameters).all()


def everything(database):
    """Return every row that a tool could have changed, as the owner sees it."""
    found = {}
    for table in (
        "customers",
        "customer_identities",
        "customer_addresses",
        "jobs",
        "job_items",
        "job_events",
        "confirmations",
        "conversations",
        "leads",
        "messages",
        "memory_notes",
    ):
        listed = rows(database, f"SELECT to_jsonb(t) AS row FROM {table} t ORDER BY 1")
        found[table] = [json.dumps(each.row, sort_keys=True) for each in listed]
    return found
