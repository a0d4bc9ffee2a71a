"""The comparisons of a link: each file with the hash that was recorded of it, and what it names with what is there now.

May not know the order of the chain. A check is of one file, which it names, and says what to do where it fails.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from arith_hf import checkpoint, files, provenance, tokenizer
from arith_hf.provenance import Row, short

SHAPES = {  # of what is read here; what else stands in provenance.json is only shown
    **dict.fromkeys(("stage", "command", "started", "parent", "parent_sha256", "tokenizer", "commit"), str),
    **dict.fromkeys(("tokenizer_fingerprint", "recipe_sha256", "manifest_sha256"), str),
    **{"data": dict, "machine": dict, "ancestors": list, "weights": dict, "files": dict, "facts": dict},
}


@dataclass(frozen=True)
class Check:
    """One comparison; `said` tells of one that was not made, or failed, what was found and what to do."""

    file: str
    verdict: Literal["verified", "broken", "unchecked"]
    said: str = ""


# Reading


def shaped(path: Path) -> Row:
    """The object in a JSON file, {} where there is none; ValueError where it is broken or holds the wrong kinds."""
    content = provenance.read(path)
    if fault := misshapen(content):
        raise ValueError(f"{path}: {fault}")
    return content


def misshapen(content: Row) -> str | None:
    """The first value that is of another kind than is read here; null is of any."""
    for key, kind in SHAPES.items():
        if content.get(key) is not None and not isinstance(content[key], kind):
            return f"{key} is {type(content[key]).__name__}, need {kind.__name__}"
    return None


def find(named: str, near: Path) -> Path | None:
    """A path that may be relative to where the run was started: above the folder that names it, or here."""
    places = [*(above / named for above in near.resolve().parents), Path(named)]
    return next((place for place in places if place.exists()), None)


def shown(path: Path) -> str:
    """Relative to where the command was started, if it is below."""
    full, here = path.absolute(), Path.cwd()
    return str(full.relative_to(here) if full.is_relative_to(here) else path)


def repair(folder: Path) -> str:
    """What to do about a file that was changed, in a corpus or a checkpoint."""
    if is_corpus(folder):
        marker, model = shown(folder / "manifest.json"), folder.resolve().name
        return f"put the old file back, or `rm {marker}` and run make corpus MODEL={model}"
    return checkpoint.again(Path(shown(folder)))


def is_corpus(folder: Path) -> bool:
    return (folder / "manifest.json").is_file()


# Comparing


def inspect(folder: Path, made: Row, before: list[Row]) -> Iterator[Check]:
    """Every check of one folder, by what it is."""
    if is_corpus(folder) or made.get("stage") == "corpus":
        yield from corpus(folder, made)
        return
    yield from signed(folder)
    if (folder / "adapter").is_dir():
        yield from signed(folder / "adapter")
    if made:
        yield from recipe(folder, made)
        yield from own_tokenizer(folder, made)
        yield from sources(folder, made, before)


def signed(folder: Path) -> Iterator[Check]:
    """Every file that metrics.json pins, and each that would change the answers and that it does not."""
    path = folder / "metrics.json"
    try:
        done = shaped(path)
    except ValueError as error:
        yield Check(shown(path), "broken", f"{error}: {repair(folder)}")
        return
    present = {one.name for one in folder.glob("*.safetensors")}
    weights, others = done.get("weights") or {}, done.get("files") or {}
    if not done and (folder / "recipe.yaml").is_file():
        yield Check(shown(path), "broken", f"is missing, so the stage did not end: {checkpoint.remedy(folder)}")
    elif not weights and (present or not others):
        yield Check(shown(path), "unchecked", "has no hashes of the weights (an older version, or not ours)")
    elif not others:
        yield Check(shown(path), "unchecked", "has no hashes of config.json and the tokenizer (an older version)")
    for name, expected in sorted({**weights, **others}.items()):
        yield compare(folder / name, expected, "metrics.json", repair(folder))
    added = {one.name for one in folder.iterdir() if provenance.is_signed(one.name)} - set(others) if others else set()
    for name in sorted(present - set(weights or present) | added):
        yield Check(shown(folder / name), "broken", f"is no file that the stage saved (see {shown(path)}): remove it")


def compare(path: Path, expected: Any, where: str, remedy: str) -> Check:
    """Whether a file has the hash that `where` recorded of it."""
    if not path.is_file():
        return Check(shown(path), "broken", f"is missing, {where} lists it: {remedy}")
    if (actual := files.sha256(path)) == expected:
        return Check(shown(path), "verified")
    fault = checkpoint.broken(path) if path.suffix == ".safetensors" else None
    differs = f"its hash is {short(actual)}, in {where} it is {short(str(expected))}"
    return Check(shown(path), "broken", f"{fault or 'was changed or replaced'}: {differs}: {remedy}")


def recipe(folder: Path, made: Row) -> Iterator[Check]:
    path, expected = folder / "recipe.yaml", made.get("recipe_sha256")
    if expected:
        yield compare(path, expected, provenance.NAME, repair(folder))
    elif path.is_file():
        yield Check(shown(path), "unchecked", f"{provenance.NAME} has no hash of it (an older version)")


def own_tokenizer(folder: Path, made: Row) -> Iterator[Check]:
    expected = made.get("tokenizer_fingerprint")
    if expected and (checkpoint.has_tokenizer(folder) or not checkpoint.is_adapter(folder)):
        yield fingerprinted(folder, expected, provenance.NAME, repair(folder))


def fingerprinted(folder: Path, expected: str, where: str, remedy: str) -> Check:
    """Whether the tokenizer in a folder makes the ids that `where` recorded."""
    try:
        actual = tokenizer.fingerprint(checkpoint.read_tokenizer(folder))
    except (ValueError, OSError) as error:
        return Check(shown(folder / "tokenizer.json"), "broken", f"{checkpoint.one_line(error)}")
    if actual == expected:
        return Check(shown(folder / "tokenizer.json"), "verified")
    differs = f"fingerprint {short(actual)}, in {where} {short(expected)}"
    return Check(shown(folder / "tokenizer.json"), "broken", f"is another tokenizer ({differs}): {remedy}")


def sources(folder: Path, made: Row, before: list[Row]) -> Iterator[Check]:
    """Whether the parent, the tokenizer and the data are still those that the folder was made from."""
    anew = f"put back what it was made from, or make {shown(folder)} again"
    if named := made.get("parent"):
        yield parent(find(named, folder), named, made, anew)
        told = [one.get("tokenizer_fingerprint") for one in before if one.get("path") == named]
        if told and told[-1] not in (None, made.get("tokenizer_fingerprint")):
            differs = f"{short(str(told[-1]))}, not {short(made.get('tokenizer_fingerprint'))}"
            text = f"the tokenizer of its parent {named} was {differs}: {anew}"
            yield Check(shown(folder / provenance.NAME), "broken", text)
    place = find(made["tokenizer"], folder) if made.get("tokenizer") else None
    if place and made.get("tokenizer_fingerprint"):
        where = f"{shown(folder)}/{provenance.NAME}"
        yield fingerprinted(place, made["tokenizer_fingerprint"], where, anew)
    data = made.get("data") or {}
    if isinstance(named := data.get("path"), str) and (place := find(named, folder)):
        pinned = place / "manifest.json" if place.is_dir() else place
        yield compare(pinned, data.get("sha256"), f"{shown(folder)}/{provenance.NAME}", anew)


def parent(place: Path | None, named: str, made: Row, anew: str) -> Check:
    expected = made.get("parent_sha256")
    if place is None or not expected:
        why = "is not there" if place is None else f"has no hash in {provenance.NAME} (an older version)"
        return Check(named, "unchecked", f"the parent {why}: its weights are not compared")
    actual = provenance.weights_hash(place)
    if actual == expected:
        return Check(shown(place), "verified")
    found = short(actual) if provenance.weights(place) else "missing"
    differs = f"weights {found}, in {provenance.NAME} {short(expected)}"
    return Check(shown(place), "broken", f"the parent was changed, replaced or made anew since ({differs}): {anew}")


def corpus(folder: Path, made: Row) -> Iterator[Check]:
    """The manifest as it was before it was signed, then every file that it lists."""
    path = folder / "manifest.json"
    if not path.is_file():
        text = f"is missing, so the corpus is not finished: run make corpus MODEL={folder.resolve().name}"
        yield Check(shown(path), "broken", text)
        return
    try:
        manifest = shaped(path)
        listed = {**(manifest.get("files") or {}), "facts.txt": manifest.get("facts")}
        pinned = {name: one["sha256"] for name, one in listed.items() if one is not None}
    except (ValueError, KeyError, TypeError) as error:
        yield Check(shown(path), "broken", f"{checkpoint.one_line(error)}: {repair(folder)}")
        return
    if not made.get("manifest_sha256"):
        yield Check(shown(path), "unchecked", f"{provenance.NAME} has no hash of it (an older version, or broken)")
    elif provenance.unsigned_hash(manifest) == made["manifest_sha256"]:
        yield Check(shown(path), "verified")
    else:
        text = f"was edited since the corpus was made (see {provenance.NAME}): {repair(folder)}"
        yield Check(shown(path), "broken", text)
    for name, expected in pinned.items():
        yield compare(folder / name, expected, "manifest.json", repair(folder))
