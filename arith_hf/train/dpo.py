"""Preference tuning with TRL's `DPOTrainer`, in full or with LoRA: what was chosen becomes likelier than the rejected.

May not know what makes a completion the better one. The reference is the parent, loaded again by its path; with LoRA it
is the base without its adapter.

    accelerate launch --config_file recipes/accelerate/cpu.yaml -m arith_hf dpo --config recipes/M/dpo.yaml
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, cast

from datasets import Dataset
from peft import PeftModel
from transformers import PreTrainedTokenizerBase, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import DPOConfig, DPOTrainer, ModelConfig, get_peft_config

from arith_hf import preferences, recipe, tokenizer
from arith_hf.decoding import hard_limit
from arith_hf.train import checks, data, stage
from arith_hf.train.samples import Samples, tell

SCORES = ("preferred", "preferred_by_token", "margin", "perplexity_chosen", "perplexity_rejected")


@dataclass
class DpoArguments(stage.StageArguments):
    """Keys of ours for preferences; all others are `DPOConfig`'s and TRL `ModelConfig`'s."""

    _argument_group_name = "dpo"
    num_eval_pairs: int = field(
        default=200,
        metadata={
            "help": "Held-out pairs of an evaluation, for eval_loss and eval_rewards as for eval_preferred; 0: all."
        },
    )

    def __post_init__(self) -> None:
        if self.num_eval_pairs < 0:
            raise ValueError(f"need num_eval_pairs >= 0, got {self.num_eval_pairs}")


class PairTrainer(DPOTrainer):
    """Logs of an evaluation its loss: TRL's other numbers are means of batches, whose last may be smaller."""

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        self._metrics["eval"].clear()
        super().log(logs, start_time)


class Preferred(TrainerCallback):
    """At each evaluation: how likely both sides of held-out pairs are, as `arith-hf evaluate` measures it.

    Puts them among the metrics: `eval_preferred` and the others of SCORES, and `eval_rewards/*`. Made before a step is
    taken, so that the model is still its own reference.
    """

    def __init__(self, trainer: DPOTrainer, pairs: Dataset) -> None:
        self.trainer, self.pairs = trainer, list(pairs)
        self.before = self.weigh()

    def weigh(self) -> list[preferences.Likelihood]:
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        return preferences.likelihoods(model, self.trainer.processing_class, self.pairs)

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        found = self.weigh()
        said = preferences.summarize(found)
        scores = {key: said[key] for key in SCORES}
        if not cast(DPOConfig, args).sync_ref_model:  # the reference is the parent for the whole run
            scores |= rewards(found, self.before, self.trainer.beta)
        tell(self.trainer, metrics, {f"eval_{key}": value for key, value in scores.items()})


def rewards(
    found: Sequence[preferences.Likelihood], before: Sequence[preferences.Likelihood], beta: float
) -> dict[str, float]:
    """TRL's metrics of these names, each pair counted once; `before` are the likelihoods by the reference.

    >>> one, two = preferences.Likelihood(-1.0, -3.0, 2, 2), preferences.Likelihood(-2.0, -2.0, 2, 2)
    >>> rewards([one, two, two, two], [two] * 4, beta=0.5)["rewards/accuracies"]
    0.25
    """
    chosen = [beta * (one.chosen - was.chosen) for one, was in zip(found, before, strict=True)]
    rejected = [beta * (one.rejected - was.rejected) for one, was in zip(found, before, strict=True)]
    both = list(zip(chosen, rejected, strict=True))
    return {
        "rewards/chosen": fmean(chosen),
        "rewards/rejected": fmean(rejected),
        "rewards/accuracies": fmean(one > other for one, other in both),
        "rewards/margins": fmean(one - other for one, other in both),
    }


def main(argv: list[str]) -> None:
    trainer, run = prepare(argv)
    stage.run(trainer, run)
    stage.finish(trainer, run)


def prepare(argv: list[str]) -> tuple[DPOTrainer, stage.Run]:
    """Everything checked and loaded, nothing trained."""
    own, training, model_config = recipe.read((DpoArguments, DPOConfig, ModelConfig), argv, "dpo")
    checks.require_steps(training)
    stage.count_tokens(training)
    model, model_tokenizer = data.load_parent(model_config)
    if isinstance(model, PeftModel):
        raise ValueError(
            f"need a full or merged model to start from, got the adapter {model_config.model_name_or_path}"
        )
    if (limit := hard_limit(model.config)) and (training.max_length or limit + 1) > limit:
        raise ValueError(f"max_length: need at most {limit}, the positions of this model, got {training.max_length}")
    data.check_tokenizer(model_tokenizer, own.dataset_name)
    if Path(own.dataset_name, "manifest.json").is_file():
        preferences.require(Path(own.dataset_name), "preferences")
    splits = data.load(own.dataset_name, "preferences", preferences.COLUMNS)
    for rows in splits:
        preferences.check(rows, own.dataset_name, preferences.marks_of(model_tokenizer))
    with training.main_process_first():
        train, validation = (
            fit(rows.select_columns([*preferences.COLUMNS]), model_tokenizer, training.max_length, own.overlong)
            for rows in splits
        )
    run = stage.begin(
        "dpo", argv, (own, training, model_config), training, model_tokenizer, model_config.model_name_or_path
    )
    held_out = validation.select(range(min(own.num_eval_pairs or len(validation), len(validation))))
    alone = model_config.use_peft or training.precompute_ref_log_probs  # the model tells what it was by itself
    trainer = PairTrainer(
        model=model,
        ref_model=None if alone else data.load_parent(model_config)[0],
        args=training,
        train_dataset=as_asked(train, model_tokenizer),
        eval_dataset=as_asked(held_out, model_tokenizer),
        processing_class=model_tokenizer,
        peft_config=get_peft_config(model_config),
    )
    trainer.add_callback(Preferred(trainer, held_out))
    if own.num_eval_generations and tokenizer.task_of(model_tokenizer) != "text":
        prompts = validation.select(range(min(own.num_eval_generations, len(validation))))
        trainer.add_callback(
            Samples(trainer, prompts.rename_column("chosen", "completion"), own.num_sample_generations)
        )
    return trainer, run


def fit(rows: Dataset, model_tokenizer: PreTrainedTokenizerBase, max_length: int | None, overlong: str) -> Dataset:
    """Pairs whose longer side takes at most `max_length` tokens with the prompt: TRL would cut it off in silence."""
    for column in preferences.COLUMNS:
        data.encode(model_tokenizer, list(rows[column]))  # what cannot be expressed is an error
    encoded = [preferences.encode(model_tokenizer, cast(dict[str, Any], row)) for row in rows]
    lengths = [len(begun) + max(map(len, both)) for begun, *both in encoded]
    return data.keep(rows, lengths, max_length, overlong)


def as_asked(rows: Dataset, model_tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """As TRL shall write them: turns of a conversation where there is a template for them."""
    return rows.map(preferences.conversation, desc="Writing turns") if model_tokenizer.chat_template else rows
