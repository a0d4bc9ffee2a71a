"""What every training stage does before and after its trainer: check, resume, train, save, and sign off.

May not know which trainer it serves, nor what the text means. `metrics.json` is written last: it means "finished".
"""

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import yaml
from transformers import PreTrainedTokenizerBase, Trainer, TrainingArguments, set_seed
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import logging

from arith_hf import files, recipe, tokenizer

logger = logging.get_logger("arith_hf")
LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "tokenizers")
RESULTS = ("metrics.json", "evaluate.json", "evaluate.txt", "samples.jsonl", "model.safetensors")


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


def begin(
    verb: str,
    argv: Sequence[str],
    instances: Sequence[Any],
    training: TrainingArguments,
    model_tokenizer: PreTrainedTokenizerBase,
    parent: str | None,
) -> Run:
    """Check what must hold before any compute, decide where to go on from, and leave the folder marked unfinished.

    Raises ValueError where processes do not see each other or the tokenizer is not the corpus's own.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) != training.world_size:
        raise ValueError(
            f"{os.environ['WORLD_SIZE']} processes were launched but each one trains alone: add `--use_cpu true` "
            "(several processes on a CPU), or launch one process"
        )
    output_dir = Path(str(training.output_dir))
    said = recipe.explicit(instances, argv, verb)
    said.pop("resume_from_checkpoint", None)
    provenance = {
        "stage": output_dir.name,
        "command": f"arith-hf {verb} {' '.join(argv)}",
        "tokenizer_fingerprint": tokenizer.fingerprint(model_tokenizer),
        "data": data_proof(next(one.dataset_name for one in instances if hasattr(one, "dataset_name"))),
        "parent": parent,
        "parent_sha256": None if parent is None else files.sha256(Path(parent, "model.safetensors")),
        "seed": training.seed,
        "versions": {name: version(name) for name in LIBRARIES},
        "python": platform.python_version(),
        "commit": commit(),
    }
    resume_from = choose_resume(training, output_dir, said, provenance)
    if training.process_index == 0:
        clear(output_dir, keep_steps=resume_from is not None)
        files.write_text(output_dir / "recipe.yaml", yaml.safe_dump(said, sort_keys=False))
        files.write_json(output_dir / "provenance.json", provenance)
    set_seed(training.seed)
    return Run(output_dir.name, output_dir, said, provenance, resume_from)


def choose_resume(
    training: TrainingArguments, output_dir: Path, said: dict[str, Any], provenance: dict[str, Any]
) -> str | None:
    """The step checkpoint to go on from: the one asked for, else that of an unfinished run of this same recipe."""
    asked = training.resume_from_checkpoint
    last = get_last_checkpoint(str(output_dir)) if output_dir.is_dir() else None
    if asked and asked.lower() not in ("true", "false"):
        if not Path(asked, "trainer_state.json").is_file():
            raise FileNotFoundError(f"no step checkpoint at {asked}: have {last or 'none'} in {output_dir}")
        return asked
    if asked and asked.lower() == "true":
        if last is None:
            raise FileNotFoundError(f"nothing to resume in {output_dir}: leave --resume_from_checkpoint out to start")
        return last
    if last is None or asked or (output_dir / "metrics.json").exists():
        return None
    changed = changes(output_dir, said, provenance)
    if changed:
        logger.warning(f"{output_dir} holds an unfinished run of something else ({', '.join(changed)}): starting over")
        return None
    logger.warning(f"going on from {last} (--resume_from_checkpoint false starts over)")
    return last


def changes(output_dir: Path, said: dict[str, Any], provenance: dict[str, Any]) -> list[str]:
    """What differs between the run that left `output_dir` and this one."""
    try:
        old_recipe = yaml.safe_load((output_dir / "recipe.yaml").read_text(encoding="utf-8")) or {}
        old = files.read_json(output_dir / "provenance.json")
    except (OSError, ValueError):
        return ["its recipe.yaml or provenance.json is gone"]
    keys = [key for key in {**old_recipe, **said} if old_recipe.get(key) != said.get(key)]
    inputs = ("tokenizer_fingerprint", "data", "parent_sha256")
    return keys + [key for key in inputs if old.get(key) != provenance[key]]


def clear(output_dir: Path, keep_steps: bool) -> None:
    """Take the marks of a finished run away, and the step checkpoints unless they are to be resumed; says so."""
    if (output_dir / "metrics.json").exists():
        logger.warning(f"replacing the finished model in {output_dir}")
    for name in RESULTS:  # the marker first: from here on the folder is unfinished
        (output_dir / name).unlink(missing_ok=True)
    for step in [] if keep_steps else output_dir.glob("checkpoint-*"):
        shutil.rmtree(step)


def run(trainer: Trainer, run: Run) -> None:
    """Train, or go on; a library's ValueError from here on is a failure, not the user's mistake."""
    try:
        trainer.train(resume_from_checkpoint=run.resume_from)
    except ValueError as error:
        raise RuntimeError(str(error)) from error


def finish(trainer: Trainer, run: Run, **facts: Any) -> None:
    """Save the model, write its card, and sign off with `metrics.json`, last; prints a summary line."""
    trainer.save_model(str(run.output_dir))
    if not trainer.is_world_process_zero():
        return
    trainer.create_model_card(model_name=f"{run.output_dir.parent.name}-{run.stage}")
    metrics = summarize(trainer, run) | facts
    files.write_json(run.output_dir / "metrics.json", metrics)
    shown = ("parameters", "steps", "eval_loss", "eval_exact_match", "seconds")
    print(f"{run.stage}: " + ", ".join(f"{key} {metrics[key]}" for key in shown if metrics.get(key) is not None))
    print(f"saved {run.output_dir}")


def summarize(trainer: Trainer, run: Run) -> dict[str, Any]:
    """The numbers of a run: sizes, steps, seconds of wall and of this process's CPU, last value of each metric."""
    last = {key: value for row in trainer.state.log_history for key, value in row.items() if key != "step"}
    model = trainer.accelerator.unwrap_model(trainer.model)
    return {
        "stage": run.stage,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "steps": trainer.state.global_step,
        "tokens": trainer.state.num_input_tokens_seen or None,
        "seconds": round(time.time() - run.started, 1),
        "cpu_seconds": round(time.process_time(), 1),
        "resumed_from": run.resume_from,
        "best_metric": trainer.state.best_metric,
        "best_checkpoint": trainer.state.best_model_checkpoint,
        **{key: value for key, value in last.items() if key.startswith(("eval_", "train_"))},
    }


def data_proof(dataset_name: str) -> dict[str, str]:
    """Path of the data and the hash that pins its content: of the manifest for a corpus, of the file for one file."""
    path = Path(dataset_name)
    pinned = path / "manifest.json" if path.is_dir() else path
    return {"path": dataset_name, "sha256": files.sha256(pinned)}


def commit() -> str | None:
    """The git commit of the working tree (None outside one)."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None
