"""Debian packages as a source of text: fetched by apt-get, opened by dpkg-deb, neither of which needs root.

May not know what is in a package, nor what becomes of it. What was fetched is kept, so that a rerun needs no network.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from arith_hf import files

NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")  # of a package, by Debian's policy
TOOLS = ("apt-get", "dpkg-deb")


def can_fetch() -> bool:
    return all(map(shutil.which, TOOLS))


def fetch(package: str, cache: Path) -> Path:
    """The file of a package, in `cache`; ValueError says what apt-get could not do."""
    if not NAME.fullmatch(package):
        raise ValueError(f"need the name of a Debian package, got {package!r}")
    if found := kept(package, cache):
        return found
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".part-") as aside:
        said = download(package, Path(aside), [])
        if said:  # no lists of packages yet, or older ones than the mirror has: lists of our own need no root
            own = lists(cache)
            said = apt(["update"], Path(aside), own) or download(package, Path(aside), own)
        found = next(Path(aside).glob("*.deb"), None)
        if said or not found:
            raise ValueError(f"apt-get could not fetch the package {package}: {said or 'it fetched no file'}")
        return found.replace(cache / found.name)


def kept(package: str, cache: Path) -> Path | None:
    return max(cache.glob(f"{package}_*.deb"), default=None)


def lists(cache: Path) -> list[str]:
    """Options that make apt-get keep what it knows of the mirror in `cache`."""
    state = (cache / ".apt").resolve()
    (state / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    return [f"-oDir::State::lists={state / 'lists'}", f"-oDir::Cache={state}"]


def download(package: str, folder: Path, options: list[str]) -> str:
    return apt(["download", package], folder, options)


def apt(command: list[str], folder: Path, options: list[str]) -> str:
    """What apt-get complained of, "" where all is well."""
    quiet = ["--quiet=2", "-oAPT::Sandbox::User=root"]  # as its own user it could not write into our folder
    done = subprocess.run(["apt-get", *quiet, *options, *command], cwd=folder, capture_output=True, text=True)
    lines = [line for line in done.stderr.splitlines() if line.startswith("E:")]
    return "; ".join(lines or ["it said nothing"]) if done.returncode else ""


@contextmanager
def opened(package: Path) -> Iterator[Path]:
    """A folder with the files of a package, for as long as they are needed."""
    with tempfile.TemporaryDirectory(prefix="arith-hf-") as folder:
        done = subprocess.run(["dpkg-deb", "-x", str(package), folder], capture_output=True, text=True)
        if done.returncode:
            raise ValueError(
                f"{package} could not be opened ({done.stderr.strip()}): remove it, and it is fetched anew"
            )
        yield Path(folder)


def describe(package: Path, folder: Path) -> dict[str, Any]:
    """Version, hash and licences of a package that is opened in `folder`."""
    asked = ["dpkg-deb", "--show", "--showformat=${Package}\n${Version}\n${Homepage}", str(package)]
    name, version, homepage = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split("\n")
    return {
        "version": version,
        "homepage": homepage or None,
        "licenses": licenses(copyright(name, folder)),
        "bytes": os.stat(package).st_size,
        "sha256": files.sha256(package),
    }


def copyright(package: str, folder: Path) -> str:
    """The text that a package says its licences in; "" where it leaves that to another package."""
    path = folder / "usr/share/doc" / package / "copyright"
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def licenses(text: str) -> list[str]:
    """The short names in a copyright file of Debian's machine-readable form.

    >>> licenses("License: GPL-2+\\n text\\n\\nFiles: debian/*\\nLicense: MPL-2.0\\n")
    ['GPL-2+', 'MPL-2.0']
    """
    return sorted(set(re.findall(r"^License: *([A-Za-z0-9].{0,60}?) *$", text, re.MULTILINE)))
