"""Ids are version 5 UUIDs of what they stand for, and distinct things have distinct ids."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from backstory.extract import identity

# Lone surrogates are cleaned away before an id is made.
TEXT = st.text(st.characters(codec="utf-8"))
# Few characters, so that parts which could join to the same name are found quickly.
TRICKY = st.text(st.sampled_from("a01\x1e\x1f"), max_size=4)


def by_the_book(*parts: str) -> bytes:
    return uuid.uuid5(identity.NAMESPACE, "\x1f".join(parts)).bytes


@given(log=TEXT, audit_id=TEXT)
def test_an_id_without_separators_is_the_version_5_uuid_of_its_joined_parts(log, audit_id):
    log = log.replace("\x1f", "").replace("\x1e", "")
    audit_id = audit_id.replace("\x1f", "").replace("\x1e", "")
    expected = by_the_book("message", log, audit_id)
    assert identity.message_id(log, audit_id) == expected
    assert identity.derived_id("message", log, audit_id) == expected


@given(name=TEXT)
def test_every_id_says_that_it_is_version_5_of_rfc_4122(name):
    made = uuid.UUID(bytes=identity.derived_id("thing", name))
    assert made.version == 5
    assert made.variant == uuid.RFC_4122


@given(
    one=st.lists(TRICKY, max_size=3).map(tuple),
    other=st.lists(TRICKY, max_size=3).map(tuple),
)
def test_two_lists_of_parts_share_an_id_only_when_they_are_equal(one, other):
    same = identity.derived_id("thing", *one) == identity.derived_id("thing", *other)
    assert same == (one == other)


def test_a_separator_inside_an_id_is_not_taken_for_a_boundary():
    assert identity.message_id("audit\x1fa", "b") != identity.message_id("audit", "a\x1fb")
    assert identity.derived_id("thing", "a\x1e1b") != identity.derived_id("thing", "a\x1fb")


@given(part=TRICKY)
def test_the_named_functions_are_the_generic_one(part):
    assert identity.lead_id(part) == identity.derived_id("lead", part)
    assert identity.customer_id(part) == identity.derived_id("customer", part)
    assert identity.conversation_id(part, 12) == identity.derived_id("conversation", part, "12")
    assert identity.message_id(part, part) == identity.derived_id("message", part, part)


def test_the_ids_of_this_version_are_those_of_every_version():
    assert identity.message_id("audit", "1").hex() == "ce2afd0ee0265c91b190896c66d515b9"
    assert identity.lead_id("1").hex() == "6d03be51a54f574a9148e6e7b690be9a"
    assert identity.conversation_id("1", 0).hex() == "1f7e4116d61b535283190a7cf739ed41"
    assert identity.customer_id("1").hex() == "181b7393b5d457578aebb4e5a443f9dd"
