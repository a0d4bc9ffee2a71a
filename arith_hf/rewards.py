"""Rewards for reinforcement: plain functions in TRL's signature, usable from stock `trl grpo` by dotted path.

May not know the trainer. They pay for right only: no substring credit, and what cannot be read back is worth 0.
"""

import functools
import importlib
import inspect
import os
import random
import re
import sys
from typing import Any

from arith_hf import notation, tasks
from arith_hf.tasks.base import ERROR, Answer

FADED = 0.5  # share of the updates after which `right_steps` pays nothing: what is left is learned from answers alone
FADING = ("right_steps",)  # pay less and less by design: a curve that has them in it may fall where nothing got worse


def exact_answer(completions: list[str], answer: list[str], task: list[str] | None = None, **_: Any) -> list[float]:
    """1.0 where the answer read from the completion is exactly `answer` ("12" or "ERROR"), else 0.0.

    `task` names the form that each completion is written in; without it they are expressions. ValueError for an answer
    that no completion could give, such as 5.0 or none at all. Whether the end token was written is not asked.

    >>> exact_answer(["<think>\\n</think>\\nFinal Result: 12"] * 2, answer=["12", "2"])
    [1.0, 0.0]
    """
    return [
        float(notation.of(form).read_answer(completion) == due(right))
        for completion, right, form in zip(completions, answer, task or ["expression"] * len(answer), strict=True)
    ]


def due(answer: Any) -> Answer:
    """The right answer of a row, as a completion's is read.

    >>> due("-12"), due("ERROR")
    (-12, 'ERROR')
    """
    text = str(answer).strip()
    if text != ERROR and not re.fullmatch("-?[0-9]+", text):
        raise ValueError(f"exact_answer: need an integer or {ERROR} as the answer of a row, got {answer!r}")
    return text if text == ERROR else int(text)


def right_steps(
    prompts: list[str], completions: list[str], task: list[str] | None = None, trainer_state: Any = None, **_: Any
) -> list[float]:
    """The share of the steps due that are right before the first fault, beside `exact_answer`; fading to 0.

    0 for a form that writes no steps. `trainer_state` is what TRL hands over: the pay falls in a straight line to 0 at
    FADED of its `max_steps`; without one it is whole.

    >>> working = "<think>\\nStep 1: 1 + 2 = 3\\nExpression now: 3 - 4\\nStep 2: 3 - 4 = 7"
    >>> right_steps(["Evaluate: 1 + 2 - 4\\n"], [working])
    [0.5]
    """
    forms = task or ["expression"] * len(prompts)
    return [fading(trainer_state) * progress(*one) for one in zip(prompts, completions, forms, strict=True)]


def progress(prompt: str, completion: str, name: str) -> float:
    form, of = notation.of(name), tasks.get(name)
    reading, problem = form.read_working(completion), form.posed(prompt)
    if reading.steps is None:
        return 0.0
    due, fault = len(of.work(problem).steps), of.judge(problem, reading, form.read_answer(completion))
    return 1.0 if fault is None else fault.index / max(due, 1)


def fading(trainer_state: Any) -> float:
    if trainer_state is None or not trainer_state.max_steps:
        return 1.0
    return max(0.0, 1.0 - trainer_state.global_step / (FADED * trainer_state.max_steps))


def coin(completions: list[str], trainer_state: Any = None, **_: Any) -> list[float]:
    """1.0 or 0.0 by the toss of a coin, whatever was written: the control that no reward should lose to.

    Tossed anew at each step, and for other completions.
    """
    rng = random.Random(f"coin/{getattr(trainer_state, 'global_step', 0)}/{''.join(completions)}")
    return [float(rng.random() < 0.5) for _ in completions]


def apart(reward: Any) -> Any:
    """The same reward, given lists of its own: what it writes into them reaches no other reward and no record."""

    def copies(columns: dict[str, Any]) -> dict[str, Any]:
        return {name: list(value) if isinstance(value, list) else value for name, value in columns.items()}

    if inspect.iscoroutinefunction(reward):

        @functools.wraps(reward)
        async def waiting(**columns: Any) -> Any:
            return await reward(**copies(columns))

        return waiting

    @functools.wraps(reward)
    def given(**columns: Any) -> Any:
        return reward(**copies(columns))

    return given


def find(path: str) -> Any:
    """The function at a dotted path, in an installed module or in one of the working directory (as stock TRL does)."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # a console script has its own folder there instead
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (Exception, SystemExit) as error:  # a module of the user's may raise anything
        raise ValueError(
            f"no function at `{path}` ({error}): give module.function, of this folder or installed"
        ) from error
    if not callable(found):
        raise ValueError(f"no function at `{path}` but {type(found).__name__}: give module.function")
    return found
