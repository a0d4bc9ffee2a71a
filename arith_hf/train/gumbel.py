"""Workings of the model's own: it writes each by Gumbel-softmax and learns from the right answer behind it.

May not know how a working is written, only where it ends. What the model wrote it reads as mixtures of embeddings, so
that the gradient of the answer's loss reaches every token of the working. The tags around it are learned too: a toy
that was not taught them forgot to close its working (probability 0.96 before, 0.0004 after 150 steps).

    accelerate launch --config_file recipes/accelerate/cpu.yaml -m arith_hf gumbel --config recipes/M/gumbel.yaml
"""

# B batch, T tokens, W of them the working's, V vocabulary, D width

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import torch
from datasets import Dataset
from peft import get_peft_model
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedTokenizerBase, Trainer, TrainingArguments
from trl import ModelConfig, get_peft_config

from arith_hf import notation, recipe
from arith_hf.train import checks, data, stage
from arith_hf.train.samples import Samples

NOT_HERE = ("activation_checkpointing", "gradient_checkpointing", "torch_compile", "label_smoothing_factor")


@dataclass
class GumbelArguments(stage.StageArguments):
    """Keys of ours for workings of the model's own; all others are `TrainingArguments`' and TRL `ModelConfig`'s."""

    _argument_group_name = "gumbel"
    max_length: int = field(default=512, metadata={"help": "Tokens of prompt and completion."})
    gumbel_temperature: float = field(default=1.0, metadata={"help": "Of the softmax that writes; near 0: one token."})
    gumbel_temperature_end: float | None = field(
        default=None, metadata={"help": "Temperature of the last step, reached in equal ratios (default: constant)."}
    )
    gumbel_hard: bool = field(
        default=True, metadata={"help": "Write whole tokens, with the gradient of soft ones; false: soft tokens."}
    )
    working_weight: float = field(
        default=0.0,
        metadata={
            "help": "What the cross entropy of the right working counts; 0: it is learned from the answer alone."
        },
    )


# Rows


def tokenize(rows: Dataset, model_tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """Rows of `input_ids`, and where in them the `completion` begins, and the working `begin`s and `end`s.

    Neither a `<think>` at the beginning of a completion nor the token that `</think>` is in are the working's.
    ValueError where a completion has no `</think>`.
    """
    # of a module `datasets` finds no hash, and caches nothing
    encode, opening, closing, last = data.encode, notation.THINK, notation.END_THINK, model_tokenizer.eos_token_id

    def split(batch: dict[str, list[str]]) -> dict[str, list[Any]]:
        pairs = list(zip(batch["prompt"], batch["completion"], strict=True))
        encoded = encode(model_tokenizer, [prompt + rest for prompt, rest in pairs], return_offsets_mapping=True)
        found: dict[str, list[Any]] = {"input_ids": [], "completion": [], "begin": [], "end": []}
        for (prompt, rest), ids, spans in zip(pairs, encoded["input_ids"], encoded["offset_mapping"], strict=True):
            if closing not in rest:
                raise ValueError(f"need completions with a working to write, got one without {closing}: {rest!r}")
            found["input_ids"].append([*ids, last])
            tag = len(opening) if rest.startswith(opening) else 0
            for name, place in (("completion", 0), ("begin", tag), ("end", rest.index(closing))):
                found[name].append(sum(stop <= len(prompt) + place for _, stop in spans))
        return found

    return rows.map(split, batched=True, remove_columns=rows.column_names, desc="Tokenizing")


def require_one_length(rows: Sequence[Dataset]) -> None:
    """ValueError unless all workings have the same number of tokens, and at least one: a batch is written together."""
    lengths = {end - begin for part in rows for begin, end in zip(part["begin"], part["end"], strict=True)}
    if len(lengths) > 1:
        raise ValueError(
            f"need workings of one length, got {min(lengths)} to {max(lengths)} tokens: set think_length in "
            "corpus.yaml, which fills them with <noop>"
        )
    if lengths == {0}:
        raise ValueError("need completions with a working to write: in this style nothing stands before its end")


def collate(rows: Sequence[dict[str, Any]], pad_token_id: int) -> dict[str, Tensor]:
    """A batch (B, T) whose workings stand one below the other: padding on the left of prompts, on the right of answers.

    `labels` are the completions but for the workings, `written` says where these stand.
    """
    before = max(row["begin"] for row in rows)
    behind = max(len(row["input_ids"]) - row["end"] for row in rows)
    batch: dict[str, list[list[int]]] = {"input_ids": [], "attention_mask": [], "labels": [], "written": []}
    for row in rows:
        ids, begin, end = row["input_ids"], row["begin"], row["end"]
        left, right = before - begin, behind - (len(ids) - end)
        labels = [-100] * row["completion"] + ids[row["completion"] : begin] + [-100] * (end - begin) + ids[end:]
        batch["input_ids"].append([pad_token_id] * left + ids + [pad_token_id] * right)
        batch["attention_mask"].append([0] * left + [1] * len(ids) + [0] * right)
        batch["labels"].append([-100] * left + labels + [-100] * right)
        batch["written"].append([0] * before + [1] * (end - begin) + [0] * behind)
    return {name: torch.tensor(columns) for name, columns in batch.items()}


def forbidden(model_tokenizer: PreTrainedTokenizerBase, size: int) -> Tensor:
    """Which of `size` tokens no working holds, (V): the special ones, those that end it, those without a text."""
    specials = {getattr(model_tokenizer, f"{name}_token_id") for name in ("pad", "unk", "bos", "eos")}
    texts = [str(model_tokenizer.decode([index])) for index in range(len(model_tokenizer))]
    known = [index not in specials and notation.END_THINK not in text for index, text in enumerate(texts)]
    return torch.tensor([not allowed for allowed in known] + [True] * (size - len(known)))


# Writing


def temperature(step: int, steps: int, first: float, last: float | None) -> float:
    """The temperature of `step`, of 0 to `steps` - 1: from `first` to `last` in equal ratios; None: `first`."""
    return first if last is None else first * (last / first) ** (step / max(steps - 1, 1))


def draw(seed: int, step: int, given: Tensor, shape: Sequence[int]) -> Tensor:
    """Gumbel noise for a batch of `given` ids: the same for the same seed, step and batch, whatever came before."""
    generator = torch.Generator(given.device)
    generator.manual_seed(random.Random(f"gumbel/{seed}/{step}/{given.tolist()}").getrandbits(63))
    return -torch.empty(tuple(shape), device=given.device).exponential_(generator=generator).log()


def soft_tokens(logits: Tensor, noise: Tensor, temperature: float, hard: bool) -> Tensor:
    """A sample of tokens (..., V) that has a gradient; `hard`: exactly one-hot, with the gradient of the soft one.

    Source: Jang, Gu and Poole 2017, https://arxiv.org/abs/1611.01144.
    """
    soft = ((logits + noise) / temperature).softmax(-1)
    if not hard:
        return soft
    whole = nn.functional.one_hot(soft.argmax(-1), soft.shape[-1]).to(soft.dtype)
    return whole + (soft - soft.detach())


def places(batch: dict[str, Tensor]) -> tuple[int, int]:
    """The columns from which and up to which the working stands, in all rows."""
    columns = batch["written"][0].nonzero()
    return int(columns[0]), int(columns[-1]) + 1


def read(model: Any, batch: dict[str, Tensor], stop: int, cache: DynamicCache | None = None, **inputs: Any) -> Tensor:
    """Logits (B, n, V) of the n tokens that `inputs` holds: from those in the `cache` on up to the column `stop`."""
    start = 0 if cache is None else cache.get_seq_length()
    mask = batch["attention_mask"][:, :stop]
    positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, start:]  # a stock model would count the padding
    state = {"past_key_values": cache, "use_cache": cache is not None}
    return model(attention_mask=mask, position_ids=positions, **state, **inputs).logits


def write(
    model: Any, batch: dict[str, Tensor], noise: Tensor, temperature: float, hard: bool, banned: Tensor
) -> tuple[Tensor, Tensor]:
    """The model's own working (B, W, V), and the logits (B, T, V) of the text with it in place of the right one.

    `noise` is (B, W, V), `banned` (V). The gradient goes through each token, and the cache, to all before it.
    """
    core = getattr(model, "module", model)  # several processes wrap it
    ids, (begin, end) = batch["input_ids"], places(batch)
    table = core.get_input_embeddings()(torch.arange(len(banned), device=ids.device))  # (V, D)
    cache = DynamicCache(config=core.config)
    working, logits = [], [read(model, batch, begin, cache, input_ids=ids[:, :begin])]
    for place, drawn in enumerate(noise.unbind(1), start=begin + 1):
        allowed = logits[-1][:, -1].masked_fill(banned, -math.inf)
        working.append(soft_tokens(allowed, drawn, temperature, hard))
        newest = (working[-1].to(table.dtype) @ table)[:, None]  # (B, 1, D)
        if place < end:
            logits.append(read(model, batch, place, cache, inputs_embeds=newest))
    rest = torch.cat((newest, table[ids[:, end:]]), dim=1)  # the last of the working, and what is given behind it
    logits.append(read(model, batch, ids.shape[1], cache, inputs_embeds=rest))
    return torch.stack(working, dim=1), torch.cat(logits, dim=1)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean over all `labels` but -100, each from the logits of the token before it."""
    exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return nn.functional.cross_entropy(exact[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


def working_loss(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """The cross entropy of the right working, by teacher forcing."""
    ids = batch["input_ids"]
    return cross_entropy(read(model, batch, ids.shape[1], input_ids=ids), ids.masked_fill(batch["written"] == 0, -100))


# Training


class GumbelTrainer(Trainer):
    """HF's `Trainer` on rows of `tokenize` with this loss, and nothing else changed.

    In evaluation the model writes greedily, as a solver does: the loss does not depend on temperature or chance.
    """

    def __init__(self, own: GumbelArguments, args: TrainingArguments, **options: Any) -> None:
        args.remove_unused_columns = False  # the collator uses them
        pad_token_id = options["processing_class"].pad_token_id
        super().__init__(args=args, data_collator=partial(collate, pad_token_id=pad_token_id), **options)
        self.model_accepts_loss_kwargs = False  # the mean of a batch: to be divided by the steps that accumulate
        model, model_tokenizer = cast(Any, self.model), cast(PreTrainedTokenizerBase, self.processing_class)
        self.own, self.matches, self.temperature = own, list[Tensor](), own.gumbel_temperature
        self.banned = forbidden(model_tokenizer, model.get_input_embeddings().num_embeddings).to(args.device)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        own, ids, (begin, end) = self.own, inputs["input_ids"], places(inputs)
        shape = (len(ids), end - begin, len(self.banned))
        if model.training:
            step, ends = self.state.global_step, (own.gumbel_temperature, own.gumbel_temperature_end)
            self.temperature = temperature(step, self.state.max_steps, *ends)
            noise = draw(self.args.seed, step, ids[:, :begin], shape)
            working, logits = write(model, inputs, noise, self.temperature, own.gumbel_hard, self.banned)
            self.matches.append((working.detach().argmax(-1) == ids[:, begin:end]).float().mean())
        else:
            _, logits = write(model, inputs, torch.zeros(shape, device=ids.device), 1.0, True, self.banned)
        loss = cross_entropy(logits, inputs["labels"])
        if own.working_weight:
            loss = loss + own.working_weight * working_loss(model, inputs)
        return (loss, {"loss": loss}) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """With the temperature, and the share of the working's tokens that were the right one's, since the last log."""
        if "loss" in logs and self.matches:
            match = torch.stack(self.matches).mean().item()
            logs |= {"gumbel_temperature": self.temperature, "working_match": round(match, 4)}
            self.matches.clear()
        super().log(logs, start_time)


def check(own: GumbelArguments, training: TrainingArguments) -> None:
    """ValueError where a key cannot be, or asks for what does not go with writing token by token."""
    for name in ("gumbel_temperature", "gumbel_temperature_end"):
        value = getattr(own, name)
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"need {name} > 0, got {value}")
    if not 0 <= own.working_weight < math.inf:
        raise ValueError(f"need working_weight >= 0, got {own.working_weight}")
    for name in NOT_HERE:
        if getattr(training, name, None):
            raise ValueError(f"{name}: not where the model writes its working token by token; leave it out")


def main(argv: list[str]) -> None:
    trainer, run = prepare(argv)
    stage.run(trainer, run)
    stage.finish(trainer, run)


def prepare(argv: list[str]) -> tuple[GumbelTrainer, stage.Run]:
    """Everything checked and loaded, nothing trained."""
    own, training, model_config = recipe.read((GumbelArguments, TrainingArguments, ModelConfig), argv, "gumbel")
    checks.require_steps(training)
    check(own, training)
    stage.count_tokens(training)
    model, model_tokenizer = data.load_parent(model_config)
    if getattr(model.config, "line_stride", None) is not None:
        raise ValueError(
            f"{model_config.model_name_or_path}: with line_stride a model needs the ids of the whole text, and here it "
            "writes mixtures of them: pretrain one without line_stride"
        )
    data.check_tokenizer(model_tokenizer, own.dataset_name)
    splits = data.load(own.dataset_name, "sft", ["prompt", "completion"])
    with training.main_process_first():
        fitting = [data.fit(rows, model_tokenizer, own.max_length, own.overlong, None) for rows in splits]
        train, validation = (tokenize(rows, model_tokenizer) for rows in fitting)
    require_one_length((train, validation))
    run = stage.begin(
        "gumbel", argv, (own, training, model_config), training, model_tokenizer, model_config.model_name_or_path
    )
    adapter = get_peft_config(model_config)
    trainer = GumbelTrainer(
        own,
        training,
        model=model if adapter is None else get_peft_model(model, adapter),
        train_dataset=train,
        eval_dataset=validation,
        processing_class=model_tokenizer,
    )
    if own.num_eval_generations:
        prompts = fitting[1].select(range(min(own.num_eval_generations, len(fitting[1]))))
        trainer.add_callback(Samples(trainer, prompts, own.num_sample_generations))
    return trainer, run
