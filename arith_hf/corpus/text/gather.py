"""What becomes of each document as it is read: cleaned, filtered, and kept once.

May not know how a source is read or what a filter looks at, nor what is made of the draft that it fills.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datasets.utils import tqdm

from arith_hf import files
from arith_hf.corpus.text import draft, sources
from arith_hf.corpus.text.arguments import Source, TextArguments
from arith_hf.corpus.text.splits import split_of
from arith_hf.text.clean import clean
from arith_hf.text.duplicates import ExactDuplicates, NearDuplicates
from arith_hf.text.filters import Filters

logger = logging.getLogger("arith_hf")
KEYS = {"languages": "source_languages"}  # of a recipe, where a filter has another name
Row = dict[str, Any]


class Tally:
    """What became of the documents of one source, and of their characters."""

    def __init__(self, source: Source) -> None:
        self.path, self.budget = source.path, source.budget
        self.read: Counter[str] = Counter()
        self.removed: Counter[str] = Counter()
        self.removed_characters: Counter[str] = Counter()
        self.kept: Counter[str] = Counter()  # documents of each split
        self.characters = 0  # kept
        self.ended = False
        self.reached = False  # the budget, before anything kept was removed

    def take(self, row: Row) -> None:
        """Count a line of the draft."""
        if "ended" in row:
            self.ended, self.reached = True, self.full()
            return
        self.read.update(documents=1, characters=row["read"])
        if "removed" in row:
            self.remove(row["characters"], row["removed"])
        else:
            self.kept[row["split"]] += 1
            self.characters += len(row["text"])

    def full(self) -> bool:
        """Whether no more is to be read."""
        return 0 < self.budget <= self.characters

    def remove(self, characters: int, reason: str) -> None:
        self.removed[reason] += 1
        self.removed_characters[reason] += characters

    def drop(self, row: Row, split: str, reason: str) -> None:
        """Remove what was kept."""
        self.kept[split] -= 1
        self.characters -= len(row["text"])
        self.remove(len(row["text"]), reason)

    def told(self) -> Row:
        return {
            "path": self.path,
            "read": dict(self.read),
            "removed": dict(sorted(self.removed.items())),
            "removed_characters": dict(sorted(self.removed_characters.items())),
            "kept": dict(self.kept),
            "kept_characters": self.characters,
            **({"budget": self.budget, "budget_reached": self.reached} if self.budget else {}),
        }


class Seen:
    """Whether a document was seen before: the same words, or nearly the same."""

    def __init__(self, arguments: TextArguments) -> None:
        self.exact, self.near = ExactDuplicates(), None
        if arguments.near_duplicate_threshold < 1:
            self.near = NearDuplicates(threshold=arguments.near_duplicate_threshold, seed=arguments.seed)

    def reason(self, text: str) -> str | None:
        """Why it goes; if it stays, from now on it was seen."""
        if self.exact.seen(text):
            return "exact_duplicates"
        return "near_duplicates" if self.near and self.near.seen(text) else None


def gather(path: Path, head: Row, arguments: TextArguments, tallies: dict[str, Tally]) -> None:
    """Fill the draft with what became of each document, source by source, behind those of an interrupted run."""
    seen = Seen(arguments)
    for row in tqdm(draft.begin(path, head), desc="Going on", unit=" documents", delay=1):
        tallies[row["source"]].take(row)
        if "text" in row:
            seen.reason(row["text"])
    if before := sum(tally.read["documents"] for tally in tallies.values()):
        logger.warning(f"going on from {path}, in which {before:,} documents are judged")
    for source in arguments.each():
        if not tallies[source.name].ended:
            draft.extend(path, of_source(source, arguments, tallies[source.name], seen))


def of_source(source: Source, arguments: TextArguments, tally: Tally, seen: Seen) -> Iterator[Row]:
    """A line for each document that is not counted yet: its split, or why it is removed; in the end, one that says so.

    Of those removed, what later ones are compared with is kept.
    """
    filters, passed = arguments.filters(source.language), tally.read["documents"]
    with tqdm(desc=f"Reading {source.name}", unit=" documents", initial=passed) as bar:
        for raw in sources.texts(source.path, source.column, source.split, passed):
            if tally.full():
                break
            row = {"source": source.name, "read": len(raw), **judged(raw, filters, arguments, tally, seen)}
            tally.take(row)
            yield row
            bar.update()
    last = {"source": source.name, "ended": True}
    tally.take(last)
    yield last


def judged(raw: str, filters: Filters, arguments: TextArguments, tally: Tally, seen: Seen) -> Row:
    text = clean(raw, arguments.urls)
    if reason := "empty" if not text else "longer_than_8_MiB" if too_long(text) else filters.reason(text):
        return {"removed": KEYS.get(reason, reason), "characters": len(text)}
    if (reason := seen.reason(text)) == "exact_duplicates":
        return {"removed": reason, "characters": len(text)}
    split = split_of(text, arguments.validation_share, arguments.test_share)
    most = {"validation": arguments.num_validation, "test": arguments.num_test}
    if not reason and split in most and tally.kept[split] >= most[split]:
        reason = f"beyond_num_{split}"
    return {"text": text} | ({"removed": reason, "characters": len(text)} if reason else {"split": split})


def too_long(text: str) -> bool:
    """Whether a row with the text would be a longer line than is ever read again (`files.LONGEST_LINE`)."""
    most = files.LONGEST_LINE - 1000  # bytes; the rest of the row takes fewer
    return len(text) > most // 4 and len(json.dumps(text, ensure_ascii=False).encode()) > most
