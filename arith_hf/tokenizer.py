"""Text to ids and back: the stage that makes a tokenizer, the fingerprint that ties data and weights to one.

May not know how a problem is written, nor (`vocabulary` does) what a token is.

    arith-hf tokenizer --config recipes/<model>/tokenizer.yaml
"""

import dataclasses
import hashlib
import json
import math
import os
import shlex
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import yaml
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from arith_hf import files, notation, provenance, recipe
from arith_hf.vocabulary import SPECIALS, TASK, train

SAMPLE = 1000  # rows of each file that are proven to come back; a second of work
PERCENTILES = (50, 90, 95, 99)
MODEL = ("config.json", "adapter_config.json", "*.safetensors", "checkpoint-*")  # any of these is no tokenizer's


@dataclass
class TokenizerArguments:
    """Keys of the stage `tokenizer`."""

    kind: Literal["digits", "bpe", "char"] = field(
        default="digits", metadata={"help": "digits: whole keywords and single digits; bpe: learned; char: characters."}
    )
    places: int = field(
        default=1,
        metadata={"help": "For kind digits alone: places whose digits are tokens of their own (the last: all beyond)."},
    )
    vocab_size: int = field(default=1000, metadata={"help": "Number of tokens, for kind bpe alone."})
    model_max_length: int | None = field(
        default=None, metadata={"help": "Longest input the tokenizer lets pass without a warning."}
    )
    dataset_name: str = field(default="", metadata={"help": "The corpus folder, data/<model>."})
    output_dir: str = field(default="", metadata={"help": "The folder to write."})


# Holding to one tokenizer


def fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 of what determines the ids: not of padding or truncation, nor of time, place or library version."""
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    decisive = ("normalizer", "pre_tokenizer", "model", "post_processor", "added_tokens")
    state = {name: content[name] for name in decisive}
    if (task := task_of(tokenizer)) != "expression":
        state[TASK] = task  # two forms may have the same tokens
    state["special_tokens"] = {name: getattr(tokenizer, name) for name in SPECIALS}
    return hashlib.sha256(json.dumps(state, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def require(tokenizer: PreTrainedTokenizerBase, expected: str | None, where: str, repair: str) -> None:
    """ValueError with both fingerprints and the command `repair` unless `where` was made with this tokenizer."""
    actual = fingerprint(tokenizer)
    if actual != expected:
        made = f"was made with tokenizer {expected}" if expected else "does not say which tokenizer it was made for"
        raise ValueError(f"{where} {made}, this tokenizer is {actual}: {repair}")


def require_known(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> None:
    """ValueError with the first of `texts` that the tokenizer would not give back exactly."""
    special = set(tokenizer.all_special_ids)
    for text in texts:
        encoding = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
        if tokenizer.decode(encoding.ids, skip_special_tokens=True) == text:
            continue
        spans = zip(encoding.ids, encoding.offsets, strict=True)
        lost = dict.fromkeys(text[start:end] for index, (start, end) in spans if index in special)
        raise ValueError(
            f"this tokenizer cannot write {', '.join(map(repr, lost))} of {text[:60]!r}: "
            f"leave such rows out, or set kind: bpe in tokenizer.yaml"
        )


def count_tokens(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[int]:
    """Tokens of each text with BOS and the EOS that training adds."""
    return [len(encoding.ids) + 1 for encoding in tokenizer.backend_tokenizer.encode_batch_fast(list(texts))]


def task_of(tokenizer: PreTrainedTokenizerBase) -> str:
    """The name of the written form that a tokenizer was made for; `expression` where it says nothing."""
    return getattr(tokenizer, "init_kwargs", {}).get(TASK) or "expression"


def form_of(tokenizer: PreTrainedTokenizerBase) -> notation.Form:
    return notation.of(task_of(tokenizer))


def line_tokens(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids of the tokens that `line_stride` places: those that the form names."""
    texts = {index: str(tokenizer.decode([index])) for index in range(len(tokenizer))}
    return [index for index, text in texts.items() if text.endswith(form_of(tokenizer).LINE_ENDS)]


# The stage


def main(argv: list[str]) -> None:
    """Make the tokenizer of a recipe, prove that text comes back, write its folder and sign the corpus."""
    started = time.time()
    (arguments,) = recipe.read((TokenizerArguments,), argv, verb="tokenizer")
    corpus, output_dir = Path(arguments.dataset_name), Path(arguments.output_dir)
    if not arguments.dataset_name or not arguments.output_dir:
        raise ValueError("need dataset_name and output_dir: --config recipes/<model>/tokenizer.yaml implies both")
    made = provenance.start("tokenizer", f"arith-hf tokenizer {shlex.join(argv)}")
    require_replaceable(output_dir)
    manifest = find_manifest(corpus)
    texts = (row["text"] for row in files.read_jsonl(corpus / "pretrain" / "train.jsonl"))
    task = files.read_json(manifest).get("task", "expression")
    tokenizer = train(arguments.kind, texts, arguments.vocab_size, arguments.model_max_length, arguments.places, task)
    for path in sorted(corpus.glob("*/*.jsonl")):
        require_known(tokenizer, islice(read_texts(path), SAMPLE))
    lengths_ = count_tokens(tokenizer, list(islice(read_texts(corpus / "sft" / "train.jsonl"), 10 * SAMPLE)))
    require_signable(manifest, fingerprint(tokenizer), output_dir)
    save(tokenizer, output_dir, arguments)
    sign(manifest, fingerprint(tokenizer))
    metrics = {
        "kind": arguments.kind,
        "places": arguments.places,
        "vocab_size": len(tokenizer),
        "fingerprint": fingerprint(tokenizer),
        "tokens_per_problem": summarise(lengths_),
    }
    made |= {
        "tokenizer_fingerprint": fingerprint(tokenizer),
        "data": provenance.data_proof(arguments.dataset_name),  # as it is signed
        "recipe_sha256": files.sha256(output_dir / "recipe.yaml"),
        "seconds": round(time.time() - started, 1),
        "ancestors": provenance.ancestors(corpus),
    }
    files.write_json(output_dir / provenance.NAME, made)
    signed = metrics | {"files": provenance.signature(output_dir)["files"]}
    files.write_mark(output_dir / "metrics.json", signed, started)
    print(json.dumps(metrics))


def find_manifest(corpus: Path) -> Path:
    """The manifest of a finished corpus with text in it; ValueError says how to make one."""
    manifest, text = corpus / "manifest.json", corpus / "pretrain" / "train.jsonl"
    repair = f"run make corpus MODEL={corpus.name}"
    if not manifest.is_file():
        raise ValueError(f"no finished corpus in {corpus} (it has no manifest.json): {repair}")
    for path in (text, corpus / "sft" / "train.jsonl"):
        if not path.is_file() or next(files.read_jsonl(path), None) is None:
            raise ValueError(f"the corpus is empty, no row in {path}: {repair}")
    return manifest


def read_texts(path: Path) -> Iterator[str]:
    """What a model reads of each row of a corpus file: a text, a prompt with its completion, or a problem's prompt."""
    for row in files.read_jsonl(path):
        if "text" in row:
            yield row["text"]
        elif "prompt" in row:
            yield row["prompt"] + row.get("completion", "")
        else:
            yield notation.of(row.get("task", "expression")).prompt(row["problem"])


def require_replaceable(output_dir: Path) -> None:
    """ValueError where anything but a tokenizer is in the folder: a model has a tokenizer too."""
    if not output_dir.exists() or not any(output_dir.iterdir()):
        return
    model = next((path.name for pattern in MODEL for path in sorted(output_dir.glob(pattern))), None)
    if model or not (output_dir / "tokenizer.json").is_file():
        what = f"a model ({model})" if model else "something that is no tokenizer"
        raise ValueError(f"{output_dir} holds {what}: name another output_dir")


def require_signable(manifest: Path, signature: str, output_dir: Path) -> None:
    """ValueError where another tokenizer signed the corpus, and stays: what was trained with it would lose its data.

    It is replaced where it lies in `output_dir`, or that is its usual place, checkpoints/<model> beside data/<model>.
    """
    signed, corpus = files.read_object(manifest).get("tokenizer_fingerprint"), manifest.parent
    old = output_dir / "metrics.json"
    replaced = files.read_object(old).get("fingerprint") if old.is_file() else None
    if signed not in (None, signature, replaced) and output_dir.resolve() != usual_place(corpus.absolute()).resolve():
        other = corpus.with_name("NAME")
        raise ValueError(
            f"{corpus} is signed by another tokenizer ({signed}), with which its checkpoints were trained: copy "
            f"{corpus} to {other} and give --dataset_name {other} --output_dir {usual_place(other)}"
        )


def usual_place(corpus: Path) -> Path:
    """Where the tokenizer of data/<model> is: checkpoints/<model>/tokenizer."""
    return corpus.parent.parent / "checkpoints" / corpus.name / "tokenizer"


def save(tokenizer: PreTrainedTokenizerFast, output_dir: Path, arguments: TokenizerArguments) -> None:
    """Write the folder aside, then put it in place of an older tokenizer."""
    aside = output_dir.with_name(f".{output_dir.name}.{os.getpid()}.part")
    try:
        write(tokenizer, aside)
        files.write_text(aside / "recipe.yaml", yaml.safe_dump(dataclasses.asdict(arguments), sort_keys=False))
        if output_dir.exists():
            (output_dir / "metrics.json").unlink(missing_ok=True)  # first: from here on the old one is unfinished
            shutil.rmtree(output_dir)
        aside.replace(output_dir)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """`save_pretrained`; OSError names the folder, which the Rust writer does not."""
    try:
        tokenizer.save_pretrained(folder)
    except Exception as error:
        if type(error) is Exception:  # all that Rust raises
            raise OSError(f"could not write the tokenizer to {folder.parent} ({error})") from error
        raise


def sign(manifest: Path, signature: str) -> None:
    """Write the fingerprint into the corpus's manifest and keep its time, so that make does not rerun the corpus."""
    stat = manifest.stat()
    files.write_json(manifest, {**files.read_json(manifest), "tokenizer_fingerprint": signature})
    os.utime(manifest, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def summarise(counts: Sequence[int], max_length: int | None = None) -> dict[str, Any]:
    """Count, min, mean, percentiles and max; the share that each length holds; the length that holds all.

    >>> summarise([90, 100, 110])["recommended_max_length"]
    112
    """
    ordered = sorted(counts)
    rank = {f"p{p}": ordered[math.ceil(p / 100 * len(ordered)) - 1] for p in PERCENTILES}
    powers = [2**k for k in range(6, 14) if 2 ** (k - 1) < ordered[-1]]
    shown = sorted({*powers, *([max_length] if max_length else [])})
    return {
        "problems": len(ordered),
        "min": ordered[0],
        "mean": round(sum(ordered) / len(ordered), 1),
        **rank,
        "max": ordered[-1],
        "coverage": {length: sum(count <= length for count in ordered) / len(ordered) for length in shown},
        "recommended_max_length": 8 * math.ceil(ordered[-1] / 8),  # a multiple of 8 suits every device
    }
