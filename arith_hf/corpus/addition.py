"""A corpus of sums: its keys, its rows, its test sets.

May not know where the rows are written. Problems are drawn again until they fall into the split.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from arith_hf import notation, tasks
from arith_hf.corpus import preferences
from arith_hf.corpus.arguments import CorpusArguments, key, need
from arith_hf.corpus.draw import Row, describe, split_of
from arith_hf.notation.addition import Addition
from arith_hf.tasks.grammar import MAX_DIGITS

TRIES = 10_000  # draws before a split is taken to hold no such problem

CARD = {
    "sources": "`trace` (a problem and its whole working, exactly the prompt and completion of an sft row).",
    "level": "digits of the longest operand; `carries`: the most columns in a row that carry out",
    "normal": "operands in order of size, so that `1+2=` and `2+1=` are one problem",
    "split": "The columns of a working do not obey it: there are a few hundred of them in all.",
    "sets": """`heldout` holds the same sets of the validation split: choose by them, not by a test set. Its
`validation` is what `test/test` is: no repeats, so that almost all are of the greatest length. Each set of `harder` is
longer, has more operands, longer carries or columns that repeat. `whole` holds every problem of a small domain, those
of training too: its `kind` is the split.""",
}


@dataclass
class AdditionArguments(CorpusArguments):
    """How sums are written, and what to draw of them."""

    style: str = key("columns", "how an answer is written: direct, columns (worked), reversed (lowest digit first)")
    zero_pad: int = key(0, "write every operand with so many digits at least, and the answer with one more")
    align: int = key(0, "1: write every operand with as many digits as the longest")
    think_length: int = key(0, "tokens of a working, filled with <noop>; 0: as many as it takes")
    min_digits: int = key(1, "least digits of the longest operand")
    max_digits: int = key(3, "greatest; every length between is as likely")
    max_operands: int = key(2, "operands, from 2 on, every number as likely")
    carry_rate: float = key(0.0, "share of training problems whose carry runs through several columns")

    run_rate: float = key(0.0, "share of training problems whose columns often repeat the one below")

    def __post_init__(self) -> None:
        super().__post_init__()
        notation.of(self.form)  # checks how it is written
        need(1, "min_digits", self.min_digits)
        need(self.min_digits, "max_digits", self.max_digits)
        need(2, "max_operands", self.max_operands)
        self.check_room()
        if self.num_preferences and self.style != "columns":
            raise ValueError(f"need style columns for num_preferences, got {self.style}: it has no step to be spoilt")
        if min(self.carry_rate, self.run_rate) < 0 or self.carry_rate + self.run_rate > 1:
            rates = (self.carry_rate, self.run_rate)
            raise ValueError(f"need carry_rate and run_rate of at least 0, at most 1 in all, got {rates}")

    def check_room(self) -> None:
        """ValueError where the longest problem of any set cannot be written: nines alone, which carry everywhere."""
        task, form = tasks.get(self.task), notation.of(self.form)
        for name, knobs in {"max_digits": {}, **{one: task.HARDER[one][1] for one in self.harder or ()}}.items():
            if knobs.get("min_digits", 1) > knobs.get("max_digits", self.max_digits):
                raise ValueError(f"harder: {name} has no sums of at most {self.max_digits} digits: leave it out")
            digits, operands = (knobs.get(key, getattr(self, key)) for key in ("max_digits", "max_operands"))
            nines = "+".join(["9" * min(digits, MAX_DIGITS + 1)] * operands)
            try:
                form.completion(task.work(f"{task.tidy(nines)}"))
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error

    @property
    def form(self) -> str:
        return Addition(self.style, self.zero_pad, self.align, self.think_length).name


Arguments = AdditionArguments


def pose(rng: random.Random, split: str, recipe: AdditionArguments, **knobs: object) -> str:
    """A sum of the split; ValueError where the split seems to have none."""
    task = tasks.get(recipe.task)
    names = ("min_digits", "max_digits", "max_operands")
    drawn: Row = {**{name: getattr(recipe, name) for name in names}, **knobs}
    for _ in range(TRIES):
        problem = task.pose(rng, **drawn)
        if split_of(task.normalise(problem)) == split:
            return problem
    raise ValueError(f"found no sum in the {split} split with {drawn}: widen the digits")


def sft_row(rng: random.Random, split: str, recipe: AdditionArguments) -> Row:
    return describe(pose(rng, split, recipe, carry_rate=recipe.carry_rate, run_rate=recipe.run_rate), split, recipe)


def pretrain_row(rng: random.Random, split: str, recipe: AdditionArguments) -> Row:
    """Prompt and completion, of which the prompt is given, not learned."""
    row = sft_row(rng, split, recipe)
    text = row["prompt"] + row["completion"]
    return {"text": text, "source": "trace", "given": len(row["prompt"]), "ends": True}


def prompts_row(rng: random.Random, split: str, recipe: AdditionArguments) -> Row:
    row = sft_row(rng, split, recipe)
    return {column: row[column] for column in ("prompt", "answer", "task", "level", "steps", "kind")}


def preferences_row(rng: random.Random, split: str, recipe: AdditionArguments) -> Row:
    knobs = {"carry_rate": recipe.carry_rate, "run_rate": recipe.run_rate}
    return preferences.row(rng, lambda: pose(rng, split, recipe, **knobs), recipe)


ROWS: dict[str, Callable[[random.Random, str, AdditionArguments], Row]] = {
    "pretrain": pretrain_row,
    "sft": sft_row,
    "prompts": prompts_row,
    "preferences": preferences_row,
}


def sets(recipe: AdditionArguments) -> list[tuple[str, Row, int]]:
    """(name, knobs of `pose`, rows) of the test sets."""
    harder = tasks.get(recipe.task).HARDER
    return [
        ("test/test", {}, recipe.num_test),
        ("heldout/validation", {}, recipe.num_test),
        *(
            (f"{place}/{name}", harder[name][1], recipe.num_harder)
            for place in ("harder", "heldout")
            for name in recipe.harder or ()
        ),
    ]


def whole(recipe: AdditionArguments) -> dict[str, list[str]]:
    """Sets of every problem of a small domain: all sums of two numbers below 100."""
    pairs = [f"{one}+{other}=" for one in range(100) for other in range(100)]
    return {"pairs": pairs} if recipe.min_digits <= 2 <= recipe.max_digits else {}
