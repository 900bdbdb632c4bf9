"""The docs are true: they name every command, their examples run and print what is shown."""

import gzip
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import chdir
from dataclasses import fields
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from scripted_model import Script, scripted_model
from sqlalchemy import text
from sqlalchemy.engine import make_url
from tiny_model import make_model
from typer.main import get_command
from typer.testing import CliRunner

from backstory.audit.rows import FIELDS, Kind
from backstory.backfill import journey
from backstory.backfill.options import BackfillOptions
from backstory.backfill.report import Report
from backstory.config import Settings
from backstory.errors import Interrupted
from backstory.extract.erased import tombstone
from backstory.extract.identity import lead_id
from backstory.faces.cli.commands import shell
from backstory.faces.cli.ending import ExitCode
from backstory.model import SkipReason
from backstory.sample import paths
from backstory.search.embed import DEFAULT_MODEL, MODELS
from backstory.store.embedded import binaries
from backstory.store.engine import Database
from backstory.store.schema import upgrade

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
GAP = "…"


def page_name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [body for kind, body in found if kind == language]


def pages_with(language: str) -> list[Path]:
    return [page for page in PAGES if blocks(page, language)]


# --- commands --------------------------------------------------------------------------------


def commands(words: tuple[str, ...] = (), command: Any = None) -> Iterator[tuple[str, Any]]:
    """Every command and group by its words, but for the whole."""
    for name, each in getattr(command or get_command(shell), "commands", {}).items():
        yield " ".join((*words, name)), each
        yield from commands((*words, name), each)


COMMANDS = dict(commands())


def examples() -> list[tuple[str, str]]:
    """Every example of every help, with the command it belongs to."""
    return [
        (name, line.strip())
        for name, command in COMMANDS.items()
        for line in (command.epilog or "").splitlines()
        if line.strip()
    ]


def test_the_generated_parts_are_what_the_code_says():
    done = subprocess.run(
        [sys.executable, DOCS / "generate.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_and_each_of_its_options_has_help(name):
    command = COMMANDS[name]
    assert re.match(r"[A-Z].+\.", command.help or "")
    for option in command.params:
        assert option.help or option.hidden, option.name


@pytest.mark.parametrize("name", [n for n, c in COMMANDS.items() if not hasattr(c, "commands")])
def test_a_command_has_an_example(name):
    assert any(
        f"backstory {name}" in re.sub(r"--schema \w+ ", "", line)
        for of, line in examples()
        if of == name
    )


def backstory_lines(page: Path) -> list[str]:
    """Every line of a page's shell blocks that calls us; some name hosts nobody has."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    return [line for line in lines if re.search(r"\bbackstory [\w-]", line)]


@pytest.mark.parametrize("page", pages_with("sh"), ids=page_name)
def test_a_line_that_cannot_be_run_here_is_at_least_understood(page):
    for line in backstory_lines(page):
        words = shlex.split(line.replace("$(", "").replace(")", ""), comments=True)
        asked = words[words.index("backstory") + 1 :]
        asked = asked[: asked.index("|")] if "|" in asked else asked
        understood(asked)


def understood(words: list[str]) -> None:
    """Raise what the command line would complain of."""
    group = get_command(shell)
    context = group.make_context("backstory", list(words))
    rest = [*context._protected_args, *context.args]
    while hasattr(group, "commands"):
        name, group, rest = group.resolve_command(context, rest)
        context = group.make_context(name, rest, parent=context)
        rest = [*context._protected_args, *context.args]


# --- a place where the docs are followed -----------------------------------------------------


class Place:
    """A directory with the sample's files and a database in which a run has met everything."""

    report: Report

    def __init__(self, url: str, home: Path, schema: str = "backstory") -> None:
        self.url = url
        self.home = home
        self.database = Database.open(url, schema)
        audit, leads = paths()
        (home / "audit.jsonl").write_bytes(audit.read_bytes())
        (home / "leads.jsonl").write_bytes(leads.read_bytes())

    def options(self, *audit: str) -> BackfillOptions:
        files = tuple(str(self.home / name) for name in audit)
        return BackfillOptions(audit=files, leads=(str(self.home / "leads.jsonl"),))

    def load(self, files: dict[str, list[bytes]], **more: Any) -> None:
        """Write the files of a log, each of so many lines, and load them."""
        for name, lines in files.items():
            (self.home / name).write_bytes(b"\n".join(lines))
        options = BackfillOptions(audit=tuple(str(self.home / name) for name in files), **more)
        self.report = journey.start(self.database, self.home, options)

    def one(self, query: str) -> str:
        with self.database.engine.connect() as connection:
            return str(connection.execute(text(query)).scalar_one())

    def rows(self, query: str, **values: Any) -> list[tuple[Any, ...]]:
        with self.database.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query), values)]

    def do(self, statement: str) -> None:
        with self.database.engine.begin() as connection:
            connection.execute(text(statement))

    def follow(self, line: str, *, embedded: bool = False) -> tuple[int, str]:
        """Do what a reader would type; return the exit code and all that is shown."""
        env = {
            "PATH": os.pathsep.join(
                [str(Path(sys.executable).parent), str(binaries()), os.defpath]
            ),
            "HOME": str(self.home),
            "BACKSTORY_HOME": str(self.home / "home"),
            "DATABASE_URL": "" if embedded else self.url,
            "COLUMNS": "80",
            "NO_COLOR": "1",
            "LC_ALL": "C.UTF-8",
        }
        words = shlex.split(line)
        if words[0] != "backstory" or set(line) & set("|$<>;&"):
            return self._in_a_shell(line, env)
        with chdir(self.home):
            done = CliRunner().invoke(shell, words[1:], env=env, prog_name="backstory")
        return done.exit_code, done.output

    def _in_a_shell(self, line: str, env: dict[str, str]) -> tuple[int, str]:
        done = subprocess.run(
            ["/bin/sh", "-c", line],
            cwd=self.home,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout


@pytest.fixture(scope="module")
def database_of_the_docs(server_url) -> Iterator[str]:
    """An empty database that all examples share."""
    name = sql.Identifier(f"docs_{os.getpid()}")
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(name))
        yield (
            make_url(server_url)
            .set(database=f"docs_{os.getpid()}")
            .render_as_string(hide_password=False)
        )
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@pytest.fixture(scope="module")
def met_everything(database_of_the_docs, tmp_path_factory) -> Iterator[Place]:
    """A place whose runs have met broken records and conflicts, and one was paused."""
    place = Place(database_of_the_docs, tmp_path_factory.mktemp("docs"))
    upgrade(place.database.engine, "backstory")
    lines = (place.home / "audit.jsonl").read_bytes().splitlines()
    other = json.loads(lines[0]) | {"payload": {"text": "another"}}
    broken = [*lines, json.dumps(other).encode(), b'{"id": "broken"', b"{}"]
    (place.home / "broken.jsonl").write_bytes(b"\n".join(broken))
    (place.home / "old").mkdir()
    (place.home / "old" / "1.jsonl.gz").write_bytes(gzip.compress(b"\n".join(lines)))
    (place.home / "rules.toml").write_text('[[rule]]\nkind = "promise"\nwords = ["likes"]')
    (place.home / "lines.toml").write_text('[[rule]]\nname = "ours"\nline = "{total}"')
    (place.home / "my_report.py").write_text("import os; os.environ['DATABASE_URL']")
    place.do(
        'CREATE TABLE public."AuditLog" AS SELECT audit_id AS id, CAST(NULL AS text) AS '
        "lead_id, actor, action, payload, created_at FROM audit_log"
    )
    journey.start(place.database, place.home, place.options("broken.jsonl"))
    place.do(
        'INSERT INTO public."AuditLog" SELECT audit_id, lead_external_id, actor, action, '
        "payload, created_at FROM audit_log WHERE log = 'audit'"
    )
    yield place
    place.database.engine.dispose()


def pause_a_run(place: Place) -> None:
    """Leave a paused run behind, the newest of all."""

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        journey.start(place.database, place.home, place.options("audit.jsonl"), interrupt)


def a_key_of(place: Place) -> str:
    """Make a key and return the beginning of its id."""
    code, shown = place.follow("backstory key create docs --json")
    assert code == ExitCode.DONE, shown
    return place.one("SELECT id FROM api_keys ORDER BY created_at DESC LIMIT 1")[:8]


def a_note_of(place: Place) -> str:
    """Take notes and return the beginning of a candidate's id."""
    place.do('UPDATE leads SET state_metadata = state_metadata || \'{"likes": "jazz"}\'')
    code, shown = place.follow("backstory notes backfill --json")
    assert code == ExitCode.DONE, shown
    return place.one("SELECT id FROM memory_notes WHERE status = 'candidate' LIMIT 1")[:8]


def a_merge_of(place: Place) -> str:
    """Let two customers turn out to be one, and return the beginning of the merge's id."""
    one, other = {"id": "m-1", "email": "m@example.com"}, {"id": "m-2", "phone": "+15125550142"}
    file = place.home / "meeting.jsonl"
    for leads in ([one, other], [one | other | {"id": "m-3"}]):
        file.write_text("".join(json.dumps(lead | {"channel": "sms"}) + "\n" for lead in leads))
        place.load({"none.jsonl": []}, leads=(str(file),), allow_empty=True)
    return place.one("SELECT id FROM customer_merges WHERE undone_at IS NULL LIMIT 1")[:8]


def move_to_a_dump(place: Place) -> None:
    """Leave of the schema nothing but its dump."""
    (place.home / "backstory.dump").unlink(missing_ok=True)
    code, shown = place.follow("backstory db backup --to backstory.dump")
    assert code == ExitCode.DONE, shown
    place.do("DROP SCHEMA backstory CASCADE")


def prepare(place: Place, command: str, line: str) -> str:
    """Make an example possible; return it with what only stands for something filled in."""
    if command in {"resume", "pause", "cancel"}:
        pause_a_run(place)
    if command == "pause":
        place.do("UPDATE backfill_runs SET status = 'running' WHERE status = 'paused'")
    if command == "embed":
        make_model(place.home / "home" / MODELS / DEFAULT_MODEL)
    if command == "demo":
        assert place.follow("backstory demo")[0] == ExitCode.DONE
    if command == "serve":
        # It runs until it is asked to end: a port of its own, and then it is.
        line = (
            f": >said.txt; {line} --port 0 2>said.txt & "
            "until grep -q Serving said.txt; do sleep 0.1; done; "
            "kill -TERM $!; wait $!; ended=$?; cat said.txt; exit $ended"
        )
    if command == "erase":
        # An erasure waits for runs that are unfinished, as other examples leave them.
        place.do("UPDATE backfill_runs SET status = 'canceled' WHERE status = 'paused'")
    if command == "db restore":
        move_to_a_dump(place)
    last_run = "SELECT id FROM backfill_runs ORDER BY created_at DESC LIMIT 1"
    stand_ins: dict[str, Callable[[], str]] = {
        "3f2a9c1b": lambda: place.one(last_run)[:8],
        "9b1f04c7": lambda: place.one("SELECT id FROM quarantine LIMIT 1")[:8],
        "5d0c6a1e": lambda: place.one("SELECT id FROM customers LIMIT 1")[:8],
        "7f3a91d2": lambda: a_key_of(place),
        "4c21ee07": lambda: a_note_of(place),
        "8e5b2d90": lambda: a_merge_of(place),
        "LEAD": lambda: place.one("SELECT external_id FROM leads LIMIT 1"),
        "postgresql://reader@host/crm": lambda: shlex.quote(place.url),
    }
    for name, real in stand_ins.items():
        if name in line:
            line = line.replace(name, real())
    return line


@pytest.fixture
def language_model() -> Iterator[Script]:
    with scripted_model() as server:
        yield server


@pytest.mark.parametrize(("command", "line"), examples())
def test_an_example_runs(command, line, met_everything, request):
    line = prepare(met_everything, command, line)
    if command == "notes propose":
        model = request.getfixturevalue("language_model")
        line = f"BACKSTORY_CHAT_URL={model.url} BACKSTORY_CHAT_MODEL=a-model {line}"
    code, shown = met_everything.follow(line, embedded=command == "db stop")
    assert code in {ExitCode.DONE, ExitCode.FINDINGS}, shown
    assert "Error:" not in shown


# --- pages -----------------------------------------------------------------------------------

VARYING = (
    (r"\d+ min \d\d s|[\d.]+ (?:ms|s|min)\b", "TIME"),
    (r"[\d,]+ messages a second", "RATE"),
    (r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b[0-9a-f]{8}\b", "ID"),
    (r"\d\d\d\d-\d\d-\d\d \d\d:\d\d", "MOMENT"),
    (r"[\d.]+ (?:B|kB|MB|GB)\b", "SIZE"),
    (r"[─█]+", "─"),
    (r" +", " "),
)


def without_chance(line: str) -> str:
    """A line without what differs from run to run and from machine to machine."""
    for pattern, stand_in in VARYING:
        line = re.sub(pattern, stand_in, line)
    return line.strip()


def steps(block: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each command of a console block with the lines it is said to print."""
    for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, shown = step.partition("\n")
        yield command, [without_chance(line) for line in shown.splitlines() if line.strip()]


def assert_shows(printed: str, shown: list[str], command: str) -> None:
    """Every line that is shown is printed, in order; nothing else, but where there is a gap."""
    lines = [without_chance(line) for line in printed.splitlines() if line.strip()]
    place, gap = 0, False
    for line in shown:
        if line == GAP:
            gap = True
            continue
        assert line in lines[place:], f"{command} does not show {line!r}:\n{printed}"
        found = lines.index(line, place)
        assert gap or found == place, f"{command} shows more before {line!r}:\n{printed}"
        place, gap = found + 1, False
    assert gap or place == len(lines), f"{command} shows more at its end:\n{printed}"


@pytest.fixture
def fresh(empty_database_url, tmp_path) -> Iterator[Place]:
    place = Place(empty_database_url, tmp_path)
    yield place
    place.database.engine.dispose()


@pytest.mark.parametrize("page", pages_with("console"), ids=page_name)
def test_a_page_shows_what_its_commands_print(page, fresh, request):
    if page.name == "README.md":
        # What the demo shows of meaning needs the model that `make model` brings.
        models = fresh.home / "home" / MODELS
        models.parent.mkdir(exist_ok=True)
        models.symlink_to(request.getfixturevalue("real_model").parent)
    for block in blocks(page, "console"):
        for command, shown in steps(block):
            code, printed = fresh.follow(command.replace("make demo", "backstory demo"))
            assert code == ExitCode.DONE, printed
            assert_shows(printed, shown, command)


@pytest.mark.parametrize("page", pages_with("python"), ids=page_name)
def test_the_programs_of_a_page_run(page, fresh):
    for program in blocks(page, "python"):
        (fresh.home / "program.py").write_text(program, encoding="utf-8")
        code, printed = fresh.follow(f"{shlex.quote(sys.executable)} program.py")
        assert code == 0, printed


def test_every_link_leads_somewhere():
    for page in PAGES:
        written = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#]*)(?:#[\w-]+)?\)", written):
            if target and "://" not in target:
                assert (page.parent / target).exists(), f"{page_name(page)}: {target}"


def test_the_index_names_every_page():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    for page in DOCS.rglob("*.md"):
        if page.name != "index.md":
            assert f"({page.relative_to(DOCS).as_posix()})" in index


# --- facts -----------------------------------------------------------------------------------


def words_in_code(page: str) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", (DOCS / page).read_text(encoding="utf-8")))


def test_the_report_page_has_every_key_and_exit_code():
    assert words_in_code("report.md") >= {field.name for field in fields(Report)}
    assert words_in_code("report.md") >= set(SkipReason)
    written = (DOCS / "report.md").read_text(encoding="utf-8")
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", written, re.MULTILINE)}
    assert codes == set(map(int, ExitCode))


def test_the_sources_page_has_every_field():
    assert words_in_code("sources.md") >= {*FIELDS[Kind.AUDIT], *FIELDS[Kind.LEAD]} - {
        "customer_id"
    }


def test_the_operations_page_has_every_setting():
    names = {
        field.validation_alias or f"BACKSTORY_{name}".upper()
        for name, field in Settings.model_fields.items()
    }
    assert words_in_code("operations.md") >= names


# --- hazards ---------------------------------------------------------------------------------


def hazardous(name: str, text_of_it: str = '"said"', when: str = '"2026-01-02T03:04:05Z"') -> bytes:
    """A line of a log: its id tells the hazard, `text_of_it` and `when` are written as they are."""
    return (
        f'{{"id": "{name}", "lead_id": "lead", "actor": "user", "action": "message_received", '
        f'"payload": {{"text": {text_of_it}}}, "created_at": {when}}}'
    ).encode()


# Each word another one: of the same word the index keeps one.
HYPHENATED = "-".join(chr(0x20000 + n) + chr(0x20000 + n * 7 % 44_000) for n in range(44_000))
MADE = {  # what is written to the log, and the content of the message
    "nul": (r'"a\u0000b"', "a\ufffdb"),
    "lone-surrogate": (r'"a\ud83db"', "a\ufffdb"),
    "surrogate-pair": (r'"\ud83d\ude00"', "\U0001f600"),
    "repeated-key": ('"first", "text": "last"', "last"),
    "longest-text": (json.dumps(HYPHENATED), HYPHENATED),
    "x" * 10_000: ('"an id of 10,000 bytes"', "an id of 10,000 bytes"),
    "x" * 9_999 + "y": ('"and another"', "and another"),
    "large-number": ('"said", "n": 123456789012345678901234567890', "said"),
}
TIMES = {
    "without-zone": ('"2026-01-02T03:04:05"', "2026-01-02T02:04:05+00:00"),
    "offset": ('"2026-01-02T03:04:05-06:00"', "2026-01-02T09:04:05+00:00"),
    "seconds": ("1767323045", "2026-01-02T03:04:05+00:00"),
    "milliseconds": ('"1767323045678"', "2026-01-02T03:04:05.678000+00:00"),
}
REFUSED = ("refused_P0001", hazardous("poison", '"poison"'))
UNREADABLE = [
    ("bad_utf8", hazardous("q1", '"\xff"').replace("\xff".encode(), b"\xff")),
    ("bad_json", hazardous("q2", '"a\0b"')),
    ("bad_number", hazardous("q3", "NaN")),
    ("bad_number", hazardous("q4", "-Infinity")),
    ("bad_number", hazardous("q5", "1e400")),
    ("too_deep", hazardous("q6", "[" * 100_000 + "]" * 100_000)),
    ("too_deep", hazardous("q7", '{"a":' * 300 + "1" + "}" * 300)),
    ("not_an_object", b"[1, 2]"),
    ("bad_time", hazardous("q8", when='"yesterday"')),
    ("bad_time", hazardous("q9", when='"20260-01-02T03:04:05Z"')),
    ("no_id", b'{"lead_id": "lead", "payload": {"text": "said"}}'),
]
TRIGGER = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE 'no poison here'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON messages
FOR EACH ROW WHEN (NEW.content = 'poison') EXECUTE FUNCTION refuse();
"""


@pytest.fixture(scope="module")
def place_in(met_everything) -> Iterator[Callable[[str], Place]]:
    """A function that makes a schema of its own, for a log of its own."""
    places = []

    def make(schema: str) -> Place:
        places.append(Place(met_everything.url, met_everything.home, schema))
        upgrade(places[-1].database.engine, schema)
        return places[-1]

    yield make
    for place in places:
        place.database.engine.dispose()


@pytest.fixture(scope="module")
def hazards(place_in) -> Place:
    """A schema into which a log of nothing but hazards was loaded, in a zone of UTC+1."""
    place = place_in("hazards")
    place.do(TRIGGER)
    lines = [hazardous(name, written) for name, (written, _) in MADE.items()]
    lines += [hazardous(name, when=when) for name, (when, _) in TIMES.items()]
    lines += [line for _, line in [*UNREADABLE, REFUSED]]
    place.load({"hazards.jsonl": lines}, assume_tz="Europe/Berlin")
    return place


def test_what_postgresql_cannot_hold_is_replaced_and_the_rest_is_kept(hazards):
    stored = dict(
        hazards.rows(
            "SELECT audit_id, content FROM messages WHERE audit_id = ANY (:ids)", ids=list(MADE)
        )
    )
    assert stored == {name: content for name, (_, content) in MADE.items()}
    marked = "SELECT audit_id FROM messages WHERE metadata ->> 'replacedCharacters' = '1'"
    assert {name for (name,) in hazards.rows(marked)} == {"nul", "lone-surrogate"}
    (replaced,) = [each for each in hazards.report.warnings if "U+FFFD" in each]
    (repeated,) = [each for each in hazards.report.warnings if "JSON keys" in each]
    assert re.findall(r"\b\d+\b", replaced + repeated) == ["2", "1"]
    types = hazards.rows("SELECT DISTINCT jsonb_typeof(payload) FROM audit_log WHERE log = 'audit'")
    assert types == [("object",)]


def test_times_are_read_in_their_own_zone_or_in_the_one_that_is_assumed(hazards):
    stored = dict(
        hazards.rows(
            "SELECT audit_id, created_at FROM messages WHERE audit_id = ANY (:ids)", ids=list(TIMES)
        )
    )
    assert {name: when.isoformat() for name, when in stored.items()} == {
        name: when for name, (_, when) in TIMES.items()
    }


def test_what_cannot_be_taken_is_quarantined_with_its_bytes_and_nothing_else_is(hazards):
    kept = hazards.rows("SELECT code, raw FROM quarantine")
    code, line = next(row for row in kept if row not in UNREADABLE)
    assert (code, json.loads(line)["payload"]) == (REFUSED[0], {"text": "poison"})
    assert sorted(row for row in kept if row != (code, line)) == sorted(UNREADABLE)
    assert hazards.report.messages_created == len(MADE) + len(TIMES)
    assert hazards.report.records_quarantined == len(kept)
    assert hazards.report.errors == []


def test_the_first_of_an_id_wins_whichever_file_or_worker_has_the_second(place_in):
    place = place_in("twice")
    first, second = hazardous("same", '"first"'), hazardous("same", '"second"')
    files = {"a.jsonl": [first, first, second], "b.jsonl": [second, first, hazardous("other")]}
    place.load(files, workers=2)
    assert place.report.messages_duplicate == place.report.messages_conflicting == 2
    stored = place.rows("SELECT content FROM messages WHERE audit_id = 'same'")
    assert stored == [("first",)]
    lost = place.rows("SELECT payload ->> 'text', position FROM conflicts ORDER BY 2")
    assert lost == [("second", "a.jsonl:3"), ("second", "b.jsonl:1")]


def test_a_lead_that_was_erased_does_not_come_back(place_in):
    place = place_in("erased")
    erased = tombstone(b"key", lead_id("lead")).hex()
    place.do("INSERT INTO tombstone_keys (id, secret) VALUES (gen_random_uuid(), 'key')")
    place.do(f"INSERT INTO tombstones (digest, kind) VALUES (decode('{erased}', 'hex'), 'lead')")
    place.load({"erased.jsonl": [hazardous("gone")]})
    assert place.report.skipped_by_reason == {"erased": 1}
    assert place.rows("SELECT id FROM leads UNION ALL SELECT id FROM messages") == []


def test_every_hazard_names_tests_that_are_there():
    rows = [
        row
        for row in (DOCS / "hazards.md").read_text(encoding="utf-8").splitlines()
        if row.startswith("| ") and not row.startswith("| hazard")
    ]
    assert len(rows) > 15
    for row in rows:
        proofs = re.findall(r"`(\w[\w/]*\.py)::(test_\w+)`", row)
        assert proofs, row
        for file, test in proofs:
            written = (ROOT / "tests" / file).read_text(encoding="utf-8")
            assert re.search(rf"^def {test}\(", written, re.MULTILINE), f"{file}::{test}"
