"""Going on where a run was stopped: from which step checkpoint, and whether it may.

May not know what is trained. A step checkpoint is sealed once all its files are written: `seal.json` has their hashes.
One that is not sealed, as the run was killed before, is looked at as far as its files can be without.
"""

import json
import zipfile
from pathlib import Path
from typing import Any

import yaml
from accelerate import PartialState
from safetensors import SafetensorError, safe_open
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils import logging

from arith_hf import files, provenance

logger = logging.get_logger("arith_hf")
SEAL, STATE = "seal.json", "trainer_state.json"
NEEDED = {
    "*.safetensors": "model.safetensors",
    "optimizer*": "optimizer.pt",
    "scheduler.pt": "scheduler.pt",
    "rng_state*.pth": "rng_state.pth",
}  # pattern: file

HARMLESS = {
    *("logging_steps", "report_to", "run_name", "disable_tqdm", "save_total_limit"),
    *("num_sample_generations", "record_rollouts"),
    *("sample_prompts", "sample_steps", "sample_length", "sample_temperature"),
}


# Which


def choose(training: TrainingArguments, output_dir: Path, said: dict[str, Any], made: dict[str, Any]) -> str | None:
    """The step checkpoint to go on from: the one asked for, else that of an unfinished run of this same recipe."""
    asked = (training.resume_from_checkpoint or "").lower()
    last = last_step(output_dir)
    if asked not in ("", "true", "false"):
        chosen = Path(str(training.resume_from_checkpoint))
        if not chosen.is_dir() or (broken := fault(chosen)):
            said_why = broken if chosen.is_dir() else "no such folder"
            raise FileNotFoundError(
                f"no step checkpoint at {chosen} to go on from ({said_why}): have {last or 'none'} in {output_dir}"
            )
        require_stage(chosen, made)
        require_newest(chosen, output_dir)
        if changed := changes(chosen.absolute().parent, said, made):
            logger.warning(f"going on from {chosen} with other {', '.join(changed)}")
        return str(chosen)
    if asked == "true" and last is None:
        raise FileNotFoundError(f"nothing to resume in {output_dir}: leave --resume_from_checkpoint out to start")
    if last is None and asked != "false" and not (output_dir / "metrics.json").exists():
        if next(output_dir.glob(f"checkpoint-*/{SEAL}"), None):  # once they were
            raise ValueError(
                f"no step checkpoint in {output_dir} is whole any more: put back what is missing, or give "
                "--resume_from_checkpoint false to start over (through make: ARGS='--resume_from_checkpoint false')"
            )
        if next(output_dir.glob("checkpoint-*"), None):
            logger.warning(f"no step checkpoint in {output_dir} is whole: starting over")
    if last is None or asked == "false" or (not asked and (output_dir / "metrics.json").exists()):
        return None
    changed = changes(output_dir, said, made)
    if changed and not asked:
        raise ValueError(
            f"{output_dir} holds an unfinished run of something else ({', '.join(changed)} changed): give "
            f"--resume_from_checkpoint true to go on from {Path(last).name}, false to start over "
            "(through make: ARGS='--resume_from_checkpoint false')"
        )
    logger.warning(f"going on from {last}" + (f" with other {', '.join(changed)}" if changed else ""))
    return last


def changes(output_dir: Path, said: dict[str, Any], made: dict[str, Any]) -> list[str]:
    """What differs, of all that can change the weights, between the run that left `output_dir` and this one."""
    try:
        old_recipe = yaml.safe_load((output_dir / "recipe.yaml").read_text(encoding="utf-8")) or {}
        old = files.read_object(output_dir / provenance.NAME)
    except (OSError, ValueError, yaml.YAMLError):
        return ["recipe.yaml or provenance.json (there is none that can be read)"]
    keys = [key for key in {**old_recipe, **said} if old_recipe.get(key) != said.get(key) and key not in HARMLESS]
    inputs = ("tokenizer_fingerprint", "data", "parent_sha256", "processes", "mixed_precision")
    return keys + [key for key in inputs if old.get(key) != made[key]]


def require_stage(checkpoint: Path, made: dict[str, Any]) -> None:
    """ValueError where a step is of another verb than this run; where nothing tells, `changes` says so."""
    try:
        before = verb(files.read_object(checkpoint.absolute().parent / provenance.NAME))
    except (OSError, ValueError):
        return
    if before and before != verb(made):
        raise ValueError(
            f"{checkpoint} is a step of {before}, not of {verb(made)}: to start from its weights give "
            f"--model_name_or_path {checkpoint}"
        )


def require_newest(chosen: Path, output_dir: Path) -> None:
    """ValueError where newer steps lie beside the one named: the next start would take one of them for this run's."""
    newer = [path.name for path in steps(output_dir) if number(path) > number(chosen)]
    if newer and chosen.absolute().parent == output_dir.absolute():
        raise ValueError(
            f"{', '.join(newer)} in {output_dir} would be taken for later steps of this run: remove them, or give "
            "another --output_dir"
        )


def verb(made: dict[str, Any]) -> str | None:
    """The verb of the command that a provenance tells; its stage is the name of a folder, whatever made it.

    >>> verb({"stage": "mine", "command": "arith-hf sft --output_dir mine"})
    'sft'
    """
    words = str(made.get("command") or "").split()
    return words[1] if len(words) > 1 and words[0] == "arith-hf" else None


def last_logged(checkpoint: str, key: str) -> Any:
    """The last value of `key` in the log of a step checkpoint; None where it was never logged."""
    log = json.loads(Path(checkpoint, STATE).read_text(encoding="utf-8"))["log_history"]
    return next((row[key] for row in reversed(log) if key in row), None)


# Whole or not


class Seal(TrainerCallback):
    """Writes down, when a step checkpoint is complete, what each of its files is; before it, the log is.

    What a trainer has added up since its last line of the log is in no checkpoint, so a step that is saved is logged.
    """

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        control.should_log |= control.should_save and args.logging_strategy != "no"

    on_epoch_end = on_step_end

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        folder = Path(str(args.output_dir), f"checkpoint-{state.global_step}")
        PartialState().wait_for_everyone()  # each process has written its random state
        if state.is_world_process_zero and folder.is_dir():
            written = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != SEAL]
            files.write_json(folder / SEAL, {str(path.relative_to(folder)): files.sha256(path) for path in written})


def last_step(output_dir: Path) -> str | None:
    """The newest step checkpoint that is whole; of each newer one that is not a warning names the file."""
    for path in reversed(steps(output_dir)):
        if (broken := fault(path)) is None:
            return str(path)
        logger.warning(f"passing over {path}: {broken}")
    return None


def steps(output_dir: Path) -> list[Path]:
    """The step checkpoints of a folder, whole or not, in order."""
    return sorted((path for path in output_dir.glob("checkpoint-*") if number(path) >= 0), key=number)


def number(checkpoint: Path) -> int:
    """The step of a checkpoint by its name; -1 where it says none."""
    said = checkpoint.name.rpartition("-")[2]
    return int(said) if said.isdecimal() else -1


def fault(checkpoint: Path) -> str | None:
    """Which file of a step checkpoint is not as it was written, and why; None where it can be gone on from."""
    if not (checkpoint / STATE).is_file():  # the Trainer writes it last
        return f"it was not written to its end (no {STATE})"
    try:
        state = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))  # as long as the log of its run
        _, best = state["global_step"], state.get("best_model_checkpoint")
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{STATE} is cut off or no JSON of a trainer"
    if best and Path(best).name != checkpoint.name:  # loaded at the end
        place = checkpoint.parent / Path(best).name
        if not place.is_dir():
            return f"its best step {place.name} is missing"
        if broken := damage(place):
            return f"its best step {place.name}: {broken}"
    return damage(checkpoint)


def damage(checkpoint: Path) -> str | None:
    """Which file of a step checkpoint is missing or not as it was written; None where none is."""
    for pattern, name in NEEDED.items():
        if not any(checkpoint.glob(pattern)):
            return f"{name} is missing"
    try:
        sealed = files.read_json(checkpoint / SEAL)
    except FileNotFoundError:
        return unsealed_fault(checkpoint)
    except ValueError:
        return f"{SEAL} is no JSON"
    for name, digest in sealed.items():
        if not (checkpoint / name).is_file():
            return f"{name} is missing"
        if files.sha256(checkpoint / name) != digest:
            return f"{name} is not the file that was written (another SHA-256)"
    return None


def unsealed_fault(checkpoint: Path) -> str | None:
    """What can be seen without hashes: a file that is missing, or cut off."""
    try:
        processes = int(files.read_object(checkpoint.absolute().parent / provenance.NAME).get("processes") or 1)
    except (OSError, ValueError):
        processes = 1
    if processes > 1:  # each writes its own, whenever it comes to it
        for name in (f"rng_state_{index}.pth" for index in range(processes)):
            if not (checkpoint / name).is_file():
                return f"{name} is missing"
    for path in sorted(checkpoint.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt"):  # compares the size with the header's
                pass
        except SafetensorError as error:
            return f"{path.name} is cut off or no safetensors ({error})"
    for path in sorted([*checkpoint.glob("*.pt"), *checkpoint.glob("*.pth")]):
        try:
            with zipfile.ZipFile(path) as archive:  # what torch.save writes
                broken = archive.testzip()
        except zipfile.BadZipFile:
            return f"{path.name} is cut off"
        if broken:
            return f"{path.name} is damaged at {broken}"
    return None


# The end


def end_at_the_last_step(trainer: Any) -> None:
    """A run that was killed behind its last step takes no step more: the Trainer would take one (tried with 5.17)."""
    run_epoch = trainer._run_epoch

    def until_the_last(**options: Any) -> None:
        if trainer.state.global_step >= trainer.state.max_steps:
            trainer.control.should_training_stop = True
        else:
            run_epoch(**options)

    trainer._run_epoch = until_the_last
