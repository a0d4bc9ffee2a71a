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
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import gather_object
from transformers.utils.logging import disable_progress_bar

from arith_hf import checkpoint, files, recipe, scoring, solver, tasks, tokenizer

LEAST_ROOM = 256  # tokens that any problem may be answered with
SPARE = 1.25  # a right answer may be longer than ours; a runaway costs this much more than ours
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Protocol:
    """A test set and how it is answered; `aside` is answered in the same way and reported by kind only."""

    what: str
    file: str
    temperature: float = 0.0
    aside: str | None = None


SETS = {name: what for task in tasks.TASKS.values() for name, (what, _) in task.HARDER.items()}
HARDER = list(SETS)
TOGETHER = {"harder": HARDER, "validation-harder": [f"validation-{name}" for name in SETS]}  # names for several
PROTOCOLS = {
    "validation": Protocol(
        "as nontrivial or test, to choose by", "heldout/validation.jsonl", aside="heldout/invalid.jsonl"
    ),
    "nontrivial": Protocol("no repeats, some operator, greedy", "test/nontrivial.jsonl", aside="test/invalid.jsonl"),
    "seed": Protocol("the seed document's sampler, repeats and bare numbers too, T 0.8", "test/seed.jsonl", 0.8),
    "test": Protocol("no repeats, greedy", "test/test.jsonl"),
    **{
        name: Protocol(f"{what}, greedy", f"whole/{name}.jsonl")
        for task in tasks.TASKS.values()
        for name, what in task.WHOLE.items()
    },
    **{name: Protocol(f"{what}, greedy", f"harder/{name}.jsonl") for name, what in SETS.items()},
    **{
        f"validation-{name}": Protocol(f"{what}, greedy, to choose by", f"heldout/{name}.jsonl")
        for name, what in SETS.items()
    },
}
NAMES = [*PROTOCOLS, *TOGETHER]


@dataclass
class EvaluateArguments:
    """Keys of `evaluate.yaml`."""

    checkpoint: str = field(default="", metadata={"help": "Folder of a checkpoint, adapter or merged model."})
    dataset_name: str = field(default="", metadata={"help": "The corpus folder, data/<model>, with the test sets."})
    protocol: list[str] = field(
        default_factory=list,
        metadata={
            "help": f"Any of {', '.join(NAMES)} (default: test where the corpus has it, else nontrivial and seed)."
        },
    )
    num_samples: list[int] | None = field(
        default=None,
        metadata={
            "help": "Problems of each test set, the same at every run: one number, or one for each of `protocol`."
        },
    )
    batch_size: int = field(default=64, metadata={"help": "Problems answered at once, on each process."})
    max_new_tokens: int | None = field(
        default=None,
        metadata={"help": "Cap on a completion (default: 1.25 times the problem's right one, 256 at least)."},
    )
    drafts: bool = field(
        default=True,
        metadata={
            "help": "Greedy decoding begins from the right working where the model agrees: same result, quicker."
        },
    )
    stop_at_fault: list[str] = field(
        default_factory=list,
        metadata={"help": "Protocols whose completions are cut off, so wrong, where they part from the right working."},
    )
    output_dir: str | None = field(
        default=None, metadata={"help": "Where to write (default: the checkpoint's folder)."}
    )
    seed: int = field(default=0, metadata={"help": "Seed of the sampling protocols."})

    def __post_init__(self) -> None:
        for name in ("checkpoint", "dataset_name"):
            if not getattr(self, name):
                raise ValueError(f"need --{name}, a folder")
        data = Path(self.dataset_name)
        usual = ["test"] if (data / PROTOCOLS["test"].file).is_file() else ["nontrivial", "seed"]
        self.protocol = self.protocol or usual
        for key in ("protocol", "stop_at_fault"):
            names = getattr(self, key)
            if not set(names) <= set(NAMES):
                raise ValueError(f"need {key} among {', '.join(NAMES)}, got {', '.join(names) or 'none'}")
        if self.stop_at_fault and not self.drafts:
            raise ValueError("need drafts: true for stop_at_fault, which looks where a completion parts from its draft")
        if self.num_samples is not None and len(self.num_samples) not in (1, len(self.protocol)):
            raise ValueError(
                f"need one num_samples, or one for each protocol, got {len(self.num_samples)} "
                f"for {len(self.protocol)}: add --num_samples"
            )
        for name in ("num_samples", "batch_size", "max_new_tokens"):
            value = getattr(self, name)
            if value is not None and (lowest := min(value) if isinstance(value, list) else value) < 1:
                raise ValueError(f"need {name} >= 1, got {lowest}")


def main(argv: list[str]) -> None:
    """Answer, score, write samples.jsonl, evaluate.txt and evaluate.json; the last line printed is one JSON object."""
    (own,) = recipe.read((EvaluateArguments,), argv, "evaluate")
    started, data = time.monotonic(), Path(own.dataset_name)
    wanted = chosen(own.protocol, own.num_samples, data)
    problems = {name: read_problems(data, PROTOCOLS[name], count) for name, count in wanted.items()}
    facts = read_facts(data)
    accelerator = start()
    disable_progress_bar()  # of the loading, which takes no time
    model, model_tokenizer = checkpoint.load(own.checkpoint)
    check_corpus(data, Path(own.checkpoint), model_tokenizer)
    model = model.to(accelerator.device)
    answered = {name: answer(name, rows, model, model_tokenizer, own, accelerator) for name, rows in problems.items()}
    if not accelerator.is_main_process:
        return
    samples, blocks = {}, {}
    for name, (done, circumstances) in answered.items():
        protocol = PROTOCOLS[name]
        known = None if protocol.temperature else facts
        judged = [scoring.judge(row, one, known) for row, one in zip(problems[name], done, strict=True)]
        samples[name] = [{"protocol": name, **row} for row in judged]
        blocks[name] = {
            "protocol": protocol.what,
            "files": {one: files.sha256(data / one) for one in sorted({row["file"] for row in problems[name]})},
            **scoring.score(judged, protocol.file, cut=circumstances["stop_at_fault"]),
            **circumstances,
        }
    report = {
        "checkpoint": own.checkpoint,
        "protocols": blocks,
        "seed": own.seed,
        "batch_size": own.batch_size,
        "num_processes": accelerator.num_processes,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "tokenizer_fingerprint": tokenizer.fingerprint(model_tokenizer),
        "data": {"path": own.dataset_name, "sha256": files.sha256(data / "manifest.json")},
        "command": f"arith-hf evaluate {' '.join(argv)}",
        "seconds": round(time.monotonic() - started, 1),
    }
    write(Path(own.output_dir or own.checkpoint), report, [row for rows in samples.values() for row in rows])


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


def chosen(protocols: list[str], num_samples: list[int] | None, data: Path) -> dict[str, int | None]:
    """How many problems of which protocols; a group stands for those of its names that the corpus has a set for."""
    counts: list[int | None] = list(num_samples) if num_samples else [None]
    counts *= len(protocols)  # one for all; zip takes no more of them than there are protocols
    wanted: dict[str, int | None] = {}
    for name, count in zip(protocols, counts, strict=False):
        group = TOGETHER.get(name, [name])
        drawn = [one for one in group if (data / PROTOCOLS[one].file).is_file()]
        wanted |= dict.fromkeys(drawn or group, count)
    return wanted


def read_facts(data: Path) -> set[str] | None:
    """The single facts of the corpus's training rows; None for a corpus that lists none."""
    listed = files.read_json(data / "manifest.json").get("facts")
    if listed is None:
        return None
    if files.sha256(path := data / "facts.txt") != listed["sha256"]:
        raise ValueError(f"{path} is not the file that the corpus was finished with: run make corpus MODEL={data.name}")
    return set(path.read_text(encoding="utf-8").splitlines())


def read_problems(data: Path, protocol: Protocol, num_samples: int | None) -> list[Row]:
    """The rows of a protocol's files, each marked with its file; ValueError where there are none to answer."""
    if not (data / "manifest.json").is_file():
        raise FileNotFoundError(f"no finished corpus at {data}: run make corpus MODEL={data.name}")
    rows, drawn = [], files.read_json(data / "manifest.json").get("files", {})
    for name in filter(None, (protocol.file, protocol.aside)):
        path = data / name
        if name == protocol.aside and name not in drawn and not path.is_file():
            continue  # a task without malformed problems
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
) -> tuple[list[solver.Completion], Row]:
    """What the model wrote to each row, and the facts of the run; each process answers its share."""
    started, protocol = time.monotonic(), PROTOCOLS[name]
    forms = [scoring.form_of(row) for row in rows]
    prompts = [form.prompt(row["problem"]) for form, row in zip(forms, rows, strict=True)]
    workings = [form.completion(scoring.work(row)) for form, row in zip(forms, rows, strict=True)]
    needed = [len(ids) + 1 for ids in model_tokenizer(workings, add_special_tokens=False)["input_ids"]]
    caps = [own.max_new_tokens or max(LEAST_ROOM, round(need * SPARE) + 1) for need in needed]
    drafted = own.drafts and protocol.temperature == 0
    stopped = {one for names in own.stop_at_fault for one in TOGETHER.get(names, [names])}
    cut = drafted and name in stopped
    if accelerator.is_main_process:
        print(f"{name}: {len(rows)} problems, {protocol.what}; at most {max(caps)} new tokens", file=sys.stderr)
    with accelerator.split_between_processes(list(zip(prompts, caps, workings, strict=True))) as mine:
        done = solver.generate(
            model,
            model_tokenizer,
            [prompt for prompt, _, _ in mine],
            batch_size=own.batch_size,
            max_new_tokens=[cap for _, cap, _ in mine],
            temperature=protocol.temperature,
            seed=solver.to_seed("evaluate", name, own.seed, accelerator.process_index),
            progress=accelerator.is_main_process,
            drafts=[working for _, _, working in mine] if drafted else None,
            go_on=not cut,
        )
    limit = solver.hard_limit(model.config)
    room = caps
    if limit is not None:
        tokens = model_tokenizer(prompts)["input_ids"]
        room = [min(cap, limit - len(ids)) for cap, ids in zip(caps, tokens, strict=True)]
    return gather_object(done), {
        "temperature": protocol.temperature,
        "drafts": drafted,
        "stop_at_fault": cut,
        "max_new_tokens": max(caps),
        "longest_right_completion": max(needed),
        "without_room": sum(need > most for need, most in zip(needed, room, strict=True)),
        "seconds": round(time.monotonic() - started, 1),
    }


# Writing


def write(folder: Path, report: Row, samples: Iterable[Row]) -> None:
    """The three files, evaluate.json last, and the line that closes the output."""
    if (folder / "evaluate.json").exists():
        print(f"replacing {folder / 'evaluate.json'}", file=sys.stderr)
        (folder / "evaluate.json").unlink()
    files.write_jsonl(folder / "samples.jsonl", samples)
    text = scoring.summarize(report)
    files.write_text(folder / "evaluate.txt", text)
    files.write_json(folder / "evaluate.json", report)
    print(text)
    headline = ("n", "exact_match", "exact_match_interval", "steps_match", "parse_rate", "mean_tokens")
    last = {name: {key: block[key] for key in headline} for name, block in report["protocols"].items()}
    print(json.dumps({"checkpoint": report["checkpoint"], **last, "seconds": report["seconds"]}))
