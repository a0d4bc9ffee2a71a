"""Pretraining: a new model learns packed text with HF `Trainer`.

May not know what the text means. Fixed blocks of `max_length` tokens hold whole documents; positions restart at each,
so that no document attends to another.

    accelerate launch --config_file recipes/accelerate/cpu.yaml -m arith_hf pretrain --config recipes/M/pretrain.yaml
"""

import json
import math
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow.compute as pc
from datasets import Dataset, Features, List, Value
from transformers import PreTrainedTokenizerBase, Trainer, TrainingArguments, default_data_collator
from trl import pack_dataset

from arith_hf import chat, checkpoint, recipe, tokenizer
from arith_hf.model import ArithConfig, ArithForCausalLM
from arith_hf.model.lines_arith import require_mask
from arith_hf.train import checks, data, stage
from arith_hf.train.muon import MuonFactory
from arith_hf.train.samples import Samples


@dataclass
class PretrainArguments(stage.StageArguments):
    """Keys of ours for pretraining; all others are `TrainingArguments`'."""

    _argument_group_name = "pretrain"
    tokenizer_name_or_path: str = field(default="", metadata={"help": "Folder of the tokenizer."})
    size: str = field(default="small", metadata={"help": "Size of the model by name (arith_hf/model)."})
    config_overrides: str | None = field(
        default=None, metadata={"help": 'Any field of the model\'s config, as JSON: {"hidden_size": 160}.'}
    )
    attn_implementation: str = field(
        default="sdpa",
        metadata={"help": "sdpa, eager, flash_attention_2, ...; with window_counts: positions the first two."},
    )
    max_length: int = field(default=512, metadata={"help": "Tokens in a block."})
    overlong: Literal["error", "drop", "cut"] = field(  # type: ignore[assignment]
        default="error",
        metadata={"help": "Documents longer than max_length: stop, drop and count them, or keep their beginning."},
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


def pack(
    rows: Dataset,
    model_tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    overlong: str = "error",
    num_proc: int | None = None,
    loss_on_given: bool = False,
    weights: tuple[float, float] = (1.0, 1.0),
) -> Dataset:
    """Blocks of `max_length` tokens made of whole documents (TRL's best fit): `input_ids`, `position_ids`, `labels`.

    `weights` are `decisive_weight` and `verdict_weight`; unless both are 1 there are also `loss_weights`, whose mean
    over all labels is 1.

    Positions restart at each document; padding is one more document, with labels -100.
    No label for the beginning of a document, nor for its first `given` characters where there is such a column, unless
    `loss_on_given`.
    The end token stands behind each document but those whose column `ends` is false: pieces cut from a longer one.
    `overlong: cut` keeps the beginning of a document that no block can hold.
    """
    # of a module `datasets` finds no hash, and caches nothing; of a pattern it hashes what it says
    form = tokenizer.form_of(model_tokenizer)
    end, encode, decisive, verdict = model_tokenizer.eos_token_id, data.encode, form.DECISIVE, form.VERDICT
    weighted = weights != (1.0, 1.0)

    def tokenize(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        count = len(batch["text"])
        encoded = encode(model_tokenizer, batch["text"], return_offsets_mapping=True)
        documents: dict[str, list[Any]] = {"input_ids": [], "labels": [], "length": []}
        if weighted:
            documents["marks"] = []
        for text, ids, offsets, given, whole in zip(
            batch["text"],
            encoded["input_ids"],
            encoded["offset_mapping"],
            batch.get("given", [0] * count),
            batch.get("ends", [True] * count),
            strict=True,
        ):
            posed, given = given, given * (not loss_on_given)
            labels = [token if start >= given else -100 for token, (start, _) in zip(ids, offsets, strict=True)]
            most = max_length if overlong == "cut" else None
            documents["input_ids"].append((ids + [end] * whole)[:most])
            documents["labels"].append(([-100, *labels[1:]] + [end] * whole)[:most])
            documents["length"].append(len(documents["labels"][-1]))
            if weighted:
                inside = {place: 1 for found in decisive.finditer(text) for place in range(*found.span())}
                inside |= {found.start(): 2 for found in verdict.finditer(text, posed)}
                marks = [
                    inside.get(start, 0) * (label != -100) for label, (start, _) in zip(labels, offsets, strict=True)
                ]
                documents["marks"].append(([0, *marks[1:]] + [0] * whole)[:most])
        return documents

    ids = rows.map(tokenize, batched=True, remove_columns=rows.column_names, num_proc=num_proc, desc="Tokenizing")
    lengths = ids.select_columns("length").with_format("numpy")["length"][:]
    ids = data.keep(ids, lengths, max_length, overlong).remove_columns("length")
    packed = pack_dataset(ids, max_length, strategy="bfd", map_kwargs={"desc": "Packing"})
    narrow = "int16" if max(len(model_tokenizer), max_length) < 2**15 else "int32"
    columns = {name: List(Value(narrow), length=max_length) for name in ("input_ids", "position_ids", "labels")}
    scaled = None
    if weighted:
        columns["loss_weights"] = List(Value("float32"), length=max_length)
        shares = marked(packed, len(weights))
        for name, weight, share in zip(("decisive_weight", "verdict_weight"), weights, shares, strict=True):
            if weight != 1 and not share:
                raise ValueError(f"{name}: these texts have no token that it weighs: leave it out")
        mean = 1 + sum((weight - 1) * share for weight, share in zip(weights, shares, strict=True))
        scaled = [weight / mean for weight in (1.0, *weights)]
    return packed.map(
        lay_out,
        batched=True,
        remove_columns=packed.column_names,
        fn_kwargs={"max_length": max_length, "pad_token_id": model_tokenizer.pad_token_id, "weights": scaled},
        features=Features(columns),
        num_proc=num_proc,
        desc="Laying out",
    ).with_format("torch")


def marked(packed: Dataset, kinds: int) -> list[float]:
    """The shares of the tokens with the marks 1 to `kinds` among the labels of packed documents."""
    found, labelled = [0] * kinds, 0
    for batch in packed.select_columns(["labels", "marks"]).with_format("arrow").iter(1000):
        marks = batch["marks"].combine_chunks().flatten()
        found = [count + pc.sum(pc.equal(marks, kind)).as_py() for kind, count in enumerate(found, start=1)]
        labelled += pc.sum(pc.not_equal(batch["labels"].combine_chunks().flatten(), -100)).as_py()
    return [count / max(labelled, 1) for count in found]


def lay_out(
    packed: dict[str, list[Any]], max_length: int, pad_token_id: int, weights: list[float] | None = None
) -> dict[str, list[Any]]:
    """Once for the whole run what a collator would do at every step, 1 ms each time: rectangular blocks.

    `weights` are those of the labels with the marks 0, 1, ...
    """
    columns: dict[str, list[Any]] = {"input_ids": [], "position_ids": [], "labels": []}
    if weights:
        columns["loss_weights"] = [
            [weights[mark] for mark in marks] + [0.0] * (max_length - len(marks)) for marks in packed["marks"]
        ]
    for ids, labels, sizes in zip(packed["input_ids"], packed["labels"], packed["seq_lengths"], strict=True):
        room = max_length - len(ids)
        columns["input_ids"].append(ids + [pad_token_id] * room)
        columns["labels"].append(labels + [-100] * room)
        columns["position_ids"].append([place for size in (*sizes, room) for place in range(size)])
    return columns


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
    stage.count_tokens(training)
    model_tokenizer = checkpoint.load_tokenizer(own.tokenizer_name_or_path)
    data.check_tokenizer(model_tokenizer, own.dataset_name)
    train, validation = data.load(own.dataset_name, "pretrain", ["text"])
    config = shape(own, model_tokenizer)
    prompts = data.held_out(own.dataset_name, own.num_eval_generations)
    run = stage.begin("pretrain", argv, (own, training), training, model_tokenizer, parent=None)
    with training.main_process_first():
        train, validation = (
            pack(
                rows,
                model_tokenizer,
                own.max_length,
                own.overlong,
                own.dataset_num_proc,
                own.loss_on_given,
                those,
            )
            for rows, those in ((train, weights), (validation, (1.0, 1.0)))  # a loss that compares
        )
    trainer = Trainer(
        model=ArithForCausalLM(config),
        args=training,
        data_collator=default_data_collator,
        train_dataset=train,
        eval_dataset=validation,
        processing_class=model_tokenizer,
        optimizer_cls_and_kwargs=muon(own, training),
    )
    if prompts is not None:
        trainer.add_callback(Samples(trainer, prompts, own.num_sample_generations))
    return trainer, run
