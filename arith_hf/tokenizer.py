"""Text to ids and back: the stage that makes a tokenizer, the fingerprint that ties data and weights to one.

May not know how a problem is written, nor (`vocabulary` does) what a token is.

    arith-hf tokenizer --config recipes/<model>/tokenizer.yaml
"""

import dataclasses
import hashlib
import json
import logging
import math
import os
import shlex
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import yaml
from tokenizers.normalizers import NFKC
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from arith_hf import files, notation, provenance, recipe
from arith_hf.lengths import Texts, measure, read_texts, shards
from arith_hf.vocabulary import SPECIALS, TASK, task_of, train

logger = logging.getLogger("arith_hf")
SAMPLE = 1000  # rows of each file that are proven to come back; a second of work
MODEL = ("config.json", "adapter_config.json", "*.safetensors", "checkpoint-*")  # any of these is no tokenizer's


@dataclass
class TokenizerArguments:
    """Keys of the stage `tokenizer`."""

    kind: Literal["digits", "bpe", "char", "unigram"] = field(
        default="digits",
        metadata={
            "help": "digits: whole keywords and single digits; bpe: learned bytes; char: characters; unigram: learned "
            "pieces of NFKC text."
        },
    )
    places: int = field(
        default=1,
        metadata={"help": "For kind digits alone: places whose digits are tokens of their own (the last: all beyond)."},
    )
    vocab_size: int = field(default=1000, metadata={"help": "Number of tokens, for kinds bpe and unigram."})
    num_texts: int | None = field(
        default=None,
        metadata={"help": "Texts that kinds bpe and unigram learn from at most, evenly spread (default: all)."},
    )
    character_coverage: float = field(
        default=0.9995,
        metadata={"help": "For kind unigram: share of the text whose characters are pieces; others are bytes."},
    )
    chat_template: Literal["chatml", "instruct", "chat", "alpaca"] | None = field(
        default=None, metadata={"help": "How conversations are written, for task: text alone."}
    )
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


def plain(tokenizer: PreTrainedTokenizerBase) -> dict[str, bool]:
    """How to call the tokenizer on what was written for people: there `<eos>` is five characters like any others."""
    return {"split_special_tokens": True} if task_of(tokenizer) == "text" else {}


def normalised(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """What the tokenizer gives back of a text: its NFKC form for kind `unigram`, the text itself for others."""
    normalizer = tokenizer.backend_tokenizer.normalizer
    return normalizer.normalize_str(text) if isinstance(normalizer, NFKC) else text


def require_known(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> None:
    """ValueError with the first of `texts` that the tokenizer would not give back exactly (see `normalised`)."""
    special, options = set(tokenizer.all_special_ids), plain(tokenizer)
    for text in texts:
        encoding = tokenizer(text, add_special_tokens=False, **options).encodings[0]
        if tokenizer.decode(encoding.ids, skip_special_tokens=True) == normalised(tokenizer, text):
            continue
        spans = zip(encoding.ids, encoding.offsets, strict=True)
        lost = dict.fromkeys(text[start:end] for index, (start, end) in spans if index in special)
        raise ValueError(
            f"this tokenizer cannot write {', '.join(map(repr, lost))} of {text[:60]!r}: "
            f"leave such rows out, or set kind: bpe or unigram in tokenizer.yaml"
        )


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
    made_of = files.read_json(manifest)
    task = made_of.get("task", "expression")
    tokenizer = train(
        arguments.kind,
        learned_from(corpus, made_of, arguments.num_texts),
        arguments.vocab_size,
        arguments.model_max_length,
        arguments.places,
        task,
        arguments.character_coverage,
        arguments.chat_template,
    )
    for path in sorted(corpus.glob("*/*.jsonl")):
        require_known(tokenizer, islice(read_texts(path), SAMPLE))
    require_signable(manifest, fingerprint(tokenizer), output_dir)
    if arguments.kind in ("bpe", "unigram") and len(tokenizer) < arguments.vocab_size:
        logger.warning(f"the text gave {len(tokenizer):,} of the {arguments.vocab_size:,} tokens of vocab_size")
    if task == "text" and not arguments.chat_template and (corpus / "sft" / "train.jsonl").is_file():
        logger.warning(
            f"{corpus} has conversations, and this tokenizer will have no chat template: sft will refuse them. Set "
            "chat_template in tokenizer.yaml now; later the tokenizer and all that was trained with it are made anew"
        )
    save(tokenizer, output_dir, arguments)
    sign(manifest, fingerprint(tokenizer))
    metrics = {
        "kind": arguments.kind,
        "places": arguments.places,
        "vocab_size": len(tokenizer),
        "fingerprint": fingerprint(tokenizer),
        **measure(tokenizer, corpus),
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


def learned_from(corpus: Path, manifest: dict[str, Any], most: int | None) -> Texts:
    """The training texts, of so many at most; ValueError where that is none."""
    if most is not None and most < 1:
        raise ValueError(f"need num_texts >= 1, or none, got {most}")
    paths = tuple(shards(corpus))
    rows = sum(manifest["files"][f"pretrain/{path.name}"]["rows"] for path in paths) if most else 0
    return Texts(paths, math.ceil(rows / most) if most and rows else 1)


def find_manifest(corpus: Path) -> Path:
    """The manifest of a finished corpus with text in it; ValueError says how to make one."""
    manifest = corpus / "manifest.json"
    repair = f"run make corpus MODEL={corpus.name}"
    if not manifest.is_file():
        raise ValueError(f"no finished corpus in {corpus} (it has no manifest.json): {repair}")
    worked = files.read_object(manifest).get("task") != "text"  # natural text need not have conversations
    for path in (*shards(corpus), *([corpus / "sft" / "train.jsonl"] if worked else [])):
        if not path.is_file() or next(files.read_jsonl(path), None) is None:
            raise ValueError(f"the corpus is empty, no row in {path}: {repair}")
    return manifest


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
