"""Workings with one fault planted, of problems of every kind that there is: material for tests."""

import random

from arith_hf.corruption import addition as sums
from arith_hf.corruption import expression as faults
from arith_hf.corruption.expression import KINDS as EXPRESSION
from arith_hf.corruption.expression import Trace, written
from arith_hf.corruption.planted import Planted
from arith_hf.tasks import addition, expression

COLUMNS = sums.KINDS
__all__ = ["COLUMNS", "EXPRESSION", "Planted", "plant", "plant_in_columns", "trace", "written"]


def trace(rng: random.Random) -> Trace:
    """Of a problem of any kind that there is."""
    knobs = rng.choice(
        [
            *({"sampler": sampler, "typed": typed} for sampler in expression.SAMPLERS for typed in (False, True)),
            *({"form": form} for form in ("chains", "negatives", "groups", "operators")),
        ]
    )
    problem = expression.pose(rng, num_range=rng.choice([(1, 20), (1, 99), (1, 9)]), **knobs)
    working = expression.work(problem)
    return Trace(rng, problem, working.steps, working.answer, rng.randrange(max(1, len(working.steps))))


def plant(kind: str, seed: str) -> Planted:
    """A working of an expression with a fault of this kind."""
    rng = random.Random(seed)
    while True:
        one = trace(rng)
        if one.steps and (planted := faults.KINDS[kind](one)):
            return planted


def plant_in_columns(kind: str, seed: str) -> Planted:
    """A working of a sum, column by column, with a fault of this kind."""
    rng = random.Random(seed)
    while True:
        problem = addition.pose(rng, max_digits=8, max_operands=4, carry_rate=0.2)
        if planted := sums.spoil(rng, problem, kind):
            return planted
