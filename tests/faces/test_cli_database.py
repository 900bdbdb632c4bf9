"""`backstory db …`: where it is, whether it is well, a copy of it; and never a password."""

import subprocess

import pytest
from cli_world import Terminal
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from backstory.store import embedded
from backstory.store.engine import parse_url


def test_status_tells_where_and_what_without_the_password(sampled):
    told = sampled.type("db", "status", "--json")
    assert told.code == 0
    assert told.json["current"] is True
    assert told.json["tables"]["messages"] == told.json["tables"]["messages"] | {
        "rows": 216,
        "exact": True,
    }
    password = make_url(sampled.env["DATABASE_URL"]).password
    shown = sampled.type("db", "status").out
    assert password is None or password not in told.out + shown


def test_status_of_a_database_without_our_schema(terminal):
    told = terminal.type("db", "status", "--json")
    assert (told.code, told.json["revision"], told.json["tables"]) == (0, None, {})
    assert "not made yet" in terminal.type("db", "status").out


def test_status_does_not_make_an_embedded_database(tmp_path):
    told = Terminal("", tmp_path / "home").type("db", "status", "--json")
    assert told.json["initialised"] is False
    assert not (tmp_path / "home").exists()


def test_upgrade_makes_the_schema_once(terminal):
    assert terminal.type("db", "upgrade", "--json").json["changed"] is True
    assert terminal.type("db", "upgrade", "--json").json["changed"] is False
    assert terminal.type("runs", "--json").json == {"runs": []}


def test_url_is_the_address_and_nothing_else(terminal):
    assert terminal.type("db", "url").out == f"{terminal.env['DATABASE_URL']}\n"


def test_a_server_of_yours_is_not_stopped(terminal):
    told = terminal.type("db", "stop", "--purge")
    assert told.code == 2
    assert "yours" in told.err
    assert terminal.type("db", "status").code == 0


# --- doctor ----------------------------------------------------------------------------------


def verdicts(told):
    return {check["name"]: check["verdict"] for check in told.json["checks"]}


def test_the_doctor_finds_nothing_on_a_sound_database(loaded):
    told = loaded.type("db", "doctor", "--json")
    assert told.code == 0
    assert told.json["ok"] is True
    assert {"database", "schema", "rights", "indexes", "runs", "home"} <= set(verdicts(told))
    assert "fail" not in verdicts(told).values()


def test_the_doctor_says_what_to_do_about_a_server_that_does_not_answer(tmp_path):
    told = Terminal("postgresql://nobody@127.0.0.1:1/none", tmp_path).type("db", "doctor", "--json")
    assert told.code == 1
    assert verdicts(told)["database"] == "fail"
    assert verdicts(told)["home"] == "ok"


_INVALIDATE = """
UPDATE pg_index SET indisvalid = false
WHERE indexrelid = 'backstory.messages_search_idx'::regclass
"""


@pytest.mark.parametrize(
    ("statement", "check"),
    [
        ("DROP INDEX backstory.messages_search_idx", "indexes"),
        (_INVALIDATE, "indexes"),
        ("UPDATE backstory.alembic_version SET version_num = '9999'", "schema"),
    ],
)
def test_the_doctor_finds_what_is_broken(statement, check, loaded):
    engine = create_engine(parse_url(loaded.env["DATABASE_URL"]))
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()
    told = loaded.type("db", "doctor", "--json")
    assert told.code == 1
    assert verdicts(told)[check] == "fail"
    assert "✗" in loaded.type("db", "doctor").out


def test_the_doctor_mentions_runs_that_did_not_end(loaded):
    engine = create_engine(parse_url(loaded.env["DATABASE_URL"]))
    with engine.begin() as connection:
        connection.execute(text("UPDATE backstory.backfill_runs SET status = 'paused'"))
    engine.dispose()
    told = loaded.type("db", "doctor", "--json")
    assert told.code == 0
    assert verdicts(told)["runs"] == "warn"


def test_the_doctor_finds_a_home_that_cannot_be_written(terminal, tmp_path):
    (tmp_path / "file").touch()
    told = terminal.type("db", "doctor", "--home", str(tmp_path / "file" / "home"), "--json")
    assert verdicts(told)["home"] == "fail"


# --- backup ----------------------------------------------------------------------------------


@pytest.fixture
def with_client(monkeypatch):
    """Put the client of the embedded PostgreSQL first on the PATH."""
    binaries = embedded.binaries()
    monkeypatch.setenv("PATH", str(binaries), prepend=":")
    return binaries


def test_a_backup_can_be_restored_elsewhere(loaded, with_client, tmp_path):
    file = tmp_path / "copy.dump"
    told = loaded.type("db", "backup", "--to", str(file), "--json")
    assert told.code == 0
    assert told.json["bytes"] == file.stat().st_size
    assert file.stat().st_mode & 0o077 == 0
    listed = subprocess.run(
        [with_client / "pg_restore", "--list", file], capture_output=True, text=True, check=True
    )
    assert "TABLE DATA backstory messages" in listed.stdout
    # Whoever holds the file may lack all that is not in the schema: pgvector, and our role.
    shown = loaded.type("customers").out
    with_schema = loaded.type("db", "restore", str(file))
    assert with_schema.code == 2
    assert "is not overwritten" in with_schema.err
    engine = create_engine(parse_url(loaded.env["DATABASE_URL"]))
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA backstory CASCADE"))
        connection.execute(text("DROP EXTENSION vector"))
        connection.execute(text("DROP OWNED BY backstory_agent"))
    engine.dispose()
    assert loaded.type("db", "restore", str(file), "--json").json["schema"] == "backstory"
    assert loaded.type("customers").out == shown
    assert loaded.type("verify").code == 0
    assert loaded.type("ready").code == 0


@pytest.mark.usefixtures("with_client")
def test_only_a_dump_of_this_schema_is_restored(loaded, tmp_path):
    file = tmp_path / "copy.dump"
    assert loaded.type("db", "backup", "--to", str(file)).code == 0
    told = loaded.type("db", "restore", str(file), "--schema", "other")
    assert (told.code, "--schema backstory" in told.err) == (2, True)
    file.write_text("not a dump")
    told = loaded.type("db", "restore", str(file))
    assert (told.code, "is no file that" in told.err) == (2, True)


@pytest.mark.usefixtures("with_client")
def test_a_backup_overwrites_nothing(loaded, tmp_path):
    file = tmp_path / "precious"
    file.write_text("keep me")
    assert loaded.type("db", "backup", "--to", str(file)).code == 2
    assert file.read_text() == "keep me"
    assert loaded.type("db", "backup", "--to", str(tmp_path / "no" / "way")).code == 2


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'pg_dump (PostgreSQL) 9.6.24'", "cannot work on a server"),
        ('case "$1" in --version) echo pg_dump 99;; *) echo broken >&2; exit 1;; esac', "broken"),
    ],
)
def test_a_pg_dump_that_cannot_do_it_is_named(script, said, loaded, monkeypatch, tmp_path):
    program = tmp_path / "bin" / "pg_dump"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    told = loaded.type("db", "backup", "--to", str(tmp_path / "copy.dump"))
    assert told.code == 3
    assert said in told.err
    assert not list(tmp_path.glob("copy*"))


def test_without_a_pg_dump_it_is_said_how_to_get_one(loaded, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    told = loaded.type("db", "backup", "--to", str(tmp_path / "copy.dump"))
    assert told.code == 3
    assert "postgresql-client" in told.err


def test_no_password_is_on_the_command_line(loaded, monkeypatch, tmp_path):
    password = make_url(loaded.env["DATABASE_URL"]).password
    if password is None:
        pytest.skip("this server needs no password")
    program = tmp_path / "bin" / "pg_dump"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho pg_dump 99\necho "$@" >> {tmp_path}/words\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    loaded.type("db", "backup", "--to", str(tmp_path / "copy.dump"))
    words = (tmp_path / "words").read_text()
    assert "--schema=backstory" in words
    assert password not in words


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("BACKSTORY_DB_LINGER", "soon", "BACKSTORY_DB_LINGER cannot be 'soon': Input should be"),
        ("BACKSTORY_DB_LINGER", "-1", "BACKSTORY_DB_LINGER cannot be '-1'"),
        ("CONTEXT_MEMORY_ENABLED", "perhaps", "CONTEXT_MEMORY_ENABLED cannot be 'perhaps'"),
    ],
)
def test_a_setting_that_cannot_be_is_named_as_it_is_set(variable, value, said, tmp_path):
    told = Terminal("", tmp_path, **{variable: value}).type("runs")
    assert told.code == 2
    assert said in told.err
    assert "Value error" not in told.err
