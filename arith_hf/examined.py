"""What every evaluation begins and ends with: this launch and the corpus are checked, its three files are written.

May not know what is measured.
"""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from arith_hf import checkpoint, files, tokenizer


def start() -> Accelerator:
    """The processes of this launch; ValueError where each would do all of the work and write the same files."""
    accelerator, launched = Accelerator(), int(os.environ.get("WORLD_SIZE", "1"))
    if launched != accelerator.num_processes:
        raise ValueError(
            f"{launched} processes were launched but each one works alone: "
            "set ACCELERATE_USE_CPU=true (several processes on a CPU), or launch one process"
        )
    return accelerator


def check_corpus(data: Path, path: Path, model_tokenizer: Any) -> None:
    """ValueError where the checkpoint's tokenizer is not the one that signed the corpus (models not ours sign none)."""
    signature = files.read_json(data / "manifest.json").get("tokenizer_fingerprint")
    if signature and checkpoint.recorded_fingerprint(path):
        repair = (
            "give the corpus that the checkpoint was trained on; if tokenizer.yaml was edited since, put the old one "
            f"back and run make tokenizer MODEL={data.name}"
        )
        tokenizer.require(model_tokenizer, signature, str(data), repair)


def publish(folder: Path, report: dict[str, Any], samples: Iterable[dict[str, Any]], text: str, began: float) -> None:
    """samples.jsonl, evaluate.txt with `text`, which is printed too, and evaluate.json, last."""
    if (folder / "evaluate.json").exists():
        print(f"replacing {folder / 'evaluate.json'}", file=sys.stderr)
        (folder / "evaluate.json").unlink()
    files.write_jsonl(folder / "samples.jsonl", samples)
    files.write_text(folder / "evaluate.txt", text)
    files.write_mark(folder / "evaluate.json", report, began)
    print(text)
