"""What every task speaks of: a step, a working, an answer, a fault.

May not know how any of them is written down (`notation` does) nor which task they belong to.
"""

from dataclasses import dataclass
from typing import Any

ERROR = "ERROR"
"""The answer of a malformed problem."""

Answer = int | str
"""An integer, or `ERROR`."""


@dataclass(frozen=True, slots=True)
class Step:
    """One reduction, `left operator right = result`, and the expression that remains after it."""

    left: int
    operator: str
    right: int
    result: int
    expression: str


@dataclass(frozen=True, slots=True)
class Working:
    """Every step to the answer; a bare number has none, a malformed problem has none and the answer `ERROR`."""

    steps: tuple[Any, ...]
    answer: Answer


@dataclass(frozen=True, slots=True)
class Fault:
    """The first wrong step, counted from 0 (the number of steps if only the answer is wrong), and why it is wrong."""

    index: int
    reason: str
