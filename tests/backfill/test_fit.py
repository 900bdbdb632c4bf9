"""A wrong file or a wrong column is named, with the keys there are and the option that helps."""

from typing import Any

import pytest
from dumps import comparable
from loaded_world import World, lead, record, talk

from backstory.backfill import journey
from backstory.backfill.plan import plan
from backstory.backfill.rehearse import rehearse
from backstory.backfill.report import Report
from backstory.backfill.retry import retry

LEADS = [lead("lead-1", phone="512 555 0101")]


def renamed(**names: str) -> list[dict[str, Any]]:
    """Return a log whose fields have other names."""
    return [
        {names.get(name, name): value for name, value in each.items()}
        for each in talk("lead-1", range(3))
    ]


def everywhere(world: World, *given: Any, **options: Any) -> Report:
    """Return the report of a run, which its plan and its rehearsal must foretell."""
    asked = world.options(*given, **options)
    planned = plan(world.database, world.home, asked)
    rehearsed = rehearse(world.database, world.home, asked, batches=1000)
    report = journey.start(world.database, world.home, asked)
    assert comparable(planned) == comparable(report)
    assert rehearsed.errors == report.errors
    return report


@pytest.mark.parametrize(
    ("field", "option"),
    [
        ("lead_id", "--map lead_id=COLUMN"),
        ("actor", "--map actor=COLUMN"),
        ("payload", "--map payload=COLUMN"),
        ("id", "--map audit.id=COLUMN"),
        ("created_at", "--map audit.created_at=COLUMN"),
    ],
)
def test_a_field_that_no_record_has_is_named_with_the_keys_there_are(
    world: World, field: str, option: str
) -> None:
    report = everywhere(world, renamed(**{field: "theirs"}), LEADS)
    (error,) = report.errors
    assert f"none of its 3 records has '{field}'" in error
    assert "theirs" in error
    assert option in error
    assert not report.clean
    assert report.messages_created == 0


def test_the_option_that_an_error_names_helps(world: World) -> None:
    report = everywhere(world, renamed(lead_id="contact"), LEADS, columns={"lead_id": "contact"})
    assert report.errors == []
    assert report.messages_created == 3


def test_another_file_is_named_beside_one_that_fits(world: World) -> None:
    wrong = [{"sku": n, "id": f"p-{n}", "created_at": 0} for n in range(5)]
    good, bad = world.options(talk("lead-1", range(3))), world.options(wrong)
    options = type(good)(audit=good.audit + bad.audit)
    report = journey.start(world.database, world.home, options)
    assert report.messages_created == 3
    (error,) = report.errors
    assert error.startswith(bad.audit[0].rpartition("/")[2])
    assert "created_at, id, sku" in error


def test_a_column_that_map_names_and_no_record_has_is_an_error(world: World) -> None:
    for columns in ({"lead_id": "contct"}, {"action": "verb"}):
        ((field, column),) = columns.items()
        report = everywhere(world, talk("lead-1", range(3)), LEADS, columns=columns)
        (error,) = report.errors
        assert f"no record has '{column}', which --map names as {field}" in error
        assert "action, actor, created_at, id, lead_id, payload" in error


def test_a_column_that_map_names_may_be_rare_or_said_not_to_be_there(world: World) -> None:
    records = [record(n, "lead-1") for n in range(40)]
    records[-1]["verb"] = "sent"
    for columns in ({"action": "verb"}, {"action": ""}):
        assert everywhere(world, records, LEADS, columns=columns).errors == []


def test_an_empty_column_and_unknown_words_are_told_from_a_missing_one(world: World) -> None:
    said = [
        everywhere(world, [record(n, **other) for n in range(2)], LEADS).errors
        for other in (
            {"lead_id": None},
            {"actor": "robot"},
            {"payload": {}},
            {"lead_id": "stranger"},
        )
    ]
    empty, unknown, silent, strange = (each for (each,) in said)
    assert "'lead_id' is empty in all of its 2 records" in empty
    assert "(robot)" in unknown
    assert "--unknown-actor system" in unknown
    assert "'payload' is empty" in silent
    assert "The log says stranger; the list says lead-1" in strange
    assert "--map lead.id=COLUMN or --map lead_id=COLUMN" in strange


def test_records_that_differ_in_why_they_are_left_out_are_no_sign_of_a_wrong_file(
    world: World,
) -> None:
    records = [record(1, None), record(2, "stranger"), record(3, actor="robot"), b"{"]
    assert everywhere(world, records, LEADS).errors == []
    assert everywhere(world, [*talk("lead-1", range(3)), record(9, None)], LEADS).errors == []


def test_what_is_said_does_not_depend_on_how_a_log_was_cut(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backstory.backfill.manifest.SEGMENT_BYTES", 500)
    records = [each | {f"key-{n}": 1} for n, each in enumerate(renamed(lead_id="contact"))] * 9
    options = world.options(records)
    whole = plan(world.database, world.home, options).errors
    assert len(whole) == 1
    several = type(options)(audit=options.audit, workers=2)
    assert plan(world.database, world.home, several).errors == whole
    assert journey.start(world.database, world.home, several).errors == whole


# --- the list of leads -------------------------------------------------------------------------


def test_a_list_in_which_nobody_has_an_identity_is_a_warning_with_its_keys(world: World) -> None:
    leads = [{"id": f"lead-{n}", "tel": "512 555 0101", "created_at": 0} for n in range(2)]
    report = everywhere(world, talk("lead-1", range(3)), leads)
    assert report.errors == []
    (warning,) = [each for each in report.warnings if "identity" in each]
    assert "created_at, id, tel" in warning
    assert "--map phone=COLUMN" in warning
    mapped = everywhere(world, talk("lead-1", range(3)), leads, columns={"phone": "tel"})
    assert not [each for each in mapped.warnings if "identity" in each]
    assert world.one("SELECT count(DISTINCT customer_id) FROM leads") == 1


def test_a_list_without_ids_and_a_column_it_does_not_have_are_errors(world: World) -> None:
    leads = [{"person": f"lead-{n}", "phone": "512 555 0101"} for n in range(2)]
    report = everywhere(world, talk("lead-1", range(3)), leads)
    assert "--map lead.id=COLUMN; or is it another file?" in report.errors[1]
    leads = [lead("lead-1", phone="512 555 0101")]
    report = everywhere(world, talk("lead-1", range(3)), leads, columns={"email": "mail"})
    assert "no record has 'mail', which --map names as email" in report.errors[0]


def test_a_retry_need_not_fit_anything(world: World) -> None:
    world.load([*talk("lead-1", range(3)), b'{"id": "x", "actor": "agent", "created_at": "soon"}'])
    world.run(
        "UPDATE quarantine SET raw = convert_to(replace(convert_from(raw, 'UTF8'), '\"soon\"',"
        " '0'), 'UTF8')"
    )
    (report,) = retry(world.database, world.home)
    assert report.skipped_by_reason == {"no_lead": 1}
    assert report.errors == []
