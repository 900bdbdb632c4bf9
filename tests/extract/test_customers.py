"""The same leads are the same customers, whatever their order; a hub links nobody."""

import random

from hypothesis import given
from hypothesis import strategies as st

from backstory.extract.customers import HUB_LIMIT, LeadGraph, same_person
from backstory.model import IdentityKind

MESSENGER, PHONE, EMAIL = IdentityKind.MESSENGER, IdentityKind.PHONE, IdentityKind.EMAIL


def some(kind, most):
    return st.integers(0, most).map(lambda n: (kind, str(n)) if n else None)


KEYS = st.tuples(some(MESSENGER, 6), some(PHONE, 4), some(EMAIL, 4)).map(
    lambda keys: tuple(key for key in keys if key)
)
LEADS = st.lists(KEYS, max_size=14).map(
    lambda all_keys: [(str(n), k) for n, k in enumerate(all_keys)]
)


def closure(leads, links):
    """Return groups by joining any two that share a linking key until none do."""
    groups = []
    for name, keys in leads:
        names, carried = {name}, {key for key in keys if links(key)}
        for group in [group for group in groups if group[1] & carried]:
            groups.remove(group)
            names |= group[0]
            carried |= group[1]
        groups.append((names, carried))
    return frozenset(frozenset(names) for names, _ in groups)


def by_brute_force(leads, limit):
    """Return what the rule says, word by word, in the slowest way."""
    carriers = {key: [n for n, ks in leads if key in ks] for _, ks in leads for key in ks}
    frequent = {k for k, names in carriers.items() if k[0] != MESSENGER and len(names) > limit}
    step_one = closure(leads, lambda key: key not in frequent)
    hubs = set()
    for key in frequent:
        identities = set()
        for name in carriers[key]:
            others = set(dict(leads)[name]) - {key}
            if others - frequent:
                identities.add(next(group for group in step_one if name in group))
            else:
                identities |= others
        if len(identities) > limit:
            hubs.add(key)
    return closure(leads, lambda key: key not in hubs), hubs


@given(leads=LEADS, limit=st.integers(1, 4))
def test_the_groups_are_the_transitive_closure_under_the_hub_rule(leads, limit):
    groups, hubs = same_person(leads, hub_limit=limit)
    expected, expected_hubs = by_brute_force(leads, limit)
    assert groups == expected
    assert {(hub.kind, hub.value) for hub in hubs} == expected_hubs


@given(leads=LEADS, limit=st.integers(1, 4), seed=st.integers())
def test_the_order_of_the_leads_does_not_matter(leads, limit, seed):
    shuffled = leads[:]
    random.Random(seed).shuffle(shuffled)
    assert same_person(shuffled, hub_limit=limit) == same_person(leads, hub_limit=limit)


@given(leads=LEADS)
def test_a_component_is_named_by_its_first_lead(leads):
    graph = LeadGraph()
    for _, keys in leads:
        graph.add(keys)
    component = graph.partition().component
    for name in component:
        assert name == min(n for n, other in enumerate(component) if other == name)


def leads_of(*, many, **kinds):
    """Return leads whose keys are given by kind: a text all share, or a function of the number."""
    return [
        (
            str(n),
            [(IdentityKind(kind), v(n) if callable(v) else v) for kind, v in kinds.items()],
        )
        for n in range(many)
    ]


def test_a_phone_of_as_many_people_as_the_limit_still_links():
    groups, hubs = same_person(leads_of(many=HUB_LIMIT, messenger=str, phone="+1"))
    assert (len(groups), hubs) == (1, ())


def test_a_phone_of_one_more_person_is_a_hub_and_links_nobody():
    groups, hubs = same_person(leads_of(many=HUB_LIMIT + 1, messenger=str, phone="+1"))
    assert len(groups) == HUB_LIMIT + 1
    assert hubs == ((PHONE, "+1", HUB_LIMIT + 1, HUB_LIMIT + 1),)


def test_many_leads_that_have_only_the_same_phone_are_one_customer():
    groups, hubs = same_person(leads_of(many=3 * HUB_LIMIT, phone="+1"))
    assert (len(groups), hubs) == (1, ())


def test_many_leads_with_the_same_phone_and_the_same_address_are_one_customer():
    groups, hubs = same_person(leads_of(many=3 * HUB_LIMIT, phone="+1", email="a@example.com"))
    assert (len(groups), hubs) == (1, ())


def test_a_phone_and_an_address_of_many_people_are_both_hubs():
    office = leads_of(many=30, messenger=str, phone="+1", email="office@example.com")
    groups, hubs = same_person(office)
    assert len(groups) == 30
    assert {hub.value for hub in hubs} == {"+1", "office@example.com"}


def test_leads_that_carry_only_a_hub_key_are_each_a_customer_of_their_own():
    office = leads_of(many=30, messenger=str, phone="+1")
    callers = [(f"caller {n}", [(PHONE, "+1")]) for n in range(5)]
    groups, hubs = same_person(office + callers)
    assert len(groups) == 35
    assert (hubs[0].leads, hubs[0].identities) == (35, 30)


def test_people_who_are_connected_otherwise_count_once():
    # 40 messenger ids behind the phone, but they are 20 people: each has an address of their own.
    twice = leads_of(many=40, messenger=str, phone="+1", email=lambda n: f"{n // 2}@example.com")
    groups, hubs = same_person(twice)
    assert (len(groups), hubs) == (1, ())


def test_a_messenger_id_always_links():
    groups, hubs = same_person(
        leads_of(many=100, messenger="7", email=lambda n: f"{n}@example.com")
    )
    assert (len(groups), hubs) == (1, ())


def test_leads_without_any_identity_are_strangers():
    assert len(same_person([("a", []), ("b", [])])[0]) == 2
