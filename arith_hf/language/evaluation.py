"""The evaluation of a model of natural text: perplexity by source, yes or no, samples; evaluate.json in the end.

May not train. Two numbers stand beside each perplexity: that of the same shape untrained, and that of the frequencies
of tokens alone.
"""

import json
import time
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from transformers.utils.logging import disable_progress_bar

from arith_hf import checkpoint, files, preferences, provenance, recipe, tokenizer
from arith_hf.examined import check_corpus, publish, start
from arith_hf.language import documents, perplexity, summary, written, yesno
from arith_hf.language.arguments import TextArguments
from arith_hf.language.context import context_of
from arith_hf.protocols import PROTOCOLS

YESNO = "test/yesno.jsonl"
PAIRS = "preferences"
ALL = "all sources"  # of the corpus, together
Row = dict[str, Any]


def is_asked(argv: list[str]) -> bool:
    """Whether these arguments are of a corpus of natural text, as its recipe or its manifest says, or of text files."""
    config = recipe.config_path(list(argv))
    data = recipe.peek(argv, "dataset_name") or recipe.places(config, "evaluate").get("dataset_name")
    manifest, corpus = Path(data or "", "manifest.json"), config.with_name("corpus.yaml") if config else None
    if data and manifest.is_file():
        return files.read_object(manifest).get("task") == "text"
    if data and corpus and corpus.is_file():
        return recipe.load(corpus).get("task") == "text"
    return recipe.peek(argv, "perplexity_files") is not None


def main(argv: list[str]) -> None:
    """Measure, write samples.jsonl, evaluate.txt and evaluate.json; the last line printed is one JSON object."""
    began, started = time.time(), time.monotonic()
    (own,) = recipe.read((TextArguments,), argv, "evaluate")
    data = Path(own.dataset_name) if own.dataset_name else None
    corpus = documents.of_corpus(data, own.num_documents) if data else []
    others = documents.others(own.perplexity_files, own.joined, own.num_documents)
    pairs = read_pairs(data, own.num_preferences)
    accelerator = start()
    disable_progress_bar()  # of the loading, which takes no time
    weights = provenance.weights(Path(own.checkpoint))  # before they are loaded: those of another run may come since
    model, model_tokenizer = checkpoint.load(own.checkpoint)
    if data:
        check_corpus(data, Path(own.checkpoint), model_tokenizer)
    model = model.to(accelerator.device)
    context, why = context_of(model.config, Path(own.checkpoint), own.context_length)
    stride = own.stride or max(1, context // 2)
    scores, samples = foretold(model, model_tokenizer, corpus, others, (context, stride), own, accelerator)
    answers, asked = answered(model, model_tokenizer, data, context, own, accelerator)
    preferred = preferences.examine(model, model_tokenizer, accelerator, Path(own.checkpoint), data or Path(), pairs)
    if not accelerator.is_main_process:
        return
    chat = written.in_chat(model_tokenizer, Path(own.checkpoint), own.chat)
    wrote = written.write(
        model,
        model_tokenizer,
        own.sample_prompts,
        chat=chat,
        temperature=own.sample_temperature,
        most=own.sample_tokens,
        seed=own.seed,
    )
    report = {
        "checkpoint": own.checkpoint,
        "task": "text",
        "weights": weights,
        "protocols": {},  # of problems
        "perplexity": scores,
        "yesno": answers,
        **({"preferences": preferred} if preferred else {}),
        "samples": wrote,
        "context_length": context,
        "context_length_is": why,
        "stride": stride,
        "seed": own.seed,
        "batch_size": own.batch_size,
        "num_processes": accelerator.num_processes,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "vocab_size": len(model_tokenizer),
        "tokenizer_fingerprint": fingerprint(model_tokenizer),
        "data": {"path": own.dataset_name, "sha256": files.sha256(data / "manifest.json")} if data else None,
        "command": f"arith-hf evaluate {' '.join(argv)}",
        "seconds": round(time.monotonic() - started, 1),
    }
    lines = chain(
        ({"protocol": "samples", **row} for row in wrote),
        ({"protocol": "yesno", **row} for row in asked),
        ({"protocol": "perplexity", **row} for row in samples),
    )
    save(Path(own.output_dir or own.checkpoint), report, lines, began)


def fingerprint(model_tokenizer: Any) -> str | None:
    """None for a tokenizer that is written in Python alone."""
    return tokenizer.fingerprint(model_tokenizer) if model_tokenizer.is_fast else None


# Measuring


def foretold(
    model: Any,
    model_tokenizer: Any,
    corpus: list[documents.Texts],
    others: list[documents.Texts],
    cut: tuple[int, int],
    own: TextArguments,
    accelerator: Accelerator,
) -> tuple[dict[str, Row], list[Row]]:
    """The perplexities by source, those of a corpus also together, and the nats of each document."""
    first = perplexity.first_token(model_tokenizer)
    sets = {one.source: list(perplexity.encode(model_tokenizer, one.documents)) for one in (*corpus, *others)}
    known = documents.trained_on(Path(own.dataset_name), own.num_unigram) if own.dataset_name else iter(())
    by_frequency = perplexity.unigram(model_tokenizer, known)
    models = {"trained": model} | ({"untrained": perplexity.untrained(model)} if own.untrained else {})
    unknown = model_tokenizer.unk_token_id
    scores: dict[str, Row] = {}
    nats: dict[str, dict[str, list[float]]] = {}
    for one in (*corpus, *others):
        texts = sets[one.source]
        nats[one.source] = {
            name: perplexity.document_losses(
                made, texts, first, *cut, own.batch_size, accelerator, f"{one.source}, {name}"
            )
            for name, made in models.items()
        }
        if by_frequency:
            nats[one.source]["unigram"] = [by_frequency(text) for text in texts]
        scores[one.source] = {
            "file": one.file,
            "sha256": one.sha256,
            **counts(texts),
            "unknown": sum(text.ids.count(unknown) for text in texts),
            **{name: perplexity.estimate(texts, found) for name, found in nats[one.source].items()},
        }
    if len(corpus) > 1:
        names = [one.source for one in corpus]
        texts = [text for name in names for text in sets[name]]
        together = {kind: [one for name in names for one in nats[name][kind]] for kind in nats[names[0]]}
        whole = {"file": "the sources together", "sha256": None, **counts(texts)}
        whole["unknown"] = sum(scores[name]["unknown"] for name in names)
        scores[ALL] = whole | {kind: perplexity.estimate(texts, found) for kind, found in together.items()}
    rows = [
        {"source": name, "document": at, "tokens": len(text.ids), "bytes": text.bytes}
        | {kind: round(found[at], 4) for kind, found in nats[name].items()}
        for name, texts in sets.items()
        for at, text in enumerate(texts)
    ]
    return scores, rows


def counts(texts: list[perplexity.Document]) -> Row:
    return {"n": len(texts), "tokens": sum(len(one.ids) for one in texts), "bytes": sum(one.bytes for one in texts)}


def answered(
    model: Any, model_tokenizer: Any, data: Path | None, context: int, own: TextArguments, accelerator: Accelerator
) -> tuple[Row | None, list[Row]]:
    """The score of the corpus's questions, and each of them; None where it has none."""
    if data is None or not (data / YESNO).is_file():
        return None, []
    files.require_listed(data, YESNO)
    rows, first = yesno.read(data / YESNO, own.num_yesno), perplexity.first_token(model_tokenizer)
    score, asked = yesno.measure(model, model_tokenizer, rows, first, context, own.batch_size, accelerator)
    return {"file": YESNO, "sha256": files.sha256(data / YESNO), **score}, asked


def read_pairs(data: Path | None, count: int | None) -> dict[str, list[Row]]:
    """The pairs of the corpus's test set, where it has any."""
    if data is None or not (data / PROTOCOLS[PAIRS].file).is_file():
        return {}
    return {PAIRS: preferences.read(data, PAIRS, count)}


# Writing


def save(folder: Path, report: Row, samples: Iterable[Row], began: float) -> None:
    """The three files, evaluate.json last, and the line that closes the output."""
    publish(folder, report, samples, summary.summarize(report), began)
    last: Row = {
        source: {"n": block["n"]} | {kind: block[kind]["perplexity"] for kind in summary.KINDS if kind in block}
        for source, block in report["perplexity"].items()
    }
    asked: Row = {"yesno": report["yesno"]["accuracy"]} if report["yesno"] else {}
    asked |= {name: block["preferred"] for name, block in report.get("preferences", {}).items()}
    print(json.dumps({"checkpoint": report["checkpoint"], "perplexity": last, **asked, "seconds": report["seconds"]}))
