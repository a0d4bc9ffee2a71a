"""What the rows work on: a small corpus and its tokenizer, made by the real stages, and the real pretraining stage.

May not know what is measured. Everything is written below a temporary folder.
"""

from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import datasets
from transformers import PrinterCallback
from transformers.utils import logging

from arith_hf import corpus, tokenizer
from arith_hf.train import pretrain
from benchmarks.measure import ROOT

SMALL = {"num_sft": 64, "num_prompts": 0, "num_validation": 32, "num_test": 256, "num_harder": 0, "num_proc": 1}
# What the stage does beside training is off; batches are made in this process, where the clock sees their cost.
ALONE: dict[str, Any] = {
    "eval_strategy": "no",
    "save_strategy": "no",
    "load_best_model_at_end": False,
    "num_eval_generations": 0,
    "report_to": "none",
    "disable_tqdm": True,
    "dataloader_num_workers": 0,
}
TINY: dict[str, Any] = {"size": "tiny", "config_overrides": "{}", "torch_compile": False}  # what --quick trains
BARE = ALONE | {"use_cpu": True, "gradient_accumulation_steps": 1}  # and what a bare loop has not


def recipe(model: str, stage: str) -> str:
    return str(ROOT / "recipes" / model / f"{stage}.yaml")


def said(**keys: Any) -> list[str]:
    """Keys as the command line takes them."""
    return [token for key, value in keys.items() for token in (f"--{key}", str(value))]


def make(model: str, folder: Path, rows: int, **more: Any) -> dict[str, str]:
    """A corpus of `rows` pretraining documents by the recipe of `model`, and its tokenizer; where the two are."""
    quiet()
    places = {"dataset_name": str(folder / model / "data"), "tokenizer_name_or_path": str(folder / model / "tokenizer")}
    keys = SMALL | more | {"num_pretrain": rows, "output_dir": places["dataset_name"]}
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        corpus.main(["--config", recipe(model, "corpus"), *said(**keys)])
        here = {"dataset_name": places["dataset_name"], "output_dir": places["tokenizer_name_or_path"]}
        tokenizer.main(["--config", recipe(model, "tokenizer"), *said(**here)])
    return places


def stage(config: str, places: dict[str, str], **more: Any) -> Any:
    """The Trainer of the pretraining stage as its own command prepares it."""
    output = str(Path(places["dataset_name"]).parent / "pretrain")
    trainer, _ = pretrain.prepare(["--config", config, *said(**places, output_dir=output, **BARE, **more)])
    trainer.remove_callback(PrinterCallback)
    return trainer


def quiet() -> None:
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    logging.set_verbosity_error()
