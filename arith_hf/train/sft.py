"""Supervised fine-tuning on prompt and completion with TRL's `SFTTrainer`: in full, or with LoRA (`use_peft: true`).

May not know how a completion is written. The loss is on the completion and its end token; LoRA leaves `adapter/` beside
the merged model.

    accelerate launch --config_file recipes/accelerate/cpu.yaml -m arith_hf sft --config recipes/M/sft.yaml
"""

from dataclasses import dataclass

from trl import ModelConfig, SFTConfig, SFTTrainer, get_peft_config

from arith_hf import recipe
from arith_hf.train import checks, data, resume, stage
from arith_hf.train.samples import Samples


@dataclass
class SftArguments(stage.StageArguments):
    """Keys of ours for fine-tuning; all others are `SFTConfig`'s and TRL `ModelConfig`'s."""

    _argument_group_name = "sft"


def main(argv: list[str]) -> None:
    trainer, run = prepare(argv)
    if run.resume_from:  # TRL counts from the start or the resume on
        trainer._total_train_tokens = int(resume.last_logged(run.resume_from, "num_tokens") or 0)
    stage.run(trainer, run)
    stage.finish(trainer, run)


def prepare(argv: list[str]) -> tuple[SFTTrainer, stage.Run]:
    """Everything checked and loaded, nothing trained."""
    own, training, model_config = recipe.read((SftArguments, SFTConfig, ModelConfig), argv, "sft")
    checks.require_steps(training)
    stage.count_tokens(training)
    model, model_tokenizer = data.load_parent(model_config)
    data.check_tokenizer(model_tokenizer, own.dataset_name)
    splits = data.load(own.dataset_name, "sft", ["prompt", "completion"])
    with training.main_process_first():
        train, validation = (
            data.fit(rows, model_tokenizer, training.max_length, own.overlong, training.dataset_num_proc)
            for rows in splits
        )
    run = stage.begin(
        "sft", argv, (own, training, model_config), training, model_tokenizer, model_config.model_name_or_path
    )
    trainer = SFTTrainer(
        model=model,
        args=training,
        train_dataset=train.select_columns(["prompt", "completion"]),
        eval_dataset=validation.select_columns(["prompt", "completion"]),
        processing_class=model_tokenizer,
        peft_config=get_peft_config(model_config),
    )
    if own.num_eval_generations:
        prompts = validation.select(range(min(own.num_eval_generations, len(validation))))
        trainer.add_callback(Samples(trainer, prompts, own.num_sample_generations))
    return trainer, run
