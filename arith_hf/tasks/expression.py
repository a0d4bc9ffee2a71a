"""Sums and differences with parentheses: how a problem is worked and judged (`grammar` reads it, `shapes` draws it).

May not know how a prompt or a working is written (`notation`), nor which split a problem belongs to (`corpus`).
Tidy, normalise, level and kind take time linear in the length of the expression, whatever its nesting; a working is as
long as the square of its operators, so `work` stops at MAX_OPERATORS and MAX_WRITTEN.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from arith_hf.tasks.base import ERROR, OFF, Answer, Fault, Reading, Step, Working, fault_at_end
from arith_hf.tasks.grammar import UnknownCharacter, bracketed, calculate, parse, tidy, without_root
from arith_hf.tasks.shapes import SAMPLERS, fact, shape, surroundings

__all__ = [  # what every task has
    "HARDER", "HINTED", "MALFORMED", "SAMPLERS", "TRAITS", "WHOLE", "UnknownCharacter",
    "fact", "fill", "judge", "kind", "level", "normalise", "plant", "pose", "shape", "surroundings", "tidy",
    "valid_steps", "work", "work_on",
]  # fmt: skip

TRAITS: dict[str, Callable[[str], int]] = {}  # columns of a row besides level
MALFORMED = True  # there are problems whose answer is ERROR
WHOLE: dict[str, str] = {}  # small domains of which there is a set of all problems
HARDER: dict[str, tuple[str, dict[str, object]]] = {  # sets of their own: what, and knobs of `shape`
    **{f"depth{n}": (f"depth {n}", {"sampler": "seed", "min_depth": n, "max_depth": n}) for n in (5, 6, 8)},
    **{
        f"numbers{n}": (f"numbers 1 to {n}", {"sampler": "seed", "min_depth": 1, "num_range": (1, n)})
        for n in (99, 999)
    },
    "chains": ("3 to 8 numbers, no parentheses", {"form": "chains"}),
    "negatives": ("each number negative with probability 0.5, one at least", {"form": "negatives"}),
    "groups": ("sums of 1 to 4 terms, some in parentheses", {"form": "groups"}),
    "operators": ("9 to 11 operators, split evenly at every node", {"form": "operators"}),
}
HINTED: dict[str, dict[str, object]] = {"hints": {"sampler": "seed", "min_depth": 1}}  # with a wrong result beside each
MAX_OPERATORS = 4096  # the working of so many fills ~60 MB; of ten times as many, 6 GB

MAX_WRITTEN = 1 << 28  # characters that a working may take, for the same reason: numbers may have 1 000 digits

# No number begins inside another, or a run of digits would be tried from each of them; Python reads none past 4300.
PAIR = "(-[0-9]{1,2000}|(?<![0-9])[0-9]{1,2000}) ([+-]) (-?[0-9]{1,2000})(?![0-9])"
OPERATION = re.compile(rf"\({PAIR}\)")
TOGETHER = re.compile(rf"\({PAIR}\)|{PAIR}")

# Reading


def normalise(expression: str) -> str:
    """The one text of all expressions with the same tree, or the tidy text of a malformed one.

    >>> normalise("((2))+3-4"), normalise("(5 + 3)"), normalise("5 +")
    ('(2 + 3) - 4', '5 + 3', '5 +')
    """
    tree = parse(expression)
    return tidy(expression) if tree is None else without_root(bracketed(tree))


def kind(expression: str) -> str:
    """`valid` or `invalid` (malformed)."""
    return "invalid" if parse(expression) is None else "valid"


def level(expression: str) -> int:
    """Depth of the tree: 0 for a bare number and for a malformed expression.

    >>> level("7"), level("2 + 3"), level("2 + 3 - 4")
    (0, 1, 2)
    """
    tree = parse(expression)
    depth = deepest = 0
    for character in "" if tree is None else bracketed(tree):
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    return deepest


# Working and judging


def work(expression: str) -> Working:
    """Every step in post-order, left to right; the expression after a step keeps the parentheses of its inner nodes.

    >>> [step.expression for step in work("1 + 2 - (3 + 4)").steps]
    ['3 - (3 + 4)', '3 - 7', '-4']
    """
    tree = parse(expression)
    if tree is None:
        return Working((), ERROR)
    text = bracketed(tree)
    if (operators := text.count("(")) > MAX_OPERATORS:
        raise ValueError(f"need at most {MAX_OPERATORS} operators to write a working, got {operators}")
    if operators * len(text) > MAX_WRITTEN:
        raise ValueError(
            f"need a working of at most {MAX_WRITTEN} characters: write fewer operators or shorter numbers"
        )
    steps = []
    while (end := text.find(")")) >= 0:  # the first ")" closes the next node to reduce
        start = text.rfind("(", 0, end)
        left, operator, right = text[start + 1 : end].split()
        result = calculate(int(left), operator, int(right))
        text = f"{text[:start]}{result}{text[end + 1 :]}"
        steps.append(Step(int(left), operator, int(right), result, without_root(text)))
    return Working(tuple(steps), int(text))


def work_on(expression: str, results: Sequence[int]) -> Working:
    """The working whose first steps have these results, right or wrong; the others follow from what they leave.

    >>> work_on("5 + (10 - 3)", [8]).steps[1].expression
    '13'
    """
    steps, line = [], expression
    for result in results:
        due, line = next(next_steps(line)), rewritten(line, result)
        steps.append(Step(due.left, due.operator, due.right, result, line))
    rest = work(line)
    return Working((*steps, *rest.steps), rest.answer)


def plant(expression: str, rng: random.Random) -> tuple[Working, int] | None:
    """A working with a wrong result in one step, worked on from there, and the place of that step.

    Any step but the last, behind which nothing is left to be worked out: None for a problem of fewer than two. The
    answer is never the right one.
    """
    due = work(expression).steps
    if len(due) < 2:
        return None
    index = rng.randrange(len(due) - 1)
    wrong = due[index].result + rng.choice((-1, 1)) * rng.choice(OFF)
    return work_on(expression, [*(step.result for step in due[:index]), wrong]), index


def judge(expression: str, reading: Reading, answer: Answer | None) -> Fault | None:
    """The first step that is not the one due, or else what is wrong behind the steps; None for a right working."""
    due = work(expression)
    for index, (step, wanted) in enumerate(zip(reading.steps or (), due.steps, strict=False)):
        if reason := difference(step, wanted):
            line = due.steps[index - 1].expression if index else expression
            return Fault(index, reason, mistake(step, index, due.steps, line))
        if reading.numbers and (number := reading.numbers[index]) != index + 1:
            return Fault(index, f"this is step {index + 1}, not {number}", "numbering")
    return fault_at_end(reading, due, answer)


def difference(step: Step, due: Step) -> str:
    """Why a step is not the one that is due; empty if it is."""
    if (step.left, step.operator, step.right) != (due.left, due.operator, due.right):
        wanted = f"{due.left} {due.operator} {due.right}"
        return f"the next operation is {wanted}, not {step.left} {step.operator} {step.right}"
    if step.result != due.result:
        return f"{due.left} {due.operator} {due.right} is {due.result}, not {step.result}"
    if step.expression != due.expression:
        return f"what remains is {due.expression}, not {step.expression}"
    return ""


def mistake(step: Step, index: int, due: Sequence[Step], line: str) -> str:
    """The kind of a step that is not the one due, `due[index]`; `line` is what it should reduce."""
    if step in due:
        return "dropped" if step in due[index:] else "repeated"
    now, *others = next_steps(line)
    if step in others:
        return "order"
    if operation(step) == operation(now):
        return "copy" if step.result == now.result else "digit"
    # Another operation. Its result stands at the place due, or the line has this operation elsewhere.
    if step.expression == rewritten(line, step.result):
        return "operand"
    flat = f" {bracketed_line(line)} ".translate({ord("("): None, ord(")"): None})
    return "order" if f" {operation(step)} " in flat else "operand"


def operation(step: Step) -> str:
    return f"{step.left} {step.operator} {step.right}"


def next_steps(line: str) -> Iterator[Step]:
    """Every operation of two numbers, done where it stands: the first is due. None in a bare number or malformed line.

    >>> [step.expression for step in next_steps("(1 + 2) - (3 + 4)")], list(next_steps("5 +"))
    (['3 - (3 + 4)', '(1 + 2) - 7'], [])
    """
    text = bracketed_line(line)
    for step in steps_in(text, OPERATION):
        yield replace(step, expression=without_root(step.expression))


def steps_in(text: str, operation: re.Pattern[str]) -> Iterator[Step]:
    """Every operation of two numbers, done where it stands, be the text an expression or not."""
    for match in operation.finditer(text):
        left, operator, right = (one for one in match.groups() if one is not None)
        result = calculate(int(left), operator, int(right))
        yield Step(int(left), operator, int(right), result, f"{text[: match.start()]}{result}{text[match.end() :]}")


def due(line: str) -> Step | None:
    """The operation due in a line, and what remains; in a malformed one, the first two numbers that stand together."""
    whole = bracketed_line(line)
    return next(next_steps(line) if whole else steps_in(line, TOGETHER), None)


def rewritten(line: str, result: object) -> str:
    """What remains of a line whose operation due has this result, whatever it is.

    >>> rewritten("(1 + 2) - (3 + 4)", 5), rewritten("(1 - (2 + 3) - (4 + 5)", 6)
    ('5 - (3 + 4)', '(1 - 6 - (4 + 5)')
    """
    whole = bracketed_line(line)
    if not whole:
        return TOGETHER.sub(lambda _: str(result), line, count=1)
    return without_root(OPERATION.sub(lambda _: str(result), whole, count=1))


def bracketed_line(line: str) -> str:
    """A line that a model wrote, in parentheses; empty where it is malformed or no expression at all."""
    try:
        tree = parse(line)
    except ValueError:
        return ""
    return "" if tree is None else bracketed(tree)


def valid_steps(expression: str, steps: Sequence[Step]) -> list[bool]:
    """Whether each step is the one due for the line that was written before it, be that line right or wrong.

    >>> valid_steps("1 + 2 - 4", [Step(1, "+", 2, 5, "5 - 4"), Step(5, "-", 4, 1, "1")])
    [False, True]
    """
    due = work(expression).steps
    known = dict(zip((expression, *(step.expression for step in due)), due, strict=False))
    lines = (expression, *(step.expression for step in steps))
    return [step == (known.get(line) or next(next_steps(line), None)) for line, step in zip(lines, steps, strict=False)]


# Posing


def fill(shape: str, rng: random.Random, num_range: tuple[int, int] = (1, 20)) -> str:
    """The tidy expression of a shape, each number drawn evenly from the range, both ends included."""
    drawn = re.sub("[#~]", lambda mark: str(rng.randint(*num_range) * (1 if mark[0] == "#" else -1)), shape)
    return tidy(drawn)


def pose(rng: random.Random, *, num_range: tuple[int, int] = (1, 20), invalid: bool = False, **knobs: object) -> str:
    """A tidy problem; the knobs are those of `shape`. With `invalid` it really is malformed, without it never is."""
    wanted = "invalid" if invalid else "valid"
    while True:
        expression = fill(shape(rng, invalid=invalid, **knobs), rng, num_range)  # type: ignore[arg-type]
        if kind(expression) == wanted:
            return expression
