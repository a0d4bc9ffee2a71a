"""What every training stage does before and after its trainer: check, resume, train, save, and sign off.

May not know which trainer it serves, nor what the text means. `metrics.json` is written last: it means "finished".
"""

import os
import shlex
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import torch
import yaml
from datasets import Dataset
from filelock import FileLock
from peft import PeftModel
from safetensors import SafetensorError
from transformers import PreTrainedTokenizerBase, Trainer, TrainingArguments, set_seed
from transformers.utils import logging

from arith_hf import files, provenance, recipe, tokenizer
from arith_hf.provenance import data_proof
from arith_hf.train import checks, interrupt, record, resume

logger = logging.get_logger("arith_hf")
GENERATIONS = "generations.jsonl"  # what a model wrote while it learned
RESULTS = (
    *("metrics.json", "evaluate.json", "evaluate.txt", "samples.jsonl"),
    *("trainer_state.json", record.NAME, "config.json", "model.safetensors"),
)


@dataclass
class StageArguments:
    """Keys of ours that every training stage has."""

    _argument_group_name = "stage"
    dataset_name: str = field(
        default="", metadata={"help": "A corpus folder (data/<model>) or one JSONL file of your own."}
    )
    overlong: Literal["error", "drop"] = field(
        default="error", metadata={"help": "What to do with rows longer than max_length: stop, or drop and count them."}
    )
    num_sample_generations: int = field(default=3, metadata={"help": "Samples printed at each evaluation."})
    num_eval_generations: int = field(
        default=64, metadata={"help": "Held-out prompts answered greedily at each evaluation (eval_exact_match)."}
    )


@dataclass
class Run:
    """One run of a stage: where it writes, what it was told, and the step it goes on from (None: from the start)."""

    stage: str
    output_dir: Path
    recipe: dict[str, Any]
    provenance: dict[str, Any]
    resume_from: str | None
    started: float = field(default_factory=time.time)
    cpu_seconds: float = 0.0
    lock: FileLock | None = None  # of the process that writes


def begin(
    verb: str,
    argv: Sequence[str],
    instances: Sequence[Any],
    training: TrainingArguments,
    model_tokenizer: PreTrainedTokenizerBase,
    parent: str | None,
) -> Run:
    """Check what must hold before any compute, and decide where to go on from; nothing but a lock is written yet.

    Raises ValueError where processes do not see each other, what it starts from would be overwritten, another run is
    at work in the folder, or it holds an unfinished run of something else.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) != training.world_size:
        raise ValueError(
            f"{os.environ['WORLD_SIZE']} processes were launched but each one trains alone: add `--use_cpu true` "
            "(several processes on a CPU), or launch one process"
        )
    checks.require_compiler(training)
    output_dir = Path(str(training.output_dir))
    made_by = next(
        (str(one.tokenizer_name_or_path) for one in instances if hasattr(one, "tokenizer_name_or_path")), None
    )
    checks.require_apart(output_dir, parent, made_by)
    said = recipe.explicit(instances, argv, verb)
    said.pop("resume_from_checkpoint", None)
    data = data_proof(next(one.dataset_name for one in instances if hasattr(one, "dataset_name")))
    # TRL's own max_length is a cap on rows: left to its default, it says nothing of what was read.
    lengths = [one.max_length for one in instances if one is not training and hasattr(one, "max_length")]
    gpu = torch.cuda.get_device_name(training.device) if training.device.type == "cuda" else None
    made = provenance.start(output_dir.name, f"arith-hf {verb} {shlex.join(argv)}", gpu) | {
        "tokenizer": made_by,
        "tokenizer_fingerprint": tokenizer.fingerprint(model_tokenizer),
        "data": data,
        "recipe_sha256": provenance.text_hash(as_yaml(said)),
        "parent": parent,
        "parent_sha256": None if parent is None else provenance.weights_hash(Path(parent)),
        "seed": training.seed,
        "data_seed": training.data_seed,
        "max_length": next(iter(lengths), said.get("max_length")),
        "processes": training.world_size,
        "threads": torch.get_num_threads(),
        "mixed_precision": training.mixed_precision,
        "device": training.device.type,
        "ancestors": provenance.ancestors(data["path"], made_by, parent),
    }
    if "logging_nan_inf_filter" not in said:
        training.logging_nan_inf_filter = False  # it logs a loss that is NaN as the mean of those before, or as 0
    lock = files.hold(output_dir) if training.process_index == 0 else None
    resume_from = resume.choose(training, output_dir, said, made)
    set_seed(training.seed)
    return Run(output_dir.name, output_dir, said, made, resume_from, lock=lock)


def as_yaml(said: dict[str, Any]) -> str:
    """The text of recipe.yaml: every key that was said, wherever, with its value."""
    return yaml.safe_dump(said, sort_keys=False)


def count_tokens(training: TrainingArguments) -> None:
    """Let the trainer count the tokens that it is fed, unless the recipe says how; GRPO counts its own."""
    if training.include_num_input_tokens_seen == "no":
        training.include_num_input_tokens_seen = "non_padding"


def run(trainer: Trainer, run: Run, period: int = 1) -> None:
    """Mark the folder unfinished and train, or go on; from here on a ValueError is a library's failure.

    Asked to stop (Ctrl+C) it does so at a multiple of `period` updates, saves, and raises `interrupt.Stopped`.
    """
    trainer.accelerator.wait_for_everyone()  # all have decided from the folder as it was
    if trainer.is_world_process_zero():
        if run.resume_from:
            old = provenance.read(Path(run.resume_from).parent / provenance.NAME)
            run.provenance = provenance.continued(old, run.provenance, run.resume_from)
            if changed := [key for key in ("code_sha256", "versions", "device") if old.get(key) != run.provenance[key]]:
                logger.warning(
                    f"the part before was made with other {', '.join(changed)}: it may end elsewhere than whole"
                )
        clear(run.output_dir, keep_steps=run.resume_from is not None)
        files.write_text(run.output_dir / "recipe.yaml", as_yaml(run.recipe))
        files.write_json(run.output_dir / provenance.NAME, run.provenance)
    trainer.accelerator.wait_for_everyone()
    before = sum(os.times()[:4])
    if run.resume_from:
        if hasattr(trainer, "_total_train_tokens"):  # TRL counts from the start or the resume on
            trainer._total_train_tokens = int(resume.last_logged(run.resume_from, "num_tokens") or 0)
        trainer.args.eval_on_start = False  # was done at the start; done again it would be one more line of the log
    resume.end_at_the_last_step(trainer)
    stop = interrupt.Stop(period)
    for callback in (stop, resume.Seal()):  # what the first asks to save the second logs
        trainer.add_callback(callback)
    try:
        with interrupt.stopping(trainer, stop):
            trainer.train(resume_from_checkpoint=run.resume_from)
    except ValueError as error:
        raise RuntimeError(str(error)) from error
    except (RuntimeError, SafetensorError) as error:
        if isinstance(error, RuntimeError) and "inline_container" not in str(error):  # torch.save's file
            raise
        free = shutil.disk_usage(run.output_dir).free / 2**20
        raise OSError(
            f"could not write a step checkpoint in {run.output_dir} ({free:.0f} MiB free): {error}"
        ) from error
    if not trainer.state.global_step:
        rows = len(cast(Dataset, trainer.train_dataset))
        raise ValueError(
            f"no step was taken: a batch takes more than the {rows} rows there are; give more, or make it smaller"
        )
    run.cpu_seconds = sum(os.times()[:4]) - before
    log: list[dict[str, Any]] = trainer.state.log_history
    loss = record.mean_loss(log)
    if "train_loss" in log[-1] and (loss is not None or run.resume_from):
        log[-1]["train_loss"] = loss  # the Trainer's is of the steps since it was resumed


def clear(output_dir: Path, keep_steps: bool) -> None:
    """Take the marks of a finished run away, and the step checkpoints unless they are to be resumed; says so."""
    if (output_dir / "metrics.json").exists():
        logger.warning(f"replacing the finished model in {output_dir}")
    for name in RESULTS:  # the marker first: from here on the folder is unfinished
        (output_dir / name).unlink(missing_ok=True)
    if not keep_steps:
        (output_dir / GENERATIONS).unlink(missing_ok=True)
    of_steps = [] if keep_steps else [output_dir / "rollouts", *output_dir.glob("checkpoint-*")]
    for folder in (output_dir / "adapter", *of_steps):
        if folder.is_symlink():  # to another disk: what it leads to is not of this folder
            folder.unlink()
        elif folder.is_dir():
            shutil.rmtree(folder)


def finish(trainer: Trainer, run: Run) -> None:
    """Save the model (an adapter also merged), write its card, sign off with `metrics.json`, last; prints a summary."""
    if isinstance(trainer.model, PeftModel):
        merge(trainer, run)
    trainer.save_model(str(run.output_dir))
    if trainer.is_world_process_zero():
        trainer.save_state()  # what was logged, for the report
        told = record.write_up(run.recipe, run.provenance, trainer.args, trainer.state)
        files.write_json(run.output_dir / record.NAME, told)
        metrics = summarize(trainer, run) | provenance.signature(run.output_dir)
        write_card(trainer, run, metrics)
        files.write_mark(run.output_dir / "metrics.json", metrics, run.started)
        shown = ("parameters", "steps", "eval_loss", "eval_exact_match", "seconds")
        print(f"{run.stage}: " + ", ".join(f"{key} {metrics[key]}" for key in shown if metrics.get(key) is not None))
        print(f"saved {run.output_dir}")
    leave(trainer)


def leave(trainer: Trainer) -> None:
    """All processes leave their group together: left to the end of the interpreter, its threads abort some exits."""
    trainer.accelerator.wait_for_everyone()
    trainer.model_wrapped = cast(torch.nn.Module, trainer.model)  # the wrapped one holds the group
    trainer.accelerator.free_memory()
    trainer.accelerator.end_training()


def write_card(trainer: Trainer, run: Run, metrics: dict[str, Any]) -> None:
    """The trainer's own model card, and below it where the model comes from."""
    trainer.create_model_card(model_name=f"{run.output_dir.parent.name}-{run.stage}")
    readme = run.output_dir / "README.md"
    lineage = provenance.section([*run.provenance["ancestors"], run.provenance | metrics])
    files.write_text(readme, f"{readme.read_text(encoding='utf-8').rstrip()}\n\n{lineage}\n")


def merge(trainer: Trainer, run: Run) -> None:
    """Save the adapter whole, as a checkpoint of its own, then fold it into the model that the stage will save."""
    adapted, folder = trainer.accelerator.unwrap_model(trainer.model), run.output_dir / "adapter"
    if trainer.is_world_process_zero():
        for one in adapted.peft_config.values():  # a set would be written in another order by each process
            if isinstance(one.target_modules, set):
                one.target_modules = sorted(one.target_modules)
        adapted.save_pretrained(str(folder))
        cast(PreTrainedTokenizerBase, trainer.processing_class).save_pretrained(folder)
        files.write_text(folder / "recipe.yaml", as_yaml(run.recipe))
        files.write_json(folder / provenance.NAME, run.provenance)
        signed = {"stage": run.stage, **provenance.signature(folder)}
        files.write_json(folder / "metrics.json", signed)
    trainer.model = trainer.model_wrapped = adapted.merge_and_unload()


def summarize(trainer: Trainer, run: Run) -> dict[str, Any]:
    """The numbers of a run: size, steps, seconds of wall since it began or was resumed, CPU seconds of its training.

    CPU seconds are of this process, all threads, and of children it has waited for (a compiler), evaluations included;
    not of what came before the first step. `tokens` (no padding) and `flops` are of all steps, those before a resume
    too.

    `eval_*` are those of the weights that are saved: of the best step where the best is loaded, else the last.
    """
    state = trainer.state
    loaded = trainer.args.load_best_model_at_end and state.best_model_checkpoint
    best = state.best_global_step if loaded else None
    rows = [row for row in state.log_history if best is None or row["step"] == best]
    scores = {key: value for row in rows for key, value in row.items() if key.startswith("eval_")}
    training = {key: value for key, value in state.log_history[-1].items() if key.startswith("train_")}
    model = trainer.accelerator.unwrap_model(trainer.model)
    return {
        "stage": run.stage,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "steps": state.global_step,
        "best_step": best,
        "tokens": state.num_input_tokens_seen or None,
        "flops": int(state.total_flos) or None,  # the Trainer's total_flos, which are 0 in GRPO
        "seconds": round(time.time() - run.started, 1),
        "cpu_seconds": round(run.cpu_seconds, 1),
        "resumed_from": run.resume_from,
        **scores,
        **training,
    }
