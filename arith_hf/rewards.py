"""Rewards for reinforcement: plain functions in TRL's signature, usable from stock `trl grpo` by dotted path.

May not know the trainer. They pay for right only: no substring credit, and what cannot be read back is worth 0.
"""

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
