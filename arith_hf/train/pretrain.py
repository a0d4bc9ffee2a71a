"""Pretraining: a new model, or with `model_name_or_path` one of an earlier phase, learns packed text with HF `Trainer`.

May not know what the text means. `packing` lays documents out in blocks, `mixture` says how often each source is seen.

    accelerate launch --config_file recipes/accelerate/cpu.yaml -m arith_hf pretrain --config recipes/M/pretrain.yaml
"""

import json
import math
from dataclasses import dataclass, field
from typing import Any, Literal

from datasets import Dataset, concatenate_datasets
from peft import PeftModel
from transformers import PreTrainedTokenizerBase, Trainer, TrainingArguments, default_data_collator

from arith_hf import chat, checkpoint, recipe, tokenizer
from arith_hf.decoding import hard_limit
from arith_hf.model import ArithConfig, ArithForCausalLM
from arith_hf.model.lines_arith import require_mask
from arith_hf.train import checks, data, stage
from arith_hf.train.mixture import Mixture, MixtureTrainer, Progress, by_source, require_order
from arith_hf.train.muon import MuonFactory
from arith_hf.train.packing import pack
from arith_hf.train.samples import Generations, SampleArguments, Samples


@dataclass
class PretrainArguments(SampleArguments):
    """Keys of ours for pretraining; all others are `TrainingArguments`'."""

    _argument_group_name = "pretrain"
    tokenizer_name_or_path: str = field(default="", metadata={"help": "Folder of the tokenizer."})
    model_name_or_path: str | None = field(
        default=None,
        metadata={"help": "A pretrained checkpoint to go on from, with a new optimizer (default: a new model)."},
    )
    size: str = field(default="small", metadata={"help": "Size of a new model by name (arith_hf/model)."})
    config_overrides: str | None = field(
        default=None, metadata={"help": 'Any field of the model\'s config, as JSON: {"hidden_size": 160}.'}
    )
    attn_implementation: str = field(
        default="sdpa",
        metadata={"help": "sdpa, eager, flash_attention_2, ...; with window_counts: positions the first two."},
    )
    max_length: int = field(default=512, metadata={"help": "Tokens in a block."})
    overlong: Literal["error", "drop", "cut", "split"] = field(  # type: ignore[assignment]
        default="error",
        metadata={
            "help": "Documents longer than max_length: stop, drop and count them, keep their beginning, or make pieces."
        },
    )
    window_stride: int | None = field(
        default=None,
        metadata={"help": "With overlong: split, tokens from a piece to the next (default: max_length - 1)."},
    )
    source_weights: str | None = field(
        default=None,
        metadata={"help": "Share of the tokens that each source has, by the column `source`: '{en: 0.5, es: 0.5}'."},
    )
    loss_on_given: bool = field(
        default=False, metadata={"help": "Learn also what the corpus marks as given: problems, operands of a drill."}
    )
    decisive_weight: float = field(
        default=1.0,
        metadata={
            "help": "What a token of an operation, its result, its step number or a working's end counts in the loss."
        },
    )
    verdict_weight: float = field(
        default=1.0,
        metadata={"help": "What the token counts that says whether a problem is malformed: the first behind <think>."},
    )
    dataset_num_proc: int | None = field(default=None, metadata={"help": "Processes that tokenize."})
    optimizer: str = field(
        default="trainer",
        metadata={"help": "`trainer` (what `optim` says) or `muon` (hidden matrices; AdamW the rest)."},
    )
    muon_learning_rate: float = field(default=0.01, metadata={"help": "Peak rate of the hidden matrices under muon."})
    embedding_learning_rate: float | None = field(
        default=None, metadata={"help": "Peak rate of the embeddings under muon (default: learning_rate)."}
    )


def shape(own: PretrainArguments, model_tokenizer: PreTrainedTokenizerBase) -> ArithConfig:
    """The config of a model of the recipe's size, carrying the tokenizer's fingerprint."""
    try:
        overrides = json.loads(own.config_overrides or "{}")
    except json.JSONDecodeError as error:
        raise ValueError(
            f"config_overrides: need JSON such as {{hidden_size: 160}}, got {own.config_overrides}"
        ) from error
    if overrides.get("line_stride") is not None and not overrides.get("line_token_ids"):
        overrides["line_token_ids"] = tokenizer.line_tokens(model_tokenizer)
        if not overrides["line_token_ids"]:
            raise ValueError(
                "line_stride: this tokenizer has no token that ends where a line begins: need kind: digits or char"
            )
    config = ArithConfig.from_size(
        own.size,
        vocab_size=len(model_tokenizer),
        pad_token_id=model_tokenizer.pad_token_id,
        bos_token_id=model_tokenizer.bos_token_id,
        eos_token_id=ends if len(ends := chat.end_ids(model_tokenizer)) > 1 else ends[0],
        tokenizer_fingerprint=tokenizer.fingerprint(model_tokenizer),
        **overrides,
    )
    config._attn_implementation = own.attn_implementation
    require_mask(config)
    return config


def muon(own: PretrainArguments, training: TrainingArguments) -> tuple[type, dict[str, Any]] | None:
    """What `Trainer` takes for an optimizer of ours; None leaves the choice to `optim`."""
    if own.optimizer == "trainer":
        return None
    betas = (training.adam_beta1, training.adam_beta2)
    embedding = training.learning_rate if own.embedding_learning_rate is None else own.embedding_learning_rate
    rates = {"lr": training.learning_rate, "muon_lr": own.muon_learning_rate, "embedding_lr": embedding}
    return MuonFactory, {**rates, "betas": betas, "weight_decay": training.weight_decay}


def earlier(own: PretrainArguments, model_tokenizer: PreTrainedTokenizerBase, argv: list[str]) -> Any:
    """The model of an earlier phase or None; ValueError where the keys say another shape or other tokens."""
    if own.model_name_or_path is None:
        return None
    if both := [key for key in ("size", "config_overrides") if recipe.peek(argv, key) is not None]:
        raise ValueError(
            f"{' and '.join(both)}: {own.model_name_or_path}, which model_name_or_path goes on from, has its shape: "
            "leave one or the other out"
        )
    model, its_tokenizer = checkpoint.load(own.model_name_or_path, attn_implementation=own.attn_implementation)
    tokenizer.require(
        model_tokenizer,
        tokenizer.fingerprint(its_tokenizer),
        where=own.model_name_or_path,
        repair="go on from a model of this tokenizer, or put the tokenizer's old recipe back and make it anew",
    )
    if isinstance(model, PeftModel):
        raise ValueError(f"need a full or merged model to go on from, got the adapter {own.model_name_or_path}")
    require_mask(model.config)
    return model


def packed(
    rows: Dataset, own: PretrainArguments, model_tokenizer: PreTrainedTokenizerBase, weights: tuple[float, float]
) -> Dataset:
    """Blocks of these rows, as the recipe says."""
    options = (own.overlong, own.dataset_num_proc, own.loss_on_given, weights, own.window_stride)
    return pack(rows, model_tokenizer, own.max_length, *options)


def require_blocks(own: PretrainArguments) -> None:
    """ValueError where no block can be as the recipe says."""
    if own.max_length < 2:
        raise ValueError(f"need max_length >= 2, to learn a token from one before it, got {own.max_length}")
    if own.window_stride is None:
        return
    if own.overlong != "split":
        raise ValueError(f"window_stride: need overlong: split, got {own.overlong}")
    if not 1 <= own.window_stride <= own.max_length:
        raise ValueError(f"need 1 <= window_stride <= max_length = {own.max_length}, got {own.window_stride}")


def main(argv: list[str]) -> None:
    trainer, run = prepare(argv)
    stage.run(trainer, run)
    stage.finish(trainer, run)


def prepare(argv: list[str]) -> tuple[Trainer, stage.Run]:
    """Everything checked and loaded, nothing trained."""
    own, training = recipe.read((PretrainArguments, TrainingArguments), argv, "pretrain")
    if own.optimizer not in ("trainer", "muon"):
        raise ValueError(f"optimizer: need `trainer` or `muon`, got `{own.optimizer}`")
    weights = (own.decisive_weight, own.verdict_weight)
    for name, weight in zip(("decisive_weight", "verdict_weight"), weights, strict=True):
        if not 0 < weight < math.inf:
            raise ValueError(f"need {name} > 0, got {weight}")
        if weight != 1 and training.label_smoothing_factor:
            raise ValueError(f"need {name} 1 with label_smoothing_factor, whose loss has no weights")
    checks.require_steps(training)
    require_blocks(own)
    if own.source_weights:
        require_order(training)
    stage.count_tokens(training)
    model_tokenizer = checkpoint.load_tokenizer(own.tokenizer_name_or_path)
    data.check_tokenizer(model_tokenizer, own.dataset_name)
    train, validation = data.load(own.dataset_name, "pretrain", ["text"])
    sources, shares = by_source(train, own.source_weights) if own.source_weights else ({"": train}, {})
    asked = own.num_eval_generations if tokenizer.task_of(model_tokenizer) != "text" else 0  # it has no problems
    prompts = data.held_out(own.dataset_name, asked)
    parent = earlier(own, model_tokenizer, argv)
    config = shape(own, model_tokenizer) if parent is None else parent.config
    if (limit := hard_limit(config)) is not None and own.max_length > limit:
        raise ValueError(f"need max_length <= {limit}, the positions that the model has learned, got {own.max_length}")
    run = stage.begin("pretrain", argv, (own, training), training, model_tokenizer, parent=own.model_name_or_path)
    with training.main_process_first():
        blocks = {name: packed(rows, own, model_tokenizer, weights) for name, rows in sources.items()}
        validation = packed(validation, own, model_tokenizer, (1.0, 1.0))  # a loss that compares
    trainer = (MixtureTrainer if shares else Trainer)(
        model=ArithForCausalLM(config) if parent is None else parent,
        args=training,
        data_collator=default_data_collator,
        train_dataset=concatenate_datasets(list(blocks.values())),  # as `Mixture` numbers them
        eval_dataset=validation,
        processing_class=model_tokenizer,
        optimizer_cls_and_kwargs=muon(own, training),
    )
    if isinstance(trainer, MixtureTrainer):
        trainer.mixture = Mixture.make(blocks, shares, model_tokenizer.pad_token_id, training)
        trainer.add_callback(Progress(trainer))
    if prompts is not None:
        trainer.add_callback(Samples(trainer, prompts, own.num_sample_generations))
    if own.sample_prompts:
        options = (own.sample_length, own.sample_temperature, own.sample_steps)
        trainer.add_callback(Generations(trainer, own.sample_prompts, *options))
    return trainer, run
