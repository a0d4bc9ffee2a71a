"""Documents to pretrain on and to be measured on: cleaned, filtered, each once, and none that an evaluation holds.

May not know how a source is read or what a filter looks at. Documents pass one by one through a draft beside the files:
what a test holds must be known before the first training document is written.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from datasets.utils import tqdm

from arith_hf import files
from arith_hf.corpus.text import census, sources
from arith_hf.corpus.text.arguments import Source, TextArguments
from arith_hf.corpus.text.splits import split_of
from arith_hf.text.clean import clean
from arith_hf.text.contamination import Contamination
from arith_hf.text.duplicates import ExactDuplicates, NearDuplicates

DRAFT = "pretrain/.documents.part"
Row = dict[str, Any]


class Tally:
    """What became of the documents of one source, and of their characters."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.read: Counter[str] = Counter()
        self.removed: Counter[str] = Counter()
        self.removed_characters: Counter[str] = Counter()
        self.kept: Counter[str] = Counter()  # documents of each split

    def remove(self, text: str, reason: str) -> None:
        self.removed[reason] += 1
        self.removed_characters[reason] += len(text)

    def drop(self, text: str, split: str, reason: str) -> None:
        """Remove what was kept."""
        self.kept[split] -= 1
        self.remove(text, reason)

    def told(self) -> Row:
        return {
            "path": self.path,
            "read": dict(self.read),
            "removed": dict(sorted(self.removed.items())),
            "removed_characters": dict(sorted(self.removed_characters.items())),
            "kept": dict(self.kept),
        }


def write(
    folder: Path, arguments: TextArguments, evaluated: Iterable[str], prompts: dict[int, str]
) -> tuple[list[str], dict[str, Row]]:
    """The names of the files, and the tally of each source.

    `evaluated`: texts that must not be trained on; `prompts`: of each that stands elsewhere the key and the split.
    """
    tallies = {source.name: Tally(source.path) for source in arguments.each()}
    draft = folder / DRAFT
    try:
        files.write_jsonl(draft, gather(arguments, tallies))
        names = []
        for source in arguments.sources:  # a file of whole documents for each
            names += write_shards(folder, source, apart(draft, "test", prompts, tallies, source), None, "test")
        tests = (row["text"] for name in names for row in files.read_jsonl(folder / name))
        known = Contamination(chain(tests, evaluated, named(arguments)), arguments.contamination_words or 1)
        for split in ("validation", "train"):
            rows = apart(draft, split, prompts, tallies)
            rows = untainted(rows, split, known if arguments.contamination_words else None, tallies)
            names += write_shards(folder, split, rows, arguments.shard_size if split == "train" else None)
            if split == "validation":  # a loss on what is trained on in part says less than that of a test
                known.add(row["text"] for row in validated(folder))
    finally:
        draft.unlink(missing_ok=True)
    require_some(names, tallies)
    return names, {name: tally.told() for name, tally in tallies.items()}


def validated(folder: Path) -> Iterator[Row]:
    """The validation documents that were written."""
    path = folder / "pretrain" / "validation.jsonl"
    return files.read_jsonl(path) if path.is_file() else iter(())


# What is kept


def gather(arguments: TextArguments, tallies: dict[str, Tally]) -> Iterator[Row]:
    """The documents that stay, source by source, with their split."""
    exact = ExactDuplicates()
    near = None
    if arguments.near_duplicate_threshold < 1:
        near = NearDuplicates(threshold=arguments.near_duplicate_threshold, seed=arguments.seed)
    for source in arguments.each():
        yield from of_source(source, arguments, tallies[source.name], exact, near)


def of_source(
    source: Source, arguments: TextArguments, tally: Tally, exact: ExactDuplicates, near: NearDuplicates | None
) -> Iterator[Row]:
    filters, characters = arguments.filters(source.language), 0
    most = {"validation": arguments.num_validation, "test": arguments.num_test}
    with tqdm(desc=f"Reading {source.name}", unit=" documents") as bar:
        for raw in sources.texts(source.path, source.column, source.split):
            bar.update()
            tally.read.update(documents=1, characters=len(raw))
            text = clean(raw, arguments.urls)
            reason = "empty" if not text else "longer_than_8_MiB" if too_long(text) else filters.reason(text)
            reason = reason or ("exact_duplicates" if exact.seen(text) else None)
            reason = reason or ("near_duplicates" if near and near.seen(text) else None)
            split = split_of(text, arguments.validation_share, arguments.test_share)
            if not reason and split in most and tally.kept[split] >= most[split]:
                reason = f"beyond_num_{split}"
            if reason:
                tally.remove(text, reason)
                continue
            tally.kept[split] += 1
            characters += len(text)
            yield {"text": text, "source": source.name, "split": split}
            if source.budget and characters >= source.budget:
                return


def too_long(text: str) -> bool:
    """Whether a row with the text would be a longer line than is ever read again (`files.LONGEST_LINE`)."""
    most = files.LONGEST_LINE - 1000  # bytes; the rest of the row takes fewer
    return len(text) > most // 4 and len(json.dumps(text, ensure_ascii=False).encode()) > most


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
    draft: Path, split: str, prompts: dict[int, str], tallies: dict[str, Tally], source: str | None = None
) -> Iterator[Row]:
    """The rows of a split whose text is no prompt of another, as where a conversation stands by its topic."""
    for row in of_split(draft, split, source):
        if prompts and prompts.get(census.text_key(row["text"]), split) != split:
            tallies[row["source"]].drop(row["text"], split, "prompt_of_another_split")
        else:
            yield row


def untainted(rows: Iterable[Row], split: str, known: Contamination | None, tallies: dict[str, Tally]) -> Iterator[Row]:
    """The rows of a split that share no long string of words with what is measured."""
    for row in tqdm(rows, desc="Comparing with the evaluations", unit=" documents"):
        if known and known.hit(row["text"]):
            tallies[row["source"]].drop(row["text"], split, "contaminated")
        else:
            yield row


def require_some(names: list[str], tallies: dict[str, Tally]) -> None:
    """ValueError where a source left nothing to train on, or the corpus nothing to validate with."""
    for name, tally in tallies.items():
        if not tally.kept["train"]:
            most = ", ".join(f"{reason} {count}" for reason, count in tally.removed.most_common(3)) or "nothing"
            raise ValueError(f"nothing to train on is left of the source {name}: removed by {most}")
    for split in ("validation", "train"):
        if not any(name.startswith(f"pretrain/{split}") for name in names):
            raise ValueError(f"no document is left to {split} with: raise {split}_share, or name more sources")


# What is written


def of_split(draft: Path, split: str, source: str | None = None) -> Iterator[Row]:
    for row in files.read_jsonl(draft):
        if row["split"] == split and source in (None, row["source"]):
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
