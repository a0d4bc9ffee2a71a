"""Rows for training: from a corpus folder or one JSONL file to checked `datasets` tables.

May not know which trainer will read them. Wrong columns, broken lines, rows that do not fit and text that the tokenizer
cannot express are errors before any compute.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, Value, concatenate_datasets, load_dataset
from datasets.exceptions import DatasetGenerationError
from datasets.utils import tqdm
from transformers import BatchEncoding, PreTrainedTokenizerBase
from transformers.utils import logging
from trl import ModelConfig

from arith_hf import checkpoint, files, tokenizer

logger = logging.get_logger("arith_hf")
TEXTS = ("prompt", "completion", "chosen", "rejected", "text", "instruction", "output")  # a string in each row


def load(dataset_name: str, part: str, columns: Sequence[str]) -> tuple[Dataset, Dataset]:
    """(train, validation) rows of `part` of a corpus folder; of one file of your own, 5 % (at most 1 000) validate."""
    path = Path(dataset_name)
    if path.is_file():
        for _ in tqdm(files.read_jsonl(path), desc=f"Checking {path.name}", unit=" rows"):
            pass  # a key that stands twice, NaN: `datasets` would take one value or another
        rows = read(path, columns)
        if len(rows) < 2:
            raise ValueError(f"{path}: need at least 2 rows, to train and to validate, got {len(rows)}")
        halves = rows.train_test_split(test_size=min(1000, max(1, len(rows) // 20)), seed=0)
        return halves["train"], halves["test"]
    if path.suffix and not path.exists():
        raise FileNotFoundError(f"no file {path}: dataset_name is a JSONL file or the folder of a corpus")
    if not (path / "manifest.json").is_file():
        raise FileNotFoundError(
            f"no finished corpus at {path}: run `make corpus MODEL={path.name}`, or name a JSONL file"
        )
    splits = [shards(path / part, split) for split in ("train", "validation")]
    for one in (one for split in splits for one in split if one.is_file()):
        files.require_listed(path, f"{part}/{one.name}")
    train, validation = (concatenate_datasets([read(one, columns) for one in split]) for split in splits)
    return train, validation


def shards(folder: Path, split: str) -> list[Path]:
    """`train.jsonl`, or the parts of it: `train-00000.jsonl` and so on."""
    return sorted(folder.glob(f"{split}-[0-9]*.jsonl")) or [folder / f"{split}.jsonl"]


def held_out(dataset_name: str, count: int) -> Dataset | None:
    """The first `count` validation rows of a corpus folder's `sft` part; None where there is no such part."""
    path = Path(dataset_name, "sft", "validation.jsonl")
    if count < 1 or not path.is_file():
        return None
    rows = read(path, ["prompt", "completion"])
    return rows.select(range(min(count, len(rows))))


def read(path: Path, columns: Sequence[str]) -> Dataset:
    """All rows of a JSONL file; ValueError where it is empty, broken (with the line) or lacks a column.

    They are kept in the cache of `datasets` under the hash of the file's content, and so is all that is made from them:
    it goes by a file's path and time alone, and another file can have both.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}: run `make corpus MODEL={path.parent.parent.name}`")
    if not start_of(path).strip():
        raise ValueError(f"{path} has no rows: a corpus's recipe says how many to make")
    content, texts = files.sha256(path), [column for column in columns if column in TEXTS]
    try:
        rows = load_dataset("json", content[:32], data_files=str(path), split="train")
    except (DatasetGenerationError, ValueError) as error:  # the latter of a blank line where types differ
        cause = error.__cause__ or error
        if isinstance(cause, OSError):
            raise OSError(f"{path}: could not read the rows into the cache of `datasets`: {cause}") from error
        require_texts(path, texts)  # the first broken row raises, with its line number
        raise ValueError(f"{path}: the rows do not have one set of columns and types ({cause})") from error
    if files.sha256(path) != content:
        raise ValueError(f"{path} was changed while it was read: run this again when it is whole")
    missing = [column for column in columns if column not in rows.column_names]
    if missing:
        raise ValueError(f"{path}: need columns {', '.join(columns)}; {', '.join(missing)} missing")
    for column in texts:
        if rows.features[column] not in (Value("string"), Value("large_string")) or rows.data.column(column).null_count:
            require_texts(path, texts)
            raise ValueError(f"{path}: need strings in `{column}`, and `datasets` reads {rows.features[column]}")
    return rows


def require_texts(path: Path, columns: Sequence[str]) -> None:
    """ValueError names the first line of a JSONL file that is broken, or has no string in one of `columns`."""
    for number, line in files.numbered(path):
        row = files.parse_row(line, f"{path}:{number}")
        for column in columns:
            if not isinstance(row.get(column), str):
                got = json.dumps(row[column])[:40] if column in row else "no such column"
                raise ValueError(f"{path}:{number}: need a string in the column `{column}`, got {got}")


def start_of(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(4096)


def load_parent(model_config: ModelConfig) -> tuple[Any, PreTrainedTokenizerBase]:
    """Model and tokenizer of the checkpoint to start from; ValueError where a key asks for what is not done here."""
    if not model_config.model_name_or_path:
        raise ValueError("need model_name_or_path, the checkpoint to start from")
    for key in ("load_in_4bit", "load_in_8bit"):
        if getattr(model_config, key):
            raise ValueError(f"{key}: these models are trained whole; leave it out")
    options = {"dtype": model_config.dtype, "attn_implementation": model_config.attn_implementation}
    return checkpoint.load(model_config.model_name_or_path, **options)


def check_tokenizer(model_tokenizer: PreTrainedTokenizerBase, dataset_name: str) -> None:
    """ValueError unless the corpus was signed by this tokenizer (a file of your own carries no signature)."""
    manifest = Path(dataset_name, "manifest.json")
    if manifest.is_file():
        model = manifest.parent.name
        signed = files.read_json(manifest).get("tokenizer_fingerprint")
        if signed is None:
            raise ValueError(f"{manifest} is not signed by a tokenizer: run `make tokenizer MODEL={model}`")
        tokenizer.require(
            model_tokenizer,
            signed,
            where=str(manifest),
            repair=f"put the old recipes/{model}/tokenizer.yaml back and run make tokenizer MODEL={model}, or make all "
            f"anew: make clean MODEL={model} && make pipeline MODEL={model}",
        )


def fit(
    rows: Dataset, model_tokenizer: PreTrainedTokenizerBase, max_length: int | None, overlong: str, num_proc: int | None
) -> Dataset:
    """Rows of prompt and completion that take at most `max_length` tokens, beginning and end included; see `keep`."""

    def measure(batch: dict[str, list[str]]) -> dict[str, list[int]]:
        text = [prompt + rest for prompt, rest in zip(batch["prompt"], batch["completion"], strict=True)]
        return {"length": [len(ids) + 1 for ids in encode(model_tokenizer, text)["input_ids"]]}

    lengths = rows.map(
        measure, batched=True, remove_columns=rows.column_names, num_proc=num_proc, desc="Measuring lengths"
    )
    return keep(rows, lengths.with_format("numpy")["length"][:], max_length, overlong)


def encode(model_tokenizer: PreTrainedTokenizerBase, texts: list[str], **options: Any) -> BatchEncoding:
    """The tokens of `texts`; ValueError where the tokenizer cannot express one."""
    encoded = model_tokenizer(texts, **options, **tokenizer.plain(model_tokenizer))
    for text, ids in zip(texts, encoded["input_ids"], strict=True):
        if model_tokenizer.unk_token_id in ids:
            odd = next((one for one in text if model_tokenizer.unk_token_id in model_tokenizer(one)["input_ids"]), text)
            raise ValueError(f"the tokenizer cannot express {odd!r} in this text of the data: {text!r}")
    return encoded


def keep(
    rows: Dataset, lengths: Sequence[int], max_length: int | None, overlong: str, key: str = "max_length"
) -> Dataset:
    """Rows of at most `max_length` tokens; longer ones are an error, or counted and dropped (`overlong: drop`)."""
    if max_length is None:
        return rows
    of_rows = np.asarray(lengths)
    fitting = np.flatnonzero(of_rows <= max_length)
    lost = len(of_rows) - len(fitting)
    if lost == 0:
        return rows
    said = f"{key} {max_length} cannot hold {lost} of {len(of_rows)} rows (the longest takes {of_rows.max()})"
    if not len(fitting):
        raise ValueError(f"{said}: set {key} to {of_rows.min()} or more")
    if overlong == "error":
        raise ValueError(f"{said}: set {key} to {of_rows.max()} or more, or `overlong: drop`")
    logger.warning(f"{said}: dropped")
    return rows.select(fitting)
