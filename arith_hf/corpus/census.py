"""What was really written: rows, shares and digests of every file, and the proof that no split leaks.

May not know how the rows were drawn: it reads the files back. Problems are told apart by 64 bits of a hash, 8 bytes of
memory each: of ten million problems two different ones are taken for the same with a chance of 3 in a million.
"""

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from itertools import combinations, product
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from datasets.utils import tqdm

from arith_hf import files, notation, tasks

REMEMBERED = 1 << 16  # problems whose normal form is worked out once: the same stand in several files, and side by side
Keys: TypeAlias = npt.NDArray[np.uint64]  # of problems, in ascending order


def take(folder: Path, names: list[str], task: str) -> dict[str, Any]:
    """`files`: the counts of each; `overlap`: problems (normal forms) that two splits share, over all their files.

    `facts`: the distinct single facts of the training rows, sorted.
    """
    problems: dict[str, list[Keys]] = {"train": [], "validation": [], "test": []}
    key = lru_cache(REMEMBERED)(lambda expression: key_of(tasks.get(task).normalise(expression)))
    counts = {}
    facts: set[str] = set()
    for name in names:
        split = split_written(name)
        counts[name], found = count(folder / name, task, key, facts if split == "train" else None)
        problems.get(split, []).append(found)
    pairs = combinations(problems, 2)
    overlap = {f"{one} and {other}": shared(problems[one], problems[other]) for one, other in pairs}
    return {"files": counts, "overlap": overlap, "facts": sorted(facts)}


def split_written(name: str) -> str:
    """The split that a file belongs to by its place; `whole` is of all."""
    folder = name.split("/")[0]
    return {"test": "test", "harder": "test", "heldout": "validation", "whole": "whole"}.get(folder, Path(name).stem)


def key_of(normal_form: str) -> int:
    return int.from_bytes(hashlib.blake2b(normal_form.encode(), digest_size=8).digest(), "little")


def distinct(keys: Keys) -> int:
    return int(np.count_nonzero(keys[1:] != keys[:-1])) + 1 if len(keys) else 0


def shared(ours: list[Keys], theirs: list[Keys]) -> int:
    """How many distinct keys the files of one split have in common with those of another."""
    found = []
    for pair in product(ours, theirs):
        few, many = sorted(pair, key=len)
        places = np.searchsorted(many, few)
        inside = places < len(many)
        found.append(few[inside][many[places[inside]] == few[inside]])
    return len(np.unique(np.concatenate(found))) if found else 0


def count(path: Path, task: str, key: Callable[[str], int], facts: set[str] | None) -> tuple[dict[str, Any], Keys]:
    """Counts of one file, and the keys of its problems; its facts are added to `facts`.

    The facts of a prompt are those of its right completion.
    """
    form = notation.of(task)
    written = array("Q")
    bare = 0
    kinds: Counter[str] = Counter()
    levels: Counter[int] = Counter()
    sources: Counter[str] = Counter()
    for row in tqdm(files.read_jsonl(path), desc=f"Checking {path.parent.name}/{path.stem}", unit=" rows"):
        written.append(key(row.get("expression") or form.posed(row.get("text") or row["prompt"])))
        if facts is not None:
            worked = row.get("text") or row.get("completion") or form.solution(row["prompt"])
            facts.update(form.facts(worked))
        if "source" in row:
            sources[row["source"]] += 1
        if "kind" in row:
            kinds[row["kind"]] += 1
            if row["kind"] != "invalid":
                levels[row["level"]] += 1
                bare += row["level"] == 0
    found: Keys = np.frombuffer(written, dtype=np.uint64)
    found.sort()
    counts: dict[str, Any] = {"rows": len(found), "sha256": files.sha256(path), "distinct": distinct(found)}
    if sources:
        counts["sources"] = dict(sorted(sources.items()))
    if kinds:
        counts["invalid"] = kinds["invalid"]
        counts["bare_numbers"] = bare
        counts["levels"] = {str(level): levels[level] for level in sorted(levels)}
    return counts, found
