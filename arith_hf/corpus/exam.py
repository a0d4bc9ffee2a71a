"""The test sets, and their like of the validation split to choose by.

Fixed draws, whatever the seed, so that scores of corpora with other seeds compare. May not know what is trained on; a
problem is in a set only if its split says so, but for those of `whole`, which hold every problem there is.
"""

import random
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle
from types import ModuleType

from arith_hf import notation, tasks
from arith_hf.corpus import draw
from arith_hf.corpus.arguments import CorpusArguments
from arith_hf.corpus.draw import Row, describe, mapped, split_of
from arith_hf.tasks.base import OFF

COPIES = 100  # draws per distinct problem asked for, before a set is taken to be impossible
HINTS = {
    **{f"off{off}": off for off in OFF},
    "random": 0,
}  # kinds of hint, one row each in turn, and how wrong they are
COLUMNS = ("problem", "expression", "answer", "task", "level", "steps", "kind")


def files(room: ModuleType, recipe: CorpusArguments) -> Iterator[tuple[str, Iterator[Row]]]:
    """(path inside the corpus, rows) of each test set that the recipe asks for."""
    for name, knobs, count in room.sets(recipe):
        if count:
            yield f"{name}.jsonl", iter(drawn(name, room.pose, knobs, count, recipe))
    for name, knobs in tasks.get(recipe.task).HINTED.items():
        for place in ("harder", "heldout") if recipe.num_harder and name in (recipe.harder or ()) else ():
            rows = drawn(f"{place}/{name}", room.pose, knobs, recipe.num_harder, recipe)
            yield f"{place}/{name}.jsonl", map(hint, rows, cycle(HINTS))
    if recipe.num_preferences and recipe.num_test:
        draws: Row = {"make": room.ROWS["preferences"], "seed": f"{recipe.task}/test/preferences", "split": "test"}
        yield (
            "test/preferences.jsonl",
            iter(distinct("test/preferences", recipe.num_test, recipe, draw.draw_batch, draws)),
        )
    for name, problems in room.whole(recipe).items():
        yield f"whole/{name}.jsonl", listed(problems, recipe)


def listed(problems: Iterable[str], recipe: CorpusArguments) -> Iterator[Row]:
    """All problems of a small domain, those of training too: the column `kind` says which split each belongs to."""
    task = tasks.get(recipe.task)
    for expression in problems:
        split = split_of(task.normalise(expression))
        row = describe(expression, split, recipe)
        yield {column: row[column] for column in (*COLUMNS, *task.TRAITS)} | {"kind": split}


def hint(row: Row, kind: str) -> Row:
    """The row with a wrong result in the column `hint`: off by so much, or any that its numbers might come to.

    The column `kind` says which.
    """
    chance, right = random.Random(f"hint/{kind}/{row['problem']}"), int(row["answer"])
    reach = sum(map(int, re.findall("[0-9]+", row["expression"]))) + 1
    off, wrong = HINTS[kind], right
    while wrong == right:
        wrong = right + chance.choice((-1, 1)) * off if off else chance.randint(-reach, reach)
    return row | {"hint": str(wrong), "kind": kind}


def drawn(name: str, pose: Callable, knobs: Row, count: int, recipe: CorpusArguments) -> list[Row]:
    """Rows of a test set, distinct but for those of the plain sampler."""
    return distinct(name, count, recipe, draw_batch, {"name": name, "pose": pose, "knobs": knobs})


def distinct(name: str, count: int, recipe: CorpusArguments, make: Callable, options: Row) -> list[Row]:
    """The first rows that `make` draws, of each problem one but for those of the plain sampler."""
    normalise, form = tasks.get(recipe.task).normalise, notation.of(recipe.form)
    rows: list[Row] = []
    seen: set[str] = set()
    tried = 0
    while len(rows) < count and tried < COPIES * count:
        some = range(tried, tried + max(count - len(rows), tried // 8))
        tried = some.stop
        for row in mapped(make, f"Drawing {name}", some, recipe, **options):
            normal = normalise(row.get("expression") or form.posed(row["prompt"]))
            if len(rows) < count and (name == "test/seed" or normal not in seen):
                seen.add(normal)
                rows.append(row)
    if len(rows) < count:
        raise ValueError(
            f"{name}: need {count} distinct problems, found {len(rows)} in {COPIES * count} draws: "
            "ask for fewer, or widen what the problems are drawn from"
        )
    return rows


def draw_batch(batch: Row, recipe: CorpusArguments, name: str, pose: Callable, knobs: Row) -> Row:
    """Columns of the candidates with these indices."""
    split = "validation" if name.startswith("heldout/") else "test"
    posed = (pose(random.Random(f"{recipe.task}/{name}/{index}"), split, recipe, **knobs) for index in batch["index"])
    rows = [describe(expression, split, recipe) for expression in posed]
    return {column: [row[column] for row in rows] for column in (*COLUMNS, *tasks.get(recipe.task).TRAITS)}
