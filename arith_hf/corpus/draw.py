"""Rows from random draws: the split of a problem, and what stands in each training file of a corpus.

May not know where the rows are written. Each row draws from its own string seed, so that neither the number of
workers nor the length of a file changes it; training rows are drawn again until their problem falls into the split.
"""

import dataclasses
import hashlib
import random
from collections.abc import Callable, Iterator
from typing import Any

from datasets import Dataset

from arith_hf import notation, tasks
from arith_hf.corpus.arguments import CorpusArguments
from arith_hf.tasks.base import Step, Working

# Chosen by trying: with this salt the bare numbers 1..20, too few to leave to luck, give two to validation (7, 19) and
# two to test (6, 15), as do -20..-1; the 800 problems `a + b`, `a - b` of 1..20 fall 637 / 77 / 86. A change of the
# salt makes every test set that was ever measured another one.
SALT = "arith-hf split 2375: "
SHAPES, FILLS = 200, 100  # draws of a shape, and of numbers for each, before a split is taken to hold no such problem

KNOWN = 0.7  # share of facts of two numbers inside num_range that are drawn again
WIDEST = 0.6  # share of facts from problems with numbers to drill_range itself, of which there are the most to learn
AS_PROBLEM = 0.5  # share of excerpts whose line is a problem: there the first copy is made
AS_FACTS = 0.6  # share of excerpts that are facts of a drill in a line of numbers as large
FACTS = (1, 2, 3, 4, 6)  # how many of them: of many the last ones are cut off, but what stands before is a long working
PADDED = 0.7  # share of verdicts on problems with spare parentheses
WIDE = 0.2  # share of verdicts on those of large numbers, also with spare parentheses
UNBALANCED = 0.6  # share of malformed problems in training that lack parentheses: the one corruption to be counted

WORTH = 1000  # rows for which a worker is worth its start

Row = dict[str, Any]


def split_of(normal_form: str) -> str:
    """`train` (80 %), `validation` or `test` (10 % each), from nothing but the normalised problem."""
    share = int.from_bytes(hashlib.sha256((SALT + normal_form).encode()).digest()[:8], "big") % 10
    return "train" if share < 8 else "validation" if share == 8 else "test"


# One problem, one row


def pose(rng: random.Random, split: str, recipe: CorpusArguments, invalid: bool = False, **knobs: Any) -> str:
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


def pose_mixed(rng: random.Random, split: str, recipe: CorpusArguments, invalid_rate: float) -> str:
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


def describe(expression: str, split: str, recipe: CorpusArguments) -> Row:
    """Every column that a problem has in any file."""
    task = tasks.get(recipe.task)
    working = task.work(expression)
    problem, solution = notation.problem(expression, recipe.task), notation.completion(working)
    return {
        "prompt": notation.prompt(problem),
        "completion": solution,
        "expression": expression,
        "problem": problem,
        "solution": solution,
        "answer": str(working.answer),
        "task": recipe.task,
        "level": task.level(expression),
        "steps": len(working.steps),
        "kind": task.kind(expression),
        "split": split,
    }


def sft_row(rng: random.Random, split: str, recipe: CorpusArguments) -> Row:
    return describe(pose_mixed(rng, split, recipe, recipe.sft_invalid_rate or 0.0), split, recipe)


def prompts_row(rng: random.Random, split: str, recipe: CorpusArguments) -> Row:
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


def pretrain_row(rng: random.Random, split: str, recipe: CorpusArguments) -> Row:
    """A text, of which the first `given` characters are there to be read, not learned.

    `ends` says that it is whole, so that a trainer puts its end token behind it (never behind a cut).
    """
    rates = (recipe.drill_rate, recipe.segment_rate, recipe.excerpt_rate, recipe.verdict_rate)
    (source,) = rng.choices((*PIECES, "trace"), (*rates, 1 - sum(rates)))
    given, learned = (PIECES | {"trace": trace})[source](rng, split, recipe)
    text = given + learned
    return {"text": text, "source": source, "given": len(given), "ends": notation.read_answer(text) is not None}


def trace(rng: random.Random, split: str, recipe: CorpusArguments) -> tuple[str, str]:
    row = describe(pose_mixed(rng, split, recipe, recipe.invalid_rate), split, recipe)
    return row["prompt"], row["completion"]


def segment(rng: random.Random, split: str, recipe: CorpusArguments) -> tuple[str, str]:
    """A few steps of a trace; the expression that they go on from is, as a problem, in the split too.

    Or one fact as the last step of a working: there it stands alone, without parentheses around it.
    """
    if rng.random() < recipe.segment_facts:
        step = fact(rng, split, recipe)
        alone = f"{step.left} {step.operator} {step.right}"
        working = Working((dataclasses.replace(step, expression=alone), step), step.result)
        return notation.segment(notation.problem(alone, recipe.task), working, start=1, count=1, first=1 + label(rng))
    typed = rng.random() < recipe.typed_rate
    expression, working, starts = worked(rng, split, recipe, typed)
    return notation.segment(
        notation.problem(expression, recipe.task),
        working,
        start=rng.choice(starts),
        count=rng.randint(1, recipe.segment_steps),
        first=1 + label(rng),
    )


def excerpt(rng: random.Random, split: str, recipe: CorpusArguments) -> tuple[str, str]:
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


def verdict(rng: random.Random, split: str, recipe: CorpusArguments) -> tuple[str, str]:
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
    return notation.verdict(notation.problem(expression, recipe.task), task.work(expression))


def worked(rng: random.Random, split: str, recipe: CorpusArguments, typed: bool) -> tuple[str, Working, list[int]]:
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


def drill(rng: random.Random, split: str, recipe: CorpusArguments) -> tuple[str, str]:
    return notation.drill(label(rng), fact(rng, split, recipe))


def fact(rng: random.Random, split: str, recipe: CorpusArguments) -> Step:
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


def spread(rng: random.Random, recipe: CorpusArguments) -> int:
    """The greatest number of the problem that a fact is from: drill_range, or down to num_range's by its logarithm."""
    greatest = recipe.num_range[1]
    widest = max(greatest, recipe.drill_range)
    return widest if rng.random() < WIDEST else round(greatest * (widest / greatest) ** rng.random())


PIECES: dict[str, Callable[[random.Random, str, CorpusArguments], tuple[str, str]]] = {
    "drill": drill,
    "segment": segment,
    "excerpt": excerpt,
    "verdict": verdict,
}

# Files

TRAINING: dict[str, tuple[str, Callable[[random.Random, str, CorpusArguments], Row]]] = {
    "pretrain": ("num_pretrain", pretrain_row),
    "sft": ("num_sft", sft_row),
    "prompts": ("num_prompts", prompts_row),
}


def files(recipe: CorpusArguments) -> Iterator[tuple[str, Iterator[Row]]]:
    """(path inside the corpus, rows) of each file of training rows, and of the validation rows beside it."""
    for part, (amount, _) in TRAINING.items():
        for split, count in (("validation", recipe.num_validation), ("train", getattr(recipe, amount))):
            if count and getattr(recipe, amount):
                yield f"{part}/{split}.jsonl", drawn_training(part, split, count, recipe)


def drawn_training(part: str, split: str, count: int, recipe: CorpusArguments) -> Iterator[Row]:
    return mapped(draw_batch, f"Drawing {part}/{split}", range(count), recipe, part=part, split=split)


def mapped(draw: Callable, what: str, indices: range, recipe: CorpusArguments, **options: Any) -> Iterator[Row]:
    """Rows of these indices, drawn by `num_proc` workers; in memory, since a cache might hold the rows of older code."""
    workers = min(recipe.num_proc, len(indices) // WORTH)
    rows = Dataset.from_dict({"index": indices}).map(
        draw,
        batched=True,
        remove_columns=["index"],
        fn_kwargs={"recipe": recipe, **options},
        num_proc=workers if workers > 1 else None,
        keep_in_memory=True,
        load_from_cache_file=False,
        desc=what,
    )
    for batch in rows.iter(1000):
        yield from (dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True))


def draw_batch(batch: dict[str, list[int]], part: str, split: str, recipe: CorpusArguments) -> dict[str, list[Any]]:
    """Columns of the rows with these indices."""
    make = TRAINING[part][1]
    seed = f"{recipe.task}/{recipe.seed}/{part}/{split}"
    rows = [make(random.Random(f"{seed}/{index}"), split, recipe) for index in batch["index"]]
    return {column: [row[column] for row in rows] for column in rows[0]}
