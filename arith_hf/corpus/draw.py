"""Rows from random draws: the split of a problem, the columns of a row, and the training files.

May not know which task a problem is of, nor where the rows are written. Each row draws from its own string seed, so
that neither the number of workers nor the length of a file changes it.
"""

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

from datasets import Dataset

from arith_hf import notation, tasks
from arith_hf.corpus.arguments import CorpusArguments

# Chosen by trying: with this salt the bare numbers 1..20, too few to leave to luck, give two to validation (7, 19) and
# two to test (6, 15), as do -20..-1; the 800 problems `a + b`, `a - b` of 1..20 fall 637 / 77 / 86. A change of the
# salt makes every test set that was ever measured another one.
SALT = "arith-hf split 2375: "
WORTH = 1000  # rows for which a worker is worth its start
AT_ONCE = 20_000  # rows that are drawn before they are written: what a corpus takes of memory, 20 MB

Row = dict[str, Any]


def split_of(normal_form: str) -> str:
    """`train` (80 %), `validation` or `test` (10 % each), from nothing but the normalised problem."""
    share = int.from_bytes(hashlib.sha256((SALT + normal_form).encode()).digest()[:8], "big") % 10
    return "train" if share < 8 else "validation" if share == 8 else "test"


def describe(expression: str, split: str, recipe: CorpusArguments) -> Row:
    """Every column that a problem has in any file."""
    task, form = tasks.get(recipe.task), notation.of(recipe.form)
    working = task.work(expression)
    problem, solution = form.problem(expression), form.completion(working)
    return {
        "prompt": form.prompt(problem),
        "completion": solution,
        "expression": expression,
        "problem": problem,
        "solution": solution,
        "answer": str(working.answer),
        "task": recipe.form,
        "level": task.level(expression),
        "steps": len(working.steps),
        "kind": task.kind(expression),
        **{name: trait(expression) for name, trait in task.TRAITS.items()},
        "split": split,
    }


# Files


def files(room: ModuleType, recipe: CorpusArguments) -> Iterator[tuple[str, Iterator[Row]]]:
    """(path inside the corpus, rows) of each file of training rows of a task's room, and of the validation rows."""
    for part, make in room.ROWS.items():
        amount = getattr(recipe, f"num_{part}")
        for split, count in (("validation", recipe.num_validation), ("train", amount)):
            if count and amount:
                seed = f"{recipe.task}/{recipe.seed}/{part}/{split}"
                drawn = mapped(
                    draw_batch, f"Drawing {part}/{split}", range(count), recipe, make=make, seed=seed, split=split
                )
                yield f"{part}/{split}.jsonl", drawn


def mapped(draw: Callable, what: str, indices: Sequence[int], recipe: CorpusArguments, **options: Any) -> Iterator[Row]:
    """Rows of these indices, by `num_proc` workers; in memory, since a cache might hold the rows of older code."""
    for start in range(0, len(indices), AT_ONCE):
        part = indices[start : start + AT_ONCE]
        workers = min(recipe.num_proc, len(part) // WORTH)
        rows = Dataset.from_dict({"index": part}).map(
            draw,
            batched=True,
            remove_columns=["index"],
            fn_kwargs={"recipe": recipe, **options},
            num_proc=workers if workers > 1 else None,
            keep_in_memory=True,
            load_from_cache_file=False,
            desc=what if len(part) == len(indices) else f"{what} {start + len(part):,} of {len(indices):,}",
        )
        for batch in rows.iter(1000):
            yield from (dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True))
        del rows  # before the next are drawn


def draw_batch(batch: Row, recipe: CorpusArguments, make: Callable, seed: str, split: str) -> Row:
    """Columns of the rows with these indices."""
    rows = [make(random.Random(f"{seed}/{index}"), split, recipe) for index in batch["index"]]
    return {column: [row[column] for row in rows] for column in rows[0]}
