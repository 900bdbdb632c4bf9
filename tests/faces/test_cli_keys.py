"""`backstory key`: made and shown once, listed without themselves, revoked for good."""

from sqlalchemy import text

from backstory.store.engine import open_engine
from backstory.store.keys import digest


def test_a_key_is_printed_alone_and_kept_as_a_digest(terminal):
    made = terminal.type("key", "create", "shop")
    assert made.code == 0
    (line,) = made.out.splitlines()
    assert line.startswith("bsk_agent_")
    assert "once" in made.err
    engine = open_engine(terminal.env["DATABASE_URL"], "backstory")
    with engine.connect() as connection:
        kept = connection.execute(text("SELECT name, profile, digest FROM api_keys")).one()
    engine.dispose()
    assert (kept.name, kept.profile, bytes(kept.digest)) == ("shop", "agent", digest(line))


def test_keys_are_listed_without_themselves(prepared):
    made = prepared.type("key", "create", "back office", "--profile", "staff", "--json").json
    assert made["key"].startswith("bsk_staff_")
    listed = prepared.type("key", "list")
    assert "back office" in listed.out
    assert made["id"][:8] in listed.out
    assert "bsk_" not in listed.out + prepared.type("key", "list", "--json").out


def test_a_revoked_key_stays_in_the_list_and_says_so(prepared):
    made = prepared.type("key", "create", "shop", "--json").json
    revoked = prepared.type("key", "revoke", made["id"][:8], "--json")
    assert revoked.code == 0
    assert revoked.json["revoked_at"]
    again = prepared.type("key", "revoke", made["id"])
    assert again.code == 0
    assert "5 seconds" in again.out
    (listed,) = prepared.type("key", "list", "--json").json["keys"]
    assert listed["revoked_at"] == revoked.json["revoked_at"]
    assert "revoked" in prepared.type("key", "list").out


def test_what_is_wrong_with_a_key_is_said(prepared):
    made = prepared.type("key", "create", " ")
    assert (made.code, "name" in made.err) == (2, True)
    prepared.type("key", "create", "shop")
    unknown = prepared.type("key", "revoke", "ffffffff-0")
    assert (unknown.code, "key list" in unknown.err) == (2, True)
    assert prepared.type("key", "create", "shop", "--profile", "root").code == 2
