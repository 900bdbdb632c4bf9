"""What a context pack and the readiness for memory look like."""

from rich.console import Group, RenderableType
from rich.text import Text

from backstory.faces.cli.plain import one_line, plain
from backstory.faces.cli.screen import counted, hint, table, text
from backstory.memory.context import ContextPack
from backstory.tools.readiness import Finding, Readiness

_OFFENDERS_SHOWN = 5


def context_view(pack: ContextPack) -> RenderableType:
    """Return the text as the prompt gets it, and what it costs."""
    left = f", {counted(pack.left_out, 'thing')} left out" if pack.left_out else ""
    return Group(
        Text(plain(pack.text), overflow="fold"),
        Text(),
        hint(f"At most {counted(pack.tokens, 'token')} of {pack.budget:,}{left}."),
    )


def readiness_view(found: Readiness, *, enabled: bool) -> RenderableType:
    """Return each check with its sentence, what stands against it, and the verdict at the end."""
    made = table("", ("", {"no_wrap": False, "overflow": "fold"}), header=False)
    for finding in found.findings:
        mark = ("✓", "green") if finding.passed else ("✗", "red")
        made.add_row(text(mark), _said(finding))
    return Group(made, _verdict(found, enabled=enabled))


def _said(finding: Finding) -> Text:
    said = text(plain(finding.sentence))
    for offender in finding.offenders[:_OFFENDERS_SHOWN]:
        said.append(f"\n  {one_line(offender)}", "dim")
    if len(finding.offenders) > _OFFENDERS_SHOWN:
        said.append(f"\n  … {len(finding.offenders) - _OFFENDERS_SHOWN} more", "dim")
    if finding.remark:
        said.append(f"\n  {one_line(finding.remark)}", "dim")
    return said


def _verdict(found: Readiness, *, enabled: bool) -> Text:
    failed = sum(not finding.passed for finding in found.findings)
    if failed:
        return text(
            (f"Not ready: {counted(failed, 'check')} of {len(found.findings)}.", "bold red")
        )
    if enabled:
        return text(("Ready, and memory is switched on.", "green"))
    return text(
        ("Ready. ", "green"), ("CONTEXT_MEMORY_ENABLED=true", "cyan"), " switches memory on."
    )
