"""All files of a corpus of text but its manifest, which is told what they are.

May not know how a document is judged. What may fail for a recipe's sake is asked before anything is lost.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from arith_hf import files, provenance
from arith_hf.corpus.text import census, documents, draft, measured, pairs, sources, tables, tallies
from arith_hf.corpus.text.arguments import TextArguments

Row = dict[str, Any]


def ready(arguments: TextArguments) -> Row:
    """The head of the draft; ValueError or FileNotFoundError where a source cannot be read, or lacks its columns."""
    for source in arguments.each():
        next(sources.texts(source.path, source.column, source.split), None)
    for path in arguments.evaluation_paths:
        next(sources.rows(path), None)
    pairs.ready(arguments)
    return draft.head(arguments)


def write(folder: Path, arguments: TextArguments, order: Callable[[str], Any], head: Row) -> Row:
    """The files, and what the manifest says of them: counts, overlaps, what each filter removed, whose texts."""
    try:
        names, of_pairs = pairs.write(folder, arguments)
        require(tallies.fault(of_pairs), {}, of_pairs)
        passages = pairs.passages(folder / "test" / "yesno.jsonl")
        more, of_sources = documents.write(folder, arguments, passages, census.prompts(folder, names), head)
        require(documents.fault(of_sources), of_sources, of_pairs)
        measured.take_out(folder, arguments, of_pairs)
        require(tallies.fault(of_pairs), of_sources, of_pairs)
        taken = census.take(folder, sorted([*names, *more], key=order))
    except KeyboardInterrupt as stop:
        told = "interrupted; the same command goes on behind the last document that was judged"
        raise KeyboardInterrupt(told) from stop
    (folder / draft.NAME).unlink()
    return {**taken, "sources": of_sources, "pairs": tallies.told(of_pairs), "fetched": fetched(arguments)}


def require(fault: str | None, of_sources: Row, of_pairs: tallies.Tallies) -> None:
    """ValueError with what is lacking, behind the tables that say what became of it."""
    if fault:
        tables.show_left(of_sources, tallies.told(of_pairs))
        raise ValueError(fault)


def fetched(arguments: TextArguments) -> dict[str, Row]:
    """The manifests of the stage `fetch` that the local sources lie beside: their hash, and whose texts they are."""
    places = {parent for path in arguments.source_paths for parent in Path(path).parents}
    found = {}
    for place in sorted(places):
        if provenance.read(place / provenance.NAME).get("stage") == "fetch" and (place / "manifest.json").is_file():
            listed = files.read_object(place / "manifest.json").get("packages", {})
            told = {name: {key: one[key] for key in ("version", "licenses", "sha256")} for name, one in listed.items()}
            found[str(place)] = {"manifest_sha256": files.sha256(place / "manifest.json"), "packages": told}
    return found
