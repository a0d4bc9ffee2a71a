"""The metric: shares of completions with the right answer, with every step right, that can be read; with intervals.

A module of the `evaluate` library, loaded by its path; may not know how completions came about. What is right is asked
of rewards.py, so that what is rewarded is what is measured; besides, a completion has to have ended here.
"""

import datasets
import evaluate

from arith_hf import notation, rewards
from arith_hf.tasks.base import ERROR

DESCRIPTION = (
    "Exact match of the answer, read as its form writes it, share with every step right, parse rate, share of valid "
    "problems called ERROR and mean generated tokens."
)

INPUTS = """
predictions: completions, as text
references: right answers, as text: an integer such as "12", or "ERROR"
finished (optional): whether the end token was written; a completion that was cut off is neither right nor readable
num_tokens (optional): generated tokens of each completion
task (optional): the name of the form that each completion is written in; else they are expressions
steps_right (optional): whether the answer and every step are right, as the task judged
"""

Z = 1.959964  # standard normal quantile of a 95 % interval


def wilson(hits: float, n: int) -> list[float]:
    """The 95 % Wilson score interval of a share.

    >>> wilson(0, 10), wilson(9, 10)
    ([0.0, 0.2775], [0.5958, 0.9821])
    """
    if n == 0:
        return [0.0, 1.0]
    share, spread = hits / n, Z * Z / n
    middle = (share + spread / 2) / (1 + spread)
    half = (Z / (1 + spread)) * (share * (1 - share) / n + spread / (4 * n)) ** 0.5
    return [round(max(0.0, middle - half), 4), round(min(1.0, middle + half), 4)]


class ExactAnswer(evaluate.Metric):
    """`compute(predictions=, references=, finished=, num_tokens=, steps_right=, task=)`; shares between 0 and 1.

    `called_error` is None where no problem is valid, what was not given is None too.
    """

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description=INPUTS,
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(
        self,
        predictions: list[str],
        references: list[str],
        finished: list[bool] | None = None,
        num_tokens: list[int] | None = None,
        steps_right: list[bool] | None = None,
        task: list[str] | None = None,
    ) -> dict[str, object]:
        n = len(predictions)
        done = finished or [True] * n
        texts = [text if ended else "" for text, ended in zip(predictions, done, strict=True)]
        forms = task or ["expression"] * n
        right = int(sum(rewards.exact_answer(texts, references, forms)))
        answers = [notation.of(form).read_answer(text) for text, form in zip(texts, forms, strict=True)]
        readable = sum(answer is not None for answer in answers)
        valid = [answer for answer, due in zip(answers, references, strict=True) if due != ERROR]
        return {
            "n": n,
            "exact_match": round(right / n, 4),
            "exact_match_interval": wilson(right, n),
            "steps_match": None if steps_right is None else round(sum(steps_right) / n, 4),
            "steps_match_interval": None if steps_right is None else wilson(sum(steps_right), n),
            "parse_rate": round(readable / n, 4),
            "parse_rate_interval": wilson(readable, n),
            "called_error": round(valid.count(ERROR) / len(valid), 4) if valid else None,
            "mean_tokens": round(sum(num_tokens) / n, 2) if num_tokens else None,
            "unfinished": n - sum(done),
        }
