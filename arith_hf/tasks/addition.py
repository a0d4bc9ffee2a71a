"""Sums of whole numbers, column by column: how a problem is posed, worked and judged.

May not know how a prompt or a working is written (`notation`), nor which split a problem belongs to (`corpus`). A
problem is its canonical text: the operands joined by `+` and an `=` at the end, `658+189=`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from arith_hf.tasks.base import ERROR, OFF, Answer, Fault, Reading, Working, fault_at_end
from arith_hf.tasks.grammar import MAX_DIGITS, UnknownCharacter
from arith_hf.tasks.operands import canonical, pose

__all__ = [  # what every task has
    "HARDER", "HINTED", "MALFORMED", "TRAITS", "WHOLE", "UnknownCharacter",
    "judge", "kind", "level", "normalise", "plant", "pose", "tidy", "valid_steps", "work", "work_on",
]  # fmt: skip

HARDER: dict[str, tuple[str, dict[str, object]]] = {  # sets of their own: what, and knobs of `pose`
    **{
        f"digits{n}": (f"every number of {n} digits", {"min_digits": n, "max_digits": n, "equal": True})
        for n in (4, 6, 15, 20, 30, 50, 100, 200)
    },
    **{
        name: ("columns that repeat the one below", {"run_rate": 1.0, **knobs})
        for name, knobs in {
            "runs": {},
            "runs30": {"min_digits": 30, "max_digits": 30},
            "runs200": {"min_digits": 200, "max_digits": 200},
        }.items()
    },
    "cascades": ("a carry runs through several columns", {"carry_rate": 1.0, "min_digits": 2}),
    "operands": ("three to five operands", {"min_operands": 3, "max_operands": 5}),
}

HINTED: dict[str, dict[str, object]] = {}  # a sum has no word for a result but the answer itself
MALFORMED = False  # no problem's answer is ERROR
WHOLE = {"pairs": "all sums of two numbers below 100, those trained on too"}  # sets of all problems of a small domain

UNKNOWN = re.compile(r"[^0-9+=\s]")
NUMBER = rf"[0-9]{{1,{MAX_DIGITS}}}"
SUM = re.compile(rf"{NUMBER}(?:\+{NUMBER})+=?")


@dataclass(frozen=True, slots=True)
class Column:
    """One digit of each operand at a place (0 where it has none), the carry into it, and the sum of them all."""

    digits: tuple[int, ...]
    carry: int
    total: int


# Reading


def numbers(problem: str) -> tuple[int, ...] | None:
    """The operands in order, whatever the spaces and leading zeros, with or without the `=`; None if it is no sum.

    >>> numbers("658+189="), numbers(" 007 + 5"), numbers("7+"), numbers("3+4=7")
    ((658, 189), (7, 5), None, None)
    """
    text = "" if re.search(r"[0-9]\s+[0-9]", problem) else "".join(problem.split())
    return tuple(map(int, text.rstrip("=").split("+"))) if SUM.fullmatch(text) else None


def tidy(problem: str) -> str:
    """The canonical text; a malformed one only loses its spaces. Raises UnknownCharacter.

    >>> tidy(" 012 + 7"), tidy("12 + + 7")
    ('12+7=', '12++7')
    """
    if unknown := UNKNOWN.search(problem):
        raise UnknownCharacter(
            f"unknown character {unknown[0]!r} at column {unknown.start() + 1}: need digits, + and = only"
        )
    if apart := re.search(r"[0-9]\s+[0-9]", problem):
        raise ValueError(f"need + between numbers, got {apart[0]!r} at column {apart.start() + 1}")
    text = "".join(problem.split())
    longest = max(map(len, re.findall("[0-9]+", text)), default=0)
    if longest > MAX_DIGITS:
        raise ValueError(f"need numbers of at most {MAX_DIGITS} digits, got {longest}: write a shorter one")
    operands = numbers(text)
    return text if operands is None else canonical(operands)


def normalise(problem: str) -> str:
    """The one text of all orders of the operands, or the tidy text of a malformed problem.

    >>> normalise("658+189="), normalise("189+0658"), normalise("7+")
    ('189+658', '189+658', '7+')
    """
    operands = numbers(problem)
    return tidy(problem) if operands is None else "+".join(map(str, sorted(operands)))


def kind(problem: str) -> str:
    """`valid` or `invalid` (malformed)."""
    return "invalid" if numbers(problem) is None else "valid"


def level(problem: str) -> int:
    """Digits of the longest operand; 0 for a malformed problem."""
    return len(columns(numbers(problem) or ()))


def carries(problem: str) -> int:
    """The most columns in a row that carry out, the last one included; 0 for a malformed problem.

    >>> carries("999+1="), carries("5+3="), carries("15+7=")
    (3, 0, 1)
    """
    longest = run = 0
    for column in columns(numbers(problem) or ()):
        run = run + 1 if column.total >= 10 else 0
        longest = max(longest, run)
    return longest


TRAITS: dict[str, Callable[[str], int]] = {"carries": carries}  # columns of a row besides level


# Working and judging


def columns(operands: Sequence[int]) -> list[Column]:
    """The columns from the lowest place on, as many as the longest operand has digits.

    The last total stays whole: what it carries out leads the answer.
    """
    width = max((len(str(operand)) for operand in operands), default=0)
    found: list[Column] = []
    carry = 0
    for digits in zip(*(map(int, reversed(str(operand).zfill(width))) for operand in operands), strict=True):
        total = sum(digits) + carry
        found.append(Column(digits, carry, total))
        carry = total // 10
    return found


def work(problem: str) -> Working:
    """Every column and the sum; a malformed problem has none and the answer `ERROR`.

    >>> [(column.digits, column.carry, column.total) for column in work("99+21=").steps], work("99+21=").answer
    ([((9, 1), 0, 10), ((9, 2), 1, 12)], 120)
    """
    operands = numbers(problem)
    if operands is None:
        return Working((), ERROR)
    return Working(tuple(columns(operands)), sum(operands))


def work_on(problem: str, totals: Sequence[int]) -> Working:
    """The working whose lowest columns have these totals, right or wrong; their carries are taken on.

    >>> [column.total for column in work_on("658+189=", [16]).steps], work_on("658+189=", [16]).answer
    ([16, 14, 8], 846)
    """
    found: list[Column] = []
    answer = carry = 0
    operands = numbers(problem)
    if operands is None:
        return Working((), ERROR)
    for place, due in enumerate(columns(operands)):
        total = totals[place] if place < len(totals) else sum(due.digits) + carry
        found.append(Column(due.digits, carry, total))
        answer, carry = answer + total % 10 * 10**place, total // 10
    return Working(tuple(found), answer + carry * 10 ** len(found))


def plant(problem: str, rng: random.Random) -> tuple[Working, int] | None:
    """A working with a wrong total in one column, its carry taken on, and the place of that column.

    Any column but the last, behind which nothing is left to be worked out: None for a problem of fewer than two. The
    total is one that some digits would have; the answer is never the right one.
    """
    due = work(problem).steps
    if len(due) < 2:
        return None
    index = rng.randrange(len(due) - 1)
    column, right = due[index], [one.total for one in due[:index]]
    most = 9 * len(column.digits) + column.carry
    wrong = [column.total + sign * off for off in OFF for sign in (-1, 1) if 0 <= column.total + sign * off <= most]
    return work_on(problem, [*right, rng.choice(wrong)]), index


def judge(problem: str, reading: Reading, answer: Answer | None) -> Fault | None:
    """The first column that is not the one due, or else what is wrong behind the columns; None for a right working.

    Without steps (a form that writes none) the answer alone is judged. A column above those due is judged as padding.
    """
    due, steps = work(problem), reading.steps or ()
    wanted = list(due.steps)
    while due.steps and len(wanted) < len(steps):
        wanted.append(above(wanted[-1]))
    for index, (column, right) in enumerate(zip(steps, wanted, strict=False)):
        if reason := difference(column, right):
            return Fault(index, reason, mistake(steps, index, due.steps, right) if column.digits else missing(reading))
    return fault_at_end(reading, due, answer, "columns")


def missing(reading: Reading) -> str:
    """The kind of a column that does not stand there."""
    return "cut" if not reading.finished else "wording" if reading.rest else "stop"


def mistake(steps: Sequence[Column], index: int, due: Sequence[Column], right: Column) -> str:
    """The kind of the first column that is not the one due, `right`, one of those `due` or padding above them."""
    column = steps[index]
    digits = column.digits[: len(right.digits)]  # in the first column a carry looks like an operand more
    if digits == right.digits:
        return "digit" if column.digits == digits and column.carry == right.carry else "carry"
    behind, wanted = steps[index + 1 :], due[index + 1 :]
    if index < len(due) and [later.digits for later in behind] == [later.digits for later in wanted]:
        return "operand"  # the columns behind are in their places
    if index and digits == steps[index - 1].digits:
        return "repeated"
    return "dropped" if any(digits == later.digits for later in wanted) else "operand"


def above(column: Column) -> Column:
    """The column of padding above a column: zeros, and the carry out of it."""
    carry = column.total // 10
    return Column((0,) * len(column.digits), carry, carry)


def valid_steps(problem: str, steps: Sequence[Column]) -> list[bool]:
    """Whether each column has the digits of its place, the carry of the column written below it, and their sum.

    >>> valid_steps("58+17=", [Column((8, 7), 0, 25), Column((5, 1), 2, 8), Column((0, 0), 0, 0)])
    [False, True, False]
    """
    due = columns(numbers(problem) or ())
    carries = (0, *(column.total // 10 for column in steps))
    valid = [
        column == Column(right.digits, carry, sum(right.digits) + carry)
        for column, right, carry in zip(steps, due, carries, strict=False)
    ]
    return valid + [False] * (len(steps) - len(valid))


def difference(column: Column, due: Column) -> str:
    """Why a column is not the one that is due; empty if it is."""
    if column.digits != due.digits:
        return f"the digits are {listed(due.digits)}, not {listed(column.digits)}"
    if column.carry != due.carry:
        return f"the carry is {due.carry}, not {column.carry}"
    if column.total != due.total:
        return f"{listed(due.digits)} and a carry of {due.carry} make {due.total}, not {column.total}"
    return ""


def listed(digits: tuple[int, ...]) -> str:
    return ", ".join(map(str, digits)) or "none"
