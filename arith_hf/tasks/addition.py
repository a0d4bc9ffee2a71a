"""Sums of whole numbers, column by column: how a problem is posed, worked and judged.

May not know how a prompt or a working is written (`notation`), nor which split a problem belongs to (`corpus`). A
problem is its canonical text: the operands joined by `+` and an `=` at the end, `658+189=`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from arith_hf.tasks.base import ERROR, Answer, Fault, Reading, Working, fault_at_end
from arith_hf.tasks.grammar import MAX_DIGITS, UnknownCharacter

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

MALFORMED = False  # no problem's answer is ERROR
WHOLE = {"pairs": "all sums of two numbers below 100, those trained on too"}  # sets of all problems of a small domain

UNKNOWN = re.compile(r"[^0-9+=\s]")
NUMBER = rf"[0-9]{{1,{MAX_DIGITS}}}"
SUM = re.compile(rf"{NUMBER}(?:\+{NUMBER})+=?")

PAIRS = [(one, other) for one in range(10) for other in range(10)]
CARRYING = [pair for pair in PAIRS if sum(pair) >= 10]  # make a carry
PASSING = [pair for pair in PAIRS if sum(pair) == 9]  # pass a carry on, and make none


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


def canonical(operands: Sequence[int]) -> str:
    return "+".join(map(str, operands)) + "="


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


# Posing


def pose(
    rng: random.Random,
    *,
    min_digits: int = 1,
    max_digits: int = 3,
    min_operands: int = 2,
    max_operands: int = 2,
    carry_rate: float = 0.0,
    run_rate: float = 0.0,
    equal: bool = False,
) -> str:
    """A canonical problem whose longest operand has `min_digits` to `max_digits` digits, every length as likely.

    Each other operand is as long with probability 0.5, and always with `equal`; else its length is drawn evenly from 1
    on. With probability `carry_rate` it is a cascade of two operands, with `run_rate` one of runs; neither where
    `min_operands` is above 2.
    """
    if not 1 <= min_digits <= max_digits <= MAX_DIGITS:
        raise ValueError(f"need 1 <= min_digits <= max_digits <= {MAX_DIGITS}, got {min_digits} and {max_digits}")
    if not 2 <= min_operands <= max_operands:
        raise ValueError(f"need 2 <= min_operands <= max_operands, got {min_operands} and {max_operands}")
    if min(carry_rate, run_rate) < 0 or carry_rate + run_rate > 1:
        raise ValueError(
            f"need carry_rate and run_rate of at least 0, at most 1 in all, got {carry_rate} and {run_rate}"
        )
    longest = rng.randint(min_digits, max_digits)
    kind = rng.random()
    if kind < carry_rate + run_rate and min_operands == 2:
        return canonical(cascade(rng, longest) if kind < carry_rate else runs(rng, longest))
    others = range(rng.randint(min_operands, max_operands) - 1)
    lengths = [longest, *(longest if equal or rng.random() < 0.5 else rng.randint(1, longest) for _ in others)]
    rng.shuffle(lengths)
    return canonical([number(rng, digits) for digits in lengths])


def number(rng: random.Random, digits: int) -> int:
    """A number of exactly so many digits, each as likely; of one digit it may be 0."""
    return rng.randint(10 ** (digits - 1) if digits > 1 else 0, 10**digits - 1)


def cascade(rng: random.Random, digits: int) -> tuple[int, int]:
    """Two numbers of so many digits, and a carry that runs through columns which sum to 9 without it.

    The run has any length and place. The column below it makes the carry; a run at the lowest place makes it itself.
    """
    length = rng.randint(1, digits)
    start = rng.randint(0, digits - length)
    one = other = 0
    for place in range(digits):
        pairs = PASSING if start <= place < start + length else PAIRS
        if place == max(start - 1, 0):
            pairs = CARRYING
        if 0 < place == digits - 1:  # no number begins with 0
            pairs = [pair for pair in pairs if min(pair) > 0]
        pair = rng.choice(pairs)
        one, other = one + pair[0] * 10**place, other + pair[1] * 10**place
    return one, other


def runs(rng: random.Random, digits: int) -> tuple[int, int]:
    """Two numbers of so many digits whose columns often repeat the one below, the highest too: 9999+9999, 1166+5588.

    Drawn evenly these are too rare to be learned or seen in a test, and a model that finds a column by what stands
    there takes one for the other (LOG.md).
    """
    stay, pairs = rng.choice((0.5, 0.8, 0.95)), rng.choice((PAIRS, [*CARRYING, *PASSING]))
    one = other = 0
    pair = rng.choice(pairs)
    for place in range(digits):
        if rng.random() >= stay:
            pair = rng.choice(pairs)
        if 0 < place == digits - 1 and min(pair) == 0:  # no number begins with 0
            pair = rng.choice([pair for pair in pairs if min(pair) > 0])
        one, other = one + pair[0] * 10**place, other + pair[1] * 10**place
    return one, other
