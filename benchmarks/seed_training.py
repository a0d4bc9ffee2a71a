"""Row `seed_training`: our stage beside the seed's way of training, at the seed's size, on the same documents.

Both arms have the same tokenizer (BPE of at most 1 000 tokens), AdamW and clipping, and at most 512 tokens in a row.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from time import process_time
from typing import Any

import torch
from transformers import TrainerCallback

from arith_hf import checkpoint, files, recipe
from benchmarks import material, seed_program
from benchmarks.measure import ROOT, Roof, Row, rounded
from benchmarks.training import Batch, share, useful

# Width, layers and heads of the seed; a gated MLP of 688 has as many weights as a plain one of 1 024. Positions, norms
# and the reach of attention are those of the recipe of record.
SIZE = {"hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 6, "num_attention_heads": 8}
BLOCKS = 4  # in a batch of ours: about as many useful tokens as 16 padded documents hold


def run(folder: Path, quick: bool) -> list[Row]:
    repeats, count, rows = (1, 4, 200) if quick else (3, 32, 3000)
    torch.manual_seed(0)
    places = material.make("expression-seed", folder, rows)
    trainer = material.stage(
        material.recipe("expression", "pretrain"),
        places
        | {"dataset_name": sample(places, folder / "sample.jsonl", count + 1)},  # the stage keeps one to validate
        size="tiny" if quick else "medium",
        config_overrides=json.dumps({} if quick else overrides()),
        max_length=seed_program.LONGEST,
        optimizer="trainer",
        per_device_train_batch_size=BLOCKS,
        decisive_weight=1.0,
        verdict_weight=1.0,
        torch_compile=not quick,
    )
    epochs = Epochs(trainer, seed_program.TINY if quick else seed_program.SHAPE, repeats)
    trainer.train()
    turns = [epochs.batches] * repeats
    return [epochs.row(), share("seed_share", "seed's size", trainer.model, turns, epochs.seconds, epochs.roof)]


def sample(places: dict[str, str], path: Path, count: int) -> str:
    """A file of `count` documents that fit in the seed's 512 tokens, evenly over the lengths of the whole corpus."""
    tokenizer = checkpoint.load_tokenizer(places["tokenizer_name_or_path"])
    rows = list(files.read_jsonl(Path(places["dataset_name"], "pretrain/train.jsonl")))
    lengths = [len(tokenizer(row["text"])["input_ids"]) + 1 for row in rows]
    fitting = [index for index, length in enumerate(lengths) if length <= seed_program.LONGEST]
    order = sorted(fitting, key=lambda index: lengths[index])
    files.write_jsonl(path, [rows[order[(2 * place + 1) * len(order) // (2 * count)]] for place in range(count)])
    return str(path)


def overrides() -> dict[str, Any]:
    """The recipe of record's fields of the model, at the seed's size; with its tokenizer there is no stride."""
    said = recipe.load(Path(material.recipe("expression", "pretrain"))).get("config_overrides") or "{}"
    by_line = ("line_stride", "window_counts")
    return {name: value for name, value in json.loads(said).items() if name not in by_line} | SIZE


class Epochs(TrainerCallback):
    """After each epoch of ours the seed's program reads the same documents; the first epoch of ours warms up."""

    def __init__(self, trainer: Any, shape: dict[str, int], repeats: int) -> None:
        self.trainer, self.repeats, self.roof = trainer, repeats, Roof()
        rows = [trainer.train_dataset[index] for index in range(len(trainer.train_dataset))]
        self.batches = [trainer.data_collator(rows[start : start + BLOCKS]) for start in range(0, len(rows), BLOCKS)]
        config = trainer.model.config
        self.documents = documents(self.batches, config.pad_token_id)
        self.job = {"vocab_size": config.vocab_size, "pad": config.pad_token_id, "shape": shape, "rows": self.documents}
        self.started = process_time()
        self.seconds: list[float] = []
        self.fixed: list[float] = []
        self.longest = 0.0
        trainer.add_callback(self)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.epoch > 1.5:
            self.seconds.append(process_time() - self.started)
            self.fixed.append(seed_epoch(self.job))
            self.longest = self.longest or seed_epoch(self.job, to_longest=True)
        self.roof.probe()
        control.should_training_stop = len(self.seconds) == self.repeats
        self.started = process_time()

    def row(self) -> Row:
        tokens, read = useful(self.batches, self.trainer), sum(map(len, self.documents))
        places = len(self.documents) * seed_program.LONGEST
        theirs = seed_program.SeedModel(self.job["vocab_size"], self.job["pad"], **self.job["shape"])
        return Row(
            "seed_training",
            "our stage / the seed's way",
            "useful tokens / core-s",
            ours=[tokens / seconds for seconds in self.seconds],
            other=[read / seconds for seconds in self.fixed],
            wanted=">= 8, reach 10",
            facts={
                "documents": len(self.documents),
                "tokens": tokens,
                "tokens_other": read,
                "padding_other": round(1 - read / places, 3),
                "other_padded_to_longest": rounded(read / self.longest),
                "parameters": sum(weight.numel() for weight in self.trainer.model.parameters()),
                "parameters_other": sum(weight.numel() for weight in theirs.parameters()),
            },
        )


def seed_epoch(job: dict[str, Any], to_longest: bool = False) -> float:
    """Core-seconds of the seed's program, in a process of its own without the allocator settings of our Makefile."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-m", "benchmarks.seed_program"]
    said = json.dumps(job | {"to_longest": to_longest})
    return float(
        subprocess.run(command, cwd=ROOT, env=plain, input=said, text=True, capture_output=True, check=True).stdout
    )


def documents(batches: list[Batch], pad: int) -> list[list[int]]:
    """The documents packed in `batches`, in an order of chance: positions restart at each."""
    found: list[list[int]] = []
    for batch in batches:
        for ids, places in zip(batch["input_ids"].tolist(), batch["position_ids"].tolist(), strict=True):
            for token, place in zip(ids, places, strict=True):
                if token == pad:
                    break
                if place == 0:
                    found.append([])
                found[-1].append(token)
    random.Random("benchmarks/documents").shuffle(found)
    return found
