"""The recorder: a `GRPOTrainer` that keeps every rollout, judged step by step, in parquet under `rollouts/`.

May not change the run: it draws no random number, so the weights are the same with it and without. It stands beside
TRL's `log_completions`, which keeps only the newest generation at each log line, mixes evaluation into training and
knows neither groups nor ends. Where another subclass changes how rollouts are made, this one stands next to
`GRPOTrainer`, and numbers what that one makes in one step on and on.

    rollouts/train-00020.parquet    the rollouts that were generated after 20 updates; eval-00020 the held-out ones
"""

import io
import math
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from accelerate.utils import gather_object
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from arith_hf import files, notation, scoring, solver
from arith_hf.train.trimmed import TrimmedTrainer

Row = dict[str, Any]
STOPPED = "stopped"  # neither finished nor truncated: `stop_at_fault` ended it where it left the right working
COLUMNS = {
    "step": pa.int32(),  # updates of the weights that wrote it
    "split": pa.string(),  # train | eval
    "group": pa.int32(),  # within the step
    "task": pa.string(),
    "prompt": pa.string(),
    "completion": pa.string(),
    "answer": pa.string(),  # the right one
    "said": pa.string(),  # the one read, as a reward reads it: of a completion that was cut off too
    "right": pa.bool_(),
    "outcome": pa.string(),  # one of scoring.OUTCOMES, or STOPPED
    "valid": pa.list_(pa.bool_()),  # of each step; null for a form without steps
    "fault": pa.string(),  # the kind of the first one, of tasks.base.KINDS
    "fault_step": pa.int32(),  # counted from 0
    "finished": pa.bool_(),  # with an end token
    "truncated": pa.bool_(),  # by max_completion_length
    "num_tokens": pa.int32(),  # the end token too
    "entropy": pa.float32(),  # nats a token, mean; null for a rollout that was never trained on
    "reward": pa.float32(),  # the weighted sum; null where no function gave one
    "advantage": pa.float32(),
}


class Recorder(TrimmedTrainer):
    """Overrides what TRL calls between a completion and its loss; `tests/train/test_recorder.py` guards the names."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rollouts: dict[str, list[Row]] = {"train": [], "eval": []}  # of one step, of this process
        self.judged: list[Row] = []  # of the batch that is being scored
        self.trained: list[Row] = []  # of the batch whose loss is computed
        self.folder = Path(str(self.args.output_dir), "rollouts")
        self.ends = solver.end_tokens(self.accelerator.unwrap_model(self.model), self.processing_class)
        self.add_callback(Keeper(self))

    @property
    def split(self) -> str:
        return "train" if cast(torch.nn.Module, self.model).training else "eval"

    def _calculate_rewards(
        self, inputs: list[Row], prompts: list[str], completions: list[str], completion_ids_list: list[list[int]]
    ) -> torch.Tensor:
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)  # of all processes
        first = self.accelerator.process_index * len(prompts)
        self.judged = [
            {**judge(one, prompt, text, len(ids), ids[-1] in self.ends), **self.paid(reward)}
            for one, prompt, text, ids, reward in zip(
                inputs, prompts, completions, completion_ids_list, rewards[first : first + len(prompts)], strict=True
            )
        ]
        return rewards

    def paid(self, rewards: torch.Tensor) -> Row:
        """What each reward function gave one rollout, and the weighted sum; None where it gave nothing."""
        each = [None if math.isnan(one) else one for one in rewards.tolist()]
        given = [
            one * weight for one, weight in zip(each, self.reward_weights.tolist(), strict=True) if one is not None
        ]
        named = {reward_column(name): one for name, one in zip(self.reward_func_names, each, strict=True)}
        return {"reward": sum(given) if given else None, **named}

    def _generate_and_score_completions(self, inputs: list[Row]) -> Row:
        batch = super()._generate_and_score_completions(inputs)
        first = self.keep(self.judged, batch["advantages"].tolist())
        # goes with its row through TRL's shuffling and splitting, so that the loss knows whose entropy it computes
        batch["rollout"] = torch.arange(first, first + len(inputs), device=self.accelerator.device)
        return batch

    def keep(self, judged: list[Row], advantages: list[float]) -> int:
        """Take the rows into those of this step, the step before written down; the place of the first."""
        split, step = self.split, self.state.global_step
        if self.rollouts[split] and self.rollouts[split][0]["step"] != step:
            self.write(split)
            self.rollouts[split] = []
        kept = self.rollouts[split]
        size = cast(int, self.num_generations if split == "train" else self.num_generations_eval)
        first = len(kept) * self.accelerator.num_processes + self.accelerator.process_index * len(judged)
        for index, (row, advantage) in enumerate(zip(judged, advantages, strict=True), start=first):
            place = {"step": step, "split": split, "group": index // size}
            ended = ending(row, cast(int, self.max_completion_length))
            kept.append({**row, **place, **ended, "advantage": advantage, "entropy": None})
        return len(kept) - len(judged)

    def compute_loss(self, model: Any, inputs: Row, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.trained = [self.rollouts[self.split][place] for place in inputs["rollout"].tolist()]
        return super().compute_loss(model, inputs, *args, **kwargs)

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> tuple[Any, Any, Any]:
        logps, entropies, aux_loss = super()._get_per_token_logps_and_entropies(*args, **kwargs)
        if entropies is not None:  # asked for by the loss alone  # (B, T)
            lengths = torch.tensor([row["num_tokens"] for row in self.trained], device=entropies.device)
            written = torch.arange(entropies.shape[1], device=entropies.device) < lengths[:, None]  # (B, T)
            means = (entropies.detach().float() * written).sum(1) / lengths  # (B,)
            for row, mean in zip(self.trained, means.tolist(), strict=True):
                row["entropy"] = mean if row["entropy"] is None else row["entropy"]  # of the first pass over it
        return logps, entropies, aux_loss

    def write(self, split: str) -> None:
        """The rows of the step, of all processes, as one file that is whole or absent; replaces an older one."""
        rows = gather_object(self.rollouts[split])
        if not rows or not self.accelerator.is_main_process:
            return
        rewards = {reward_column(name): pa.float32() for name in self.reward_func_names}
        table = pa.Table.from_pylist(sorted(rows, key=lambda row: row["group"]), pa.schema({**COLUMNS, **rewards}))
        content = io.BytesIO()
        pq.write_table(table, content, compression="zstd")
        files.write_bytes(self.folder / f"{split}-{rows[0]['step']:05d}.parquet", content.getvalue())

    def forget(self, step: int) -> None:
        """Remove what a run that goes on from `step` (0: that starts) will write anew, and what broke off."""
        if not self.accelerator.is_main_process:
            return
        for path in self.folder.glob("*-*.parquet"):
            split, number = path.stem.split("-")
            if int(number) > step or step == 0 or (split == "train" and int(number) == step):
                path.unlink()
        for path in self.folder.glob(".*.part"):
            path.unlink()


class Keeper(TrainerCallback):
    """Writes the newest rows where nothing later would: before a step checkpoint, after an evaluation, at the end."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.recorder.forget(state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if control.should_save:
            self.recorder.write("train")

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.recorder.write("eval")
        self.recorder.rollouts["eval"] = []  # evaluated again at this step, the rows are replaced

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.recorder.write("train")


def judge(given: Row, prompt: str, completion: str, num_tokens: int, finished: bool) -> Row:
    """What the task says of one completion; `given` is the row of the data set that posed the prompt."""
    form, answer = notation.of(given["task"]), str(given["answer"])
    posed = {"task": given["task"], "answer": answer, "expression": form.posed(prompt)}
    found = scoring.judge(posed, solver.Completion(completion, num_tokens, finished))
    said, fault = form.read_answer(completion), found["fault"] or {}
    return {
        **{
            key: found.get(key)
            for key in ("task", "completion", "answer", "outcome", "valid", "num_tokens", "finished")
        },
        "prompt": prompt,
        "said": None if said is None else str(said),
        "right": said is not None and str(said) == answer,
        "fault": fault.get("kind"),
        "fault_step": fault.get("index"),
    }


def ending(row: Row, limit: int) -> Row:
    """Whether a judged row was truncated by the limit of tokens, and its outcome with that known.

    >>> ending({"finished": False, "num_tokens": 9, "outcome": "truncated"}, 20)
    {'truncated': False, 'outcome': 'stopped'}
    """
    truncated = not row["finished"] and row["num_tokens"] >= limit
    return {"truncated": truncated, "outcome": row["outcome"] if row["finished"] or truncated else STOPPED}


def reward_column(name: str) -> str:
    return f"reward/{name}"
