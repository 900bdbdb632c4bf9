"""Which notes a lead's state makes, by rules that a user can read and replace."""

import pytest

from backstory.errors import UsageError
from backstory.memory.lead_details import opens_doors
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
        ("preferred contact", "preference", "preferred contact: sms"),
        ("access.driveway width", "constraint", "driveway width: 42"),
        ("access.pets[]", "constraint", "pets: dog, Biscuit"),
        ("access.pets[]", "constraint", "pets: cat"),
        ("access.parking", "constraint", "parking: curb"),
        ("quote.discount percent", "promise", "discount percent: 10"),
        ("quote.currency", "fact", "quote currency: USD"),
        ("notes[]", "fact", "Leave the pad"),
        ("vip", "fact", "vip: yes"),
    }


@pytest.mark.parametrize(
    "key", ["gateWidth", "gate_width", "Gate width", "gate-width", "GATE_WIDTH", "GateWidth"]
)
def test_a_key_is_read_in_words_however_it_is_spelled(key):
    assert said({key: 48}) == {("gate width", "constraint", "gate width: 48")}


@pytest.mark.parametrize("name", ["PINCode", "gateCode", "GATE_CODE", "lockBoxPIN", "gate.code"])
def test_what_opens_a_door_is_seen_however_its_name_is_written(name):
    assert opens_doors(name)


def test_words_of_any_language_stay_whole():
    assert said({"größeTor": 3, "नाम": "x", "%": 2}) == {
        ("größe tor", "fact", "größe tor: 3"),
        ("नाम", "fact", "नाम: x"),
        ("%", "fact", "%: 2"),
    }


def test_a_key_that_says_too_little_is_told_with_the_key_around_it():
    assert {
        text
        for _, _, text in said(
            {
                "warranty": {"until": "2026-01-01"},
                "parking": {"limit": "2 hours", "notes": "Not on the lawn"},
                "fence": {"limits": {"height": 5}},
                "home": {"floors": [{"area": 80}]},
                "details": {"pets": "cat", "gutter_height": 9},
                "job": {"job_number": 7},
                "hours": "9 to 5",
            }
        )
    } == {
        "warranty until: 2026-01-01",
        "parking limit: 2 hours",
        "Not on the lawn",
        "fence limits height: 5",
        "floors area: 80",
        "pets: cat",
        "gutter height: 9",
        "job number: 7",
        "hours: 9 to 5",
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
        ("gate.width", "constraint", "gate width: 48"),
        ("gate width", "constraint", "gate width: 48"),
        ("notes[]", "fact", "ZIP code 78704"),
        ("", "fact", "no name"),
    }


@pytest.mark.parametrize(
    "given",
    [
        {"rule": [{"kind": "promise", "words": "vip"}]},
        {"rule": [{"kind": "promise", "words": [1]}]},
        {"bare": "note"},
        {"vague": "width"},
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
    file.write_text(file.read_text() + '[[rule]]\nkind = "fact"\nwords = ["width"]\n')
    bare, vague = {"gate": {"width": 4}}, 'vague = ["width"]\n'
    assert [each.text for each in notes_in(bare, load_rules(file))] == ["width: 4"]
    file.write_text(vague + file.read_text())
    assert [each.text for each in notes_in(bare, load_rules(file))] == ["gate width: 4"]
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
