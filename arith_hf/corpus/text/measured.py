"""Conversations and preferences to learn from, and none of them that an evaluation holds.

May not know how a text is compared, nor what a row must be. Rows are written before the documents, which must not hold
what the tests among them ask, and test documents are known last: so what rows hold of these is taken out at the end.
"""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from datasets.utils import tqdm

from arith_hf import chat, files
from arith_hf.corpus.text import census, documents
from arith_hf.corpus.text.arguments import TextArguments
from arith_hf.corpus.text.tallies import FILES, Tallies, Tally
from arith_hf.text.contamination import Contamination

TOLD, ASKED = ("text", "passage", "question"), ("prompt", "chosen")
Row = dict[str, Any]


def take_out(folder: Path, arguments: TextArguments, left: Tallies) -> None:
    """Leave out of the files the rows that share a long string of words with what is measured; `left` says so."""
    learned = {what: [name for name in FILES[what] if name != "test"] for what in left}
    if not any(learned.values()) or not arguments.contamination_words:
        return
    known = Contamination(chain(tests(folder, TOLD), documents.named(arguments)), arguments.contamination_words)
    known.add(tests(folder, ASKED), form=True)
    for what, splits in learned.items():
        for split in splits:
            path = folder / FILES[what][split]
            files.write_jsonl(path, untainted(path, split, known, left[what]))


def tests(folder: Path, columns: tuple[str, ...]) -> Iterator[str]:
    """Texts of the test files: documents, passages and questions (TOLD), prompts and the better answers (ASKED).

    Not the worse answers: nothing asks for them, and often they are right answers to what else was asked.
    """
    for path in sorted((folder / "test").glob("*.jsonl")):
        for row in files.read_jsonl(path):
            yield from (row[name] for name in columns if name in row)


def untainted(path: Path, split: str, known: Contamination, of_sources: dict[str, Tally]) -> Iterator[Row]:
    for row in tqdm(files.read_jsonl(path), desc=f"Comparing {path.parent.name}/{path.stem}", unit=" rows"):
        if any(map(known.hit, said(row))):
            of_sources[row.get("source", "")].drop(split, "contaminated")
        else:
            yield row


def said(row: Row) -> list[str]:
    """The texts of a row, each compared by itself; not the system's, which thousands of rows may have in common."""
    if "messages" in row:
        return [chat.whole(one) for one in row["messages"] if one["role"] != "system"]
    return census.said(row)
