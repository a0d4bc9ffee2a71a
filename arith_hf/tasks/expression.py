"""Sums and differences with parentheses: how a problem is drawn, worked and judged (`grammar` reads it).

May not know how a prompt or a working is written (`notation`), nor which split a problem belongs to (`corpus`).
Tidy, normalise, level and kind take time linear in the length of the expression, whatever its nesting; a working is as
long as the square of its operators, so `work` stops at MAX_OPERATORS.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from arith_hf.tasks.base import ERROR, Answer, Fault, Step, Working
from arith_hf.tasks.grammar import UnknownCharacter, bracketed, parse, tidy, without_root

__all__ = [  # what every task has
    "HARDER", "SAMPLERS", "UnknownCharacter",
    "fact", "fill", "judge", "kind", "level", "normalise", "pose", "shape", "surroundings", "tidy", "work",
]  # fmt: skip

SAMPLERS = ("seed", "stratified")
HARDER: dict[str, tuple[str, dict[str, object]]] = {  # sets beyond the training problems: what, and knobs of `shape`
    **{f"depth{n}": (f"depth {n}", {"sampler": "seed", "min_depth": n, "max_depth": n}) for n in (5, 6, 8)},
    **{
        f"numbers{n}": (f"numbers 1 to {n}", {"sampler": "seed", "min_depth": 1, "num_range": (1, n)})
        for n in (99, 999)
    },
    "chains": ("3 to 8 numbers, no parentheses", {"form": "chains"}),
    "negatives": ("each number negative with probability 0.5, one at least", {"form": "negatives"}),
    "operators": ("9 to 11 operators, split evenly at every node", {"form": "operators"}),
}
MAX_OPERATORS = 4096  # the working of so many fills ~60 MB; of ten times as many, 6 GB
STOP = 0.3  # the seed sampler ends at a node with this probability

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


def calculate(left: int, operator: str, right: int) -> int:
    return left + right if operator == "+" else left - right


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
    steps = []
    while (end := text.find(")")) >= 0:  # the first ")" closes the next node to reduce
        start = text.rfind("(", 0, end)
        left, operator, right = text[start + 1 : end].split()
        result = calculate(int(left), operator, int(right))
        text = f"{text[:start]}{result}{text[end + 1 :]}"
        steps.append(Step(int(left), operator, int(right), result, without_root(text)))
    return Working(tuple(steps), int(text))


def judge(expression: str, steps: Sequence[Step], answer: Answer | None) -> Fault | None:
    """The first step that is not the one due, or the answer if all steps are right; None for a right working."""
    due = work(expression)
    for index, (step, right) in enumerate(zip(steps, due.steps, strict=False)):
        if reason := difference(step, right):
            return Fault(index, reason)
    if len(steps) != len(due.steps):
        return Fault(min(len(steps), len(due.steps)), f"need {len(due.steps)} steps, got {len(steps)}")
    if answer != due.answer:
        return Fault(len(steps), f"the answer is {due.answer}, not {answer}")
    return None


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


# Posing. A shape is an expression with "#" for a number and "~" for the negative of one: the corpus draws the shape
# once and other numbers until the problem falls into the split that it wants.


def shape(
    rng: random.Random,
    *,
    sampler: str = "stratified",
    min_depth: int = 1,
    max_depth: int = 4,
    invalid: bool = False,
    unbalanced: bool = False,
    typed: bool = False,
    form: str | None = None,
    depth_weights: Sequence[float] | None = None,
) -> str:
    """A shape whose depth is in [min_depth, max_depth]; `invalid`, `typed` ones and FORMS follow their own rules.

    `seed` stops at any node with probability STOP; `stratified` draws the depth first, evenly or by `depth_weights`,
    and then such a tree of exactly that depth. `invalid` corrupts such a
    shape (almost always into a malformed one: check with `kind`), `unbalanced` by taking one parenthesis away;
    `typed` is a form that people type.
    """
    if invalid:
        depths = {"min_depth": min_depth, "max_depth": max_depth, "depth_weights": depth_weights}
        whole = padded(rng, max_depth) if typed else shape(rng, sampler=sampler, **depths)  # type: ignore[arg-type]
        return corrupted(rng, whole, UNBALANCED if unbalanced else CORRUPTIONS)
    if typed:
        form = rng.choice(TYPED)
    if form:
        return FORMS[form](rng, max_depth)
    if sampler == "stratified":
        (min_depth,) = (max_depth,) = rng.choices(range(min_depth, max_depth + 1), depth_weights)
    while True:
        drawn, depth = stopped(rng, max_depth)
        if depth >= min_depth:
            return without_root(drawn)


def stopped(rng: random.Random, most: int) -> tuple[str, int]:
    """The seed document's tree and its depth: a number at depth `most`, or with probability STOP before it."""
    if most == 0 or rng.random() < STOP:
        return "#", 0
    (left, one), operator, (right, other) = stopped(rng, most - 1), rng.choice("+-"), stopped(rng, most - 1)
    return f"({left} {operator} {right})", 1 + max(one, other)


def fact(rng: random.Random, num_range: tuple[int, int] = (1, 20), max_depth: int = 4) -> Step:
    """A step as the workings of the seed sampler have them: each operand is the value of a subtree.

    A node has 2 (1 - STOP) operators below it on average, so that much more often the operands are one level lower.
    """
    depths = range(max_depth)
    (depth,) = rng.choices(depths, [(2 * (1 - STOP)) ** (max_depth - 1 - depth) for depth in depths])
    left, operator, right = value(rng, depth, num_range), rng.choice("+-"), value(rng, depth, num_range)
    result = calculate(left, operator, right)
    return Step(left, operator, right, result, str(result))


def value(rng: random.Random, most: int, num_range: tuple[int, int]) -> int:
    """What a tree of `stopped` is worth, without writing it."""
    if most == 0 or rng.random() < STOP:
        return rng.randint(*num_range)
    return calculate(value(rng, most - 1, num_range), rng.choice("+-"), value(rng, most - 1, num_range))


def surroundings(rng: random.Random, num_range: tuple[int, int] = (1, 20), items: int = 40) -> tuple[str, str]:
    """What may stand before and behind a tree in a longer line, `items` numbers and parentheses at most.

    Before it no node is complete, so its own steps come first. The whole is never an expression: what is learned of
    long lines is how one step rewrites them, not the problems that they would be.
    """
    amount = round(items ** rng.random())
    ahead = rng.randint(0, amount)
    opens, closes = rng.choice((0.3, 0.5, 0.7)), rng.choice((0.3, 0.5, 0.7))

    def number() -> int:
        return value(rng, rng.choice((0, 0, 0, 1, 2)), num_range)

    before = "".join("(" if rng.random() < opens else f"{number()} {rng.choice('+-')} " for _ in range(ahead))
    behind = ""
    for _ in range(amount - ahead):
        kind = rng.random()
        if kind < closes:
            behind += ")"
        elif kind < (1 + closes) / 2:
            behind += f" {rng.choice('+-')} {number()}"
        else:
            behind += f" {rng.choice('+-')} ({number()} {rng.choice('+-')} {number()})"
    if before.count("(") + behind.count("(") == behind.count(")"):
        return ("(" + before, behind) if rng.random() < 0.5 else (before, behind + ")")
    return before, behind


def chained(rng: random.Random, terms: Sequence[str]) -> str:
    return terms[0] + "".join(f" {rng.choice('+-')} {term}" for term in terms[1:])


# Forms: what people type, and what is harder than what is trained on


def numbers(rng: random.Random, max_depth: int) -> str:
    return rng.choice(("#", "~", "(#)", "(~)", "((#))"))


def chains(rng: random.Random, max_depth: int) -> str:
    return chained(rng, "#" * rng.randint(3, 8))


def signed(rng: random.Random, max_depth: int) -> str:
    """A short chain with negative numbers, some of them in parentheses."""
    terms = [rng.choice(("#", "~", "(~)")) for _ in range(rng.randint(2, 4))]
    terms[rng.randrange(len(terms))] = rng.choice(("~", "(~)"))
    return chained(rng, terms)


def negatives(rng: random.Random, max_depth: int) -> str:
    """A shape of the seed sampler with an operator, each number negative with probability 0.5, one at least."""
    while True:
        drawn = shape(rng, sampler="seed", min_depth=1, max_depth=max_depth)
        if "~" in (signs := re.sub("#", lambda _: rng.choice("#~"), drawn)):
            return signs


def groups(rng: random.Random, max_depth: int) -> str:
    """Parentheses around the whole, or around one or two terms, needed or not."""
    terms = [f"({chained(rng, '#' * rng.randint(1, 3))})" for _ in range(rng.choice((1, 1, 2)))]
    if rng.random() < 0.3:
        terms[0] = f"({terms[0]})"
    terms += "#" * rng.randint(0, 2)
    rng.shuffle(terms)
    return chained(rng, terms)


def padded(rng: random.Random, max_depth: int) -> str:
    """A tree of the seed sampler with spare parentheses anywhere: longer and more nested than deep.

    So neither tells a malformed problem from a good one.
    """
    often = rng.choice((0.1, 0.3, 0.5))

    def tree(most: int) -> str:
        text = "#"
        if most and rng.random() >= STOP:
            text = f"({tree(most - 1)} {rng.choice('+-')} {tree(most - 1)})"
        while rng.random() < often:
            text = f"({text})"
        return text

    drawn = tree(max_depth)
    while max_depth and " " not in drawn:
        drawn = tree(max_depth)
    spare = max_depth == 0 or rng.random() < 0.2 or (drawn.startswith("((") and drawn.endswith("))"))
    return drawn if spare else drawn[1:-1]


def operators(rng: random.Random, max_depth: int) -> str:
    return without_root(spread(rng, rng.randint(9, 11)))


def spread(rng: random.Random, count: int) -> str:
    """A tree of so many operators; how many of them go to the left of each is drawn evenly."""
    if count == 0:
        return "#"
    left = rng.randrange(count)
    return f"({spread(rng, left)} {rng.choice('+-')} {spread(rng, count - 1 - left)})"


FORMS = {form.__name__: form for form in (numbers, chains, signed, negatives, groups, padded, operators)}
TYPED = ("numbers", "chains", "signed", "negatives", "groups", "padded")
UNBALANCED = ("no closing", "no opening")
CORRUPTIONS = ("no right operand", "no left operand", "++", "--", *UNBALANCED, "soup")


def corrupted(rng: random.Random, shape: str, corruptions: Sequence[str] = CORRUPTIONS) -> str:
    """One of the corruptions, at a random place; rarely the outcome is well formed (`- 5 + 3`)."""
    corruption = rng.choice(corruptions)
    if corruption == "soup":
        return " ".join(rng.choice("##+-()") for _ in range(rng.randint(2, 8)))
    if " " not in shape:  # a number, perhaps in parentheses
        shape = f"{shape} {rng.choice('+-')} #"
    if corruption in UNBALANCED:
        mark = ")" if corruption == "no closing" else "("
        return replaced(rng, rf"[{mark}]", "", shape if mark in shape else f"({shape})")
    if corruption in ("++", "--"):
        return replaced(rng, r"[+-]", corruption, shape)
    if corruption == "no right operand":
        return replaced(rng, r"(?<=[+-]) #" if re.search(r"[+-] #", shape) else r" #|#", "", shape)
    return replaced(rng, r"# (?=[+-])" if re.search(r"# [+-]", shape) else r"#", "", shape)


def replaced(rng: random.Random, pattern: str, by: str, text: str) -> str:
    """The text with one match, drawn evenly, replaced; every corrupted shape has one."""
    match = rng.choice(list(re.finditer(pattern, text)))
    return text[: match.start()] + by + text[match.end() :]


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
