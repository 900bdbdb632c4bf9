"""`search`, `conversation(s)`, `customers`, `trace`: find, read, and go back to the record."""

import shlex

import pytest
from cli_world import record, written

JOANIE = "e818914c-6e76-545b-8bd7-c36b3bca9f8b"
THEO = "f17747ee-2c15-53aa-9840-b6f149dcbde5"


# --- search ----------------------------------------------------------------------------------


def test_a_search_shows_who_said_it_and_when(sampled):
    told = sampled.type("search", "Biscuit")
    assert told.code == 0
    assert "Joanie Pruitt on messenger" in told.out
    assert "Biscuit" in told.out


@pytest.mark.parametrize("query", ["-flight", "-flight boat", "-x"])
def test_a_query_that_begins_with_a_dash_is_told_where_to_stand(query, sampled):
    told = sampled.type("search", query)
    assert told.code == 2
    assert f"`backstory search -- {shlex.quote(query)}`" in told.err
    assert "--help` shows the right form" in told.err
    assert "begins with a dash" not in sampled.type("search", "boat", "--nonsense").err


def test_a_query_behind_two_dashes_may_begin_with_one(sampled):
    told = sampled.type("search", "--json", "--", "-nothing quote")
    assert told.code == 0
    assert told.json["hits"]


def test_a_search_in_json_has_whole_ids_and_the_words_that_match(sampled):
    hits = sampled.type("search", "Biscuit", "--json").json["hits"]
    assert all(len(hit["id"]) == 36 for hit in hits)
    assert {"text": "Biscuit", "match": True} in hits[0]["fragments"]


@pytest.mark.parametrize(
    ("words", "holds"),
    [
        (("--role", "user"), lambda hit: hit["role"] == "user"),
        (("--kind", "text"), lambda hit: hit["kind"] == "text"),
        (("--channel", "sms"), lambda hit: hit["channel"] == "sms"),
        (("--lead", THEO), lambda hit: hit["lead"] == THEO),
        (("--since", "2026-02-01"), lambda hit: hit["created_at"] >= "2026-02-01"),
        (("--until", "2026-02-01T00:00:00Z"), lambda hit: hit["created_at"] < "2026-02-01"),
    ],
)
def test_a_filter_leaves_only_what_it_says(words, holds, sampled):
    everything = sampled.type("search", "quote", "--json", "--limit", "100").json["hits"]
    found = sampled.type("search", "quote", "--json", "--limit", "100", *words).json["hits"]
    wanted = {hit["id"] for hit in everything if holds(hit)}
    assert {hit["id"] for hit in found} == wanted
    assert wanted < {hit["id"] for hit in everything}


def test_a_customer_is_named_by_the_beginning_of_an_id(sampled):
    (theo,) = sampled.type("customers", "Theo", "--json").json["customers"]
    found = sampled.type("search", "quote", "--customer", theo["id"][:8], "--json").json["hits"]
    assert {hit["customer_id"] for hit in found} == {theo["id"]}
    assert sampled.type("search", "quote", "--customer", "ffffffff").code == 2


def test_pages_follow_one_another(sampled):
    first = sampled.type("search", "quote", "--limit", "3", "--json").json
    second = sampled.type(
        "search", "quote", "--limit", "3", "--after", first["next"], "--json"
    ).json
    assert not {hit["id"] for hit in first["hits"]} & {hit["id"] for hit in second["hits"]}


@pytest.mark.parametrize(
    "words",
    [
        ("search", " "),
        ("search", "quote", "--limit", "0"),
        ("search", "quote", "--since", "yesterday"),
        ("search", "quote", "--role", "king"),
        ("search", "quote", "--after", "nonsense"),
        ("conversation", "nobody"),
        ("conversation", JOANIE, "--limit", "0"),
        ("conversation", JOANIE, "--after", "x"),
        ("conversations", "--limit", "0"),
        ("conversations", "--limit", "1001"),
        ("conversations", "--status", "ajar"),
        ("conversations", "--since", "yesterday"),
        ("conversations", "--customer", "ffffffff"),
        ("conversations", "--after", "nonsense"),
        ("trace", "nothing"),
    ],
)
def test_what_cannot_be_found_or_understood_is_a_wrong_request(words, sampled):
    told = sampled.type(*words)
    assert told.code == 2
    assert told.err.startswith("Error: ")
    assert told.out == ""


# --- conversations, customers, traces --------------------------------------------------------


def test_a_conversation_is_found_by_its_lead_and_by_its_own_id(sampled):
    by_lead = sampled.type("conversation", THEO, "--json").json
    own = by_lead["conversation"]["id"]
    assert sampled.type("conversation", own[:8], "--json").json == by_lead
    assert len(by_lead["messages"]) == by_lead["conversation"]["messages"] == 68


def test_a_conversation_goes_on_behind_a_message(sampled):
    page = sampled.type("conversation", THEO, "--limit", "2", "--json").json
    rest = sampled.type("conversation", THEO, "--after", page["next"], "--json").json
    assert len(rest["messages"]) == 66


def test_a_conversation_reads_in_order_with_ids_if_asked(sampled):
    told = sampled.type("conversation", THEO, "--ids")
    messages = sampled.type("conversation", THEO, "--json").json["messages"]
    places = [told.out.index(message["id"][:8]) for message in messages]
    assert places == sorted(places)


def test_conversations_are_listed_those_last_heard_of_first(sampled):
    rows = sampled.type("conversations", "--json").json["conversations"]
    assert [row["last_message_at"] for row in rows] == sorted(
        (row["last_message_at"] for row in rows), reverse=True
    )
    assert len(rows) == 3
    told = sampled.type("conversations").out
    places = [told.index(row["id"][:8]) for row in rows]
    assert places == sorted(places)
    assert "3 conversations." in told


@pytest.mark.parametrize(
    ("words", "holds"),
    [
        (("--channel", "sms"), lambda row: row["channel"] == "sms"),
        (("--lead", THEO), lambda row: row["lead"] == THEO),
        (("--since", "2026-03-01"), lambda row: row["last_message_at"] >= "2026-03-01"),
        (("--until", "2026-03-01"), lambda row: row["last_message_at"] < "2026-03-01"),
        (("--status", "closed"), lambda row: row["status"] == "closed"),
    ],
)
def test_a_filter_leaves_only_the_conversations_it_says(words, holds, sampled):
    everything = sampled.type("conversations", "--json").json["conversations"]
    found = sampled.type("conversations", "--json", *words).json["conversations"]
    assert found == [row for row in everything if holds(row)] != everything


def test_a_customers_conversations_are_listed_page_by_page(sampled):
    (joanie,) = sampled.type("customers", "Joanie", "--json").json["customers"]
    asked = ("conversations", "--customer", joanie["id"][:8], "--limit", "1")
    first = sampled.type(*asked, "--json").json
    second = sampled.type(*asked, "--json", "--after", first["next"]).json
    rows = first["conversations"] + second["conversations"]
    assert second["next"] is None
    assert {row["customer_id"] for row in rows} == {joanie["id"]}
    assert len({row["id"] for row in rows}) == 2
    assert "--after" in sampled.type(*asked).out
    assert "No conversation." in sampled.type("conversations", "--channel", "other").out


def test_customers_are_listed_and_found(sampled):
    everybody = sampled.type("customers", "--json").json["customers"]
    assert {row["display_name"] for row in everybody} == {"Joanie Pruitt", "Theo Brandt"}
    assert "+15125550142" in sampled.type("customers", "512-555").out
    assert sampled.type("customers", "Nobody", "--json").json["customers"] == []


def test_a_message_leads_back_to_its_record(sampled):
    hit = sampled.type("search", "Biscuit", "--limit", "1", "--json").json["hits"][0]
    told = sampled.type("trace", hit["id"][:8], "--json").json
    assert told["projection"]["message"]["id"] == hit["id"]
    by_audit_id = sampled.type("trace", told["record"]["audit_id"], "--json").json
    assert by_audit_id == told
    assert told["record"]["audit_id"] in sampled.type("trace", hit["id"]).out


# --- text of strangers -----------------------------------------------------------------------

HOSTILE = "red \x1b[31malert\x1b]0;title\x07 \x9b2J \u202egnp.exe\u2066 [bold]markup[/bold] \x07"


@pytest.fixture
def attacked(prepared, tmp_path):
    log = written(
        tmp_path / "log.jsonl",
        [record(1, payload={"text": HOSTILE, "author": HOSTILE}), f"broken {HOSTILE}"],
    )
    leads = written(tmp_path / "leads.jsonl", [{"id": "lead-1", "channel": "sms", "name": HOSTILE}])
    prepared.type("backfill", "--audit", log, "--leads", leads)
    return prepared


RISKY = set("\x07\x1b\x9b\u202e\u2066")


@pytest.mark.parametrize(
    "words",
    [
        ("search", "alert"),
        ("conversation", "lead-1"),
        ("conversations",),
        ("customers",),
        ("trace", "a-1"),
        ("quarantine", "list"),
        ("runs", "last"),
        ("verify",),
    ],
)
def test_nothing_a_customer_wrote_can_act_on_the_terminal(words, attacked):
    for told in (attacked.type(*words), attacked.type(*words, "--json")):
        assert told.code in {0, 1}
        assert not RISKY & set(told.out + told.err)


def test_what_looks_like_markup_is_shown_as_it_is(attacked):
    assert "[bold]markup[/bold]" in attacked.type("conversation", "lead-1").out


def test_json_keeps_every_character(attacked):
    (message,) = attacked.type("conversation", "lead-1", "--json").json["messages"]
    assert message["content"] == HOSTILE


# --- width -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("search", "quote"),
        ("conversation", JOANIE, "--ids"),
        ("conversations",),
        ("conversations", "--limit", "1"),
        ("customers",),
        ("runs",),
        ("runs", "last"),
        ("verify", "--sample", "3"),
        ("quarantine", "list"),
        ("conflicts",),
        ("db", "status"),
        ("db", "doctor"),
    ],
)
def test_nothing_is_wider_than_80_columns(words, sampled):
    told = sampled.type(*words)
    assert told.code == 0
    assert max(map(len, told.out.splitlines())) <= 80
    assert not any(line != line.rstrip() for line in told.out.splitlines())
