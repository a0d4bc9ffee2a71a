"""What must hold of a training before anything is loaded or written.

May not know which trainer it is for. ValueError says what is wrong; only a missing compiler is made do without.
"""

from pathlib import Path

import torch
from transformers import TrainingArguments
from transformers.utils import logging

logger = logging.get_logger("arith_hf")


def require_steps(training: TrainingArguments) -> None:
    """ValueError where nothing would be trained, or not for as long as was said, or the run would end in a division."""
    for key in ("gradient_accumulation_steps", "per_device_train_batch_size", "per_device_eval_batch_size"):
        if (value := getattr(training, key)) < 1:
            raise ValueError(f"{key}: need at least 1, got {value}")
    if training.max_steps < 1 and training.max_steps != -1:
        raise ValueError(f"max_steps: need at least 1, or -1 to train by num_train_epochs, got {training.max_steps}")
    if training.max_steps == -1 and training.num_train_epochs <= 0:
        raise ValueError(f"num_train_epochs: need more than 0, got {training.num_train_epochs}")
    if training.save_only_model:
        logger.warning("save_only_model: a run that is stopped cannot be gone on with")


def require_apart(output_dir: Path, parent: str | None, made_by: str | None) -> None:
    """ValueError where a run would write over the checkpoint that it starts from, or over its tokenizer's folder."""
    place = output_dir.resolve()
    if parent is not None:
        start = Path(parent).resolve()
        if place == start or place in start.parents or start in place.parents:
            raise ValueError(
                f"output_dir {output_dir} and model_name_or_path {parent} lie in one another: the run would write over "
                "what it starts from; give another --output_dir"
            )
    if made_by is not None and place == Path(made_by).resolve():
        raise ValueError(f"output_dir {output_dir} is the folder of the tokenizer: give another --output_dir")


def require_compiler(training: TrainingArguments) -> None:
    """Turn `torch_compile` off, and say so, where nothing can be compiled: a recipe shall run on any machine."""
    if not training.torch_compile:
        return
    try:
        torch.compile(torch.square, backend=training.torch_compile_backend or "inductor")(
            torch.ones(8, device=training.device)
        )
    except Exception as error:  # whatever a missing or broken compiler makes it raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        logger.warning(
            f"torch_compile: nothing can be compiled here ({reason}): slower without it, the rest is the same"
        )
        # the Trainer asks for the backend alone
        training.torch_compile, training.torch_compile_backend, training.torch_compile_mode = False, None, None
