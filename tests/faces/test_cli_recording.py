"""`record` and `follow` as a person meets them: outcomes line by line, and a log that grows."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from cli_world import record, written


def lines(*records):
    return "".join(json.dumps(each) + "\n" for each in records)


def test_record_says_of_each_event_what_became_of_it(terminal):
    said = {"lead": {"phone": "512 555 0142", "channel": "sms"}}
    events = lines(record(1) | said, record(2), record(2), record(3, payload={})) + "{\n\n"
    done = terminal.type("record", "-", stdin=events)
    assert done.code == 1
    rows = [line.split(None, 2) for line in done.out.splitlines()]
    assert [row[:2] for row in rows] == [
        ["created", "a-1"],
        ["created", "a-2"],
        ["duplicate", "a-2"],
        ["skipped", "a-3"],
        ["quarantined", "-"],
    ]
    assert rows[3][2] == "no_text"
    assert "Not JSON" in rows[4][2]
    shown = terminal.type("conversation", "lead-1", "--json").json
    assert shown["conversation"]["channel"] == "sms"
    assert terminal.type("verify").code == 0


def test_record_links_by_the_hub_limit_of_the_settings(prepared):
    prepared.env["BACKSTORY_HUB_LIMIT"] = "2"
    leads = [
        {"channel": "sms", "phone": "512 555 0142", "email": f"{n}@example.com"} for n in range(3)
    ]
    events = lines(*(record(n, f"lead-{n}") | {"lead": lead} for n, lead in enumerate(leads)))
    assert prepared.type("record", "-", stdin=events).code == 0
    customers = prepared.type("customers", "--json").json["customers"]
    assert len(customers) == 3


def test_record_answers_in_json_and_takes_a_last_line_without_its_newline(prepared, tmp_path):
    file = tmp_path / "events.jsonl"
    file.write_text(lines(record(1)) + json.dumps(record(2)))
    done = prepared.type("record", str(file), "--json")
    assert done.code == 0
    assert done.json["outcomes"] == {"created": 2}
    assert [each["audit_id"] for each in done.json["events"]] == ["a-1", "a-2"]
    assert done.json["events"][0].keys() == {
        *("outcome", "audit_id", "record_id", "conversation_id", "customer_id"),
        *("reason", "message"),
    }
    again = prepared.type("record", str(file), "--json")
    assert (again.code, again.json["outcomes"]) == (0, {"duplicate": 2})


def test_record_answers_events_while_others_are_still_to_come(prepared):
    process = prepared.begin("record", "-", stdin=-1)
    try:
        for number in (1, 2):
            process.stdin.write(lines(record(number)))
            process.stdin.flush()
            assert process.stdout.readline().split()[:2] == ["created", f"a-{number}"]
        process.stdin.close()
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.stdout.close()
        process.stderr.close()
        process.wait()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("record", "nothing.jsonl"), "cannot be read"),
        (("record", "--log", "backstory"), "choose another name"),
        (("record", "--assume-tz", "Mars"), "no time zone"),
        (("follow", "--audit", "-"), "backstory record -"),
        (("follow", "--audit", "nothing.jsonl"), "nothing.jsonl"),
        (("follow", "--audit", "x.jsonl", "--map", "id"), "FIELD=COLUMN"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(terminal, words, told):
    done = terminal.type(*words, stdin="")
    assert done.code in {2, 3}
    assert told in " ".join(done.err.split())
    assert "Traceback" not in done.err


def test_follow_once_takes_what_is_there_and_ends(terminal, tmp_path):
    file = Path(written(tmp_path / "audit.jsonl", [record(1), record(2)]))
    done = terminal.type("follow", "--audit", str(file), "--once", "--json")
    assert done.code == 0
    assert done.json == {"source": "audit.jsonl", "seen": 2, "outcomes": {"created": 2}}
    with file.open("a") as log:
        log.write(lines(record(3)) + "{\n")
    done = terminal.type("follow", "--audit", str(file), "--once")
    assert done.code == 1
    assert done.out == "audit.jsonl: 1 created, 1 quarantined\n"
    assert terminal.type("follow", "--audit", str(file), "--once").out.endswith("nothing new\n")


def test_follow_reads_other_names_by_the_map(prepared, tmp_path):
    other = {"key" if name == "id" else name: value for name, value in record(1).items()}
    file = written(tmp_path / "audit.jsonl", [other])
    done = prepared.type("follow", "--audit", file, "--map", "id=key", "--once", "--json")
    assert done.json["outcomes"] == {"created": 1}


def test_follow_goes_on_until_it_is_interrupted(prepared, tmp_path):
    file = Path(written(tmp_path / "audit.jsonl", [record(1)]))
    process = prepared.begin("follow", "--audit", str(file), "--every", "0.05", "--json")
    try:
        assert json.loads(process.stdout.readline())["outcomes"] == {"created": 1}
        with file.open("a") as log:
            log.write(lines(record(2), record(3)))
        seen = 0
        deadline = time.monotonic() + 30
        while seen < 2 and time.monotonic() < deadline:
            seen += json.loads(process.stdout.readline())["seen"]
        assert seen == 2
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(timeout=30) == 130
    finally:
        process.kill()
        process.stdout.close()
        process.stderr.close()
        process.wait()
