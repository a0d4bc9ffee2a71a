"""Questions that are answered yes or no (BoolQ's form), by which answer the model holds for likelier.

May not know where the questions come from. The prompt and the choices are those of lm-eval-harness's task `boolq`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import gather_object
from tqdm.auto import tqdm

from arith_hf import files
from arith_hf.estimates import require_finite
from arith_hf.language.perplexity import Window, losses, written
from arith_hf.metric.exact_answer import wilson
from arith_hf.protocols import choose

CHOICES = (" no", " yes")  # at the place that `answer`, false or true, has as a number
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """The windows of both choices; `cut`: tokens of the context, the first of the passage, that found no room."""

    windows: tuple[Window, Window]
    cut: int


def read(path: Path, count: int | None) -> list[Row]:
    """The rows of a file in BoolQ's form; ValueError names the first that is not."""
    rows = list(files.read_jsonl(path))
    kinds = {"question": str, "passage": str, "answer": bool}
    for number, row in enumerate(rows, start=1):
        for key, kind in kinds.items():
            if not isinstance(row.get(key), kind):
                raise ValueError(f"{path}: row {number}: need `{key}` to be a {kind.__name__}, got {row.get(key)!r}")
    if not rows:
        raise ValueError(f"{path} is empty: need rows of question, passage and answer")
    return choose(rows, count)


def prompt(row: Row) -> str:
    """
    >>> prompt({"passage": "Ice is cold.", "question": "is ice cold", "answer": True})
    'Ice is cold.\\nQuestion: is ice cold?\\nAnswer:'
    """
    return f"{row['passage']}\nQuestion: {row['question'].rstrip('?')}?\nAnswer:"


def pose(tokenizer: Any, rows: Sequence[Row], first: int, context: int) -> list[Asked]:
    """The windows of each question; what is too long loses its beginning, the passage's, but not BOS."""
    prompts = [prompt(row) for row in rows]
    asked = written(tokenizer, prompts)
    ends = [written(tokenizer, [one + choice for one in prompts]) for choice in CHOICES]
    found = []
    for at, ids in enumerate(asked):
        rests = [answered[at][len(ids) :] for answered in ends]
        room = context - max(map(len, rests))  # of BOS and the prompt; the last token of a choice is not read
        kept = ids[max(0, len(ids) - room) :]
        no, yes = (Window(at, (first, *kept, *rest), len(rest)) for rest in rests)
        found.append(Asked((no, yes), len(ids) - len(kept)))
    return found


def measure(
    model: Any,
    tokenizer: Any,
    rows: Sequence[Row],
    first: int,
    context: int,
    batch_size: int,
    accelerator: Accelerator,
) -> tuple[Row, list[Row]]:
    """The scores, and each question with the log-likelihoods of both choices.

    `accuracy_per_byte` is of the likelihoods divided by the bytes of the choices (lm-eval-harness's `acc_norm`), which
    matters where a choice is of several tokens.
    """
    asked = pose(tokenizer, rows, first, context)
    both = [one for question in asked for one in question.windows]
    with accelerator.split_between_processes(both) as mine:
        bar = tqdm(total=len(mine), desc="yes or no", unit="answer", disable=not accelerator.is_main_process)
        nats = losses(model, mine, batch_size, bar)
        bar.close()
    told = [-one for one in gather_object(nats)]
    require_finite(told)
    samples = [
        {
            **row,
            "loglikelihood_no": round(no, 5),
            "loglikelihood_yes": round(yes, 5),
            "prediction": yes > no,
            "cut": question.cut,
        }
        for row, question, no, yes in zip(rows, asked, told[::2], told[1::2], strict=True)
    ]
    return score(samples), samples


def score(samples: Sequence[Row]) -> Row:
    """Accuracy with Wilson's interval, beside what chance and the more frequent answer come to."""
    n, yes = len(samples), sum(row["answer"] for row in samples)
    right = sum(row["prediction"] == row["answer"] for row in samples)
    lengths = [len(choice.strip()) for choice in CHOICES]
    by_byte = [row["loglikelihood_yes"] / lengths[1] > row["loglikelihood_no"] / lengths[0] for row in samples]
    return {
        "n": n,
        "accuracy": round(right / n, 4),
        "accuracy_interval": wilson(right, n),
        "accuracy_per_byte": round(sum(one == row["answer"] for one, row in zip(by_byte, samples, strict=True)) / n, 4),
        "majority": round(max(yes, n - yes) / n, 4),
        "chance": 0.5,
        "said_yes": round(sum(row["prediction"] for row in samples) / n, 4),
        "cut": sum(row["cut"] > 0 for row in samples),
    }
