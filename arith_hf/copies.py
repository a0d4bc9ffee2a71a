"""Checkpoints made of others: an adapter merged into its base, or the same weights in stock form.

May not know how a checkpoint is trained or where it is sent. Whatever writes a checkpoint that is no stage's goes
through `check_output` and `publish`: it is whole, or not there.

    arith-hf merge --checkpoint checkpoints/M/lora/adapter --output_dir DIR
    arith-hf export --checkpoint DIR --output_dir DIR
"""

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from arith_hf import __version__, checkpoint, files, provenance, tokenizer


def merge(adapter: str | Path, output_dir: str | Path, overwrite: bool = False) -> Path:
    """Fold a LoRA adapter into its base; the result in `output_dir` is a full checkpoint that needs neither."""
    adapter, target = Path(adapter), check_output(Path(output_dir), overwrite, Path(adapter))
    if not checkpoint.is_adapter(checkpoint.check(adapter)):
        raise ValueError(f"need a LoRA adapter (a folder with {checkpoint.ADAPTER}), got {adapter}")
    model, model_tokenizer = checkpoint.load(adapter)
    merged = model.merge_and_unload(safe_merge=True)
    return publish(target, lambda folder: save(folder, merged, model_tokenizer, adapter, "merge"))


def export(path: str | Path, output_dir: str | Path, overwrite: bool = False) -> Path:
    """The same weights with the config.json of stock Llama or Qwen3: loads anywhere, with no code of ours.

    ValueError where the model has an option that no stock architecture has.
    """
    path, target = Path(path), check_output(Path(output_dir), overwrite, Path(path))
    checkpoint.check(path)
    source = checkpoint.base_of(path) if checkpoint.is_adapter(path) else path
    config = AutoConfig.from_pretrained(checkpoint.check(source), trust_remote_code=False)
    if not hasattr(config, "to_stock"):
        raise ValueError(f"need a checkpoint of ours (model_type: arith), got {config.model_type}: it needs no export")
    stock = config.to_stock()
    model, model_tokenizer = checkpoint.load(path)
    model = model.merge_and_unload(safe_merge=True) if checkpoint.is_adapter(path) else model
    exported = AutoModelForCausalLM.from_config(stock, dtype=model.dtype)
    exported.load_state_dict(model.state_dict(), strict=True)
    exported.generation_config = model.generation_config
    return publish(target, lambda folder: save(folder, exported, model_tokenizer, path, "export"))


def save(folder: Path, model: Any, model_tokenizer: PreTrainedTokenizerBase, source: Path, stage: str) -> None:
    """Weights, code, tokenizer and where they come from."""
    model.save_pretrained(folder)
    model_tokenizer.save_pretrained(folder)
    made = provenance.start(stage, f"arith-hf {stage} --checkpoint {source}") | {
        "tokenizer_fingerprint": tokenizer.fingerprint(model_tokenizer),
        "parent": str(source),
        "parent_sha256": provenance.weights_hash(source),
        "arith_hf": __version__,
        "ancestors": provenance.ancestors(source),
    }
    files.write_json(folder / provenance.NAME, made)
    files.write_json(folder / "metrics.json", {"stage": stage, **provenance.signature(folder)})


def check_output(target: Path, overwrite: bool, source: Path | None = None) -> Path:
    """The output folder, if writing there loses nothing but a checkpoint that was given up with `overwrite`."""
    if target.exists() and not target.is_dir():
        raise NotADirectoryError(f"need a folder for --output_dir, got the file {target}")
    if not target.is_dir() or not any(target.iterdir()):
        return target
    if not overwrite:
        raise FileExistsError(f"{target} is not empty: give --overwrite to replace what is in it, or another folder")
    if not any((target / name).is_file() for name in ("config.json", checkpoint.ADAPTER)):
        raise FileExistsError(f"{target} is not a checkpoint, so it is not replaced: give another folder")
    if source is not None and source.resolve().is_relative_to(target.resolve()):
        raise ValueError(f"need an --output_dir outside of the checkpoint that is read, got {target}")
    return target


def publish(target: Path, write: Callable[[Path], Any]) -> Path:
    """Let `write` fill a folder beside `target`, then put it in its place: whole, or not at all.

    What was in `target` is removed when the new folder is complete, not before.
    """
    target = Path(os.path.abspath(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    try:
        write(aside / "new")
        if target.is_dir():
            target.rename(aside / "old")
        (aside / "new").rename(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return target


# The verbs


def merge_main(argv: list[str]) -> int:
    parser = checkpoint.Arguments("arith-hf merge", "Fold a LoRA adapter into a full checkpoint.")
    given = parse_output(parser, argv, "folder of the adapter, such as checkpoints/expression/lora/adapter")
    print(f"merged {given.checkpoint} into {merge(given.checkpoint, given.output_dir, given.overwrite)}")
    return 0


def export_main(argv: list[str]) -> int:
    parser = checkpoint.Arguments("arith-hf export", "Write the stock Llama or Qwen3 form of a checkpoint.")
    given = parse_output(parser, argv, "folder of the checkpoint or adapter")
    print(f"exported {given.checkpoint} to {export(given.checkpoint, given.output_dir, given.overwrite)}")
    return 0


def parse_output(parser: checkpoint.Arguments, argv: list[str], what: str) -> argparse.Namespace:
    parser.add_argument("--checkpoint", required=True, help=what)
    parser.add_argument("--output_dir", required=True, help="folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace a folder that is not empty")
    disable_progress_bar()  # of the loading, which takes no time
    return parser.parse_args(argv)
