"""Problems before their numbers: trees as the seed document draws them, forms that people type, what is malformed.

A shape is an expression with "#" for a number and "~" for the negative of one: the corpus draws the shape once and
other numbers until the problem falls into the split that it wants. May not know how an expression is read or worked.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from itertools import accumulate, count

from arith_hf.tasks.base import Step
from arith_hf.tasks.grammar import calculate, without_root

SAMPLERS = ("seed", "stratified")
LACKING = 0.5  # share of surroundings that are no expression for want of an operand, not of a parenthesis
STOP = 0.3  # the seed sampler ends at a node with this probability


def shape(
    rng: random.Random,
    *,
    sampler: str = "stratified",
    min_depth: int = 1,
    max_depth: int = 4,
    invalid: bool = False,
    unbalanced: bool | None = None,
    typed: bool = False,
    form: str | None = None,
    depth_weights: Sequence[float] | None = None,
) -> str:
    """A shape whose depth is in [min_depth, max_depth]; `invalid`, `typed` ones and FORMS follow their own rules.

    `seed` stops at any node with probability STOP; `stratified` draws the depth first, evenly or by `depth_weights`,
    and then such a tree of exactly that depth. `invalid` corrupts such a
    shape (almost always into a malformed one: check with `kind`); `unbalanced` says whether by taking parentheses of
    one kind away, and where it is said, nothing is more nested than before; `typed` is a form that people type.
    """
    if invalid:
        depths = {"min_depth": min_depth, "max_depth": max_depth, "depth_weights": depth_weights}
        whole = padded(rng, max_depth) if typed else shape(rng, sampler=sampler, **depths)  # type: ignore[arg-type]
        if unbalanced is None:
            return corrupted(rng, whole)
        for tried in count():
            if tried % TRIES == 0:
                lost = max(1, rng.choice(LOST) - tried // TRIES) if unbalanced else 1
                corruptions = (rng.choice(UNBALANCED),) if unbalanced else BALANCED
            broken = whole
            for _ in range(lost):
                broken = corrupted(rng, broken, corruptions)
            if nesting(broken) <= nesting(whole):
                return broken
    if typed:
        (form,) = rng.choices(list(TYPED), list(TYPED.values()))
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
    """What may stand before and behind a tree in a longer line, about `items` numbers and parentheses at most.

    Before it no node is complete, so its own steps come first. The whole is never an expression, for want of a
    parenthesis or of an operand: what is learned of long lines is how one step rewrites them, not the problems that
    they would be.
    """
    amount = round(items ** rng.random())
    ahead = rng.randint(0, amount)
    opens, closes = rng.choice((0.3, 0.5, 0.7)), rng.choice((0.3, 0.5, 0.7))

    def number() -> int:
        return value(rng, rng.choice((0, 0, 0, 1, 2)), num_range)

    before = ""
    for _ in range(ahead):
        # never two numbers side by side, which would be a node, complete before the tree
        if before[-1:] in ("", "(") and rng.random() >= opens:
            before += f"{number()} {rng.choice('+-')} "
        else:
            before += "("
    behind = ""
    for _ in range(amount - ahead):
        alone = re.search(r"\(-?[0-9]+$", f"{before}0{behind}")  # a number, or the tree's result, after a parenthesis
        if rng.random() < closes and not alone:
            behind += ")"
        elif rng.random() < 0.5:
            behind += f" {rng.choice('+-')} "
            while rng.random() < opens:  # whatever is rewritten before them, runs of "(" are copied whole
                behind += "("
            behind += str(number())
        else:
            behind += f" {rng.choice('+-')} ({number()} {rng.choice('+-')} {number()})"
    short = before.count("(") + behind.count("(") - behind.count(")")
    operands = list(re.finditer(r"(?<=[+-]) -?[0-9]+", behind))
    if operands and rng.random() < LACKING:  # as many parentheses closed as opened, and one operand lost
        lost = rng.choice(operands)
        before, behind = "(" * -short + before, behind[: lost.start()] + behind[lost.end() :] + ")" * short
    elif short == 0:
        before, behind = ("(" + before, behind) if rng.random() < 0.5 else (before, behind + ")")
    if re.search(r"\(-?[0-9]+\)", f"{before}0{behind}"):  # so too where a parenthesis was added at the end
        return surroundings(rng, num_range, items)
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
    """One to four terms, some of them in parentheses, needed or not; no tree is deeper than 4."""
    count = rng.choice((1, 2, 3, 3, 4))
    terms = ["#"] * count
    for place in rng.sample(range(count), rng.randint(1, count)):
        length = rng.choice((1, 2, 2, 3, 5)) if count > 1 else rng.choice((2, 3, 5))
        terms[place] = f"({chained(rng, '#' * min(length, 6 - count))})"
        if rng.random() < 0.1:
            terms[place] = f"({terms[place]})"
    return chained(rng, terms)


def padded(rng: random.Random, max_depth: int) -> str:
    """A tree of the seed sampler, or a fuller one, with spare parentheses anywhere: longer and more nested than deep.

    So neither tells a malformed problem from a good one. Not among TYPED: a model that sees them worked, and the spare
    ones left out of the first line, leaves out those of deeper problems too (LOG.md).
    """
    often, stop = rng.choice((0.1, 0.3, 0.5, 0.65)), rng.choice((STOP, STOP, STOP / 6))

    def tree(most: int) -> str:
        text = "#"
        if most and rng.random() >= stop:
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
TYPED = {"numbers": 1, "chains": 2, "signed": 1, "negatives": 1, "groups": 3}  # parentheses to be added are hard
UNBALANCED = ("no closing", "no opening")
TRIES = 8  # at losing so many of one kind, before fewer are lost
LOST = (1, 1, 1, 2, 3, 5, 8)  # how many parentheses: to see that many are missing is the way to see that one is
BALANCED = ("no right operand", "no left operand", "++", "--", "soup")
CORRUPTIONS = (*BALANCED[:4], *UNBALANCED, BALANCED[4])


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


def nesting(text: str) -> int:
    """The most parentheses that are open at once.

    >>> nesting("((#) + #")
    2
    """
    return max(accumulate((mark == "(") - (mark == ")") for mark in text))


def replaced(rng: random.Random, pattern: str, by: str, text: str) -> str:
    """The text with one match, drawn evenly, replaced; every corrupted shape has one."""
    match = rng.choice(list(re.finditer(pattern, text)))
    return text[: match.start()] + by + text[match.end() :]
