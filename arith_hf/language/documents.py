"""The texts that perplexity is measured on: whole documents of a corpus's test sets, of files, and of the Hub.

May not know a model.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arith_hf import files
from arith_hf.corpus.text import sources
from arith_hf.protocols import choose

OTHERS = ("yesno", "preferences")  # of a corpus's test folder: no documents


@dataclass(frozen=True)
class Texts:
    """Documents of one source; `file` is where they come from, `sha256` its hash where it is a file."""

    source: str
    file: str
    documents: list[str]
    sha256: str | None = None


def of_corpus(data: Path, num_documents: int | None) -> list[Texts]:
    """The test sets of a corpus, a source each; ValueError where it is unfinished or was edited since."""
    if not (data / "manifest.json").is_file():
        raise FileNotFoundError(f"no finished corpus at {data}: run make corpus MODEL={data.name}")
    paths = [path for path in sorted((data / "test").glob("*.jsonl")) if path.stem not in OTHERS]
    found = []
    for path in paths:
        files.require_listed(data, f"test/{path.name}")
        found.append(Texts(path.stem, str(path), choose(of_file(path), num_documents), files.sha256(path)))
    if not found:
        raise ValueError(f"no test set in {data / 'test'}: give its corpus.yaml a test_share")
    return found


def others(names: list[str], joined: bool, num_documents: int | None) -> list[Texts]:
    """Sets of other files and of the Hub, called as they were named, read as the corpus reads its sources."""
    found = []
    for name in names:
        path = Path(name)
        documents = require_some(list(sources.texts(name, "text", split="test")), name)
        chosen = ["\n\n".join(documents)] if joined else choose(documents, num_documents)
        digest = files.sha256(path) if path.is_file() else None
        found.append(Texts(name, name, chosen, digest))
    return found


def of_file(path: Path) -> list[str]:
    """The column `text` of a JSONL file; ValueError names the first row that has none."""
    documents = [text_of(row, f"{path}: row {number}") for number, row in enumerate(files.read_jsonl(path), start=1)]
    return require_some(documents, str(path))


def text_of(row: Any, where: str) -> str:
    if not isinstance(row.get("text"), str):
        raise ValueError(f"{where}: need a string in the column `text`, got {json.dumps(row, default=str)[:80]}")
    return row["text"]


def require_some(documents: list[str], where: str) -> list[str]:
    """The documents with anything in them; ValueError where there is none."""
    found = [text for text in documents if text.strip()]
    if not found:
        raise ValueError(f"{where}: need texts in the column `text`, got none")
    return found


def trained_on(data: Path, count: int) -> Iterator[str]:
    """The first `count` training documents of a corpus, of all shards as they come."""
    shards = sorted([*data.glob("pretrain/train.jsonl"), *data.glob("pretrain/train-*.jsonl")])
    for shard in shards:
        for row in files.read_jsonl(shard):
            if count < 1:
                return
            count -= 1
            yield row["text"]
