"""What the model writes while it trains: at each evaluation it answers held-out problems, or goes on with prompts.

May not know the trainer's loss. `Samples` puts `eval_exact_match` among the metrics (so `metric_for_best_model` may
name it) and prints the first few completions; `Generations` is for natural text too, which has no right answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
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

from arith_hf import files, solver
from arith_hf.notation import Form
from arith_hf.tokenizer import form_of
from arith_hf.train import stage
from arith_hf.train.stage import GENERATIONS

SHOWN = 160  # characters of a completion that are printed


@dataclass
class SampleArguments(stage.StageArguments):
    """Keys of the stages that show how the model goes on with prompts of the recipe."""

    _argument_group_name = "stage"
    sample_prompts: list[str] | None = field(
        default=None, metadata={"help": f"What the model goes on with at each evaluation, kept in {GENERATIONS}."}
    )
    sample_steps: int | None = field(
        default=None, metadata={"help": "Updates between two such samples (default: at each evaluation)."}
    )
    sample_length: int = field(default=64, metadata={"help": "Tokens of such a sample, at most."})
    sample_temperature: float = field(
        default=0.0, metadata={"help": "Of such a sample; 0: greedy. It is drawn with the same noise each time."}
    )

    def __post_init__(self) -> None:
        for key, least in (("sample_steps", 1), ("sample_length", 1), ("sample_temperature", 0)):
            if (value := getattr(self, key)) is not None and value < least:
                raise ValueError(f"need {key} >= {least}, got {value}")
        if self.sample_steps and not self.sample_prompts:
            raise ValueError("sample_steps: need sample_prompts, got none")


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
        tell(self.trainer, metrics, {"eval_exact_match": round(sum(right) / max(len(right), 1), 4)})
        if state.is_world_process_zero:
            self.show(completions, said)

    def show(self, completions: list[solver.Completion], said: list[int | str | None]) -> None:
        """One line a sample: problem, what was said, what is right, and the working on one line."""
        shown = zip(self.prompts, completions, said, self.answers, strict=True)
        for prompt, completion, mine, answer in list(shown)[: self.num_printed]:
            verdict = "right" if is_right(mine, answer) else f"wrong, it is {answer}"
            working = " / ".join(completion.text.split("\n"))
            print(f"  {prompt.strip()} -> {mine} ({verdict})  {working[:SHOWN]}", flush=True)


class Generations(TrainerCallback):
    """How the model goes on with the same prompts, at each evaluation or every so many `steps`, drawn with one seed.

    Printed, in TensorBoard where it is reported to, and where `kept` in a file of the stage.
    """

    def __init__(
        self,
        trainer: Trainer,
        prompts: Sequence[str],
        max_new_tokens: int,
        temperature: float = 0.0,
        steps: int | None = None,
        kept: bool = True,
        shown: Sequence[str] | None = None,
    ) -> None:
        self.shown = list(shown or prompts)  # what is printed of a prompt, where a template hides it
        self.trainer, self.prompts, self.steps = trainer, list(prompts), steps
        self.options: dict[str, Any] = {"max_new_tokens": max_new_tokens, "temperature": temperature}
        self.path = Path(str(trainer.args.output_dir), GENERATIONS) if kept else None
        self.rows: list[dict[str, Any]] = []

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """What a killed run wrote behind the step that is gone on from is written again."""
        if self.path is None or not state.is_world_process_zero:
            return
        if state.global_step and self.path.is_file():
            self.rows = [row for row in files.read_jsonl(self.path) if row["step"] <= state.global_step]
        else:
            self.path.unlink(missing_ok=True)

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if not self.steps:
            self.write(state)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self.steps and not state.global_step % self.steps:
            self.write(state)

    def write(self, state: TrainerState) -> None:
        """Generate, print and keep; of a step that is evaluated twice, as it ends an epoch, once."""
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        tokens = cast(PreTrainedTokenizerBase, self.trainer.processing_class)
        written = solver.generate(model, tokens, self.prompts, **self.options)
        if not state.is_world_process_zero:
            return
        pairs = [(prompt, one.text) for prompt, one in zip(self.prompts, written, strict=True)]
        self.rows = [row for row in self.rows if row["step"] != state.global_step]
        self.rows += [{"step": state.global_step, "prompt": prompt, "completion": text} for prompt, text in pairs]
        print("\n".join(sample(name, text) for name, (_, text) in zip(self.shown, pairs, strict=True)), flush=True)
        if self.path:
            files.write_jsonl(self.path, self.rows)
        for callback in self.trainer.callback_handler.callbacks:
            if writer := getattr(callback, "tb_writer", None):
                writer.add_text("samples", "\n\n".join(map("".join, pairs)), state.global_step)


def sample(prompt: str, completion: str) -> str:
    """One line.

    >>> sample("Add.\\n\\n1, 2", "\\n\\n3,\\nI think")
    '  Add. / 1, 2 | 3, / I think'
    """
    return " | ".join((f"  {on_a_line(prompt)}", on_a_line(completion)))


def on_a_line(text: str) -> str:
    return " / ".join(line for line in text.splitlines() if line.strip())[:SHOWN]


def tell(trainer: Trainer, metrics: dict[str, float] | None, scores: dict[str, float]) -> None:
    """Put scores among the metrics of an evaluation, so that the best step may be chosen by them, and into the log."""
    if metrics is not None:
        metrics.update(scores)
    trainer.log(dict(scores))


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
