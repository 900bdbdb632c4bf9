"""The sample log of `backstory demo`: three leads of a hauling company, who are two people."""

from importlib.resources import files
from pathlib import Path


def paths() -> tuple[Path, Path]:
    """Return the paths of the sample audit log and of its list of leads."""
    folder = Path(str(files(__name__)))
    return folder / "audit.jsonl", folder / "leads.jsonl"
