"""Ten worked problems for the page, right and wrong, cut into their steps, each with what the judge says of it.

May not judge: the verdicts are those of samples.jsonl. How a working is cut into steps is asked of its form.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import zip_longest
from typing import Any

from arith_hf import notation
from arith_hf.tasks.base import ERROR

WANTED = 10
USUAL, LONG = 4, 8  # steps: enough to show something; more than are read with pleasure
WORDS = {  # of tasks.base.KINDS
    "digit": "wrong result",
    "operand": "wrong operation",
    "carry": "wrong carry",
    "order": "out of order",
    "copy": "miscopied line",
    "dropped": "step left out",
    "repeated": "step repeated",
    "numbering": "wrong step number",
    "surplus": "step too many",
    "stop": "stopped early",
    "verdict": "wrong verdict",
    "wording": "unreadable line",
    "none": "no answer",
    "answer": "answer does not follow",
    "cut": "cut off",
}
"""What a fault is called on the page."""
OUTCOMES = {
    "right": "right",
    "unfaithful": "right answer, wrong working",
    "wrong": "wrong",
    "unparseable": "no answer to be read",
    "truncated": "cut off",
}
"""What an outcome is called on the page."""
Row = dict[str, Any]


def choose(samples: Iterable[Row], wanted: int = WANTED) -> list[Row]:
    """Half of them faulty, a kind of fault after the other, half right, a level after the other; more of what there is.

    The same at every call: those with about USUAL steps first, no problem twice.
    """
    ordered = sorted(samples, key=lambda row: (abs((row.get("steps") or 0) - USUAL), row["problem"]))
    once = list({row["problem"]: row for row in reversed(ordered)}.values())[::-1]
    short = [row for row in once if (row.get("steps") or 0) <= LONG]
    rows = short if len(short) >= wanted else once
    faulty = in_turn([row for row in rows if outcome(row) != "right"], lambda row: kind(row) or outcome(row))
    sound = [row for row in rows if outcome(row) == "right"]
    right = in_turn([row for row in sound if row.get("steps") != 0], lambda row: str(row.get("level")))
    right += [row for row in sound if row.get("steps") == 0]  # bare numbers and malformed ones: there is little to see
    half = max(wanted // 2, wanted - len(right))
    shown = faulty[:half]
    return shown + right[: wanted - len(shown)]


def in_turn(rows: list[Row], key: Callable[[Row], str]) -> list[Row]:
    """One row of each group, the largest group first, then a second of each, and so on."""
    sizes = Counter(map(key, rows))
    groups: dict[str, list[Row]] = {name: [] for name, _ in sizes.most_common()}
    for row in rows:
        groups[key(row)].append(row)
    return [row for turn in zip_longest(*groups.values()) for row in turn if row is not None]


def kind(row: Row) -> str | None:
    return (row.get("fault") or {}).get("kind")


def outcome(row: Row) -> str:
    """Of an older file, without outcomes, what can be told from it."""
    return row.get("outcome") or ("wrong" if not row["right"] else "unfaithful" if row.get("fault") else "right")


def shown(row: Row) -> Row:
    """A row for the page: its problem, its answers, its verdict in words, and its pieces with a mark each."""
    fault = row.get("fault")
    return {
        "problem": row["problem"],
        "answer": row["answer"],
        "prediction": row.get("prediction"),
        "malformed": row["answer"] == ERROR,
        "outcome": outcome(row),
        "verdict": OUTCOMES.get(outcome(row), outcome(row)),
        "fault": WORDS.get(fault.get("kind"), "fault") if fault else None,
        "reason": fault["reason"] if fault else None,
        "confidence": row.get("confidence"),
        "protocol": row.get("protocol"),
        "pieces": pieces(row),
    }


def pieces(row: Row) -> list[Row]:
    """The parts of a working with the mark of each: `text`, or for a step `valid`, `fault`, `follows`, `after`."""
    before, steps, behind = notation.of(row.get("task", "expression")).pieces(row["completion"])
    fault, valid = row.get("fault"), row.get("valid", ())
    place = fault["index"] if fault else None
    parts = [{"text": text.strip("\n"), "mark": mark(at, place, valid)} for at, text in enumerate(steps)]
    ending = "text" if place is None or place < len(steps) else "fault"
    if before.strip():
        alone = ending == "fault" and not steps and not behind.strip()
        parts.insert(0, {"text": before.strip("\n"), "mark": "fault" if alone else "text"})
    if behind.strip():
        parts.append({"text": behind.strip("\n"), "mark": ending})
    elif ending == "fault" and not any(part["mark"] == "fault" for part in parts):
        parts.append({"text": "(nothing more)", "mark": "fault"})
    return parts


def mark(at: int, place: int | None, valid: Any) -> str:
    """What a step is, given the place of the first fault and whether each step follows from the line before it."""
    if place is None or at < place:
        return "valid"
    if at == place:
        return "fault"
    return "follows" if at < len(valid) and valid[at] else "after"
