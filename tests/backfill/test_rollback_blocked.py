"""What was put on top of a run blocks its rollback, by name, and goes with force."""

import re
import uuid
from typing import get_args

import pytest
from loaded_world import World, differences, lead, record, talk
from two_loads import NEW, OLD, OLD_LEADS, sound

from backstory.backfill.obstacles import OBSTACLES
from backstory.errors import RunError
from backstory.store.statements import statements
from backstory.tools.catalog import TOOLS

LIVE = """
    INSERT INTO audit_log (id, log, audit_id, lead_id, lead_external_id, actor, action, payload,
                           payload_hash, seq, created_at)
    SELECT CAST(:id AS uuid), 'audit', 'live-1', c.lead_id, 'lead-3', 'customer',
           'message_received', '{"text": "live"}', '', 0, '2026-05-20'
    FROM conversations c JOIN leads l ON l.id = c.lead_id WHERE l.external_id = 'lead-3';
    INSERT INTO messages (id, conversation_id, customer_id, log, audit_id, role, kind, content, seq,
                          created_at)
    SELECT CAST(:id AS uuid), c.id, c.customer_id, 'audit', 'live-1', 'user', 'text', 'live', 0,
           '2026-05-20'
    FROM conversations c JOIN leads l ON l.id = c.lead_id WHERE l.external_id = 'lead-3'
"""
OF_LEAD_3 = """SELECT gen_random_uuid(), l.customer_id, {} FROM leads l
               JOIN conversations c ON c.lead_id = l.id AND c.ordinal = 0
               WHERE l.external_id = 'lead-3'"""
AUTHORED = {
    "messages": LIVE,
    "conversations": """
        INSERT INTO conversations (id, lead_id, customer_id, ordinal, channel, status, closed_at)
        SELECT gen_random_uuid(), id, customer_id, 1, 'sms', 'closed', now() FROM leads
        WHERE external_id = 'lead-3'""",
    "jobs": "INSERT INTO jobs (id, customer_id, title) " + OF_LEAD_3.format("'a job'"),
    "addresses": "INSERT INTO customer_addresses (id, customer_id, line1, normalized_key) "
    + OF_LEAD_3.format("'1 Oak St', '1 oak st'"),
    "claims": "INSERT INTO customer_identities (id, customer_id, kind, value, provenance) "
    + OF_LEAD_3.format("'phone', '+15125550199', 'claimed'"),
    "confirmations": """
        INSERT INTO confirmations (id, customer_id, candidate_id, source_kind, source_id,
                                   content_hash, fetched_at, confirmed_at, conversation_id) """
    + OF_LEAD_3.format("'x', 'lead', l.id, '', now(), now(), c.id"),
    "tool_calls": """
        INSERT INTO tool_calls (id, customer_id, tool, actor, arguments_hash, outcome,
                                latency_ms) """
    + OF_LEAD_3.format("'a_tool', 'agent', '', 'updated', 1"),
    "notes": "INSERT INTO memory_notes (id, customer_id, kind, text, extracted_by, status) "
    + OF_LEAD_3.format("'fact', 'a note', 'test', 'confirmed'"),
}
# What people know it by, where they know it by anything.
KNOWN_BY = {
    "messages": ["lead-3"],
    "conversations": ["lead-3"],
    "jobs": ["job a job"],
    "addresses": ["1 Oak St"],
    "claims": ["phone +15125550199"],
    "notes": ["a note"],
}
# What an agent saw of lead-3 and did nothing about.
SEEN = """
    INSERT INTO confirmations (id, customer_id, candidate_id, source_kind, source_id, content_hash,
                               fetched_at, conversation_id) {};
    INSERT INTO tool_calls (id, customer_id, tool, actor, arguments_hash, outcome, latency_ms,
                            lead_id, conversation_id) {};
    INSERT INTO tool_calls (id, tool, actor, arguments_hash, outcome, latency_ms, conversation_id,
                            customer_id)
    SELECT gen_random_uuid(), 'create_job', 'agent', '', 'invalid_arguments', 1, c.id, c.customer_id
    FROM conversations c JOIN leads l ON l.id = c.lead_id WHERE l.external_id = 'lead-3'
    """.format(
    OF_LEAD_3.format("'y', 'lead', l.id, '', now(), c.id"),
    OF_LEAD_3.format("'memory_fetch_candidates', 'agent', '', 'found', 1, l.id, c.id"),
)
# A lead of its own, who is nobody else's customer.
LONELY = [lead("lead-3", phone="512 555 0133")]


@pytest.mark.parametrize("name", AUTHORED)
def test_what_was_written_on_top_blocks_and_goes_with_force(world: World, name: str) -> None:
    world.load(OLD, OLD_LEADS)
    before = world.dump()
    world.load(NEW, LONELY)
    for statement in AUTHORED[name].split(";"):
        world.run(statement, **({"id": uuid.UUID(int=7)} if ":id" in statement else {}))
    standing = world.dump()
    plan = world.plan_rollback()
    (blocker,) = plan.blockers
    assert (blocker.name, blocker.count, blocker.run_id) == (name, 1, None)
    known_by = [re.sub(r"^job \d+", "job", each) for each in blocker.names]
    assert known_by == KNOWN_BY.get(name, [])
    assert all(each in blocker.sentence for each in blocker.names)
    with pytest.raises(RunError) as refused:
        world.roll_back()
    assert blocker.sentence in str(refused.value)
    assert differences(standing, world.dump()) == {}
    report = world.roll_back(force=True)
    assert report.forced[name] == 1
    assert (plan.forced, plan.removed) == (report.forced, report.removed)
    assert differences(before, world.dump()) == {}


@pytest.mark.parametrize("on_top", [(), ("jobs", "confirmations", "tool_calls")])
def test_what_was_only_seen_goes_with_it_and_blocks_nothing(
    world: World, on_top: tuple[str, ...]
) -> None:
    world.load(OLD, OLD_LEADS)
    before = world.dump()
    world.load(NEW, LONELY)
    world.run(*SEEN.split(";"), *(AUTHORED[name] for name in on_top))
    plan = world.plan_rollback()
    assert {each.name for each in plan.blockers} == set(on_top)
    assert (plan.removed["confirmations"], plan.removed["tool_calls"]) == (1, 2)
    report = world.roll_back(force=bool(on_top))
    assert (plan.forced, plan.removed) == (report.forced, report.removed)
    assert differences(before, world.dump()) == {}
    sound(world)


def test_each_outcome_of_a_tool_says_whether_it_wrote() -> None:
    """What wrote blocks, by the list in the statement; a new outcome has to be thought about."""
    said = {
        outcome
        for tool in TOOLS
        for outcome in get_args(tool.gives.model_fields["outcome"].annotation)
    }
    wrote = said - {"unchanged", "duplicate", "found", "nothing_found"}
    for name in ("blocking_tool_calls", "remove_tool_calls", "rows_leaving"):
        listed = re.search(r"t.outcome (?:NOT )?IN \((.*?)\)", statements()[name].body)
        assert listed is not None
        assert set(listed[1].replace("'", "").split(", ")) == wrote


def test_every_obstacle_is_tried() -> None:
    of_runs = {"conflicts", "retries"}
    assert {obstacle.name for obstacle in OBSTACLES} == AUTHORED.keys() | of_runs
    for obstacle in OBSTACLES:
        assert obstacle.counted_by in statements()


def test_everything_at_once_goes_with_force(world: World) -> None:
    world.load(OLD, OLD_LEADS)
    before = world.dump()
    run = world.load(NEW, LONELY).run_id
    for statements_ in AUTHORED.values():
        for statement in statements_.split(";"):
            world.run(statement, **({"id": uuid.UUID(int=7)} if ":id" in statement else {}))
    world.run(
        """INSERT INTO job_items (id, job_id, customer_id, position, kind, name, quantity, unit)
           SELECT gen_random_uuid(), id, customer_id, 1, 'item', 'a thing', 1, 'each' FROM jobs""",
        """INSERT INTO job_events (id, job_id, customer_id, event_type, occurred_at, actor)
           SELECT gen_random_uuid(), id, customer_id, 'created', now(), 'agent' FROM jobs""",
        """UPDATE jobs SET service_address_id = (SELECT id FROM customer_addresses),
               lead_id = (SELECT id FROM leads WHERE external_id = 'lead-3'),
               conversation_id = (SELECT conversation_id FROM messages
                                  WHERE audit_id = 'live-1')""",
        """UPDATE memory_notes SET job_id = (SELECT id FROM jobs),
               address_id = (SELECT id FROM customer_addresses),
               source_message_ids = (SELECT array_agg(id) FROM messages
                                     WHERE audit_id = 'live-1')""",
    )
    plan = world.plan_rollback(run)
    assert {blocker.name for blocker in plan.blockers} == AUTHORED.keys()
    report = world.roll_back(run, force=True)
    assert (plan.forced, plan.removed) == (report.forced, report.removed)
    assert differences(before, world.dump()) == {}
    sound(world)


def test_of_many_things_in_the_way_some_are_named_and_none_at_length(world: World) -> None:
    world.load(NEW, LONELY)
    for number in range(7):
        title = f"move {number}\nof a garage " + "and a very long way " * 9
        world.run(AUTHORED["jobs"].replace("'a job'", f"'{title}'"))
    (blocker,) = world.plan_rollback().blockers
    assert (blocker.count, len(blocker.names)) == (7, 5)
    assert re.fullmatch(r"job \d+ move 0 of a garage .*…", blocker.names[0])
    assert max(map(len, blocker.names)) <= 40
    assert blocker.sentence.endswith(f"{blocker.names[4]}, …).")
    assert blocker.sentence.startswith("Jobs with their items and events: 7 (job ")


def test_a_later_run_in_the_same_conversation_is_named_and_goes_first(world: World) -> None:
    first = world.load(OLD, OLD_LEADS)
    between = world.dump()
    later = world.load([*talk("lead-1", range(60, 63)), record(1, payload={"text": "not so"})])
    found = {
        (each.name, each.count, str(each.run_id))
        for each in world.plan_rollback(first.run_id).blockers
    }
    assert found == {("messages", 3, later.run_id), ("conflicts", 1, later.run_id)}
    named = {each.name: each.names for each in world.plan_rollback(first.run_id).blockers}
    assert named == {"messages": ("lead-1",), "conflicts": ()}
    with pytest.raises(RunError, match=f"`backstory rollback {str(later.run_id)[:8]}` first"):
        world.roll_back(first.run_id)
    world.roll_back(later.run_id)
    assert differences(between, world.dump()) == {}
    world.roll_back(first.run_id)


def test_force_takes_a_later_run_out_of_the_conversations_it_removes(world: World) -> None:
    before = world.dump()
    first = world.load(OLD, OLD_LEADS)
    later = world.load([*talk("lead-1", range(60, 63)), record(1, payload={"text": "not so"})])
    report = world.roll_back(first.run_id, force=True)
    assert report.forced == {"messages": 3, "conflicts": 1}
    sound(world)
    world.roll_back(later.run_id)
    assert differences(before, world.dump()) == {}
    sound(world)


def test_derived_notes_fall_with_what_they_were_made_of(world: World) -> None:
    world.load(OLD, OLD_LEADS)
    world.run(
        """INSERT INTO memory_notes (id, customer_id, kind, text, extracted_by)
           SELECT CAST(:id AS uuid), customer_id, 'fact', 'an old note', 'rules/1'
           FROM leads WHERE external_id = 'lead-1'""",
        id=uuid.UUID(int=1),
    )
    before = world.dump()
    world.load(talk("lead-1", range(60, 63)))
    world.run(
        """INSERT INTO memory_notes (id, customer_id, kind, text, extracted_by, source_message_ids)
           SELECT CAST(:id AS uuid), customer_id, 'summary', 'a new note', 'rules/1', ARRAY[id]
           FROM messages WHERE audit_id = 'a-61'""",
        "UPDATE memory_notes SET status = 'superseded', superseded_by_id = :id WHERE id <> :id",
        id=uuid.UUID(int=2),
    )
    assert world.roll_back().removed["memory_notes"] == 1
    assert differences(before, world.dump()) == {}


def test_what_happened_to_a_conversation_since_stays(world: World) -> None:
    """A run moves a conversation on; a person closes it, and live events begin the next one."""
    world.load(OLD, OLD_LEADS)
    run = world.load(
        talk("lead-1", range(60, 63)), [lead("lead-1", phone="512 555 0101", stage="x")]
    )
    lead_1 = "lead_id = (SELECT id FROM leads WHERE external_id = 'lead-1')"
    world.run(
        f"UPDATE conversations SET status = 'closed', closed_at = now() WHERE {lead_1}",
        f"""INSERT INTO conversations (id, lead_id, customer_id, ordinal, channel, status)
            SELECT gen_random_uuid(), lead_id, customer_id, 1, channel, 'open'
            FROM conversations WHERE {lead_1}""",
    )
    world.roll_back(run.run_id)
    statuses = world.rows(f"SELECT status FROM conversations WHERE {lead_1} ORDER BY ordinal")
    assert [row[0] for row in statuses] == ["closed", "open"]
    assert {gate.name for gate in world.verify().failed} == set()


def test_a_failure_in_the_middle_changes_nothing(world: World) -> None:
    world.load(OLD, OLD_LEADS)
    before = world.dump()
    world.run(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'not this one' USING ERRCODE = '23000'; END $$",
        "CREATE TRIGGER refuse BEFORE DELETE ON leads FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    with pytest.raises(RunError, match="nothing was changed"):
        world.roll_back()
    assert differences(before, world.dump()) == {}
    assert world.one("SELECT status FROM backfill_runs") == "done"
