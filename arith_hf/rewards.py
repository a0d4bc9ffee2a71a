"""Rewards for reinforcement: plain functions in TRL's signature, usable from stock `trl grpo` by dotted path.

May not know the trainer. They pay for right only: no substring credit, and what cannot be read back is worth 0.
"""

import importlib
import os
import sys
from typing import Any

from arith_hf import notation


def exact_answer(completions: list[str], answer: list[str], task: list[str] | None = None, **_: Any) -> list[float]:
    """1.0 where the answer read from the completion is exactly `answer` ("12" or "ERROR"), else 0.0.

    `task` names the form that each completion is written in; without it they are expressions.

    >>> exact_answer(["<think>\\n</think>\\nFinal Result: 12"] * 2, answer=["12", "2"])
    [1.0, 0.0]
    """
    return [
        float(str(notation.of(form).read_answer(completion)) == str(right))
        for completion, right, form in zip(completions, answer, task or ["expression"] * len(answer), strict=True)
    ]


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
