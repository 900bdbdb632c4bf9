"""`backstory erase` and `backstory export` as a person meets them."""

import json

import pytest


@pytest.fixture
def customer(loaded):
    """Return the id of the customer who comes first in the list."""
    return loaded.type("customers", "--json").json["customers"][0]["id"]


def test_an_export_is_json_on_standard_output_or_in_a_file_of_ones_own(loaded, customer, tmp_path):
    told = loaded.type("export", customer[:8])
    assert told.code == 0
    assert told.json["customer_id"] == customer
    assert told.json["tables"]["messages"]
    file = tmp_path / "customer.json"
    assert loaded.type("export", customer, "--output", str(file)).code == 0
    assert json.loads(file.read_text()) == told.json
    assert file.stat().st_mode & 0o077 == 0
    assert loaded.type("export", customer, "--output", str(file)).code == 2


def test_a_dry_run_tells_and_removes_nothing(loaded, customer):
    told = loaded.type("erase", customer, "--dry-run", "--json")
    assert told.code == 0
    assert told.json["removed"]["messages"] > 0
    assert "messages" in loaded.type("erase", customer, "--dry-run").out
    assert loaded.type("erase", customer, "--dry-run", "--json").json == told.json


def test_a_script_must_say_that_it_means_it(loaded, customer):
    told = loaded.type("erase", customer)
    assert told.code == 2
    assert "--yes" in told.err
    assert loaded.type("export", customer).code == 0


def test_an_erasure_is_proved_and_says_what_is_out_of_reach(loaded, customer):
    planned = loaded.type("erase", customer, "--dry-run", "--json").json["removed"]
    told = loaded.type("erase", customer, "--yes", "--json")
    assert told.code == 0
    assert told.json["removed"] == planned
    assert told.json["proof"]["clean"] is True
    assert told.json["proof"]["columns"] > 100
    assert any("Backups" in each for each in told.json["out_of_reach"])
    assert loaded.type("verify", "--json").json["ok"]
    again = loaded.type("erase", customer, "--yes", "--json")
    assert again.code == 2
    assert "was erased at" in again.json["error"]["message"]
    report = loaded.load_sample().json
    assert report["skipped_by_reason"]["erased"] > 0
    assert report["messages_created"] == 0


def test_the_report_can_be_read(loaded, customer):
    told = loaded.type("erase", customer, "--yes")
    assert told.code == 0
    assert "is erased" in told.out
    assert "Out of reach" in told.out
