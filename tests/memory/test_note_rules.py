"""Which notes a lead's state makes, by rules that a user can read and replace."""

import pytest

from backstory.errors import UsageError
from backstory.memory.note_rules import load_rules, notes_in, read_rules

RULES = load_rules()


def said(state):
    return {(each.topic, each.kind, each.text) for each in notes_in(state, RULES)}


def test_a_key_says_what_kind_of_note_its_value_makes():
    assert said(
        {
            "preferred_contact": "sms",
            "access": {"drivewayWidth": 42, "pets": ["dog, Biscuit", "cat"], "parking": "curb"},
            "quote": {"discount_percent": 10, "currency": "USD"},
            "notes": ["Leave the pad"],
            "vip": True,
        }
    ) == {
        ("preferred_contact", "preference", "preferred contact: sms"),
        ("access.drivewayWidth", "constraint", "drivewayWidth: 42"),
        ("access.pets[]", "constraint", "pets: dog, Biscuit"),
        ("access.pets[]", "constraint", "pets: cat"),
        ("access.parking", "constraint", "parking: curb"),
        ("quote.discount_percent", "promise", "discount percent: 10"),
        ("quote.currency", "fact", "currency: USD"),
        ("notes[]", "fact", "Leave the pad"),
        ("vip", "fact", "vip: yes"),
    }


def test_what_opens_a_door_and_what_is_no_memory_makes_no_note():
    assert (
        said(
            {
                "access": {"gate_code": "4471*", "lockbox": ["99"], "entry": {"pin": 1}},
                "address": {"line1": "27 Juniper Bend"},
                "quote_id": "Q-1",
                "empty": [None, "", {}, "  "],
            }
        )
        == set()
    )
    assert said("just words") == said(["a"]) == said(None) == set()


def test_within_what_opens_a_door_only_what_a_rule_knows_is_noted():
    """Codes hide under names of all kinds; the width of a gate opens nothing."""
    assert said(
        {
            "access": {"notes": "key under the mat", "hint": "9911", "pets": "dog", "rules": []},
            "lockbox": [{"combo": "9-9-9", "where": "left of the door"}],
            "gate": {"width": 48, "pin_rules": "4 digits"},
            "gateWidth": 48,
            "wifi": {"pwd": "hush"},
            "payment": {"cardNumber": "4111", "cvv": 999},
            "notes": ["The code is 4471.", "ZIP code 78704"],
            "": "no name",
        }
    ) == {
        ("access.pets", "constraint", "pets: dog"),
        ("gate.width", "constraint", "width: 48"),
        ("gateWidth", "constraint", "gateWidth: 48"),
        ("notes[]", "fact", "ZIP code 78704"),
        ("", "fact", "no name"),
    }


@pytest.mark.parametrize(
    "given",
    [
        {"rule": [{"kind": "promise", "words": "vip"}]},
        {"rule": [{"kind": "promise", "words": [1]}]},
        {"bare": "note"},
        {"rules": []},
    ],
)
def test_rules_that_would_be_read_otherwise_than_meant_are_refused(given):
    with pytest.raises(UsageError):
        read_rules(given)


def test_a_state_of_any_size_makes_a_bounded_number_of_bounded_notes():
    notes = notes_in({f"k{n}": "x" * 5000 for n in range(1000)}, RULES)
    assert len(notes) == 100
    assert {len(each.text) for each in notes} == {500}


def test_rules_of_ones_own_replace_ours(tmp_path):
    file = tmp_path / "rules.toml"
    file.write_text('[[rule]]\nkind = "promise"\nwords = ["vip"]\n')
    rules = load_rules(file)
    assert [each.kind for each in notes_in({"vip": 1, "pets": "cat"}, rules)] == ["promise", "fact"]
    assert read_rules(rules.as_json()) == rules
    assert read_rules(RULES.as_json()) == RULES


@pytest.mark.parametrize(
    "written", ["[[rule]]", '[[rule]]\nkind = "rumor"\nwords = []', "rule = 1", "["]
)
def test_rules_that_are_none_say_how_they_should_be(tmp_path, written):
    file = tmp_path / "rules.toml"
    file.write_text(written)
    with pytest.raises(UsageError, match="rule"):
        load_rules(file)
    with pytest.raises(UsageError, match="missing"):
        load_rules(tmp_path / "missing")
