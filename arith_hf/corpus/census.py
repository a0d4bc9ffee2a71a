"""What was really written: rows, shares and digests of every file, and the proof that no split leaks.

May not know how the rows were drawn: it reads the files back.
"""

from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

from datasets.utils import tqdm

from arith_hf import files, notation, tasks


def take(folder: Path, names: list[str], task: str) -> dict[str, Any]:
    """`files`: the counts of each; `overlap`: problems (normal forms) that two splits share, over all their files.

    `facts`: the distinct single facts of the training rows, sorted.
    """
    problems: dict[str, set[str]] = {"train": set(), "validation": set(), "test": set()}
    normal: dict[str, str] = {}
    counts = {}
    facts: set[str] = set()
    for name in names:
        found: set[str] = set()
        counts[name] = count(folder / name, task, normal, found, facts if split_written(name) == "train" else None)
        if (split := split_written(name)) in problems:
            problems[split] |= found
    pairs = combinations(problems, 2)
    overlap = {f"{one} and {other}": len(problems[one] & problems[other]) for one, other in pairs}
    return {"files": counts, "overlap": overlap, "facts": sorted(facts)}


def split_written(name: str) -> str:
    """The split that a file belongs to by its place; `whole` is of all."""
    folder = name.split("/")[0]
    return {"test": "test", "harder": "test", "heldout": "validation", "whole": "whole"}.get(folder, Path(name).stem)


def count(path: Path, task: str, normal: dict[str, str], found: set[str], facts: set[str] | None) -> dict[str, Any]:
    """Counts of one file; its problems' normal forms are added to `found`, its facts to `facts`.

    `normal` remembers the normal forms that were worked out. The facts of a prompt are those of its right completion.
    """
    of, form = tasks.get(task), notation.of(task)
    rows = bare = 0
    kinds: Counter[str] = Counter()
    levels: Counter[int] = Counter()
    sources: Counter[str] = Counter()
    for row in tqdm(files.read_jsonl(path), desc=f"Checking {path.parent.name}/{path.stem}", unit=" rows"):
        rows += 1
        expression = row.get("expression") or form.posed(row.get("text") or row["prompt"])
        if expression not in normal:
            normal[expression] = of.normalise(expression)
        found.add(normal[expression])
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
    counts: dict[str, Any] = {"rows": rows, "sha256": files.sha256(path), "distinct": len(found)}
    if sources:
        counts["sources"] = dict(sorted(sources.items()))
    if kinds:
        counts["invalid"] = kinds["invalid"]
        counts["bare_numbers"] = bare
        counts["levels"] = {str(level): levels[level] for level in sorted(levels)}
    return counts
