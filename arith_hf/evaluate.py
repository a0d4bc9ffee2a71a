"""How good a checkpoint is: it answers the saved test sets, and the answers are scored and counted by difficulty.

May not train, nor draw a problem: the test sets are files of the corpus. Two protocols are never to be compared with
each other; each report says which one it is.

    accelerate launch --config_file recipes/accelerate/cpu.yaml -m arith_hf evaluate \
        --config recipes/M/evaluate.yaml --checkpoint checkpoints/M/sft
"""

import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import evaluate
from accelerate import Accelerator
from accelerate.utils import gather_object
from transformers.utils.logging import disable_progress_bar

from arith_hf import checkpoint, files, notation, recipe, rewards, solver, tasks, tokenizer

METRIC = Path(__file__).with_name("metric") / "exact_answer.py"
SPARE = 1.25  # a right answer may be longer than ours; a runaway costs this much more than the longest of ours
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Protocol:
    """A test set and how it is answered; `aside` is answered in the same way and reported by kind only."""

    what: str
    file: str
    temperature: float = 0.0
    aside: str | None = None


PROTOCOLS = {
    "validation": Protocol("as nontrivial, to choose by", "heldout/validation.jsonl"),
    "nontrivial": Protocol("no repeats, some operator, greedy", "test/nontrivial.jsonl", aside="test/invalid.jsonl"),
    "seed": Protocol("the seed document's sampler, repeats and bare numbers too, T 0.8", "test/seed.jsonl", 0.8),
    "harder": Protocol("deeper and larger than trained on, greedy", "harder/test.jsonl"),
}


@dataclass
class EvaluateArguments:
    """Keys of `evaluate.yaml`."""

    checkpoint: str = field(default="", metadata={"help": "Folder of a checkpoint, adapter or merged model."})
    dataset_name: str = field(default="", metadata={"help": "The corpus folder, data/<model>, with the test sets."})
    protocol: list[str] = field(
        default_factory=lambda: ["nontrivial", "seed"], metadata={"help": f"Any of {', '.join(PROTOCOLS)}."}
    )
    num_samples: int | None = field(
        default=None, metadata={"help": "Problems of each test set, the same ones at every run (default: all)."}
    )
    batch_size: int = field(default=64, metadata={"help": "Problems answered at once, on each process."})
    max_new_tokens: int | None = field(
        default=None, metadata={"help": "Cap on a completion (default: 1.25 times the longest right one)."}
    )
    output_dir: str | None = field(
        default=None, metadata={"help": "Where to write (default: the checkpoint's folder)."}
    )
    seed: int = field(default=0, metadata={"help": "Seed of the sampling protocols."})

    def __post_init__(self) -> None:
        for name in ("checkpoint", "dataset_name"):
            if not getattr(self, name):
                raise ValueError(f"need --{name}, a folder")
        if not self.protocol or not set(self.protocol) <= set(PROTOCOLS):
            raise ValueError(f"need protocol among {', '.join(PROTOCOLS)}, got {', '.join(self.protocol) or 'none'}")
        for name in ("num_samples", "batch_size", "max_new_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"need {name} >= 1, got {value}")


def main(argv: list[str]) -> None:
    """Answer, score, write samples.jsonl, evaluate.txt and evaluate.json; the last line printed is one JSON object."""
    (own,) = recipe.read((EvaluateArguments,), argv, "evaluate")
    started, data = time.monotonic(), Path(own.dataset_name)
    problems = {name: read_problems(data, PROTOCOLS[name], own.num_samples) for name in dict.fromkeys(own.protocol)}
    accelerator = start()
    disable_progress_bar()  # of the loading, which takes no time
    model, model_tokenizer = checkpoint.load(own.checkpoint)
    check_corpus(data, Path(own.checkpoint), model_tokenizer)
    model = model.to(accelerator.device)
    answered = {name: answer(name, rows, model, model_tokenizer, own, accelerator) for name, rows in problems.items()}
    if not accelerator.is_main_process:
        return
    report = {
        "checkpoint": own.checkpoint,
        "protocols": {name: score(name, samples, data) | facts for name, (samples, facts) in answered.items()},
        "seed": own.seed,
        "batch_size": own.batch_size,
        "num_processes": accelerator.num_processes,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "tokenizer_fingerprint": tokenizer.fingerprint(model_tokenizer),
        "data": {"path": own.dataset_name, "sha256": files.sha256(data / "manifest.json")},
        "command": f"arith-hf evaluate {' '.join(argv)}",
        "seconds": round(time.monotonic() - started, 1),
    }
    write(Path(own.output_dir or own.checkpoint), report, [row for samples, _ in answered.values() for row in samples])


def start() -> Accelerator:
    """The processes of this launch; ValueError where each would do all of the work and write the same files."""
    accelerator, launched = Accelerator(), int(os.environ.get("WORLD_SIZE", "1"))
    if launched != accelerator.num_processes:
        raise ValueError(
            f"{launched} processes were launched but each one works alone: "
            "set ACCELERATE_USE_CPU=true (several processes on a CPU), or launch one process"
        )
    return accelerator


# Reading


def read_problems(data: Path, protocol: Protocol, num_samples: int | None) -> list[Row]:
    """The rows of a protocol's files, each marked with its file; ValueError where there are none to answer."""
    if not (data / "manifest.json").is_file():
        raise FileNotFoundError(f"no finished corpus at {data}: run make corpus MODEL={data.name}")
    rows = []
    for name in filter(None, (protocol.file, protocol.aside)):
        path = data / name
        if not path.is_file():
            raise FileNotFoundError(f"no test set at {path}: run make corpus MODEL={data.name}")
        found = [{"file": name, **row} for row in files.read_jsonl(path)]
        if not found and name == protocol.file:
            raise ValueError(f"{path} is empty: give its corpus.yaml test problems to draw")
        files.require_listed(data, name)
        for row in found:
            if not isinstance(row.get("problem"), str) or not isinstance(row.get("answer"), str):
                raise ValueError(f"{path}: need `problem` and `answer` as strings in each row, got {row}")
        rows += choose(found, num_samples)
    return rows


def choose(rows: list[Row], num_samples: int | None) -> list[Row]:
    """`num_samples` of the rows, spread over the file and the same at every run; all of them if None."""
    if num_samples is None or num_samples >= len(rows):
        return rows
    return [rows[index] for index in sorted(random.Random("evaluate").sample(range(len(rows)), num_samples))]


def check_corpus(data: Path, path: Path, model_tokenizer: Any) -> None:
    """ValueError where the checkpoint's tokenizer is not the one that signed the corpus (models not ours sign none)."""
    signature = files.read_json(data / "manifest.json").get("tokenizer_fingerprint")
    if signature and checkpoint.recorded_fingerprint(path):
        repair = f"give the corpus that the checkpoint was trained on, or run make pipeline MODEL={data.name}"
        tokenizer.require(model_tokenizer, signature, str(data), repair)


# Answering


def answer(
    name: str, rows: list[Row], model: Any, model_tokenizer: Any, own: EvaluateArguments, accelerator: Accelerator
) -> tuple[list[Row], Row]:
    """The rows with what the model wrote, and the facts of the run; each process answers its share."""
    started, protocol = time.monotonic(), PROTOCOLS[name]
    needed = lengths(rows, model_tokenizer)
    cap = own.max_new_tokens or round(max(needed) * SPARE) + 1
    prompts = [notation.prompt(row["problem"]) for row in rows]
    if accelerator.is_main_process:
        print(f"{name}: {len(rows)} problems, {protocol.what}; at most {cap} new tokens", file=sys.stderr)
    with accelerator.split_between_processes(prompts) as mine:
        done = solver.generate(
            model,
            model_tokenizer,
            mine,
            batch_size=own.batch_size,
            max_new_tokens=cap,
            temperature=protocol.temperature,
            seed=solver.to_seed("evaluate", name, own.seed, accelerator.process_index),
            progress=accelerator.is_main_process,
        )
    done = gather_object(done)
    limit = solver.hard_limit(model.config)
    room = [cap if limit is None else min(cap, limit - len(ids)) for ids in model_tokenizer(prompts)["input_ids"]]
    facts = {
        "temperature": protocol.temperature,
        "max_new_tokens": cap,
        "longest_right_completion": max(needed),
        "without_room": sum(need > most for need, most in zip(needed, room, strict=True)),
        "seconds": round(time.monotonic() - started, 1),
    }
    return [sample(name, row, one) for row, one in zip(rows, done, strict=True)], facts


def lengths(rows: list[Row], model_tokenizer: Any) -> list[int]:
    """Tokens of each row's right completion, its end token included."""
    texts = []
    for row in rows:
        expression = row.get("expression") or row["problem"].removeprefix(notation.HEAD)
        texts.append(notation.completion(tasks.get(row.get("task", "expression")).work(expression)))
    return [len(ids) + 1 for ids in model_tokenizer(texts, add_special_tokens=False)["input_ids"]]


def sample(name: str, row: Row, done: solver.Completion) -> Row:
    """A row of samples.jsonl: the problem, what was written, what was read from it, and the verdict."""
    text = done.text if done.finished else ""
    return {
        "protocol": name,
        **row,
        "completion": done.text,
        "prediction": done.answer,
        "right": bool(rewards.exact_answer([text], [row["answer"]])[0]),
        "finished": done.finished,
        "num_tokens": done.num_tokens,
    }


# Scoring


def score(name: str, samples: list[Row], data: Path) -> Row:
    """The numbers of a protocol: overall, by level, by steps and by kind; rows kept aside only by kind."""
    metric = evaluate.load(str(METRIC))
    protocol = PROTOCOLS[name]
    main_rows = [row for row in samples if row["file"] == protocol.file]

    def measure(rows: list[Row]) -> Row:
        return metric.compute(
            predictions=[row["completion"] for row in rows],
            references=[row["answer"] for row in rows],
            finished=[row["finished"] for row in rows],
            num_tokens=[row["num_tokens"] for row in rows],
        )

    return {
        "protocol": protocol.what,
        "files": {one: files.sha256(data / one) for one in (protocol.file, protocol.aside) if one},
        **measure(main_rows),
        "by_level": group(main_rows, "level", measure),
        "by_steps": group(main_rows, "steps", measure),
        "by_kind": group(samples, "kind", measure),
    }


def group(rows: list[Row], key: str, measure: Callable[[list[Row]], Row]) -> dict[str, Row]:
    """The measure of the rows with each value of `key`, in the order of the values."""
    values = sorted({row[key] for row in rows if key in row})
    return {str(value): measure([row for row in rows if row.get(key) == value]) for value in values}


# Writing


def write(folder: Path, report: Row, samples: Iterable[Row]) -> None:
    """The three files, evaluate.json last, and the line that closes the output."""
    if (folder / "evaluate.json").exists():
        print(f"replacing {folder / 'evaluate.json'}", file=sys.stderr)
        (folder / "evaluate.json").unlink()
    files.write_jsonl(folder / "samples.jsonl", samples)
    text = summarize(report)
    files.write_text(folder / "evaluate.txt", text)
    files.write_json(folder / "evaluate.json", report)
    print(text)
    headline = ("n", "exact_match", "exact_match_interval", "parse_rate", "mean_tokens")
    last = {name: {key: block[key] for key in headline} for name, block in report["protocols"].items()}
    print(json.dumps({"checkpoint": report["checkpoint"], **last, "seconds": report["seconds"]}))


def summarize(report: Row) -> str:
    """evaluate.txt: what a person reads."""
    lines = [f"{report['checkpoint']}, {report['parameters']} parameters", ""]
    for name, block in report["protocols"].items():
        lines += [f"{name}: {block['protocol']}", table_row("all", block)]
        for key in ("by_level", "by_steps", "by_kind"):
            lines += [table_row(f"{key[3:]} {value}", part) for value, part in block[key].items()]
        if name == "seed":
            lines.append(
                f"  the seed document calls 60-80 % good and 80 % or more excellent: {band(block['exact_match'])}"
            )
        if block["without_room"]:
            lines.append(
                f"  warning: {block['without_room']} right answers do not fit in {block['max_new_tokens']} new tokens"
                " or the model's positions: raise max_new_tokens, or train with more positions"
            )
        lines.append("")
    return "\n".join(lines)


def table_row(label: str, block: Row) -> str:
    low, high = block["exact_match_interval"]
    return (
        f"  {label:<14} exact {block['exact_match']:7.2%} [{low:.1%}, {high:.1%}]  parsed {block['parse_rate']:7.2%}"
        f"  {block['mean_tokens']:6.1f} tokens  n {block['n']}"
    )


def band(share: float) -> str:
    """The seed document's word for a score of its own protocol."""
    return "excellent" if share >= 0.8 else "good" if share >= 0.6 else "below good"
