"""A rollback's dry run gives the numbers of the rollback, whatever is loaded and in any order."""

import random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loaded_world import World, lead, talk
from some_loads import some_runs
from two_loads import OLD, OLD_LEADS, sound

from backstory.backfill.rollback import RollbackPlan, RollbackReport
from backstory.store.tables import Base


def foretells(plan: RollbackPlan, report: RollbackReport) -> None:
    """Assert that a plan has every number of the report that followed."""
    planned, reported = plan.as_json(), report.as_json()
    assert planned.keys() - reported.keys() == {"blockers"}
    assert reported.keys() - planned.keys() == {"seconds_by_step"}
    assert {key: planned[key] for key in reported if key in planned} == {
        key: reported[key] for key in reported if key in planned
    }


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(some_runs, st.randoms(use_true_random=False))
def test_a_dry_run_has_the_numbers_of_the_rollback(
    world: World, loads: list[tuple[Any, Any]], chance: random.Random
) -> None:
    """What stands on a run goes by force: the sums of the other runs still come out."""
    world.run("TRUNCATE " + ", ".join(Base.metadata.tables))
    runs = [world.load(records, leads).run_id for records, leads in loads]
    chance.shuffle(runs)
    for run in runs:
        plan = world.plan_rollback(run)
        foretells(plan, world.roll_back(run, force=True))
        sound(world)


def test_a_customer_whom_a_later_run_absorbed_is_kept_and_foretold(world: World) -> None:
    first = world.load([], [lead("lead-1"), lead("lead-2")]).run_id
    world.load([], [lead(name, phone="512 555 0101") for name in ("lead-1", "lead-2")])
    plan = world.plan_rollback(first)
    assert plan.kept == {"leads": 2, "customers": 2}
    assert plan.removed == {"conversations": 2}
    foretells(plan, world.roll_back(first))


def test_a_customer_to_whom_a_lead_of_another_run_comes_back_is_kept_and_foretold(
    world: World,
) -> None:
    """The absorbed customer is the last run's by then, which merged it: the first is gone."""
    elder = lead("lead-2", email="a@example.com", created_at="2026-04-01T00:00:00Z")
    first = world.load(talk("lead-1", [1])).run_id
    world.load([], [lead("lead-1"), elder])
    last = world.load([], [lead("lead-1", email="a@example.com")]).run_id
    world.roll_back(first)
    plan = world.plan_rollback(last)
    assert plan.kept["customers"] == 1
    assert plan.removed == {"customer_merges": 1}
    foretells(plan, world.roll_back(last))
    sound(world)


def test_a_customer_whose_lead_can_go_nowhere_else_keeps_what_somebody_wrote(world: World) -> None:
    """The run moved the lead away from a customer who is gone by now: it stays where it is."""
    first = world.load([], [lead("lead-1", phone="512 555 0101")]).run_id
    world.load([], [lead("lead-2", phone="512 555 0101")])
    last = world.load([], [lead("lead-2", phone="512 555 0102")]).run_id
    world.roll_back(first)
    world.run(
        """INSERT INTO customer_addresses (id, customer_id, line1, normalized_key)
           SELECT gen_random_uuid(), customer_id, '1 Oak St', '1 oak st' FROM leads"""
    )
    plan = world.plan_rollback(last)
    assert plan.kept == {"customers": 1}
    foretells(plan, world.roll_back(last, force=True))
    assert world.rows("SELECT line1 FROM customer_addresses") == [("1 Oak St",)]
    sound(world)


def test_force_tells_a_run_what_it_lost_even_before_it_ends(world: World) -> None:
    first = world.load(OLD, OLD_LEADS).run_id
    later = world.load(talk("lead-1", range(60, 63)))
    again = world.load(talk("lead-1", range(70, 72)))
    report = world.roll_back(first, force=True)
    assert report.forced == {"messages": 5}
    taken = dict(world.rows("SELECT CAST(id AS text), findings -> 'taken_away' FROM backfill_runs"))
    assert taken[later.run_id] == {"messages": 3, "audit_log": 3}
    assert taken[again.run_id] == {"messages": 2, "audit_log": 2}
    assert taken[first] is None
    sound(world)
