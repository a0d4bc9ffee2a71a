"""How good a checkpoint is: it answers the saved test sets, and the answers are scored and counted by difficulty.

May not train, nor draw a problem: the test sets are files of the corpus.

    accelerate launch --config_file recipes/accelerate/cpu.yaml -m arith_hf evaluate \
        --config recipes/M/evaluate.yaml --checkpoint checkpoints/M/sft
"""

import json
import math
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from transformers.utils.logging import disable_progress_bar

from arith_hf import checkpoint, estimates, files, preferences, probes, provenance, recipe, scoring, summary, tokenizer
from arith_hf.answering import Answered, Examiner, answer
from arith_hf.examined import check_corpus, publish, start
from arith_hf.language import evaluation
from arith_hf.protocols import PROTOCOLS, EvaluateArguments, chosen, read_problems

Row = dict[str, Any]


def main(argv: list[str]) -> None:
    """Answer, score, write samples.jsonl, evaluate.txt and evaluate.json; the last line printed is one JSON object."""
    if evaluation.is_asked(argv):
        evaluation.main(argv)
        return
    began, started = time.time(), time.monotonic()
    more = "These are the keys of problems; those of natural text: --config recipes/text-small/evaluate.yaml --help."
    (own,) = recipe.read((EvaluateArguments,), argv, "evaluate", more)
    data = Path(own.dataset_name)
    wanted = chosen(own.protocol, own.num_samples, data)
    pairs = {name: preferences.read(data, name, wanted.pop(name)) for name in [*wanted] if PROTOCOLS[name].pairs}
    problems = {name: read_problems(data, PROTOCOLS[name], count) for name, count in wanted.items()}
    facts = read_facts(data)
    accelerator = start()
    disable_progress_bar()  # of the loading, which takes no time
    weights = provenance.weights(Path(own.checkpoint))  # before they are loaded: those of another run may come since
    model, model_tokenizer = checkpoint.load(own.checkpoint)
    check_corpus(data, Path(own.checkpoint), model_tokenizer)
    model = model.to(accelerator.device)
    form = next((scoring.form_of(rows[0]) for rows in problems.values()), tokenizer.form_of(model_tokenizer))
    examiner = Examiner(model, model_tokenizer, accelerator, form.resumed, own)
    answered = {name: answer(name, rows, examiner) for name, rows in problems.items()}
    preferred = preferences.examine(model, model_tokenizer, accelerator, Path(own.checkpoint), data, pairs)
    if not accelerator.is_main_process:
        return
    samples, blocks = {}, {}
    for name, found in answered.items():
        protocol = PROTOCOLS[name]
        samples[name] = judge(problems[name], found, None if protocol.temperature else facts)
        blocks[name] = {
            "protocol": protocol.what,
            "files": {one: files.sha256(data / one) for one in sorted({row["file"] for row in problems[name]})},
            **scoring.score(samples[name], protocol.file, cut=found.circumstances["stop_at_fault"]),
            **probed(samples[name], found),
            **found.circumstances,
        }
    report = {
        "checkpoint": own.checkpoint,
        "weights": weights,
        "protocols": blocks,
        **({"preferences": preferred} if preferred else {}),
        "seed": own.seed,
        "batch_size": own.batch_size,
        "num_processes": accelerator.num_processes,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "tokenizer_fingerprint": tokenizer.fingerprint(model_tokenizer),
        "data": {"path": own.dataset_name, "sha256": files.sha256(data / "manifest.json")},
        "command": f"arith-hf evaluate {' '.join(argv)}",
        "seconds": round(time.monotonic() - started, 1),
    }
    lines = ({"protocol": name, **row} for name, rows in samples.items() for row in rows)
    write(Path(own.output_dir or own.checkpoint), report, lines, began)


# Reading


def read_facts(data: Path) -> set[str] | None:
    """The single facts of the corpus's training rows; None for a corpus that lists none."""
    listed = files.read_json(data / "manifest.json").get("facts")
    if listed is None:
        return None
    if files.sha256(path := data / "facts.txt") != listed["sha256"]:
        raise ValueError(f"{path} is not the file that the corpus was finished with: run make corpus MODEL={data.name}")
    return set(path.read_text(encoding="utf-8").splitlines())


# Judging


def judge(rows: list[Row], found: Answered, facts: set[str] | None) -> list[Row]:
    """The rows of samples.jsonl: the first completion of each row judged, and what else is known of the row.

    `chance`: the probability of its right working, in the tokens of its draft, and `sampled`: how many samples gave
    which answer; both by temperature. `without_hint`: what is answered without the hint.
    """
    samples = []
    for row, (question, (first, *others)) in zip(rows, found.asked, strict=True):
        sample = scoring.judge(row, first, facts)
        if first.logprobs:
            chances = {heat: math.exp(one) if question.fits else 0.0 for heat, one in first.logprobs.items()}
            sample["chance"] = {str(heat): round(chance, 6) for heat, chance in chances.items()}
        votes: dict[str, Counter[str]] = {}
        for heat, one in zip(question.temperatures[1:], others, strict=True):
            votes.setdefault(str(heat), Counter())[estimates.SILENT if one.answer is None else str(one.answer)] += 1
        samples.append(sample | ({"sampled": votes} if votes else {}))
    for sample, plain in zip(samples if found.unhinted else [], found.unhinted, strict=True):
        sample["without_hint"] = None if plain is None else str(plain)
    return samples


def probed(samples: list[Row], found: Answered) -> Row:
    """What the questions beside the plain ones came to."""
    return {
        **({"faithfulness": probes.faithfulness(found.planted)} if found.planted else {}),
        **({"hints": probes.hints(samples)} if found.unhinted else {}),
    }


# Writing


def write(folder: Path, report: Row, samples: Iterable[Row], began: float) -> None:
    """The three files, evaluate.json last, and the line that closes the output."""
    publish(folder, report, samples, summary.summarize(report), began)
    headline = ("n", "exact_match", "exact_match_interval", "steps_match", "parse_rate", "mean_tokens")
    last = {name: {key: block[key] for key in headline} for name, block in report["protocols"].items()}
    headline = ("n", "preferred", "preferred_interval", "margin", "reward_accuracy", "reward_accuracy_interval")
    for name, block in report.get("preferences", {}).items():
        last[name] = {key: block[key] for key in headline if key in block}
    print(json.dumps({"checkpoint": report["checkpoint"], **last, "seconds": report["seconds"]}))
