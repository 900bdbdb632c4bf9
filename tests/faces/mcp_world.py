"""A business with a returning customer, and what a client is told, in the same words for each."""

import json
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from backstory.live.record import record_events
from backstory.store.engine import Database
from backstory.tools.session import Rules, open_session

SCHEMA = "backstory"
NOW = datetime.now(UTC)
# Ana comes back by SMS under the phone she had by messenger; Bob is somebody else.
PEOPLE = {
    "ana-1": {"channel": "messenger", "messenger_psid": "p-ana", "phone": "+12025550101"},
    "ana-2": {"channel": "sms", "phone": "(202) 555-0101", "name": "Ana"},
    "bob-1": {"channel": "sms", "phone": "+12025550177", "name": "Bob"},
}


def business(url):
    """Return a database in which Ana had a sofa taken from 12 Oak St, and Bob has written."""
    database = Database.open(url, SCHEMA)
    record_events(database, [_hello(number, lead) for number, lead in enumerate(PEOPLE)])
    earlier = session(database, "ana-1", at=NOW - timedelta(days=40))
    address = told(earlier, "add_address", line1="12 Oak St", city="Austin", region="TX")
    job = told(
        earlier,
        "create_job",
        title="Sofa pickup",
        address_id=address["address"]["address_id"],
        price_cents=9900,
    )
    told(earlier, "record_job_event", job_id=job["job"]["job_id"], event_type="note_added")
    return database


def _hello(number, lead):
    return {
        "id": f"e-{number}",
        "lead_id": lead,
        "actor": "customer",
        "action": "message_received",
        "payload": {"text": f"Hello, this is {lead}"},
        "created_at": (NOW - timedelta(days=60 - number)).isoformat(),
        "lead": PEOPLE[lead],
    }


def session(database, lead, *, at=None, memory=True):
    clock = {} if at is None else {"clock": lambda: at}
    return open_session(database, lead, rules=Rules(memory_enabled=memory, **clock))


def told(session, tool, /, **arguments):
    answer = session.call(tool, arguments)
    assert not answer.refused, answer.data
    return answer.data


def rows(database, statement, **parameters):
    """Read as the owner."""
    with database.engine.connect() as connection:
        return connection.execute(text(statement), parameters).all()


def said(result):
    """Return what an answer of a 2.x client says; its text and its structured content are one."""
    (block,) = result.content
    assert not result.is_error, block.text
    assert result.structured_content == json.loads(block.text)
    return result.structured_content


def refusal(result):
    """Return what the model reads of a refusal: nothing but sentences."""
    (block,) = result.content
    assert result.is_error
    assert result.structured_content is None
    for trace in ("Traceback", "File ", "psycopg", "sqlalchemy", "SELECT", "pydantic"):
        assert trace not in block.text, block.text
    return json.loads(block.text)
