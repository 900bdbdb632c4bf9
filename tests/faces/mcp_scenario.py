"""What the agent of a returning customer does, by any client; needs nothing of ours."""

WORDS = "Another sofa, at the same place as last time please"
START, END = "2027-06-05T09:00:00-05:00", "2027-06-05T11:00:00-05:00"
ITEMS = (("item", "Sofa", 9900), ("fee", "Two flights of stairs", 2500))


async def book(call):
    """Look for what was before, confirm it after a yes, book; `call(name, arguments)` answers."""
    found = await call("memory_fetch_candidates", {"query": WORDS})
    meant = next(each for each in found["candidates"] if each["source"] == "job")
    assert "12 Oak St" in meant["address"], meant
    yes = {"candidate_ids": [meant["candidate_id"]]}
    confirmed = (await call("memory_confirm_context", yes))["confirmed"][0]
    job = await call(
        "create_job",
        {
            "title": "Sofa pickup, again",
            "address_id": confirmed["address_id"],
            "scheduled_start": START,
            "scheduled_end": END,
        },
    )
    job_id = job["job"]["job_id"]
    for kind, name, cents in ITEMS:
        line = {"job_id": job_id, "kind": kind, "name": name, "unit_price_cents": cents}
        added = await call("add_job_item", line)
    assert added["totals"]["total_cents"] == sum(cents for *_, cents in ITEMS), added
    said = {"job_id": job_id, "event_type": "confirmed", "note": "Said yes to the morning"}
    booked = await call("record_job_event", said)
    return booked["job"]
