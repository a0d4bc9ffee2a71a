"""What every task speaks of: a step, a working, an answer; what is read of a working, and its fault.

May not know how any of them is written down (`notation` does) nor which task they belong to.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

ERROR = "ERROR"
"""The answer of a malformed problem."""

OFF = (1, 2, 5, 10)
"""By how much a result that is planted, or hinted at, is wrong, up or down."""

SHOWN = 40  # characters of what is not in the form that a reason shows: a line of most workings

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
class Reading:
    """What stands in a written working: its steps, and what `judge` cannot see in them.

    steps: those in the form, up to the first that is not; None for a form that writes none. rest: the text behind them
    that is not in the form; empty where the working closes, or simply ends, as it should. numbers: those that the steps
    carry; none for a form that does not number them. finished: False for a text that was cut off.
    """

    steps: Sequence[Any] | None
    rest: str = ""
    numbers: tuple[int, ...] = ()
    finished: bool = True


KINDS = (
    "digit",  # the operation due, and a wrong result
    "operand",  # not the operation due, at its place or at none that can be told
    "carry",  # of a sum: the digits due, and a wrong carry
    "order",  # an operation that the line has, before its turn
    "copy",  # the right result, and what remains is miscopied
    "dropped",  # the step due is left out, and a later one stands there
    "repeated",  # an earlier step stands there again
    "numbering",  # the step due, with a wrong number
    "surplus",  # a step where none is due
    "stop",  # the working closes, or ends, where a step is due
    "verdict",  # a well-formed problem is called malformed, or a malformed one is worked
    "wording",  # what stands there is not in the form
    "none",  # every step is right, and there is no answer
    "answer",  # every step is right, and the answer is not what they lead to
    "cut",  # right as far as it goes; the text was cut off
)
"""What a fault can be."""


@dataclass(frozen=True, slots=True)
class Fault:
    """The first wrong step, counted from 0 (the number of steps if only the answer is wrong), why, and its kind."""

    index: int
    reason: str
    kind: str


def fault_at_end(reading: Reading, due: Working, answer: Answer | None, unit: str = "steps") -> Fault | None:
    """The fault behind steps of which each is the one due; None if the working is right to its end."""
    steps, needed = reading.steps or (), 0 if reading.steps is None else len(due.steps)
    done = len(steps)
    index, missing = min(done, needed), f"need {needed} {unit}, got {done}"
    verdict = ERROR in (answer, due.answer) and not index  # no step tells that the problem is well formed
    if done > needed:
        again = needed > 0 and steps[needed] == due.steps[-1]
        return Fault(index, missing, "verdict" if verdict else "repeated" if again else "surplus")
    if not reading.finished:
        return Fault(index, f"the text was cut off after {done} {unit}", "cut")
    if reading.rest:
        return Fault(index, f"not in the form: {reading.rest[:SHOWN]!r}", "wording")
    if done < needed:
        return Fault(index, missing, "verdict" if verdict else "stop")
    if answer != due.answer:
        kind = "none" if answer is None else "verdict" if verdict else "answer"
        return Fault(index, f"the answer is {due.answer}, not {answer}", kind)
    return None
