"""Supervised fine-tuning with TRL's `SFTTrainer`, on prompt and completion or on conversations: in full, or with LoRA.

May not know how a completion is written, nor a template. The loss is on the completion, or on all that the assistant
says, and on the end token; LoRA (`use_peft: true`) leaves `adapter/` beside the merged model. `mixture` says how often
the rows of each source are seen; its shares are of all tokens, also those that are only read.

    accelerate launch --config_file recipes/accelerate/cpu.yaml -m arith_hf sft --config recipes/M/sft.yaml
"""

from dataclasses import dataclass, field

from datasets import concatenate_datasets
from trl import ModelConfig, SFTConfig, SFTTrainer, get_peft_config

from arith_hf import chat, recipe, tokenizer
from arith_hf.decoding import hard_limit
from arith_hf.train import checks, conversations, data, stage
from arith_hf.train.mixture import Mixed, Mixture, Progress, by_source, parted, require_order
from arith_hf.train.samples import Generations, SampleArguments, Samples


@dataclass
class SftArguments(SampleArguments):
    """Keys of ours for fine-tuning; all others are `SFTConfig`'s and TRL `ModelConfig`'s."""

    _argument_group_name = "sft"
    source_weights: str | None = field(
        default=None,
        metadata={
            "help": "Share of the tokens, prompts included, that each source has, by the column `source`: "
            "'{alpaca: 0.7, oasst1: 0.3}'."
        },
    )


class MixtureSFTTrainer(Mixed, SFTTrainer):
    """The trainer of fine-tuning on several sources."""


def main(argv: list[str]) -> None:
    trainer, run = prepare(argv)
    stage.run(trainer, run)
    stage.finish(trainer, run)


def prepare(argv: list[str]) -> tuple[SFTTrainer, stage.Run]:
    """Everything checked and loaded, nothing trained."""
    own, training, model_config = recipe.read((SftArguments, SFTConfig, ModelConfig), argv, "sft")
    checks.require_steps(training)
    if own.source_weights:
        require_order(training)
    stage.count_tokens(training)
    model, model_tokenizer = data.load_parent(model_config)
    data.check_tokenizer(model_tokenizer, own.dataset_name)
    if (limit := hard_limit(model.config)) and (training.max_length or limit + 1) > limit:
        raise ValueError(f"max_length: need at most {limit}, the positions of this model, got {training.max_length}")
    names, workers = conversations.columns(own.dataset_name), training.dataset_num_proc
    train, validation = data.load(own.dataset_name, "sft", names)
    talked = conversations.talked(model_tokenizer, names)
    sources, shares = by_source(train, own.source_weights) if own.source_weights else ({"": train}, {})
    fit, options = conversations.fit if talked else data.fit, (training.max_length, own.overlong, workers)
    with training.main_process_first():
        if talked:
            training.assistant_only_loss = True
            sources = {name: conversations.read(rows, model_tokenizer, workers, name) for name, rows in sources.items()}
            validation = conversations.read(validation, model_tokenizer, workers)
        sources = {name: fit(rows, model_tokenizer, *options) for name, rows in sources.items()}
        validation = fit(validation, model_tokenizer, *options)
    run = stage.begin(
        "sft", argv, (own, training, model_config), training, model_tokenizer, model_config.model_name_or_path
    )
    kept, adapter = ["messages"] if talked else list(names), get_peft_config(model_config)
    if talked:
        conversations.stop_at(model, model_tokenizer)
        conversations.learn_marks(adapter, model, model_tokenizer)
    trainer = (MixtureSFTTrainer if shares else SFTTrainer)(
        model=model,
        args=training,
        train_dataset=concatenate_datasets([rows.select_columns(kept) for rows in sources.values()]),
        eval_dataset=validation.select_columns(kept),
        processing_class=model_tokenizer,
        peft_config=adapter,
    )
    if isinstance(trainer, MixtureSFTTrainer):
        rows = parted(trainer.train_dataset, {name: len(rows) for name, rows in sources.items()})
        trainer.mixture = Mixture.make(rows, shares, model_tokenizer.pad_token_id, training)
        trainer.add_callback(Progress(trainer))
    if tokenizer.task_of(model_tokenizer) == "text":
        asked = conversations.questions(validation, model_tokenizer, own.num_sample_generations) if talked else {}
        asked |= {text: chat.ask(model_tokenizer, text) for text in own.sample_prompts or []}
        options = (own.sample_length, own.sample_temperature, own.sample_steps)
        if asked:
            trainer.add_callback(Generations(trainer, list(asked.values()), *options, shown=list(asked)))
    elif own.num_eval_generations:
        prompts = validation.select(range(min(own.num_eval_generations, len(validation))))
        trainer.add_callback(Samples(trainer, prompts, own.num_sample_generations))
    return trainer, run
