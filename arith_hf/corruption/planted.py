"""What a planted fault is, and a number that is wrong in one digit.

May not know the task of a problem.
"""

import random
from dataclasses import dataclass

HALF = 0.5  # chance that a working goes on from its fault, where nothing else is asked for


@dataclass(frozen=True)
class Planted:
    """A text with a fault, counted from 0; `problem` is what was asked."""

    problem: str
    text: str
    index: int
    kind: str


def other_digit(rng: random.Random, number: int) -> int:
    """The number with one of its digits changed."""
    text = str(number)
    place = rng.choice([index for index, character in enumerate(text) if character.isdigit()])
    changed = int(text[:place] + rng.choice("0123456789") + text[place + 1 :])
    return changed if changed != number else other_digit(rng, number)
