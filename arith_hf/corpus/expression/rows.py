"""What stands in each row of a corpus of expressions, and what its test sets are.

May not know where the rows are written. Training rows are drawn again until their problem falls into the split.
"""

import dataclasses
import random
from collections.abc import Callable
from typing import Any

from arith_hf import tasks
from arith_hf.corpus import preferences
from arith_hf.corpus.draw import Row, describe, split_of
from arith_hf.corpus.expression.arguments import ExpressionArguments
from arith_hf.notation import expression as notation
from arith_hf.tasks.base import Step, Working

SHAPES, FILLS = 200, 100  # draws of a shape, and of numbers for each, before a split is taken to hold no such problem

KNOWN = 0.7  # share of facts of two numbers inside num_range that are drawn again
WIDEST = 0.6  # share of facts from problems with numbers to drill_range itself, of which there are the most to learn
AS_PROBLEM = 0.5  # share of excerpts whose line is a problem: there the first copy is made
AS_FACTS = 0.6  # share of excerpts that are facts of a drill in a line of numbers as large
FACTS = (1, 2, 3, 4, 6)  # how many of them: of many the last ones are cut off, but what stands before is a long working
PADDED = 0.7  # share of verdicts on problems with spare parentheses
WIDE = 0.2  # share of verdicts on those of large numbers, also with spare parentheses
UNBALANCED = 0.6  # share of malformed problems in training that lack parentheses: the one corruption to be counted


# One problem, one row


def pose(rng: random.Random, split: str, recipe: ExpressionArguments, invalid: bool = False, **knobs: Any) -> str:
    """An expression whose normal form is in `split`: the shape stays while other numbers are tried.

    So bare numbers, of which a small split has few, keep their share. ValueError where the split seems to have none.
    """
    task = tasks.get(recipe.task)
    wanted = "invalid" if invalid else "valid"
    num_range = knobs.pop("num_range", recipe.num_range)
    if "sampler" not in knobs:
        knobs = {"sampler": recipe.sampler, "depth_weights": recipe.depth_weights, **knobs}
    knobs = {"min_depth": recipe.min_depth, "max_depth": recipe.max_depth, **knobs}
    for _ in range(SHAPES):
        shape = task.shape(rng, invalid=invalid, **knobs)
        for _ in range(FILLS):
            expression = task.fill(shape, rng, num_range)
            if split_of(task.normalise(expression)) == split and task.kind(expression) == wanted:
                return expression
    raise ValueError(
        f"found no {wanted} problem in the {split} split with depth {knobs['min_depth']} to {knobs['max_depth']} "
        f"and numbers {num_range[0]} to {num_range[1]}: widen the depths or the numbers"
    )


def pose_mixed(rng: random.Random, split: str, recipe: ExpressionArguments, invalid_rate: float) -> str:
    """A training problem: malformed, typed or of one large operation with the recipe's shares, else of its sampler."""
    share = rng.random()
    if share < invalid_rate:
        return pose(rng, split, recipe, invalid=True, unbalanced=rng.random() < UNBALANCED)
    if share < invalid_rate + recipe.typed_rate:
        return pose(rng, split, recipe, typed=True)
    if share < invalid_rate + recipe.typed_rate + recipe.single_rate:
        step = fact(rng, split, recipe)
        return f"{step.left} {step.operator} {step.right}"
    return pose(rng, split, recipe)


def sft_row(rng: random.Random, split: str, recipe: ExpressionArguments) -> Row:
    return describe(pose_mixed(rng, split, recipe, recipe.sft_invalid_rate or 0.0), split, recipe)


def prompts_row(rng: random.Random, split: str, recipe: ExpressionArguments) -> Row:
    expression = pose(
        rng,
        split,
        recipe,
        invalid=rng.random() < (recipe.sft_invalid_rate or 0.0),
        unbalanced=rng.random() < UNBALANCED,
        sampler="stratified",
        min_depth=recipe.prompts_min_depth,
        max_depth=recipe.prompts_max_depth,
        num_range=recipe.prompts_num_range,
    )
    row = describe(expression, split, recipe)
    return {column: row[column] for column in ("prompt", "answer", "task", "level", "steps", "kind")}


def preferences_row(rng: random.Random, split: str, recipe: ExpressionArguments) -> Row:
    return preferences.row(rng, lambda: pose_mixed(rng, split, recipe, invalid_rate=0.0), recipe)


def pretrain_row(rng: random.Random, split: str, recipe: ExpressionArguments) -> Row:
    """A text, of which the first `given` characters are there to be read, not learned.

    `ends` says that it is whole, so that a trainer puts its end token behind it (never behind a cut).
    """
    rates = (recipe.drill_rate, recipe.segment_rate, recipe.excerpt_rate, recipe.verdict_rate)
    (source,) = rng.choices((*PIECES, "trace"), (*rates, 1 - sum(rates)))
    given, learned = (PIECES | {"trace": trace})[source](rng, split, recipe)
    text = given + learned
    return {"text": text, "source": source, "given": len(given), "ends": notation.read_answer(text) is not None}


def trace(rng: random.Random, split: str, recipe: ExpressionArguments) -> tuple[str, str]:
    row = describe(pose_mixed(rng, split, recipe, recipe.invalid_rate), split, recipe)
    return row["prompt"], row["completion"]


def segment(rng: random.Random, split: str, recipe: ExpressionArguments) -> tuple[str, str]:
    """A few steps of a trace; the expression that they go on from is, as a problem, in the split too.

    Or one fact as the last step of a working: there it stands alone, without parentheses around it.
    """
    if rng.random() < recipe.segment_facts:
        step = fact(rng, split, recipe)
        alone = f"{step.left} {step.operator} {step.right}"
        working = Working((dataclasses.replace(step, expression=alone), step), step.result)
        return notation.segment(notation.problem(alone), working, start=1, count=1, first=1 + label(rng))
    typed = rng.random() < recipe.typed_rate
    expression, working, starts = worked(rng, split, recipe, typed)
    return notation.segment(
        notation.problem(expression),
        working,
        start=rng.choice(starts),
        count=rng.randint(1, recipe.segment_steps),
        first=1 + label(rng),
    )


def excerpt(rng: random.Random, split: str, recipe: ExpressionArguments) -> tuple[str, str]:
    """A few steps of a trace, or one to six facts of a drill, in a longer line, which is no expression.

    No fact has the result of another. As a problem, the line is in the split.
    """
    task = tasks.get(recipe.task)
    least, greatest = recipe.num_range
    if rng.random() < AS_FACTS:
        steps = [fact(rng, split, recipe) for _ in range(rng.choice(FACTS))]
        expression, *ahead = [f"{step.left} {step.operator} {step.right}" for step in steps]
        for one in ahead:  # nested to the right: all facts are worked before the first result is used
            expression = f"({one}) {rng.choice('+-')} ({expression})"
        working, greatest = task.work(expression), spread(rng, recipe)
        start, count, items = 0, len(steps), max(1, recipe.excerpt_items // 4)
    else:
        expression, working, starts = worked(rng, split, recipe, typed=False)
        start, count = rng.choice(starts), rng.randint(1, recipe.segment_steps)
        items = recipe.excerpt_items
    first = 1 if rng.random() < AS_PROBLEM else label(rng)
    while True:
        around = task.surroundings(rng, (least, greatest), items)
        given, learned = notation.excerpt(expression, working, start, count, first, around)
        if split_of(task.normalise(notation.posed(given))) == split:
            return given, learned


def verdict(rng: random.Random, split: str, recipe: ExpressionArguments) -> tuple[str, str]:
    """A problem, malformed or not with equal chance; its nesting does not tell which, its size and numbers hardly.

    Large numbers stand in problems of one operation alone, with spare parentheses.
    """
    task = tasks.get(recipe.task)
    kind, wide = rng.random(), {"max_depth": 1, "num_range": (recipe.num_range[0], spread(rng, recipe))}
    knobs: dict[str, Any] = wide if kind < WIDE else {}
    if rng.random() < 0.5:
        knobs |= {"invalid": True, "typed": kind < PADDED, "unbalanced": rng.random() < UNBALANCED}
    elif kind < PADDED:
        knobs |= {"form": "padded"}
    expression = pose(rng, split, recipe, **knobs)
    return notation.verdict(notation.problem(expression), task.work(expression))


def worked(rng: random.Random, split: str, recipe: ExpressionArguments, typed: bool) -> tuple[str, Working, list[int]]:
    """A problem with an operator, its working, and the steps that begin from an expression of the split."""
    task = tasks.get(recipe.task)
    while True:
        expression = pose(rng, split, recipe, typed=typed)
        working = task.work(expression)
        if working.steps:
            break
    heads = [expression, *(step.expression for step in working.steps[:-1])]
    return expression, working, [i for i, head in enumerate(heads) if split_of(task.normalise(head)) == split]


def label(rng: random.Random) -> int:
    """The number of a step: most workings are short, but longer ones than any trained on have larger numbers."""
    (most,) = rng.choices((15, notation.COUNTED, 150), (5, 3, 2))
    return rng.randint(1, most)


def drill(rng: random.Random, split: str, recipe: ExpressionArguments) -> tuple[str, str]:
    return notation.drill(label(rng), fact(rng, split, recipe))


def fact(rng: random.Random, split: str, recipe: ExpressionArguments) -> Step:
    """One step whose problem is in the split, as workings with numbers up to some bound have them.

    Facts of two small numbers are few and soon known: most of them are drawn again.
    """
    least, greatest = recipe.num_range
    for _ in range(SHAPES * FILLS):
        step = tasks.get(recipe.task).fact(rng, (least, spread(rng, recipe)), recipe.max_depth)
        if max(abs(step.left), abs(step.right)) <= greatest and rng.random() < KNOWN:
            continue
        if split_of(f"{step.left} {step.operator} {step.right}") == split:
            return step
    raise ValueError(f"found no fact in the {split} split with numbers {least} to {recipe.drill_range}: widen them")


def spread(rng: random.Random, recipe: ExpressionArguments) -> int:
    """The greatest number of the problem that a fact is from: drill_range, or down to num_range's by its logarithm."""
    greatest = recipe.num_range[1]
    widest = max(greatest, recipe.drill_range)
    return widest if rng.random() < WIDEST else round(greatest * (widest / greatest) ** rng.random())


PIECES: dict[str, Callable[[random.Random, str, ExpressionArguments], tuple[str, str]]] = {
    "drill": drill,
    "segment": segment,
    "excerpt": excerpt,
    "verdict": verdict,
}


# What the corpus stage asks for

ROWS: dict[str, Callable[[random.Random, str, ExpressionArguments], Row]] = {
    "pretrain": pretrain_row,
    "sft": sft_row,
    "prompts": prompts_row,
    "preferences": preferences_row,
}


def whole(recipe: ExpressionArguments) -> dict[str, list[str]]:
    """Sets of every problem of a small domain: none."""
    return {}


def sets(recipe: ExpressionArguments) -> list[tuple[str, Row, int]]:
    """(name, knobs of `pose`, rows) of the test sets."""
    harder = tasks.get(recipe.task).HARDER
    return [
        ("test/seed", {"sampler": "seed", "min_depth": 0}, recipe.num_test),
        ("test/nontrivial", {"sampler": "seed", "min_depth": 1}, recipe.num_test),
        ("heldout/validation", {"sampler": "seed", "min_depth": 1}, recipe.num_test),
        *(
            (f"{place}/invalid", {"sampler": "seed", "min_depth": 0, "invalid": True}, recipe.num_test)
            for place in ("test", "heldout")
        ),
        *(
            (f"{place}/{name}", harder[name][1], recipe.num_harder)
            for place in ("harder", "heldout")
            for name in recipe.harder or ()
            if name in harder
        ),
    ]
