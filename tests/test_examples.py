"""Every example serves the demo's returning customer, and so does what the docs show of each."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

import backstory
from backstory.sample import paths

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
sys.path.insert(0, str(ROOT / "tests" / "faces"))

from other_environment import installed, run  # noqa: E402 - it is beside the tests of the faces

# What runs beside us, and what has needs of its own and reaches us over MCP.
BESIDE = ("openai_loop", "anthropic_loop", "openai_agents", "mcp_client")
APART = ("langchain_agent", "pydantic_ai_agent")


@pytest.fixture(scope="session")
def demo_to_copy(template, copied, tmp_path_factory):
    """The name of a database that holds what `backstory demo` leaves."""
    audit, leads = map(str, paths())
    for url in copied(template):
        home = tmp_path_factory.mktemp("demo")
        with backstory.open(database=url, schema="demo", home=home) as app:
            options = backstory.BackfillOptions(audit=(audit,), leads=(leads,))
            backstory.start(app.for_writing(), app.home, options)
        yield make_url(url).database


@pytest.fixture
def demo(demo_to_copy, copied, tmp_path):
    """The environment of an example: a demo of its own."""
    for url in copied(demo_to_copy):
        yield {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.defpath]),
            "HOME": str(tmp_path),
            "BACKSTORY_HOME": str(tmp_path),
            "DATABASE_URL": url,
        }


WELCOME = "Welcome back! Is it 27 Juniper Bend, Austin, TX 78745 again?"
BOOKED = """
SELECT j.title, j.status, j.total_cents, a.line1,
  (SELECT count(*) FROM job_events AS e WHERE e.job_id = j.id AND e.event_type = 'confirmed'),
  (SELECT count(*) FROM confirmations AS c WHERE c.confirmed_at IS NOT NULL)
FROM jobs AS j JOIN customer_addresses AS a ON a.id = j.service_address_id
"""


def assert_served(printed, demo):
    said = [line for line in printed.splitlines() if line.startswith(("customer:", "agent:"))]
    assert [line.partition(":")[0] for line in said] == ["customer", "agent"] * 2, printed
    assert said[1] == f"agent: {WELCOME}"
    assert re.fullmatch(r"agent: Booked: job \d+, 27 Juniper Bend, .*", said[3]), printed
    with (
        backstory.open(database=demo["DATABASE_URL"], schema="demo") as app,
        app.database.engine.connect() as connection,
    ):
        booked = connection.execute(text(BOOKED)).one()
    assert tuple(booked) == ("Couch pickup", "scheduled", 9900, "27 Juniper Bend", 1, 1)


def run_beside(script, *words, env):
    done = subprocess.run(
        [sys.executable, str(script), *words],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", BESIDE)
def test_an_example_serves_beside_us(name, demo):
    assert_served(run_beside(EXAMPLES / f"{name}.py", env=demo), demo)


def test_an_example_can_be_run_again(demo):
    said = [run_beside(EXAMPLES / "openai_loop.py", env=demo).splitlines() for _ in range(2)]
    assert said[0][-1] == said[1][-1]
    assert "   create_job duplicate" in said[1]


@pytest.fixture(scope="session")
def frameworks():
    return installed("frameworks")


@pytest.mark.parametrize("name", APART)
def test_an_example_serves_from_an_environment_of_its_own(name, demo, frameworks):
    assert_served(run(frameworks, EXAMPLES / f"{name}.py", env=demo), demo)


def test_every_example_is_run_and_short():
    there = {path.stem: len(path.read_text("utf-8").splitlines()) for path in EXAMPLES.glob("*.py")}
    assert set(there) == {*BESIDE, *APART}
    assert max(there.values()) <= 45


# --- what the docs show ----------------------------------------------------------------------

PAGE = ROOT / "docs" / "agents.md"
READER = Path(__file__).with_name("agent_of_the_docs.py")
SHOWN = re.findall(r"^async def (\w+)", PAGE.read_text("utf-8"), re.MULTILINE)
ELSEWHERE = ("answer_with_langchain", "answer_with_pydantic_ai")


@pytest.mark.parametrize("name", SHOWN)
def test_what_the_docs_show_answers_a_customer(name, demo, request):
    env = {**demo, "BACKSTORY_SCHEMA": "demo", "CONTEXT_MEMORY_ENABLED": "true"}
    words = (str(PAGE), name)
    if name in ELSEWHERE:
        told = run(request.getfixturevalue("frameworks"), READER, *words, env=env)
    else:
        told = run_beside(READER, *words, env=env)
    assert told.strip() == WELCOME


def test_each_framework_takes_less_than_ten_lines():
    """The imports above count."""
    pages = PAGE.read_text("utf-8") + PAGE.with_name("tools.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", pages, re.MULTILINE | re.DOTALL)
    ways = [each for each in blocks if "def answer_" in each]
    assert len(ways) == len(SHOWN) + 3
    assert max(len([line for line in each.splitlines() if line]) for each in ways) < 10
