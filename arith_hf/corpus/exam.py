"""The test sets, and their like of the validation split to choose by.

Fixed draws, whatever the seed, so that scores of corpora with other seeds compare. May not know what is trained on; a
problem is in a set only if its split says so.
"""

import random
from collections.abc import Iterator

from arith_hf import tasks
from arith_hf.corpus.arguments import CorpusArguments
from arith_hf.corpus.draw import Row, describe, mapped, pose

COPIES = 100  # draws per distinct problem asked for, before a set is taken to be impossible
COLUMNS = ("problem", "expression", "answer", "task", "level", "steps", "kind")


def files(recipe: CorpusArguments) -> Iterator[tuple[str, Iterator[Row]]]:
    """(path inside the corpus, rows) of each test set that the recipe asks for."""
    for name, knobs, count in sets(recipe):
        if count:
            yield f"{name}.jsonl", iter(drawn(name, knobs, count, recipe))


def sets(recipe: CorpusArguments) -> list[tuple[str, Row, int]]:
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
            for name in recipe.harder
        ),
    ]


def drawn(name: str, knobs: Row, count: int, recipe: CorpusArguments) -> list[Row]:
    """Rows of a test set, distinct but for those of the plain sampler."""
    normalise = tasks.get(recipe.task).normalise
    rows: list[Row] = []
    seen: set[str] = set()
    tried = 0
    while len(rows) < count and tried < COPIES * count:
        missing = count - len(rows)
        candidates = mapped(draw_batch, f"Drawing {name}", range(tried, tried + missing), recipe, name=name, knobs=knobs)
        tried += missing
        for row in candidates:
            normal = normalise(row["expression"])
            if name == "test/seed" or normal not in seen:
                seen.add(normal)
                rows.append(row)
    if len(rows) < count:
        raise ValueError(
            f"{name}: need {count} distinct problems, found {len(rows)} in {COPIES * count} draws: "
            "ask for fewer, or widen the depths or the numbers"
        )
    return rows


def draw_batch(batch: Row, name: str, knobs: Row, recipe: CorpusArguments) -> Row:
    """Columns of the candidates with these indices."""
    split = "validation" if name.startswith("heldout/") else "test"
    posed = (pose(random.Random(f"{recipe.task}/{name}/{index}"), split, recipe, **knobs) for index in batch["index"])
    rows = [describe(expression, split, recipe) for expression in posed]
    return {column: [row[column] for row in rows] for column in COLUMNS}
