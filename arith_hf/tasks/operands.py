"""Sums before they are worked: operands of a length, carries that run, columns that repeat.

May not know how a sum is read or worked.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from arith_hf.tasks.grammar import MAX_DIGITS

PAIRS = [(one, other) for one in range(10) for other in range(10)]
CARRYING = [pair for pair in PAIRS if sum(pair) >= 10]  # make a carry
PASSING = [pair for pair in PAIRS if sum(pair) == 9]  # pass a carry on, and make none


def canonical(operands: Sequence[int]) -> str:
    return "+".join(map(str, operands)) + "="


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
