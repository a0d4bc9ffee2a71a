"""What the model writes while it trains: at each evaluation it answers held-out prompts, greedily.

May not know the trainer's loss. Puts `eval_exact_match` among the metrics (so `metric_for_best_model` may name it) and
prints the first few completions.
"""

from typing import Any, cast

from datasets import Dataset
from transformers import (
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from arith_hf import solver
from arith_hf.notation import Form
from arith_hf.tokenizer import form_of


class Samples(TrainerCallback):
    """Answers the held-out `rows` (columns `prompt` and `answer` or `completion`) at each evaluation of `trainer`.

    `max_new_tokens` None: what the longest right completion takes.
    """

    def __init__(self, trainer: Trainer, rows: Dataset, num_printed: int, max_new_tokens: int | None = None) -> None:
        self.trainer, self.num_printed = trainer, num_printed
        self.prompts = list(rows["prompt"])
        self.tokenizer = cast(PreTrainedTokenizerBase, trainer.processing_class)
        self.form = form_of(self.tokenizer)
        written = "completion" in rows.column_names
        self.drafts = list(rows["completion"]) if written else [self.form.solution(prompt) for prompt in self.prompts]
        self.answers = [str(answer) for answer in answers(rows, self.form)]
        self.max_new_tokens = max_new_tokens or longest(self.tokenizer, rows["completion"])

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        completions = solver.generate(
            model,
            self.tokenizer,
            self.prompts,
            max_new_tokens=self.max_new_tokens,
            drafts=self.drafts,
            resume=self.form.resumed,
        )
        said = [one.answer for one in completions]
        right = [is_right(mine, answer) for mine, answer in zip(said, self.answers, strict=True)]
        score = {"eval_exact_match": round(sum(right) / max(len(right), 1), 4)}
        if metrics is not None:
            metrics.update(score)
        self.trainer.log(dict(score))
        if state.is_world_process_zero:
            self.show(completions, said)

    def show(self, completions: list[solver.Completion], said: list[int | str | None]) -> None:
        """One line a sample: problem, what was said, what is right, and the working on one line."""
        shown = zip(self.prompts, completions, said, self.answers, strict=True)
        for prompt, completion, mine, answer in list(shown)[: self.num_printed]:
            verdict = "right" if is_right(mine, answer) else f"wrong, it is {answer}"
            working = " / ".join(completion.text.split("\n"))
            print(f"  {prompt.strip()} -> {mine} ({verdict})  {working[:160]}", flush=True)


def answers(rows: Dataset, form: Form) -> list[Any]:
    """The right answers: the column `answer`, else what the completions say; ValueError where one says nothing."""
    if "answer" in rows.column_names:
        return list(rows["answer"])
    read = [form.read_answer(completion) for completion in rows["completion"]]
    if None in read:
        raise ValueError(
            f"no answer can be read from the completion {rows['completion'][read.index(None)]!r}: end it as the corpus "
            "does, add a column `answer`, or set num_eval_generations to 0"
        )
    return read


def is_right(mine: int | str | None, answer: str) -> bool:
    """What cannot be read is never right."""
    return mine is not None and str(mine) == answer


def longest(model_tokenizer: PreTrainedTokenizerBase, completions: list[str]) -> int:
    """Tokens of the longest completion, its end token included."""
    return max(len(ids) for ids in model_tokenizer(list(completions), add_special_tokens=False)["input_ids"]) + 1
