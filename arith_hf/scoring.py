"""What completions are worth: each is judged once, step by step; the judgements are counted by difficulty.

May not know the model, nor which test set a row comes from. The counting is the metric's; what is right is asked of
the task.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from operator import eq
from pathlib import Path
from typing import Any

import evaluate

from arith_hf import estimates, notation, tasks
from arith_hf.solver import Completion
from arith_hf.tasks.base import KINDS, Fault, Working

OUTCOMES = ("right", "unfaithful", "wrong", "unparseable", "truncated")
"""Right for right reasons; the right answer, and a fault on the way; another answer; none to be read; cut off."""
FIRST = 10  # steps of which first faults are counted one by one: most workings have no more
SIZES = {"1-9": 9, "10-20": 20, "21-99": 99, "100+": None}  # of the largest number in a problem, and the last of each
METRIC = Path(__file__).with_name("metric") / "exact_answer.py"
Row = dict[str, Any]


# Judging


def form_of(row: Row) -> notation.Form:
    return notation.of(row.get("task", "expression"))


def work(row: Row) -> Working:
    """The right working of a row's problem."""
    return tasks.get(row.get("task", "expression")).work(expression(row))


def expression(row: Row) -> str:
    return row.get("expression") or form_of(row).posed(form_of(row).prompt(row["problem"]))


def judge(row: Row, done: Completion, facts: set[str] | None = None) -> Row:
    """A row of samples.jsonl: the problem, what was written, what was read from it, and the verdict.

    `fault` is the first wrong step, counted from 0, why, and of which of `tasks.base.KINDS`; `outcome` is one of
    OUTCOMES; `valid` says of each step whether it follows from what was written before it, right or wrong; `unseen`
    counts the single facts of the right working that are not among `facts`, those trained on.
    """
    form, due = form_of(row), work(row)
    answer = form.read_answer(done.text) if done.finished else None
    right = answer is not None and str(answer) == row["answer"]
    task, problem = tasks.get(row.get("task", "expression")), expression(row)
    reading, steps = form.read_working(done.text, done.finished), form.read_steps(done.text)
    fault = task.judge(problem, reading, answer)
    return {
        **row,
        "completion": done.text,
        "prediction": answer,
        "right": right,
        "steps_right": right and fault is None,
        "fault": None if fault is None else asdict(fault),
        "outcome": outcome(right, fault, done.finished, answer is not None),
        "finished": done.finished,
        "num_tokens": done.num_tokens,
        **({} if steps is None else {"steps_done": sum(map(eq, steps, due.steps))}),
        **({} if reading.steps is None else {"valid": task.valid_steps(problem, reading.steps)}),
        **({} if done.agreed is None else {"agreed": round(done.agreed, 4)}),
        **({} if done.confidence is None else {"confidence": round(done.confidence, 6)}),
        **({} if facts is None else {"unseen": len(set(form.facts(form.completion(due))) - facts)}),
    }


def outcome(right: bool, fault: Fault | None, finished: bool, readable: bool) -> str:
    """Which of OUTCOMES a completion is; `right` and `readable` are about its answer."""
    if not finished:
        return "truncated"
    if not readable:
        return "unparseable"
    return "wrong" if not right else "right" if fault is None else "unfaithful"


def size(row: Row) -> str:
    """Which of SIZES the largest number is that a problem writes, whatever its sign; of none, the first.

    >>> size({"expression": "5 - (-21 + 3)"})
    '21-99'
    """
    largest = max(map(int, re.findall("[0-9]+", expression(row))), default=0)
    return next(name for name, last in SIZES.items() if last is None or largest <= last)


# Counting


def score(samples: list[Row], headline: str, cut: bool = False) -> Row:
    """The numbers of the rows of the file `headline`: overall, by level, by steps, by unseen facts; of all, by kind.

    `token_accuracy`: share of the right completion's tokens, each behind the right ones before it, that the model would
    write, mean over problems; `step_accuracy`: share of the steps (of a sum: the columns) that it wrote right itself;
    `step_validity`: share of the steps it wrote that follow from what it wrote before them.

    Of completions that were `cut` off at their fault nobody knows whether they would have said ERROR.
    `calibration` and `sampling` (see `estimates`) are there where confidences are known, and samples or chances. A
    confidence is of all that was written, so it is compared with whether all of it is right.
    """
    metric = evaluate.load(str(METRIC))
    rows = [row for row in samples if row["file"] == headline]
    malformed = tasks.get(rows[0].get("task", "expression")).MALFORMED

    def measure(some: list[Row]) -> Row:
        columns = ("finished", "num_tokens", "steps_right")
        found = metric.compute(
            predictions=[row["completion"] for row in some],
            references=[row["answer"] for row in some],
            task=[row.get("task", "expression") for row in some],
            **{column: [row[column] for row in some] for column in columns},
        )
        return found | {"called_error": None} if cut or not malformed else found

    groups = {
        "by_level": group(rows, lambda row: row.get("level"), measure),
        "by_steps": group(rows, lambda row: row.get("steps"), measure),
        "by_kind": group(samples, lambda row: row.get("kind"), measure),
        **{
            f"by_{trait}": group(rows, partial(get, key=trait), measure)
            for trait in tasks.get(rows[0].get("task", "expression")).TRAITS
        },
    }
    if any("unseen" in row for row in rows):
        groups["by_unseen"] = group(rows, lambda row: "some" if row["unseen"] else "none", measure)
    forced = [row["agreed"] for row in rows if "agreed" in row]
    stepped = [row for row in rows if "steps_done" in row and row.get("steps")]
    valid = [one for row in rows for one in row.get("valid", ())]
    accuracies = {
        "token_accuracy": round(sum(forced) / len(forced), 5) if forced else None,
        "step_accuracy": share(sum(row["steps_done"] for row in stepped), sum(row["steps"] for row in stepped)),
        "step_validity": share(sum(valid), len(valid)),
    }
    groups["by_level_and_size"] = group(rows, lambda row: row.get("level"), sizes)
    return measure(rows) | accuracies | verdicts(rows) | groups | beliefs(rows)


def sizes(rows: list[Row]) -> Row:
    """The share of right answers by the size of the largest number."""
    found = {name: [row["right"] for row in rows if size(row) == name] for name in SIZES}
    return {name: {"n": len(some), "exact_match": share(sum(some), len(some))} for name, some in found.items() if some}


def beliefs(rows: list[Row]) -> Row:
    """What is known of the probabilities of completions, and of samples."""
    sure = [row for row in rows if "confidence" in row]
    found = {"sampling": estimates.sampling(rows)} if any("chance" in row or "sampled" in row for row in rows) else {}
    if sure:
        found["calibration"] = estimates.calibration(
            [one["confidence"] for one in sure], [one["steps_right"] for one in sure]
        )
    return found


def verdicts(rows: list[Row]) -> Row:
    """How many rows came to which of OUTCOMES; the first faults by kind, and by step (counted from 1)."""
    found, faults = Counter(row["outcome"] for row in rows), [row["fault"] for row in rows if row["fault"]]
    kinds, places = Counter(fault["kind"] for fault in faults), Counter(fault["index"] + 1 for fault in faults)
    later = sum(number for place, number in places.items() if place > FIRST)
    steps = {str(place): places[place] for place in sorted(places) if place <= FIRST}
    return {
        "outcomes": {name: found[name] for name in OUTCOMES},
        "faults": {
            "by_kind": {kind: kinds[kind] for kind in KINDS if kind in kinds},
            "by_step": steps | ({f"{FIRST + 1}+": later} if later else {}),
        },
    }


def share(part: int, whole: int) -> float | None:
    return round(part / whole, 5) if whole else None


def get(row: Row, key: str) -> Any:
    return row.get(key)


def group(rows: Iterable[Row], key: Callable[[Row], Any], measure: Callable[[list[Row]], Row]) -> dict[str, Row]:
    """The measure of the rows of each key, in the order of the keys; rows whose key is None are left out."""
    found: dict[Any, list[Row]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return {str(value): measure(found[value]) for value in sorted(found.keys() - {None})}
