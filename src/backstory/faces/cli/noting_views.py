"""What notes, and the taking of notes, look like."""

from collections.abc import Sequence

from rich.console import Group, RenderableType

from backstory.faces.cli.plain import clipped, one_line, plain
from backstory.faces.cli.screen import ID, bullets, count, facts, heading, hint, table, text
from backstory.memory.note_run import NotesReport
from backstory.memory.proposing import Proposals
from backstory.store.notes import NoteRow

_TEXT_WIDTH = 60
# `superseded`, `constraint`: they must be read on the narrowest terminal.
_WORD_WIDTH = 10


def report_view(told: NotesReport) -> RenderableType:
    """Return what a run noted, or would note."""
    title = f"Run {told.run_id[:8]} is done" if told.run_id else "Plan: nothing was written"
    rows = [
        ("leads", count(told.leads)),
        ("notes", f"{count(told.created)} new, as candidates"),
        ("kinds", ", ".join(f"{count(n)} {kind}" for kind, n in sorted(told.kinds.items()))),
        ("superseded", count(told.superseded)),
        ("expired", count(told.expired)),
        ("reopened", count(told.reopened)),
        ("reworded", count(told.reworded)),
        ("contradictions", count(told.contradictions)),
    ]
    shown: list[RenderableType] = [
        heading(title, ""),
        facts([(name, said) for name, said in rows if said not in ("", "0")]),
    ]
    if told.contradictions:
        shown.append(text(("backstory notes list --contradictions", "cyan"), " shows them."))
    return Group(*shown)


def proposals_view(told: Proposals) -> RenderableType:
    """Return what a model proposed, and what was refused of it."""
    rows = [
        ("model", plain(told.model)),
        ("proposed", count(told.proposed)),
        ("new", f"{count(told.created)}, as candidates"),
    ]
    refused = [f"{each.note or 'A proposal'}: {each.reason}." for each in told.refused]
    return Group(
        heading(f"Run {told.run_id[:8]} is done"),
        facts(rows),
        *bullets([plain(each) for each in refused], "✗", "yellow"),
    )


def notes_view(found: Sequence[NoteRow]) -> RenderableType:
    """Return notes, one a line; `!` marks those that another contradicts."""
    if not found:
        return hint("No such note: ", ("backstory notes backfill", "cyan"), " takes some.")
    made = table(
        ("id", ID),
        ("status", {"min_width": _WORD_WIDTH}),
        ("kind", {"min_width": _WORD_WIDTH}),
        ("note", {"no_wrap": False, "overflow": "fold"}),
        ("customer", {"min_width": _WORD_WIDTH, "max_width": 20}),
    )
    for each in found:
        whose = clipped(one_line(each.customer or str(each.customer_id)[:8]), 20)
        made.add_row(str(each.id)[:8], each.status, each.kind, _said(each), plain(whose))
    return made


def _said(note: NoteRow) -> str:
    """Return what a note says, and under it what it quotes."""
    said = plain(clipped(one_line(note.text), _TEXT_WIDTH) + (" !" if note.others else ""))
    if not note.quotation:
        return said
    return f'{said}\n"{plain(clipped(one_line(note.quotation), _TEXT_WIDTH))}"'
