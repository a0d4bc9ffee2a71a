"""What was really written: rows, characters and hashes of every file, and the proof that no text is on two sides.

May not know how the rows were made: it reads the files back.
"""

from array import array
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from datasets.utils import tqdm

from arith_hf import chat, files
from arith_hf.corpus.census import Keys, distinct, key_of, shared, split_written
from arith_hf.text.words import normalised

Row = dict[str, Any]


def take(folder: Path, names: list[str]) -> Row:
    """`files`: the counts of each; `overlap`: texts and prompts that two splits share, over all their files."""
    texts: dict[str, list[Keys]] = {"train": [], "validation": [], "test": []}
    counts = {}
    for name in names:
        counts[name], found = count(folder / name)
        split = split_written(name).split("-")[0]
        texts[split].append(found)
    pairs = combinations(texts, 2)
    return {"files": counts, "overlap": {f"{one} and {two}": shared(texts[one], texts[two]) for one, two in pairs}}


def prompts(folder: Path, names: list[str]) -> dict[int, str]:
    """The split of each text or prompt of the files, by its key."""
    return {text_key(said(row)[0]): split_written(name) for name in names for row in files.read_jsonl(folder / name)}


def count(path: Path) -> tuple[Row, Keys]:
    """Counts of one file, and the keys of its texts or prompts."""
    written = array("Q")
    characters = 0
    sources: Counter[str] = Counter()
    for row in tqdm(files.read_jsonl(path), desc=f"Checking {path.parent.name}/{path.stem}", unit=" rows"):
        parts = said(row)
        written.append(text_key(parts[0]))
        characters += sum(map(len, parts))
        if "source" in row:
            sources[row["source"]] += 1
    found: Keys = np.frombuffer(written, dtype=np.uint64)
    found.sort()
    counts = {"rows": len(found), "characters": characters, "sha256": files.sha256(path), "distinct": distinct(found)}
    return counts | ({"sources": dict(sorted(sources.items()))} if sources else {}), found


def text_key(text: str) -> int:
    """The same for texts that differ in case and punctuation alone."""
    return key_of(normalised(text))


def said(row: Row) -> list[str]:
    """The texts of a row, first the one that it is told by."""
    if "messages" in row:
        turns = [chat.whole(one) for one in row["messages"] if one["role"] != "system"]
        return [*turns, *(one["content"] for one in row["messages"] if one["role"] == "system")]
    if "passage" in row:
        return [f"{row['passage']} {row['question']}"]
    return [row[name] for name in ("text", "prompt", "chosen", "rejected") if name in row]
