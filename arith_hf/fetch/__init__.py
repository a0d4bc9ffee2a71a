"""The stage `fetch`: texts of others, brought to data/raw/<model> with their licences, and questions that they answer.

May not know what a corpus does with them. The manifest is written last; a folder that is whole is left as it is.

    arith-hf fetch --config recipes/bilingual/fetch.yaml
"""

import dataclasses
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets.utils import tqdm
from rich.console import Console
from rich.table import Table

from arith_hf import files, provenance, recipe
from arith_hf.fetch import packages, pages, questions
from arith_hf.fetch.pages import Page

ASKED: dict[str, Callable[[Sequence[Page]], Iterator[dict[str, Any]]]] = {
    "conversations.jsonl": questions.conversations,
    "preferences.jsonl": questions.preferences,
    "yesno.jsonl": questions.yes_or_no,
}
TEXTS = (".txt", ".jsonl", ".parquet")
LICENSES = "licenses"


@dataclass
class FetchArguments:
    """Keys of the stage `fetch`."""

    packages: list[str] = field(default_factory=list, metadata={"help": "Debian packages with man pages or HTML."})
    languages: list[str] = field(
        default_factory=list, metadata={"help": "The language of each package: the folder that its pages go to."}
    )
    renderer: str = field(default="mandoc", metadata={"help": "The package whose program reads man pages."})
    questions: bool = field(
        default=False, metadata={"help": "Also write conversations, preferences and yes/no rows of the pages."}
    )
    cache_dir: str | None = field(
        default=None, metadata={"help": "Where fetched packages are kept (default: .packages beside output_dir)."}
    )
    output_dir: str = field(default="", metadata={"help": "The folder to write, data/raw/<model>."})

    def __post_init__(self) -> None:
        if not self.packages or len(self.packages) != len(self.languages):
            raise ValueError(
                f"need one of `languages` for each of `packages`, got {len(self.languages)} for {len(self.packages)}"
            )
        if odd := [one for one in self.languages if not one.isalpha()]:
            raise ValueError(f"need languages such as en, es, got {odd[0]!r}")


def main(argv: Sequence[str] | None = None) -> int:
    """Read the recipe, fetch what is not there, print what is."""
    (arguments,) = recipe.read((FetchArguments,), argv or [], verb="fetch")
    if not arguments.output_dir:
        raise ValueError("need output_dir, the folder to write, such as --output_dir data/raw/bilingual")
    started = time.perf_counter()
    folder = Path(arguments.output_dir)
    lock = files.hold(folder)
    try:
        manifest = build(arguments, f"arith-hf fetch {shlex.join(argv or [])}")
    finally:
        lock.release()
    show(folder, manifest, time.perf_counter() - started)
    return 0


def build(arguments: FetchArguments, command: str | None = None) -> dict[str, Any]:
    """Every file of the folder, the manifest last; what is whole already is only dated anew, for make."""
    started, folder = time.time(), Path(arguments.output_dir)
    said = {k: v for k, v in dataclasses.asdict(arguments).items() if k not in ("output_dir", "cache_dir")}
    mark = folder / "manifest.json"
    before = provenance.read(mark)
    if before.get("recipe") == said and is_whole(folder, before):
        files.write_mark(mark, before, started)
        return before
    made = provenance.start("fetch", command)
    if not packages.can_fetch():
        manifest = sign_own(folder, arguments, said)
    else:
        require_own(folder, before)
        mark.unlink(missing_ok=True)
        files.write_json(folder / provenance.NAME, made)
        for path in texts_in(folder):
            if path.relative_to(folder).as_posix() in before.get("files", {}):
                path.unlink()
        manifest = {"task": "text", "recipe": said, **write(folder, arguments)}
    made |= {
        "recipe_sha256": provenance.digest(said),
        "manifest_sha256": provenance.unsigned_hash(manifest),
        "seconds": round(time.time() - started, 1),
    }
    files.write_json(folder / provenance.NAME, made)
    files.write_mark(mark, manifest, started)
    return manifest


def is_whole(folder: Path, manifest: dict[str, Any]) -> bool:
    """Whether each file that a manifest lists is as it was written."""
    listed = manifest.get("files") or {}
    return bool(listed) and all(
        (folder / name).is_file() and files.sha256(folder / name) == counts["sha256"] for name, counts in listed.items()
    )


def require_own(folder: Path, manifest: dict[str, Any]) -> None:
    """ValueError where texts lie in the folder that this stage has not written, or would write elsewhere."""
    own = manifest.get("files") and not manifest.get("packages")  # signed where there was no apt
    if provenance.read(folder / provenance.NAME).get("stage") == "fetch" and not own:
        return
    found = texts_in(folder)
    if found and (own or str(found[0].relative_to(folder)) not in manifest.get("files", {})):
        raise ValueError(
            f"{found[0]} is a text of your own: remove fetch.yaml where nothing is to be fetched, or name another "
            "output_dir for texts that are"
        )


# What is fetched


def write(folder: Path, arguments: FetchArguments) -> dict[str, Any]:
    """The documents of each package, a file each, and the questions: what the manifest says of them."""
    cache = Path(arguments.cache_dir) if arguments.cache_dir else folder.parent / ".packages"
    told: dict[str, Any] = {"packages": {}, "files": {}}
    asked: list[Page] = []
    bar = tqdm(list(zip(arguments.packages, arguments.languages, strict=True)), desc="Fetching", unit=" packages")
    with program(arguments.renderer, cache) as mandoc:
        for package, language in bar:
            bar.set_postfix_str(package)
            found = packages.fetch(package, cache)
            with packages.opened(found) as opened:
                told["packages"][package] = packages.describe(found, opened)
                files.write_text(folder / LICENSES / f"{package}.txt", packages.copyright(package, opened))
                of_package = list(progress(pages.of_package(opened, language, mandoc), package))
            if not of_package:
                raise ValueError(f"the package {package} has no man pages or HTML in the language {language}")
            name = f"{language}/{package}.jsonl"
            rows = [{"text": page.text, "title": page.title, "page": page.name} for page in of_package]
            told["files"][name] = put(folder / name, rows)
            asked += questions.askable(of_package) if arguments.questions else []
    for name, ask in ASKED.items() if asked else ():
        told["files"][name] = put(folder / name, list(progress(ask(questions.askable(asked)), name)))
    return told


@contextmanager
def program(renderer: str, cache: Path) -> Iterator[Path]:
    """The program that reads man pages, from its package: what it writes depends on its version, which is kept."""
    with packages.opened(packages.fetch(renderer, cache)) as opened:
        path = opened / "usr/bin/mandoc"
        if not path.is_file():
            raise ValueError(f"need a renderer with usr/bin/mandoc in it, got the package {renderer}")
        yield path


def progress(rows: Iterator[Any], what: str) -> Iterator[Any]:
    yield from tqdm(rows, desc=f"Reading {what}", unit=" rows", leave=False)


def put(path: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Write rows; how many they are, and their hash."""
    files.write_jsonl(path, rows)
    return describe(path) | {"rows": len(rows), "characters": sum(len(row.get("text", "")) for row in rows)}


def describe(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": files.sha256(path)}


# What one has


def sign_own(folder: Path, arguments: FetchArguments, said: dict[str, Any]) -> dict[str, Any]:
    """The manifest of one's own texts, where there is no apt; ValueError says where to put them."""
    missing = [one for one in dict.fromkeys(arguments.languages) if not texts_in(folder / one)]
    if missing:
        where = " and ".join(str(folder / one / "*.txt") for one in missing)
        raise ValueError(
            f"need {' and '.join(packages.TOOLS)} (Debian, Ubuntu) to fetch {', '.join(arguments.packages)}: put texts "
            f"of your own at {where}, one document a file, and run the same command again"
        )
    found = [path for one in dict.fromkeys(arguments.languages) for path in texts_in(folder / one)]
    found += [path for name in ASKED if (path := folder / name).is_file()]
    told = {path.relative_to(folder).as_posix(): describe(path) for path in found}
    return {"task": "text", "recipe": said, "packages": {}, "files": told}


def texts_in(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.suffix in TEXTS]


# What is printed


def show(folder: Path, manifest: dict[str, Any], seconds: float) -> None:
    """The closing tables: the files, and whose texts they are."""
    table = Table("file", "rows", "characters", "MB", title=f"{folder} in {seconds:.1f} s")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, counts in manifest["files"].items():
        sizes = [f"{counts[key]:,}" if counts.get(key) else "" for key in ("rows", "characters")]
        table.add_row(name, *sizes, f"{counts['bytes'] / 1e6:.1f}")
    console = Console()
    console.print(table)
    for package, told in manifest["packages"].items():
        console.print(f"{package} {told['version']}: {', '.join(told['licenses']) or 'see its copyright file'}")
    if manifest["packages"]:
        console.print(f"Whose texts these are stands in full in {folder / LICENSES}.")
