"""What may be meant from before: whose it is, what is said of it, in which order."""

from backstory.memory.candidates import fetch
from backstory.model import MemorySource


def fetched(someone, query="same place as last time", **options):
    with someone.talking() as bound:
        return fetch(bound, query, **{"k": 10, **options})


def test_it_finds_jobs_contacts_addresses_notes_and_messages(jane):
    found = fetched(jane, "the piano")
    assert {each.source for each in found} == set(MemorySource)
