"""Two loads, the second on top of the first, that leave every kind of row behind."""

from loaded_world import World, lead, record, talk

OLD = [
    *talk("lead-1", range(10)),
    *talk("lead-2", range(20, 30)),
]
OLD_LEADS = [
    lead("lead-1", phone="512 555 0101", name="Ann"),
    lead("lead-2", email="two@example.com", stage="new"),
    lead("lead-4", phone="512 555 0104"),
]
# On top of it: more of one conversation, a new lead that joins two customers, a changed lead.
NEW = [
    *talk("lead-1", range(5, 15)),
    *talk("lead-3", range(40, 50)),
    record(21, "lead-2", payload={"text": "something else"}),
    record(90, "lead-9"),
    record(91, "lead-2", actor="robot"),
    record(92, "lead-2", payload={}),
    b'{"id": "broken',
]
NEW_LEADS = [
    lead("lead-2", email="two@example.com", stage="booked", phone="512 555 0102"),
    lead("lead-3", phone="512 555 0101", email="two@example.com", name="Ann Lee"),
]


def sound(world: World) -> None:
    verdict = world.verify(sample=100)
    assert verdict.failed == []
    assert verdict.sample is not None
    assert list(map(str, verdict.sample.findings)) == []
