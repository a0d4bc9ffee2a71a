"""Documents to pretrain on and to be measured on, and none to train on that an evaluation holds.

May not know why a document stays in the draft, through which all of them pass beside the files: what a test holds must
be known before the first training document is written.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from datasets.utils import tqdm

from arith_hf import files
from arith_hf.corpus.text import census, draft, sources
from arith_hf.corpus.text.arguments import TextArguments
from arith_hf.corpus.text.gather import Tally, gather
from arith_hf.text.contamination import Contamination

Row = dict[str, Any]


def write(
    folder: Path, arguments: TextArguments, evaluated: Iterable[str], prompts: dict[int, str], head: Row
) -> tuple[list[str], dict[str, Row]]:
    """The names of the files, and the tally of each source.

    `evaluated`: texts that must not be trained on; `prompts`: of each that stands elsewhere the key and the split.
    The draft, which begins with `head`, stays: until all is finished an interrupted corpus goes on from it.
    """
    tallies = {source.name: Tally(source) for source in arguments.each()}
    path = folder / draft.NAME
    gather(path, head, arguments, tallies)
    names: list[str] = []
    for source in arguments.sources:  # a file of whole documents for each
        names += write_shards(folder, source, apart(path, "test", prompts, tallies, source), None, "test")
    tests = (row["text"] for name in names for row in files.read_jsonl(folder / name))
    known = Contamination(chain(tests, evaluated, named(arguments)), arguments.contamination_words or 1)
    for split in ("validation", "train"):
        rows = apart(path, split, prompts, tallies)
        rows = untainted(rows, split, known if arguments.contamination_words else None, tallies)
        names += write_shards(folder, split, rows, arguments.shard_size if split == "train" else None)
        if split == "validation":  # a loss on what is trained on in part says less than that of a test
            known.add(row["text"] for row in validated(folder))
    return names, {name: tally.told() for name, tally in tallies.items()}


def fault(told: dict[str, Row]) -> str | None:
    """What is lacking where a source left nothing to train on, or the corpus nothing to validate with."""
    unit = "(a .txt file is one document, JSONL has one a line)"
    for name, one in told.items():
        if not one["kept"].get("train"):
            most = sorted(one["removed"].items(), key=lambda reason: -reason[1])[:3]
            listed = ", ".join(f"{reason} {count:,}" for reason, count in most) or f"nothing {unit}"
            read = f"{one['read'].get('documents', 0):,} read"
            return f"nothing to train on is left of the source {name}: {read}, removed by {listed}"
    if not any(one["kept"].get("validation") for one in told.values()):
        left = sum(sum(one["kept"].values()) for one in told.values())
        return f"no document is left for validation: there are {left:,} {unit}: raise validation_share, or name more"
    return None


def validated(folder: Path) -> Iterator[Row]:
    """The validation documents that were written."""
    path = folder / "pretrain" / "validation.jsonl"
    return files.read_jsonl(path) if path.is_file() else iter(())


# What is kept


def named(arguments: TextArguments) -> Iterator[str]:
    """The texts of the files that the recipe names as those of an evaluation: every string in them, however deep."""
    for path in arguments.evaluation_paths:
        for row in sources.rows(path):
            yield from strings(row)


def strings(value: Any) -> Iterator[str]:
    """
    >>> list(strings({"id": 1, "messages": [{"role": "user", "content": "Hi"}]}))
    ['user', 'Hi']
    """
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from strings(part)


def apart(
    path: Path, split: str, prompts: dict[int, str], tallies: dict[str, Tally], source: str | None = None
) -> Iterator[Row]:
    """The rows of a split whose text is no prompt of another, as where a conversation stands by its topic."""
    for row in of_split(path, split, source):
        if prompts and prompts.get(census.text_key(row["text"]), split) != split:
            tallies[row["source"]].drop(row, split, "prompt_of_another_split")
        else:
            yield row


def untainted(rows: Iterable[Row], split: str, known: Contamination | None, tallies: dict[str, Tally]) -> Iterator[Row]:
    """The rows of a split that share no long string of words with what is measured."""
    for row in tqdm(rows, desc="Comparing with the evaluations", unit=" documents"):
        if known and known.hit(row["text"]):
            tallies[row["source"]].drop(row, split, "contaminated")
        else:
            yield row


# What is written


def of_split(path: Path, split: str, source: str | None = None) -> Iterator[Row]:
    for row in files.read_jsonl(path):
        if row.get("split") == split and source in (None, row["source"]):
            yield {"text": row["text"], "source": row["source"]}


def write_shards(folder: Path, stem: str, rows: Iterable[Row], size: int | None, part: str = "pretrain") -> list[str]:
    """Rows into one file, or into as many as hold `size` characters each; no rows, no file."""
    rows = iter(rows)
    names: list[str] = []
    while first := next(rows, None):
        name = f"{part}/{stem}.jsonl" if size is None else f"{part}/{stem}-{len(names):05d}.jsonl"
        files.write_jsonl(folder / name, shard(first, rows, size))
        names.append(name)
    return names


def shard(first: Row, rows: Iterator[Row], size: int | None) -> Iterator[Row]:
    yield first
    characters = len(first["text"])
    while (size is None or characters < size) and (row := next(rows, None)):
        characters += len(row["text"])
        yield row
