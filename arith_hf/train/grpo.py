"""Reinforcement of right answers with TRL's `GRPOTrainer`.

May not know the problems: prompts come with their answers, and a reward function reads the completion.

    accelerate launch --config_file recipes/accelerate/cpu.yaml -m arith_hf grpo --config recipes/M/grpo.yaml
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

from datasets import Dataset
from transformers import PreTrainedTokenizerBase
from trl import GRPOConfig, ModelConfig, get_peft_config

from arith_hf import notation, recipe, rewards, tokenizer
from arith_hf.train import checks, data, rollouts, stage
from arith_hf.train.frontier import FrontierTrainer
from arith_hf.train.recorder import Recorder
from arith_hf.train.samples import Samples


@dataclass
class GrpoArguments(stage.StageArguments):
    """Keys of ours for reinforcement; all others are `GRPOConfig`'s and TRL `ModelConfig`'s."""

    _argument_group_name = "grpo"
    reward_funcs: list[str] = field(
        default_factory=lambda: ["arith_hf.rewards.exact_answer"],
        metadata={"help": "Reward functions by dotted path, in TRL's signature."},
    )
    drafts: bool = field(
        default=True,
        metadata={
            "help": "Rollouts begin from the right working where the policy takes it over: same distribution, less "
            "time (without top_p and its like; else TRL writes them token by token)."
        },
    )
    stop_at_fault: bool = field(
        default=False,
        metadata={
            "help": "A rollout ends with the token by which it leaves the right working, as one that is wrong: so the "
            "judge of steps has a part in the reward, and most of the time is saved."
        },
    )
    sample_by: str | None = field(
        default=None,
        metadata={
            "help": "Column of the prompts (level, steps) by whose success prompts are drawn: of values that always or "
            "never succeed fewer (default: each prompt in turn)."
        },
    )
    record_rollouts: bool = field(
        default=False, metadata={"help": "Write every rollout, judged, to rollouts/*.parquet, for `arith-hf doctor`."}
    )


class RecordedTrainer(FrontierTrainer, Recorder):
    """The prompts are the frontier's, every rollout is kept."""


def check(training: GRPOConfig) -> None:
    """ValueError where a run could not be resumed exactly: a step checkpoint must fall between two generations."""
    if batches(training) < training.gradient_accumulation_steps:
        raise ValueError(
            f"gradient_accumulation_steps: need at most {batches(training)}, the batches of one generation "
            f"(steps_per_generation x num_iterations), got {training.gradient_accumulation_steps}"
        )
    if training.save_strategy in ("best", "epoch") and between(training) > 1:
        raise ValueError(
            f"save_strategy: need steps, a multiple of {between(training)} of them, as others may save between two "
            "updates of one generation"
        )
    if training.save_strategy == "steps" and training.save_steps % between(training):
        raise ValueError(
            f"save_steps: need a multiple of {between(training)}, the updates between two generations "
            f"(steps_per_generation x num_iterations / gradient_accumulation_steps), got {training.save_steps}"
        )


def between(training: GRPOConfig) -> int:
    """Updates from one moment at which no rollout is left over to the next; only there a run can be resumed exactly."""
    return math.lcm(batches(training), training.gradient_accumulation_steps) // training.gradient_accumulation_steps


def batches(training: GRPOConfig) -> int:
    """Forward and backward passes that the rollouts of one generation serve."""
    return (training.steps_per_generation or 1) * training.num_iterations


def writer(own: GrpoArguments, training: GRPOConfig) -> Callable[..., dict[str, Any]] | None:
    """Who writes the rollouts; None is TRL. ValueError where what is asked of them cannot be."""
    changed = rollouts.changed(training)
    if own.stop_at_fault and (changed or not own.drafts or training.mask_truncated_completions):
        raise ValueError(
            "stop_at_fault: need drafts: true, mask_truncated_completions: false and sampling from the whole "
            f"distribution, got {', '.join(changed) or 'other values of the first two'}"
        )
    if changed or not own.drafts:
        return None
    return partial(rollouts.drafted, stop_at_fault=True) if own.stop_at_fault else rollouts.drafted


def as_read(row: dict[str, Any]) -> dict[str, str]:
    """The answer of a row as a completion's is read: `05` is 5."""
    try:
        return {"answer": str(rewards.due(row["answer"]))}
    except ValueError as error:
        raise ValueError(f"{error}: {row['prompt']!r}") from error


def answerable(
    prompts: Dataset, model_tokenizer: PreTrainedTokenizerBase, max_completion_length: int | None, overlong: str
) -> Dataset:
    """The prompts whose right answer `max_completion_length` does not cut off."""
    right = [notation.of(row["task"]).solution(row["prompt"]) for row in prompts]
    lengths = [len(ids) + 1 for ids in model_tokenizer(right, add_special_tokens=False)["input_ids"]]
    return data.keep(prompts, lengths, max_completion_length, overlong, "max_completion_length")


def main(argv: list[str]) -> None:
    trainer, run = prepare(argv)
    stage.run(trainer, run, period=between(cast(GRPOConfig, trainer.args)))
    stage.finish(trainer, run)


def prepare(argv: list[str]) -> tuple[FrontierTrainer, stage.Run]:
    """Everything checked and loaded, nothing trained."""
    own, training, model_config = recipe.read((GrpoArguments, GRPOConfig, ModelConfig), argv, "grpo")
    checks.require_steps(training)
    check(training)
    reward_funcs = [rewards.find(path) for path in own.reward_funcs]
    model, model_tokenizer = data.load_parent(model_config)
    data.check_tokenizer(model_tokenizer, own.dataset_name)
    splits = data.load(own.dataset_name, "prompts", ["prompt", "answer"])
    if "task" not in splits[0].column_names:  # rows of one's own: the reward reads what this model writes
        name = tokenizer.task_of(model_tokenizer)
        splits = tuple(rows.add_column("task", [name] * len(rows)) for rows in splits)
    if rewards.exact_answer in reward_funcs:  # what no completion could give is an error here, not a flat reward
        splits = tuple(rows.map(as_read, desc="Reading answers") for rows in splits)
    train, validation = (
        answerable(rows, model_tokenizer, training.max_completion_length, own.overlong) for rows in splits
    )
    run = stage.begin(
        "grpo", argv, (own, training, model_config), training, model_tokenizer, model_config.model_name_or_path
    )
    held_out = validation.select(range(min(own.num_eval_generations, len(validation))))
    trainer = (RecordedTrainer if own.record_rollouts else FrontierTrainer)(
        model=model,
        args=training,
        reward_funcs=[rewards.apart(reward) for reward in reward_funcs],
        train_dataset=train,
        eval_dataset=held_out,
        processing_class=model_tokenizer,
        peft_config=get_peft_config(model_config),
        sample_by=own.sample_by,
        rollout_func=writer(own, training),
    )
    trainer.add_callback(Samples(trainer, held_out, own.num_sample_generations, training.max_completion_length))
    return trainer, run
