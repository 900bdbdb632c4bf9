"""A sample is rebuilt from the log: it names what differs, and is clean for what is accepted."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from loaded_world import BEGUN, NOW, World, lead, record, talk
from sqlalchemy import Connection, text

from backstory.backfill import journey
from backstory.backfill.verify import verify
from backstory.sample import paths
from backstory.store.tables import Base

AIRLINE = Path(__file__).parents[3] / "shared" / "data" / "airline"


def found(connection: Connection) -> set[tuple[str | None, str]]:
    result = verify(connection, now=NOW, sample=100, gates=[]).sample
    assert result is not None
    assert result.ok is (result.differences == 0)
    return {(finding.message, finding.field) for finding in result.findings}


A_5 = "WHERE audit_id = 'a-5'"
LAST = "WHERE audit_id = 'a-59'"
TAMPERED = {
    "UPDATE messages SET role = 'assistant'": "role",
    "UPDATE messages SET kind = 'event'": "kind",
    "UPDATE messages SET author = 'somebody'": "author",
    "UPDATE messages SET content = content || '.'": "content",
    "UPDATE messages SET attachment_text = 'a photo'": "attachment_text",
    "UPDATE messages SET seq = seq + 1": "seq",
    "UPDATE messages SET created_at = created_at + interval '1 us'": "created_at",
    "UPDATE messages SET run_id = NULL": "run_id",
    'UPDATE messages SET metadata = metadata || \'{"auditId": "other"}\'': "metadata.auditId",
    "UPDATE messages SET metadata = metadata - 'auditAction'": "metadata.auditAction",
    "UPDATE messages SET metadata = metadata - 'auditActor'": "metadata.auditActor",
    "UPDATE messages SET metadata = metadata - 'source'": "metadata.source",
    "UPDATE messages SET metadata = metadata - 'createdBy'": "metadata.createdBy",
    "DELETE FROM messages": "message",
    "UPDATE audit_log SET payload = '{}'": "message",
    'UPDATE audit_log SET payload = \'{"text": "other"}\'': "content",
}


@pytest.mark.parametrize("tampering", TAMPERED)
def test_the_sample_names_the_message_and_the_field(broken: Connection, tampering: str) -> None:
    assert found(broken) == set()
    broken.execute(text(f"{tampering} {A_5}"))
    assert found(broken) == {("audit/a-5", TAMPERED[tampering])}


def test_a_message_whose_record_is_gone_is_found(broken: Connection) -> None:
    broken.execute(text("ALTER TABLE messages DROP CONSTRAINT messages_id_fkey"))
    broken.execute(text(f"DELETE FROM audit_log {A_5}"))
    assert found(broken) == {("audit/a-5", "record")}


CONVERSATION_FIELDS = {
    "channel": "'web'",
    "external_id": "'somebody'",
    "started_at": "started_at + interval '1 us'",
    "last_message_at": "last_message_at - interval '1 us'",
    "last_incoming_at": "NULL",
}


@pytest.mark.parametrize("column", CONVERSATION_FIELDS)
def test_the_sample_names_the_field_of_a_conversation(broken: Connection, column: str) -> None:
    changed = f"UPDATE conversations SET {column} = {CONVERSATION_FIELDS[column]}"
    of_lead_3 = "lead_id = (SELECT id FROM leads WHERE external_id = 'lead-3')"
    broken.execute(text(f"{changed} WHERE {of_lead_3}"))
    assert found(broken) == {(None, column)}


def test_the_sample_is_the_same_for_the_same_seed_and_another_for_another(world: World) -> None:
    world.load([record(number, f"lead-{number}") for number in range(60)])
    world.run("UPDATE messages SET content = 'changed'")

    def drawn(seed: str) -> list[str | None]:
        sample = world.verify(sample=5, seed=seed, gates=[]).sample
        assert sample is not None
        return [finding.message for finding in sample.findings]

    assert len(set(drawn("a"))) == 5
    assert drawn("a") == drawn("a")
    assert drawn("a") != drawn("b")


def test_a_lead_without_a_time_began_with_its_first_message(world: World) -> None:
    world.load(talk("lead-1", range(5, 9)), [lead("lead-1", created_at=None)])
    world.load(talk("lead-1", range(5)), [lead("lead-1", created_at=None)])
    assert world.verify(sample=5).ok
    world.run("UPDATE conversations SET started_at = started_at + interval '1 us'")
    verdict = world.verify(sample=5)
    assert verdict.sample is not None
    assert [finding.field for finding in verdict.sample.findings] == ["started_at"]


def test_a_list_that_changes_a_lead_changes_what_the_sample_expects(world: World) -> None:
    world.load(talk("lead-1", range(5)))
    world.load([], [lead("lead-1", phone="512 555 0101", created_at=(BEGUN).isoformat())])
    assert world.verify(sample=5).ok
    world.load([], [lead("lead-1", channel="messenger", messenger_psid="77", created_at=None)])
    assert world.verify(sample=5).ok


# --- what the loader accepts comes out clean ----------------------------------------------------

ODD_NUMBERS = [
    *("1e22", "1E+22", "-1e22", "1e16", "-0.0", "-0", "0.0", "-0e3", "1e-7", "1.5e-7", "5e-324"),
    *(
        "1e300",
        "1.7976931348623157e308",
        "123456789012345678.0",
        "0.1",
        "1e5",
        "100000.0",
        "1e-400",
    ),
    *("9007199254740993", "18446744073709551615", "18446744073709551616", "-9999999999999999999"),
    *("1234567890123456789012345", "-1234567890123456789012345", "0.30000000000000004", "1.10"),
    *("9223372036854775807", "-9223372036854775808", "-9223372036854775809", "1" + "0" * 400),
    "0.1234567890123456789012345",
]
numbers = st.sampled_from(ODD_NUMBERS) | st.floats(allow_nan=False, allow_infinity=False).map(repr)
odd_text = st.text(max_size=12) | st.sampled_from(
    [
        "",
        " ",
        "\x00",
        "a\x00b",
        "\ud800",
        "\udc00\ud83d",
        "\ud83d\ude00",
        "\ufffd",
        "\u2028",
        "\x7f",
    ]
)
strings = odd_text.map(json.dumps)
keys = st.sampled_from(
    [
        "text",
        "message",
        "content",
        "body",
        "author",
        "name",
        "caption",
        "attachments",
        "a",
        "Z",
        "é",
    ]
).map(json.dumps)


def objects(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return objects as JSON text, in which keys may repeat."""
    pairs = st.lists(st.tuples(keys | strings, children), max_size=5)
    colons = st.sampled_from([":", " : "])
    return st.tuples(pairs, colons).map(
        lambda drawn: "{" + ",".join(key + drawn[1] + value for key, value in drawn[0]) + "}"
    )


def arrays(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(children, max_size=4).map(lambda items: "[" + ",".join(items) + "]")


atoms = st.sampled_from(["null", "true", "false"]) | numbers | strings
payloads = st.recursive(atoms, lambda inner: objects(inner) | arrays(inner), max_leaves=12)
long_events = st.tuples(keys, st.sampled_from(["x", "é", "\U0001f600", '"', "\x01"])).map(
    lambda drawn: f'{{{json.dumps("z" + drawn[0])}: {json.dumps(drawn[1] * 1100)}, "n": 1e22}}'
)
actors = st.sampled_from(["customer", " Agent ", "SYSTEM", "tool", "assistant", "Robot"])
actions = st.sampled_from(["message_sent", "message_received", "stage_changed", "", "a\x00b"])
names = odd_text | st.just("x" * 1100)


@pytest.mark.parametrize(
    "number", [digits for digits in ODD_NUMBERS if digits.lstrip("-").isdigit()]
)
def test_the_log_keeps_every_digit_of_an_integer(world: World, number: str) -> None:
    world.load(
        [
            b'{"id": 1, "lead_id": 1, "actor": "tool", "created_at": 0, "payload": %s}'
            % number.encode()
        ]
    )
    assert world.one(
        "SELECT payload = CAST(:number AS jsonb) FROM audit_log WHERE log = 'audit'", number=number
    )


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@example([('{"attachments":1e22}', "customer", "message_sent", "", "")])
@given(
    st.lists(
        st.tuples(payloads | objects(atoms) | long_events, actors, actions, names, names),
        min_size=1,
        max_size=40,
    )
)
def test_the_sample_is_clean_for_every_payload_that_the_loader_accepts(
    world: World, records: list[tuple[str, ...]]
) -> None:
    world.run("TRUNCATE " + ", ".join(Base.metadata.tables))
    lines = [
        b'{"id": %s, "lead_id": %s, "actor": %s, "action": %s, "created_at": %d, "payload": %s}'
        % (
            json.dumps(f"{name}{number}").encode(),
            json.dumps(f"{lead}{number % 3}").encode(),
            json.dumps(actor).encode(),
            json.dumps(action).encode(),
            1_780_000_000 + number,
            payload.encode(),
        )
        for number, (payload, actor, action, name, lead) in enumerate(records)
    ]
    report = world.load(lines, unknown_actor="system")
    assert report.records_read == len(lines)
    assert report.records_quarantined == 0
    verdict = world.verify(sample=100)
    assert verdict.sample is not None
    assert list(map(str, verdict.sample.findings)) == []
    assert verdict.sample.messages == report.messages_created
    assert verdict.failed == []


@pytest.mark.parametrize("source", ["product", "airline"])
def test_the_samples_are_sound(world: World, source: str) -> None:
    audit, leads = (
        paths() if source == "product" else (AIRLINE / "audit.jsonl", AIRLINE / "leads.jsonl")
    )
    if not audit.exists():
        pytest.skip("the airline log is not beside the checkout")
    options = world.options([])
    report = journey.start(
        world.database, world.home, replace(options, audit=(str(audit),), leads=(str(leads),))
    )
    verdict = world.verify(sample=1000)
    assert verdict.ok
    assert verdict.sample is not None
    assert verdict.sample.messages == report.messages_created > 200
