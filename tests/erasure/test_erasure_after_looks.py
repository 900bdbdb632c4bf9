"""What the staff looked for before an erasure is no trace of whom they looked at."""

from erased_world import World, customer_of, erase, traces

from backstory.tools.staff import Staff


def test_who_was_looked_at_is_forgotten_and_that_somebody_looked_is_not(world: World) -> None:
    staff = Staff(world.database, "back office")
    mine, sams = (str(customer_of(world, name)) for name in ("zebra-1", "sam-1"))
    for tool, arguments in (
        ("search_messages", {"query": "zebra", "lead": "zebra-1"}),
        ("find_customers", {"query": "Zebrawood"}),
        ("get_customer", {"customer_id": mine}),
        ("get_conversation", {"conversation": "zebra-1"}),
        ("trace_message", {"message": "a-1"}),
        ("get_customer", {"customer_id": sams}),
    ):
        assert staff.call(tool, arguments).outcome == "found", tool
    assert erase(world).proof.clean
    assert traces(world) == []
    rows = world.rows(
        "SELECT CAST(to_jsonb(a) AS text) AS row FROM audit_log a WHERE actor = 'back office'"
    )
    assert not any(mine in row.row for row in rows)
    assert any(sams in row.row for row in rows)
    assert len(world.rows("SELECT 1 FROM tool_calls WHERE actor = 'back office'")) == 6
