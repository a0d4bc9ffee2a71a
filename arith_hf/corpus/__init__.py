"""The corpus stage: a recipe in, a folder of problems and workings out, or of natural text.

May not know any tokenizer, model or trainer; what a row holds is known to the room of its task beside this file.
The manifest is removed first and written last, so that a folder with one is a finished corpus. provenance.json is there
from then on, so that an interrupted corpus is known as one, and may be made again; one of text goes on where it was.

    arith-hf corpus --config recipes/expression/corpus.yaml
"""

import dataclasses
import shlex
import shutil
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console
from rich.table import Table

from arith_hf import files, provenance, recipe
from arith_hf.corpus import addition, card, census, draw, exam, expression
from arith_hf.corpus.arguments import CorpusArguments

Writer = Callable[[Path], dict[str, Any]]
FACTS = "facts.txt"  # every single fact of the training rows, one a line
FOLDERS = ("pretrain", "sft", "prompts", "preferences", "heldout", "test", "harder", "whole")


def main(argv: Sequence[str] | None = None) -> int:
    """Read the recipe, write the corpus, print what was written."""
    arguments = read(argv or [])
    started = time.perf_counter()
    if getattr(arguments, "analyze_only", False):
        analyze(arguments)
        return 0
    lock = files.hold(Path(arguments.output_dir)) if arguments.output_dir else None
    try:
        manifest = build(arguments, f"arith-hf corpus {shlex.join(argv or [])}")
    finally:
        if lock:
            lock.release()
    closing(arguments.task)(str(arguments.output_dir), manifest, time.perf_counter() - started)
    return 0


def analyze(arguments: Any) -> None:
    """The plan of a corpus and its counts, for which all of it is made beside its folder and thrown away.

    Interrupted, what was judged stays there, hidden, for the same command to go on from.
    """
    started = time.perf_counter()
    room(arguments.task).show_plan(arguments)
    folder = Path(arguments.output_dir or "corpus").absolute()
    aside = folder.with_name(f".{folder.name}.analyzed")
    lock = files.hold(aside)
    try:
        manifest = build(dataclasses.replace(arguments, output_dir=str(aside)))
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(f"{stop or 'interrupted'} (in {aside})") from stop
    except BaseException:
        shutil.rmtree(aside)
        raise
    else:
        shutil.rmtree(aside)
    finally:
        lock.release()
    closing(arguments.task)(f"{arguments.output_dir} (nothing written)", manifest, time.perf_counter() - started)


def read(argv: Sequence[str]) -> Any:
    """The keys of the task that the recipe or the command line names."""
    said = recipe.peek(argv, "task") or "expression"
    more = f"These are the keys of the task {said}; those of another: --task expression, addition or text with --help."
    (arguments,) = recipe.read((room(said).Arguments,), argv, "corpus", more)
    return arguments


def room(task: str) -> ModuleType:
    """Where the keys and the rows of a task are."""
    rooms = {"expression": expression, "addition": addition}
    if task == "text":
        try:
            return import_module("arith_hf.corpus.text")  # here: it needs libraries that problems do not
        except ModuleNotFoundError as error:
            raise ValueError(f"{error}: a corpus of text needs `pip install -e '.[text]'`") from error
    if task not in rooms:
        listed = ", ".join([*rooms, "text"])
        raise ValueError(f"unknown task {task!r}: need one of {listed} (how sums are written goes into style)")
    return rooms[task]


def build(arguments: Any, command: str | None = None) -> dict[str, Any]:
    """Write every file of a corpus, the manifest last, and return the manifest."""
    started, made = time.time(), provenance.start("corpus", command)
    if not arguments.output_dir:
        raise ValueError("need output_dir, the folder to write, such as --output_dir data/expression")
    folder, of = Path(arguments.output_dir), room(arguments.task)
    require_own(folder)
    write = of_text(of, arguments) if arguments.task == "text" else of_problems(of, arguments)
    clear(folder, made, spared=of.DRAFT if arguments.task == "text" else None)
    parts = write(folder)
    # Neither the place nor the number of workers changes what is in the files, nor do pairs that are not asked for.
    unsaid = () if getattr(arguments, "num_preferences", 1) else ("num_preferences",)
    apart = ("output_dir", "num_proc", "analyze_only", *unsaid)
    said = {k: v for k, v in dataclasses.asdict(arguments).items() if k not in apart}
    manifest = {
        "task": arguments.form,
        "seed": arguments.seed,
        "recipe": said,
        **parts,
        "tokenizer_fingerprint": None,  # until the tokenizer stage signs it
    }
    if any(manifest["overlap"].values()):
        raise RuntimeError(f"splits share problems, which must not be: {manifest['overlap']}; {folder} is not finished")
    of_task = of.write_card if arguments.task == "text" else partial(card.write, said=of.CARD)
    files.write_text(folder / "README.md", of_task(folder.resolve().name, manifest))
    made |= {
        "seed": arguments.seed,
        "recipe_sha256": provenance.digest(said),
        "manifest_sha256": provenance.unsigned_hash(manifest),
        "seconds": round(time.time() - started, 1),
    }
    if fetched := parts.get("fetched"):
        made |= {"data": provenance.data_proof(next(iter(fetched))), "ancestors": provenance.ancestors(*fetched)}
    # Of this run, and so not in the manifest, which another run repeats.
    files.write_json(folder / provenance.NAME, made)
    files.write_mark(folder / "manifest.json", manifest, started)
    return manifest


def of_problems(of: ModuleType, arguments: CorpusArguments) -> Writer:
    """Writes the files of problems and their facts; the test sets, which may be impossible, are drawn before."""
    exams = [(name, list(rows)) for name, rows in exam.files(of, arguments)]

    def write(folder: Path) -> dict[str, Any]:
        names = []
        for name, rows in chain(exams, draw.files(of, arguments)):
            files.write_jsonl(folder / name, rows)
            names.append(name)
        taken = census.take(folder, sorted(names, key=place), arguments.form)
        facts = taken.pop("facts")
        files.write_text(folder / FACTS, "".join(f"{fact}\n" for fact in facts))
        return {**taken, "facts": {"distinct": len(facts), "sha256": files.sha256(folder / FACTS)}}

    return write


def of_text(of: ModuleType, arguments: Any) -> Writer:
    """Writes the files of text; the sources, which may not be there, are opened before."""
    head = of.ready(arguments)
    return lambda folder: of.write(folder, arguments, place, head)


def require_own(folder: Path) -> None:
    """ValueError where files would be replaced that no corpus stage has written."""
    names = ("manifest.json", provenance.NAME, FACTS, "README.md")
    found = [*(path for name in names if (path := folder / name).exists()), *rows_in(folder)]
    if found and not is_own(folder):
        raise ValueError(f"{found[0]} would be replaced, and is of no corpus of ours: name another output_dir")


def is_own(folder: Path) -> bool:
    """Whether a corpus stage was at work here, finished or not."""
    try:
        if provenance.read(folder / provenance.NAME).get("stage") == "corpus":
            return True
    except ValueError:
        pass  # it may be known by its manifest
    try:
        return "tokenizer_fingerprint" in provenance.read(folder / "manifest.json")
    except ValueError:
        return False


def rows_in(folder: Path) -> list[Path]:
    return [path for part in FOLDERS for path in sorted((folder / part).glob("*.jsonl"))]


def clear(folder: Path, made: dict[str, Any], spared: str | None) -> None:
    """Remove the manifest first, say what is made here, remove every file that an earlier recipe may have left.

    The one that is `spared` knows by itself whether this recipe may go on from it.
    """
    (folder / "manifest.json").unlink(missing_ok=True)
    files.write_json(folder / provenance.NAME, made)
    begun = (path for path in folder.glob("*/.*.part") if path != folder / str(spared))  # by a killed run
    for old in (folder / FACTS, *rows_in(folder), *begun):
        old.unlink(missing_ok=True)


def place(name: str) -> tuple[int, int, str]:
    """Order of a file in the manifest: by folder, training rows before validation rows."""
    part, file = name.split("/")
    return FOLDERS.index(part), file != "train.jsonl", file


def closing(task: str) -> Callable[[str, dict[str, Any], float], None]:
    """What prints the closing tables."""
    return room(task).show if task == "text" else show


def show(folder: str, manifest: dict[str, Any], seconds: float) -> None:
    """The closing table: rows, distinct problems, kinds and depths of each file, and the overlaps."""
    table = Table("file", "rows", "distinct", "malformed", "contents", title=f"{folder} in {seconds:.1f} s")
    table.columns[0].no_wrap = True
    for column in table.columns[1:4]:
        column.justify = "right"
    for name, counts in manifest["files"].items():
        cells = (counts["rows"], counts["distinct"], counts.get("invalid", ""))
        table.add_row(name, *map(str, cells), contents(counts))
    console = Console()
    console.print(table)
    shared = ", ".join(f"{pair} {count}" for pair, count in manifest["overlap"].items())
    console.print(f"Problems shared between splits: {shared}. Facts in training rows: {manifest['facts']['distinct']}.")


def contents(counts: dict[str, Any]) -> str:
    """Shares of a file's sources, or of the depths of its valid problems, in percent."""
    shares = counts.get("sources") or counts["levels"]
    listed = ", ".join(f"{what}: {100 * rows / counts['rows']:.0f}" for what, rows in shares.items())
    return listed and ("" if "sources" in counts else "level ") + listed + " %"
