"""How many tokens the rows of a corpus take, and what each row says.

May not know how a token is made.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from arith_hf import chat, files, notation
from arith_hf.vocabulary import task_of

PERCENTILES = (50, 90, 95, 99)
ROWS = 10_000  # of a file that are measured
CHARACTERS = 10_000_000  # of documents that are measured; a few seconds

# What is in a corpus


def shards(corpus: Path, split: str = "train") -> list[Path]:
    """The files of a split of the texts: `pretrain/train.jsonl`, or train-00000.jsonl and so on."""
    return sorted((corpus / "pretrain").glob(f"{split}-*.jsonl")) or [corpus / "pretrain" / f"{split}.jsonl"]


@dataclass(frozen=True)
class Texts:
    """The texts of some files, each or one of every so many, read anew, a line at a time, at each pass."""

    paths: tuple[Path, ...]
    every: int = 1

    def __iter__(self) -> Iterator[str]:
        texts = (row["text"] for path in self.paths for row in files.read_jsonl(path))
        return islice(texts, None, None, self.every)


def read_texts(path: Path) -> Iterator[str]:
    """All text of each row of a corpus file: a text, a prompt with what may follow it, a problem's prompt, ..."""
    for row in files.read_jsonl(path):
        if "text" in row:
            yield row["text"]
        elif "messages" in row:
            yield "\n".join(map(chat.whole, row["messages"]))
        elif "prompt" in row:
            ends = [row[name] for name in ("completion", "chosen", "rejected") if name in row]
            yield from (row["prompt"] + end for end in ends or [""])
        elif "passage" in row:
            yield f"{row['passage']}\n{row['question']}"
        else:
            yield notation.of(row.get("task", "expression")).prompt(row["problem"])


# Tokens


def count_tokens(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[int]:
    """Tokens of each text with BOS and the EOS that training adds."""
    backend = tokenizer.backend_tokenizer
    backend.encode_special_tokens = False  # a call with `split_special_tokens` leaves it on
    return [len(encoding.ids) + 1 for encoding in backend.encode_batch_fast(list(texts))]


def row_lengths(tokenizer: PreTrainedTokenizerBase, path: Path, most: int | None = None) -> list[int]:
    """Tokens of each row that is trained on; conversations as the template writes them, its end with them."""
    if tokenizer.chat_template is None or path.parent.name != "sft":
        return count_tokens(tokenizer, list(islice(read_texts(path), most)))
    written = (chat.write(tokenizer, chat.messages(row)) for row in files.read_jsonl(path))
    return [count - 1 for count in count_tokens(tokenizer, list(islice(written, most)))]


def measure(tokenizer: PreTrainedTokenizerBase, corpus: Path) -> dict[str, Any]:
    """How many tokens problems, or conversations, take, and documents of natural text.

    The documents are held-out ones, if there are any: those that the tokenizer was not made from.
    """
    tuned, worked = corpus / "sft" / "train.jsonl", task_of(tokenizer) != "text"
    found: dict[str, Any] = {}
    if tuned.is_file():
        what = "problem" if worked else "conversation"
        found[f"tokens_per_{what}"] = summarise(row_lengths(tokenizer, tuned, ROWS), what=f"{what}s")
    if not worked:
        held_out = [path for path in shards(corpus, "validation") if path.is_file()]
        documents = list(until(CHARACTERS, Texts(tuple(held_out or shards(corpus)))))
        found |= {"tokens_per_document": summarise(count_tokens(tokenizer, documents), what="documents")} | density(
            tokenizer, documents
        )
    return found


def until(size: int, texts: Iterable[str]) -> Iterator[str]:
    """The first texts, up to the one that makes them so many characters or more."""
    for text in texts:
        yield text
        size -= len(text)
        if size <= 0:
            return


def density(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> dict[str, float]:
    """Characters and bytes (of UTF-8) that a token stands for, on average over all of `texts`; BOS and EOS count."""
    tokens = sum(count_tokens(tokenizer, texts))
    sizes = {"characters": sum(map(len, texts)), "bytes": sum(len(text.encode()) for text in texts)}
    return {f"{what}_per_token": round(size / tokens, 3) for what, size in sizes.items()}


def summarise(counts: Sequence[int], max_length: int | None = None, what: str = "problems") -> dict[str, Any]:
    """Count, min, mean, percentiles and max; the share that each length holds; the length that holds all.

    >>> summarise([90, 100, 110])["recommended_max_length"]
    112
    """
    ordered = sorted(counts)
    rank = {f"p{p}": ordered[math.ceil(p / 100 * len(ordered)) - 1] for p in PERCENTILES}
    powers = [2**k for k in range(6, 14) if 2 ** (k - 1) < ordered[-1]]
    shown = sorted({*powers, *([max_length] if max_length else [])})
    return {
        what: len(ordered),
        "min": ordered[0],
        "mean": round(sum(ordered) / len(ordered), 1),
        **rank,
        "max": ordered[-1],
        "coverage": {length: sum(count <= length for count in ordered) / len(ordered) for length in shown},
        "recommended_max_length": 8 * math.ceil(ordered[-1] / 8),  # a multiple of 8 suits every device
    }
