"""The audit of a reward function: what it pays for completions that are right, debatable and hostile, and how fast.

May not know any trainer, nor how the reward reads. Any function in TRL's signature is called as TRL calls it. A hostile
completion paid more than 0 is a false positive, a sound one paid less than 1 a false negative; either, sound ones that
are not all paid the same, or a call that would stop a training run, makes the exit status 1. Where only the rule of
`notation.read_answer` decides (`by convention`: 007 is 7, the last answer counts, the working does not), a difference
is shown and fails nothing. Whether a completion ended is not in its text: that is for the trainer to say.

    arith-hf audit-reward [my_module.my_reward] [--task addition/columns] [--format json]
"""

import argparse
import asyncio
import contextlib
import inspect
import json
import math
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, NoReturn

from arith_hf import hostile, rewards
from arith_hf.hostile import Case

LIMIT = 1.0  # seconds for one completion: a step of GRPO waits for the slowest of hundreds
EVEN = 1e-9  # right completions may be paid so differently: whatever else pays more is what is learned
TIMED = 0.1  # seconds of calls that the speed is taken from
UNEVEN = "; RIGHT COMPLETIONS ARE NOT ALL PAID THE SAME, so that something else than being right is learned"
LATE = f"took more than {LIMIT:g} s"
COLUMNS = ("class", "n", "worth", "mean", "false +", "false -", "faults", "first of them")

Reward = Callable[..., Any]
Paid = float | str  # a score, or in words why there is none


# Asking the reward


class Late(BaseException):
    """Time is up; no `except Exception` of a reward holds it."""


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Late is raised in the body when the seconds are over, inside a regular expression too."""

    def ring(*_: object) -> NoReturn:
        raise Late

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def call(reward: Reward, cases: list[Case]) -> tuple[list[Paid], float]:
    """What one call pays each case, and the seconds it took; where the call fails, the fault for every case."""
    rows = [columns for columns, _, _ in cases]
    keywords: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0] if name != "prompt"}
    keywords |= {
        "prompts": [row["prompt"] for row in rows],
        "completions": [text for _, text, _ in cases],
        "completion_ids": [text.encode() for _, text, _ in cases],  # bytes in place of a tokenizer's ids
        "trainer_state": SimpleNamespace(global_step=0, max_steps=1, epoch=0.0),
        "log_extra": lambda *_: None,
        "log_metric": lambda *_: None,
    }
    lent = {name: list(column) for name, column in keywords.items() if isinstance(column, list)}
    started = time.perf_counter()
    try:
        # What a reward prints must not stand in the report.
        with limited(LIMIT * len(cases)), contextlib.redirect_stdout(sys.stderr):
            given = reward(**keywords)
            paid = [score(one) for one in (asyncio.run(given) if inspect.iscoroutine(given) else given)]
    except Late:
        paid = [LATE] * len(cases)
    except (Exception, SystemExit) as error:
        paid = [f"raised {type(error).__name__}: {error}"] * len(cases)
    seconds = time.perf_counter() - started
    if changed := [name for name, column in lent.items() if keywords[name] != column]:
        paid = [f"wrote into {changed[0]}, which other rewards read too"] * len(cases)
    if len(paid) != len(cases):
        paid = [f"gave {len(paid)} values for {len(cases)} completions"] * len(cases)
    return ([LATE] * len(cases) if seconds > LIMIT * len(cases) else paid), seconds


def score(value: Any) -> Paid:
    """The number that TRL would make of a value; None and NaN, which TRL leaves out of the sum, are faults here."""
    if value is None or isinstance(value, (str, bytes)):
        return f"gave {value!r}"
    number = float(value)
    return number if math.isfinite(number) else f"gave {number}"


def pay(reward: Reward, cases: list[Case]) -> tuple[list[Paid], float]:
    """What each case is paid, and the seconds for one: the first alone, then all in one call as TRL does.

    Where that call raises, each has a call of its own, so that the fault is laid at the right one. A class whose first
    case is late is not tried further.
    """
    paid, seconds = call(reward, cases[:1])
    if len(cases) == 1 or paid == [LATE]:
        return paid * len(cases), seconds
    together, seconds = call(reward, cases)
    if isinstance(together[0], str) and together[0].startswith("raised"):
        alone = [call(reward, [case])[0][0] for case in cases]
        together = alone if any(isinstance(one, str) for one in alone) else together
    return together, seconds / len(cases)


# The report


def audit(reward: Reward, task: str, seed: int, num_problems: int) -> dict[str, Any]:
    """Every class measured, the sums, and the speed."""
    problems = [hostile.pose(task, seed, index) for index in range(num_problems)]
    first = hostile.cases("sound", next(iter(hostile.SOUND)), problems[:1])
    if first and re.search(
        r"raised TypeError: .*(unexpected keyword|missing|takes)", said := str(call(reward, first)[0][0])
    ):
        raise ValueError(
            f"{said}: need TRL's signature, def my_reward(completions, answer, **kwargs): a list of numbers"
        )
    classes = []
    for group, makers in hostile.GROUPS.items():
        for name in makers:
            if cases := hostile.cases(group, name, problems):
                classes.append({"class": name, "group": group, **measure(cases, *pay(reward, cases))})
    counted = [row for row in classes if row["group"] != "by convention"]
    sound = [row["spread"] for row in classes if row["group"] == "sound" and row["spread"]]
    slowest = max(classes, key=lambda row: row["seconds"])
    wrong = ("false_positives", "false_negatives")
    return {
        **{key: sum(row[key] for row in counted) for key in wrong},
        "faults": sum(row["faults"] for row in classes),
        "uneven": max(high for _, high in sound) - min(low for low, _ in sound) > EVEN if sound else False,
        "by_convention": sum(row[key] for row in classes if row not in counted for key in wrong),
        "completions": sum(row["n"] for row in classes),
        "completions_per_second": speed(reward, problems),
        "slowest_class": slowest["class"],
        "slowest_seconds": slowest["seconds"],
        "classes": classes,
    }


def speed(reward: Reward, problems: list[hostile.Posed]) -> float:
    """Right completions a second, over so many calls that the clock's grain and a busy machine do not count."""
    cases = [case for name in hostile.SOUND for case in hostile.cases("sound", name, problems)]
    calls, seconds = 0, 0.0
    while seconds < TIMED:
        calls, seconds = calls + 1, seconds + call(reward, cases)[1]
    return round(calls * len(cases) / seconds, 1)


def measure(cases: list[Case], paid: list[Paid], seconds: float) -> dict[str, Any]:
    """The row of a class; `example` is the first case that was not paid what it is worth."""
    faults = [isinstance(one, str) for one in paid]
    over = [not isinstance(one, str) and worth == 0 < one for (_, _, worth), one in zip(cases, paid, strict=True)]
    under = [not isinstance(one, str) and one < worth == 1 for (_, _, worth), one in zip(cases, paid, strict=True)]
    scores = [one for one in paid if not isinstance(one, str)]
    first = next((index for index, bad in enumerate(zip(faults, over, under, strict=True)) if any(bad)), None)
    return {
        "n": len(cases),
        "worth": sum(worth for _, _, worth in cases) / len(cases),
        "mean": sum(scores) / len(scores) if scores else None,
        "spread": [min(scores), max(scores)] if scores else None,
        "false_positives": sum(over),
        "false_negatives": sum(under),
        "faults": sum(faults),
        "seconds": seconds,
        "example": None if first is None else example(cases[first], paid[first]),
    }


def example(case: Case, paid: Paid) -> str:
    """A completion, shortened in the middle and escaped, with its right answer and what it was paid."""
    columns, text, _ = case
    text = text if len(text) <= 60 else f"{text[:20]} ... {text[-35:]}"
    answer = columns["answer"] if len(columns["answer"]) <= 20 else f"{columns['answer'][:17]}..."
    return f"{text!a} for {answer}: {paid if isinstance(paid, str) else f'paid {paid:g}'}"


def as_text(report: dict[str, Any]) -> str:
    """A table by class, a group under the other, and the line that sums it up."""
    lines = []
    for group in hostile.GROUPS:
        rows = [row for row in report["classes"] if row["group"] == group]
        table = [(group, *COLUMNS[1:]), *map(cells, rows)]
        widths = [max(len(line[column]) for line in table) for column in range(len(COLUMNS) - 1)] + [0]
        lines += ["  ".join(map(str.ljust, line, widths)).rstrip() for line in table] + [""]
    odd = UNEVEN if report["uneven"] else ""
    return "\n".join(lines) + (
        f"{report['reward']}, {report['num_problems']} problems of {report['task']} (seed {report['seed']}), "
        f"{report['completions']} completions: {report['false_positives']} false positives, "
        f"{report['false_negatives']} false negatives, {report['faults']} faults; {report['by_convention']} by "
        f"convention{odd}. {report['completions_per_second']:,.0f} right completions a second; slowest: "
        f"{report['slowest_class']}, {report['slowest_seconds']:.2g} s each."
    )


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    mean = "-" if row["mean"] is None else f"{row['mean']:.3g}"
    counts = (row[key] for key in ("false_positives", "false_negatives", "faults"))
    return (row["class"], str(row["n"]), f"{row['worth']:.3g}", mean, *map(str, counts), row["example"] or "")


class Arguments(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (see {self.prog} --help)")


def main(argv: list[str]) -> int:
    """Print the audit; 1 where the reward pays wrongly or a call of it fails, else 0."""
    parser = Arguments(
        "arith-hf audit-reward", description="Find out whether a reward can be cheated.", allow_abbrev=False
    )
    parser.add_argument("reward", nargs="?", default="arith_hf.rewards.exact_answer", metavar="module.function")
    parser.add_argument("--task", default="expression", help="the written form: expression, addition/columns, ...")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num_problems", type=int, default=200)
    parser.add_argument("--format", choices=("text", "json"), default="text")
    given = parser.parse_args(argv)
    if given.num_problems < 1:
        raise ValueError(f"need --num_problems >= 1, got {given.num_problems}")
    asked = {"reward": given.reward, "task": given.task, "seed": given.seed, "num_problems": given.num_problems}
    report = asked | audit(rewards.find(given.reward), given.task, given.seed, given.num_problems)
    print(json.dumps(report) if given.format == "json" else as_text(report))
    return int(any(report[key] for key in ("false_positives", "false_negatives", "faults", "uneven")))
