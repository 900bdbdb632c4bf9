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
