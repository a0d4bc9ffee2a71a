"""Pairs to prefer by: a sound working, and the same with one step spoilt, as the judge of steps confirms.

May not know how a problem is drawn. Behind the spoilt step the working follows from what was written there: so a model
goes on from a mistake of its own, and that step is the only difference that a reader could object to.
"""

import random
from collections.abc import Callable

from arith_hf import corruption, notation, tasks
from arith_hf.corpus.arguments import CorpusArguments
from arith_hf.corpus.draw import Row
from arith_hf.corruption.planted import Planted
from arith_hf.tasks.base import Fault

TRIES = 1000  # problems, each with a kind of fault, before they are taken to have no step to be spoilt


def row(rng: random.Random, pose: Callable[[], str], recipe: CorpusArguments) -> Row:
    """`kind` is what is wrong with the step of this number, counted from 1, in `rejected`; kinds are drawn evenly."""
    task, form, room = tasks.get(recipe.task), notation.of(recipe.form), corruption.room(recipe.task)
    for _ in range(TRIES):
        problem = pose()
        planted = room.spoil(rng, problem, rng.choice(room.STEPS), form, goes_on=1.0)
        if planted is None or not is_alone(planted, recipe.form):
            continue
        prompt = form.prompt(form.problem(problem))
        chosen = form.completion(task.work(problem))
        if judged(problem, chosen, recipe.form):
            raise RuntimeError(f"the working of {problem!r} is not sound, which must not be: {chosen!r}")
        where = {"task": recipe.form, "level": task.level(problem), "kind": planted.kind, "step": planted.index + 1}
        return {"prompt": prompt, "chosen": chosen, "rejected": planted.text, **where}
    raise ValueError("found no problem with a step to be spoilt: need deeper or longer ones, or num_preferences 0")


def is_alone(planted: Planted, name: str) -> bool:
    """Whether the judge finds this fault first, and of this kind, and each other step follows from the one before it.

    Of two equal columns, for example, nobody can tell which is there again.
    """
    fault = judged(planted.problem, planted.text, name)
    if fault is None or (fault.index, fault.kind) != (planted.index, planted.kind):
        return False
    steps = notation.of(name).read_working(planted.text).steps or ()
    valid = tasks.get(name).valid_steps(planted.problem, steps)
    return planted.kind in ("dropped", "repeated") or valid.count(False) == 1


def judged(problem: str, text: str, name: str) -> Fault | None:
    form = notation.of(name)
    return tasks.get(name).judge(problem, form.read_working(text), form.read_answer(text))
