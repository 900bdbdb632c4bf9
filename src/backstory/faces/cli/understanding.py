"""The part of the demo in which a question finds what shares no word with it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType

from backstory.errors import BackstoryError
from backstory.faces.cli.call import Call
from backstory.faces.cli.embedding import bring
from backstory.faces.cli.plain import clipped
from backstory.faces.cli.returning import quoted_part
from backstory.faces.cli.screen import table, text
from backstory.search import embed_install, embed_run
from backstory.search.embed import EmbeddingSettings, FoundOnce, open_embedder
from backstory.store.engine import Database
from backstory.tools.session import Rules, open_session

LEAD = "f17747ee-2c15-53aa-9840-b6f149dcbde5"
"""The sample's manager of rentals, whose crew took a couch down the stairs."""

QUESTION = "Was the sofa damaged on the way out?"
_EXTRA = ("numpy", "onnxruntime", "tokenizers")
_LISTED = 2
_WORDS_WIDTH = 50


@dataclass(frozen=True)
class Understood:
    """What the agent is told for the question: by words alone, and with what they mean."""

    model: str
    embedded: int
    seconds: float
    by_words: list[dict[str, Any]]
    by_meaning: list[dict[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """Return it under the keys of --json."""
        return {"question": QUESTION, **vars(self)}


def lacking(call: Call, home: Path, *, may_fetch: bool) -> str | None:
    """Return in words how to get what is needed and not here, None if everything is.

    The model is fetched if it `may` be, and lies in the home from then on.
    """
    if not all(map(find_spec, _EXTRA)):
        return "`pip install 'backstory[semantic]'`, then `backstory model install`, brings it."
    if embed_install.is_there(home):
        return None
    if may_fetch:
        try:
            bring(call, home)
        except BackstoryError as failed:
            call.say(str(failed))
        else:
            return None
    return f"`backstory model install` brings it, {embed_install.MEGABYTES} MB, once."


def ask(call: Call, database: Database, home: Path, rules: Rules) -> Understood:
    """Embed the messages as a run, and ask as an agent does, with the model and without.

    Raises DatabaseError where the database gives agents no role.
    """
    settings = EmbeddingSettings()
    with call.progress() as listener:
        report = embed_run.start(database, home, open_embedder(settings, home), listener)
    by_words, by_meaning = (
        _candidates(database, replace(rules, embedders=embedders))
        for embedders in (None, FoundOnce(settings, home))
    )
    seconds = sum(report.seconds_by_step.values())
    return Understood(report.model, report.embedded, seconds, by_words, by_meaning)


def _candidates(database: Database, rules: Rules) -> list[dict[str, Any]]:
    """Return the messages among the candidates."""
    answer = open_session(database, LEAD, rules=rules).call(
        "memory_fetch_candidates", {"query": QUESTION}
    )
    return [each for each in answer.data["candidates"] if each["source"] == "message"]


# --- what it looks like ----------------------------------------------------------------------


def answers_view(found: Understood) -> RenderableType:
    """Return both lists, one after the other."""
    made = table(("", {"style": "dim"}), ("", {}), ("", {}), header=False)
    for label, messages in (("words alone", found.by_words), ("with meaning", found.by_meaning)):
        rows = [_row(each) for each in messages[:_LISTED]] or [("", "no message at all")]
        for number, (day, words) in enumerate(rows):
            made.add_row("" if number else label, text((day, "dim")), words)
    return Group(text(("asked  ", "dim"), (QUESTION, "cyan")), made)


def _row(message: Mapping[str, Any]) -> tuple[str, str]:
    day = message["last_interaction"][:10]
    return day, clipped(quoted_part(message["summary"]), _WORDS_WIDTH)
