"""Two customers who are in every table: Joanie, who is to be erased, and Sam, who stays."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from loaded_world import NOW, World, lead, record, talk

from backstory import erasure
from backstory.erasure import ErasureReport
from backstory.live.conversations import close_conversation
from backstory.live.record import record_event
from backstory.memory import notes
from backstory.store.tables import Base

# Every word of hers has one of these in it; nobody else's has.
MARKS = ("zebra", "5550101", "joanie@")
JOANIE = lead("zebra-1", phone="512 555 0101", name="Joanie Zebrawood", email="joanie@example.com")
SECOND = lead("zebra-2", channel="web", email="joanie@work.example", name="J. Zebrawood")
SAM = lead("sam-1", phone="512 555 0177", name="Sam Other", state_metadata={"pets": "a cat"})
LEADS = [JOANIE, SECOND, SAM]


def said(number: int, whose: str, text: str | None = None, **other: Any) -> dict[str, Any]:
    words = text or f"the zebra of sentence {number} is by the gate"
    return record(number, whose, payload={"text": words}) | other


LOG = [
    *[said(number, "zebra-1") for number in range(6)],
    *[said(number, "zebra-2", author="Zebra") for number in range(6, 9)],
    *talk("sam-1", range(10, 16)),
    said(3, "zebra-1", "another zebra under an id that is taken"),
    said(11, "zebra-2", "her zebra under an id of his"),
    said(4, "sam-1", "his words under an id of hers"),
    said(20, "zebra-1", actor="robot"),
    said(21, "zebra-1", " "),
    b'{"id": "a-30", "lead_id": "zebra-1", "payload": {"text": "half a zebra',
    b'{"id": "a-31", "lead_id": "sam-1", "payload": {"text": "half a',
]

FURNITURE = """
    INSERT INTO customer_addresses (id, customer_id, line1, normalized_key, raw_text)
        VALUES (gen_random_uuid(), :customer, :word, :word, :word);
    INSERT INTO jobs (id, customer_id, service_address_id, title, lead_id)
        SELECT gen_random_uuid(), customer_id, id, :word, :lead FROM customer_addresses
        WHERE customer_id = :customer;
    INSERT INTO job_items (id, job_id, customer_id, position, kind, name, quantity, unit)
        SELECT gen_random_uuid(), id, customer_id, 1, 'item', :word, 1, 'each' FROM jobs
        WHERE customer_id = :customer;
    INSERT INTO job_events (id, job_id, customer_id, event_type, occurred_at, actor, payload)
        SELECT gen_random_uuid(), id, customer_id, 'created', now(), 'agent',
               jsonb_build_object('note', CAST(:word AS text)) FROM jobs
        WHERE customer_id = :customer;
    INSERT INTO memory_notes (id, customer_id, kind, text, quotation, extracted_by, source_lead_id)
        VALUES (gen_random_uuid(), :customer, 'fact', :word, :word, 'test', :lead);
    INSERT INTO tool_calls (id, customer_id, lead_id, tool, actor, arguments_hash, outcome,
                            answer, latency_ms)
        VALUES (gen_random_uuid(), :customer, :lead, 'a_tool', 'agent', '', 'done',
                jsonb_build_object('said', CAST(:word AS text)), 1);
    INSERT INTO confirmations (id, customer_id, conversation_id, candidate_id, source_kind,
                               source_id, content_hash, fetched_at)
        SELECT gen_random_uuid(), customer_id, conversation_id, :word, 'message', id, '', now()
        FROM messages WHERE customer_id = :customer ORDER BY id LIMIT 1;
    INSERT INTO customer_identities (id, customer_id, kind, value, provenance)
        VALUES (gen_random_uuid(), :customer, 'email', :word, 'claimed');
    INSERT INTO conversation_summaries (conversation_id, customer_id, made_by, messages, left_out,
                                        first_message_id, last_message_id, last_at)
        SELECT conversation_id, customer_id, :word, 1, 0, id, id, created_at
        FROM messages WHERE customer_id = :customer ORDER BY id LIMIT 1;
    INSERT INTO embeddings (message_id, model, conversation_id, customer_id, content_hash, vector)
        SELECT id, 'a model', conversation_id, customer_id, '', '[1,2,3]'
        FROM messages WHERE customer_id = :customer AND kind = 'text'
"""


def furnish(world: World) -> None:
    """Load twice, so that leads are merged and changed; then write what people and tools do."""
    world.load(LOG, LEADS)
    world.load(
        [said(40, "zebra-1"), record(41, "sam-1"), said(42, "stranger", "a stranger's words")],
        [
            JOANIE | {"stage": "a zebra stage"},
            SECOND | {"phone": "+1 512 555 0101", "name": "J. Zebra"},
            SAM,
        ],
    )
    world.run(
        "INSERT INTO embedding_models (name, dimensions, run_id) SELECT 'a model', 3, id"
        " FROM backfill_runs LIMIT 1"
    )
    for name, word in (("zebra-1", "zebra crossing"), ("sam-1", "a plain word")):
        for statement in FURNITURE.split(";"):
            world.run(
                statement, customer=customer_of(world, name), lead=lead_of(world, name), word=word
            )
        note = world.one("SELECT id FROM memory_notes WHERE text = :word", word=word)
        notes.confirm(world.database, str(note), by="staff", now=NOW)
    record_event(world.database, said(50, "zebra-1"))
    record_event(world.database, said(51, "zebra-1", "a live zebra", actor="robot"))
    close_conversation(world.database, "zebra-1")
    close_conversation(world.database, "sam-1")
    # As the reports of runs have it where a phone belongs to many, or a list fits no log.
    world.run(
        "UPDATE backfill_runs SET report = jsonb_set(report, '{warnings}',"
        ' \'["The phone +15125550101 is carried by 30 leads.", "Nothing else."]\'),'
        ' findings = findings || \'{"leads_named": ["zebra-1", "sam-1"]}\''
    )


def customer_of(world: World, name: str) -> UUID:
    found: UUID = world.one("SELECT customer_id FROM leads WHERE external_id = :name", name=name)
    return found


def lead_of(world: World, name: str) -> UUID:
    found: UUID = world.one("SELECT id FROM leads WHERE external_id = :name", name=name)
    return found


def erase(world: World, name: str = "zebra-1") -> ErasureReport:
    return erasure.erase(world.database, customer_of(world, name), home=world.home)


def every_row(world: World) -> Iterator[tuple[str, str]]:
    """Yield every row of every table as text, bytes among it as text too."""
    for name in Base.metadata.tables:
        for (row,) in world.rows(f'SELECT CAST(to_jsonb(t) AS text) FROM "{name}" t'):
            yield name, row
    for (raw,) in world.rows("SELECT raw FROM quarantine"):
        yield "quarantine", bytes(raw).decode()


def traces(world: World) -> list[tuple[str, str]]:
    """Return the rows in which anything of hers is left."""
    return [
        (name, row) for name, row in every_row(world) if any(mark in row.lower() for mark in MARKS)
    ]


__all__ = ["World", "customer_of", "erase", "furnish", "lead_of", "said", "talk", "traces"]
