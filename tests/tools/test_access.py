"""Keys and tokens: what is kept of them, whom they let in, and that a refusal tells nothing."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from itsdangerous import URLSafeSerializer
from tools_world import Clock, people, rows, told

from backstory.errors import NotRecognized, UsageError
from backstory.model import KeyProfile
from backstory.store import keys
from backstory.store.engine import Database
from backstory.store.schema import upgrade
from backstory.tools.access import LONGEST_LIFETIME, REMEMBERED, TOKEN_PREFIX, Access
from backstory.tools.session import Rules


class Ticks:
    """Seconds that pass when they are told to."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def forget(self):
        self.now += REMEMBERED.total_seconds()


@pytest.fixture
def ticks():
    return Ticks()


@pytest.fixture
def access(database, clock, ticks):
    return Access(database, Rules(clock=clock), ticks=ticks)


def new_key(database, profile=KeyProfile.AGENT, name="shop"):
    with database.engine.begin() as connection:
        return keys.create_key(connection, name, profile)


def revoke(database, key):
    with database.engine.begin() as connection:
        return keys.revoke_key(connection, str(key.id)[:8])


@pytest.fixture
def key(database):
    return new_key(database)[0]


def opened(access, key, lead="ana-2", **more):
    return access.open(key, lead, **more).token


# --- keys ------------------------------------------------------------------------------------


def test_a_key_says_what_it_is_and_is_kept_as_a_digest_only(database):
    for profile in KeyProfile:
        key, text = new_key(database, profile)
        assert text.startswith(f"bsk_{profile}_")
        assert len(text) > 48
        (kept,) = rows(database, "SELECT * FROM api_keys WHERE id = :id", id=key.id)
        assert bytes(kept.digest) == keys.digest(text)
        assert text.removeprefix(f"bsk_{profile}_") not in str(kept._asdict())


def test_no_two_keys_are_the_same(database):
    assert len({new_key(database)[1] for _ in range(50)}) == 50


@pytest.mark.parametrize("name", ["", "   ", "x" * 81, "shop\x00", "a\u202eb"])
def test_a_key_has_a_name_one_can_read(database, name):
    with pytest.raises(UsageError, match="name"):
        new_key(database, name=name)


def test_a_key_is_known_by_its_text(database, access):
    key, text = new_key(database, KeyProfile.STAFF)
    assert access.key(text).id == key.id
    assert access.key(text).profile is KeyProfile.STAFF


def test_what_is_no_key_is_not_known(database, access):
    _, text = new_key(database)
    wrong = [
        *("", "bsk_", "bsk_agent_", "Bearer", text[:-1], text + "A", text.upper(), f" {text}"),
        *(
            text.replace("agent", "staff"),
            "bsk_agent_\x00",
            "bsk_agent_\ud800",
            "bsk_" + "x" * 9999,
        ),
    ]
    for each in wrong:
        with pytest.raises(NotRecognized):
            access.key(each)
        assert access.remembered_key(each) is None


def test_a_revoked_key_is_refused_when_what_is_remembered_of_it_is_old(database, access, ticks):
    key, text = new_key(database)
    token = opened(access, access.key(text))
    assert revoke(database, key).revoked_at is not None
    assert access.key(text).id == key.id
    ticks.forget()
    for refuse in (lambda: access.key(text), lambda: access.session(token)):
        with pytest.raises(NotRecognized):
            refuse()


def test_a_token_that_was_used_is_looked_at_each_time(access, key, clock):
    token = opened(access, key)
    used = access.session(token)
    assert access.session(token) == used
    for altered in (f"{token}A", token[:-2], token.upper()):
        with pytest.raises(NotRecognized):
            access.session(altered)
    clock.move(minutes=15)
    for refuse in (access.session, access.remembered_session):
        with pytest.raises(NotRecognized):
            refuse(token)


def test_revoking_twice_keeps_the_first_moment_and_needs_one_key(database):
    key, _ = new_key(database)
    assert revoke(database, key).revoked_at == revoke(database, key).revoked_at
    with database.engine.begin() as connection:
        for reference in ("", "no-such-key", "%"):
            with pytest.raises(UsageError, match="key list"):
                keys.revoke_key(connection, reference)


def test_use_is_noted_at_most_once_a_minute(database, ticks):
    key, text = new_key(database)
    used = "SELECT last_used_at FROM api_keys WHERE id = :id"
    access = Access(database, ticks=ticks)
    assert rows(database, used, id=key.id)[0].last_used_at is None
    access.key(text)
    first = rows(database, used, id=key.id)[0].last_used_at
    ticks.forget()
    access.key(text)
    assert rows(database, used, id=key.id)[0].last_used_at == first
    with database.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE api_keys SET last_used_at = last_used_at - interval '61 seconds'"
        )
    ticks.forget()
    access.key(text)
    assert rows(database, used, id=key.id)[0].last_used_at >= first


def test_a_remembered_key_needs_no_look_at_the_database(database, access, ticks):
    _, text = new_key(database)
    assert access.remembered_key(text) is None
    access.key(text)
    assert access.remembered_key(text) is not None
    ticks.forget()
    assert access.remembered_key(text) is None


# --- tokens ----------------------------------------------------------------------------------


def test_a_token_is_the_session_it_was_opened_as(access, key):
    made = access.open(key, "ana-2", actor="agent-7", lifetime=timedelta(minutes=1))
    session = access.session(made.token)
    assert session == made.session
    assert session.actor == "agent-7"
    assert told(session, "create_job", title="Garage")["outcome"] == "created"


def test_a_token_opens_nothing_but_its_own_lead(access, key):
    ana, bob = (access.session(opened(access, key, lead)) for lead in ("ana-2", "bob-1"))
    job = told(bob, "create_job", title="Attic")["job"]
    answer = ana.call("add_job_item", {"job_id": job["job_id"], "kind": "item", "name": "Sofa"})
    assert answer.outcome == "not_found"


def test_an_expired_token_is_refused_to_the_second(access, key, clock):
    token = opened(access, key, lifetime=timedelta(minutes=15))
    clock.move(minutes=14, seconds=59)
    assert access.session(token)
    clock.move(seconds=1)
    for read in (access.session, access.remembered_session):
        with pytest.raises(NotRecognized):
            read(token)


def test_a_token_altered_at_any_place_is_refused(access, key):
    token = opened(access, key)
    access.session(token)
    for place in range(len(token)):
        for other in "A0-_.":
            altered = f"{token[:place]}{other}{token[place + 1 :]}"
            if altered != token:
                with pytest.raises(NotRecognized):
                    access.session(altered)


def test_the_bits_to_spare_of_a_signature_spell_no_second_token(access, key):
    token = opened(access, key)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for letter in letters.replace(token[-1], ""):
        with pytest.raises(NotRecognized):
            access.session(token[:-1] + letter)


def test_a_payload_of_ones_own_is_refused(access, key, clock):
    token = opened(access, key)
    lead = access.session(token).lead_id
    payload = [lead.hex, "agent", key.id.hex, 0, int(clock().timestamp()) + 60]
    forged = URLSafeSerializer("a guess", salt="backstory session of backstory").dumps(payload)
    payload_only, _, signature = token.removeprefix(TOKEN_PREFIX).rpartition(".")
    mixed = f"{forged.rpartition('.')[0]}.{signature}"
    for each in (forged, mixed, payload_only, f"{payload_only}.", f".{signature}", "", "."):
        with pytest.raises(NotRecognized):
            access.session(TOKEN_PREFIX + each)


def test_the_token_of_another_business_is_refused_even_with_the_same_secret(
    access, key, database_url, clock
):
    token = opened(access, key)
    other = Database.open(database_url, "other")
    upgrade(other.engine, "other")
    with other.engine.begin() as connection:
        for table in ("api_keys", "signing_keys"):
            connection.exec_driver_sql(f"INSERT INTO other.{table} SELECT * FROM backstory.{table}")
    with pytest.raises(NotRecognized):
        Access(other, Rules(clock=clock)).session(token)
    other.engine.dispose()


def test_all_refusals_of_a_token_are_in_the_same_words(access, key, clock, database):
    words = set()
    expired = opened(access, key, lifetime=timedelta(seconds=1))
    clock.move(seconds=1)
    revoked_key, _ = new_key(database)
    of_a_revoked_key = opened(access, revoked_key)
    revoke(database, revoked_key)
    for token in (expired, of_a_revoked_key, opened(access, key)[:-1], "bst_x", "x", ""):
        with pytest.raises(NotRecognized) as refused:
            access.session(token)
        words.add(str(refused.value))
        assert refused.value.__cause__ is None
    assert len(words) == 1
    assert "ana" not in words.pop()


@pytest.mark.parametrize(
    "asked",
    [
        {"lead": "nobody"},
        {"actor": ""},
        {"actor": " "},
        {"actor": "x" * 81},
        {"actor": "a\nb"},
        {"lifetime": timedelta()},
        {"lifetime": LONGEST_LIFETIME + timedelta(seconds=1)},
    ],
)
def test_a_session_that_cannot_be_is_not_opened(access, key, asked):
    with pytest.raises(UsageError):
        opened(access, key, **asked)


def test_processes_that_begin_at_once_share_one_secret(database_url):
    database = people(database_url)
    _, text = new_key(database)
    clock, barrier = Clock(), threading.Barrier(4)

    def begin(_):
        with_own_pool = Database.open(database_url, "backstory")
        access = Access(with_own_pool, Rules(clock=clock))
        barrier.wait()
        token = access.open(access.key(text), "ana-1").token
        with_own_pool.engine.dispose()
        return token

    with ThreadPoolExecutor(4) as pool:
        tokens = list(pool.map(begin, range(4)))
    access = Access(database, Rules(clock=clock))
    assert {access.session(token).lead_id for token in tokens} == {
        access.session(tokens[0]).lead_id
    }
    assert len(rows(database, "SELECT FROM signing_keys")) == 1
    database.engine.dispose()
