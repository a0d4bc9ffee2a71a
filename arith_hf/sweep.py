"""A grid of runs of one stage: each value of some keys with each value of others, in a folder each, then one table.

May not know what a stage does. Not `Trainer.hyperparameter_search` with optuna's GridSampler: its trials share one
Trainer and one process, so a killed one is not gone on from, and none leaves what a stage signs off with; what would
remain of optuna is the product of some lists.

    arith-hf sweep --config recipes/M/pretrain.yaml --learning_rate 1e-4,3e-4,1e-3 --per_device_train_batch_size 16,32
"""

import argparse
import itertools
import json
import math
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from arith_hf import checkpoint, files, provenance, recipe

KEYS = {  # verb -> where its keys are
    "pretrain": ("arith_hf.train.pretrain:PretrainArguments", "transformers:TrainingArguments"),
    "gumbel": ("arith_hf.train.gumbel:GumbelArguments", "transformers:TrainingArguments", "trl:ModelConfig"),
    "sft": ("arith_hf.train.sft:SftArguments", "trl:SFTConfig", "trl:ModelConfig"),
    "dpo": ("arith_hf.train.dpo:DpoArguments", "trl:DPOConfig", "trl:ModelConfig"),
    "grpo": ("arith_hf.train.grpo:GrpoArguments", "trl:GRPOConfig", "trl:ModelConfig"),
}
VERBS = {"continue": "pretrain", "lora": "sft"}  # stages that are run by another verb than their name
LAUNCH = (sys.executable, "-m", "accelerate.commands.launch", "--quiet", "--config_file")
NAME = "sweep.json"
Row = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One point of the grid: its values, its folder, and the stage's own arguments."""

    values: dict[str, str]
    folder: Path
    argv: list[str]


def main(argv: Sequence[str]) -> int:
    own, rest = read(argv)
    said, fixed = split(rest)
    if not said:
        raise ValueError("need a key with several values, such as --learning_rate 1e-4,3e-4,1e-3")
    instances: list[tuple[Any, ...]] = []
    runs: list[Run] = []
    for values in grid(said):
        run = point(own, values, fixed)
        if other := next((one for one in runs if one.folder == run.folder), None):
            raise ValueError(f"{run.values} and {other.values} would be written to the same folder, {run.folder}")
        instances.append(check(own.verb, run))
        runs.append(run)
    metric, greater = objective(instances[0])
    done = []
    for number, (run, said_keys) in enumerate(zip(runs, instances, strict=True), start=1):
        finished = is_finished(own, run, said_keys)
        print(f"sweep: {number} of {len(runs)}, {run.folder.name}{', finished before' * finished}", flush=True)
        status = 0 if finished else launch(command(own, run))
        done.append(result(run, metric, status))
    done.sort(key=lambda row: order(row["value"], greater))
    found = {"stage": own.config.stem, "metric": metric, "greater_is_better": greater, "runs": done}
    files.write_json(own.output_dir / NAME, found)
    show(str(own.output_dir), found)
    print(json.dumps(found))
    return int(any(row["status"] for row in done))


# What was asked


def read(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The sweep's own keys, and the rest, which are the stage's."""
    parser = checkpoint.Arguments(
        "arith-hf sweep",
        "Run a stage with each value of some keys and each of others. Any key of the stage may have several values, "
        "with commas between and no blanks; what has one value, or is JSON, is the same in all runs. Finished runs are "
        "kept and killed ones gone on with, so the same command may be given again.",
    )
    parser.usage = "arith-hf sweep --config recipes/<model>/<stage>.yaml --KEY VALUE,VALUE,... [--KEY VALUE ...]"
    parser.add_argument("--config", type=Path, required=True, help="the recipe of the stage")
    parser.add_argument("--verb", choices=KEYS, help="what runs the recipe (default: by its name)")
    parser.add_argument("--output_dir", type=Path, help="default: checkpoints/<model>/sweep/<stage>; each run within")
    parser.add_argument(
        "--launch_config", type=Path, help="of accelerate (default: recipes/accelerate/cpu.yaml beside the recipe's)"
    )
    own, rest = parser.parse_known_args(list(argv))
    if not own.config.is_file():
        raise FileNotFoundError(f"no recipe at {own.config}: --config takes a file such as recipes/M/pretrain.yaml")
    own.verb = own.verb or VERBS.get(own.config.stem, own.config.stem)
    if own.verb not in KEYS:
        raise ValueError(f"no stage is trained by `{own.verb}`: give --verb, one of {', '.join(KEYS)}")
    usual = recipe.places(own.config, own.verb).get("output_dir")
    if own.output_dir is None and usual is None:
        raise ValueError("need --output_dir, as the recipe is not recipes/<model>/<stage>.yaml")
    own.output_dir = own.output_dir or Path(str(usual)).parent / "sweep" / own.config.stem
    own.launch_config = own.launch_config or own.config.parent.parent / "accelerate" / "cpu.yaml"
    if not own.launch_config.is_file():
        raise FileNotFoundError(f"no launch configuration at {own.launch_config}: give --launch_config")
    return own, rest


def split(rest: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """The keys with several values, and the arguments that all runs share.

    >>> split(["--learning_rate", "1,2", "--seed=3", "--source_weights", '{"en": 1, "es": 2}'])
    ({'learning_rate': ['1', '2']}, ['--seed=3', '--source_weights', '{"en": 1, "es": 2}'])
    """
    several: dict[str, list[str]] = {}
    fixed: list[str] = []
    words = [part for word in rest for part in (word.split("=", 1) if is_joined(word) else [word])]
    for index, word in enumerate(words):
        key = words[index - 1] if index else ""
        if is_list(word) and key.startswith("--"):
            name, values = key[2:], word.split(",")
            if name in several or len(set(values)) < len(values) or "" in values:
                raise ValueError(f"{name}: need each value once and none empty, got {word}")
            several[name] = values
            fixed.pop()
        else:
            fixed.append(word)
    return several, fixed


def is_list(word: str) -> bool:
    return "," in word and not word.startswith(("--", "{", "[", '"'))


def is_joined(word: str) -> bool:
    """Whether it is `--key=value,value`."""
    key, equals, value = word.partition("=")
    return key.startswith("--") and bool(equals) and is_list(value)


def grid(said: dict[str, list[str]]) -> list[dict[str, str]]:
    """
    >>> grid({"a": ["1", "2"], "b": ["3"]})
    [{'a': '1', 'b': '3'}, {'a': '2', 'b': '3'}]
    """
    return [dict(zip(said, values, strict=True)) for values in itertools.product(*said.values())]


def point(own: argparse.Namespace, values: dict[str, str], fixed: Sequence[str]) -> Run:
    name = ",".join(f"{key}={re.sub(r'[^A-Za-z0-9.+-]', '_', value)}" for key, value in values.items())
    folder = own.output_dir / name
    chosen = [word for key, value in values.items() for word in (f"--{key}", value)]
    return Run(values, folder, ["--config", str(own.config), *fixed, *chosen, "--output_dir", str(folder)])


def check(verb: str, run: Run) -> tuple[Any, ...]:
    """The stage's arguments as it will read them; ValueError names the run where it would refuse them."""
    classes = [getattr(import_module(module), name) for module, name in (one.split(":") for one in KEYS[verb])]
    try:
        return recipe.read(classes, run.argv, verb)
    except ValueError as error:
        raise ValueError(f"{run.folder.name}: {error}") from error


def objective(instances: Sequence[Any]) -> tuple[str, bool]:
    """What the runs are sorted by, and whether more of it is better."""
    training = next(one for one in instances if hasattr(one, "metric_for_best_model"))
    name = training.metric_for_best_model or "eval_loss"
    name = name if name.startswith("eval_") else f"eval_{name}"
    if training.eval_strategy == "no":
        raise ValueError(f"need eval_strategy steps or epoch, to compare the runs by {name}, got no")
    greater = training.greater_is_better
    return name, not name.endswith("loss") if greater is None else bool(greater)


# Running


def command(own: argparse.Namespace, run: Run) -> list[str]:
    return [*LAUNCH, str(own.launch_config), "-m", "arith_hf", own.verb, *run.argv]


def is_finished(own: argparse.Namespace, run: Run, instances: Sequence[Any]) -> bool:
    """Whether its folder holds what this command would make, by this recipe and from these inputs."""
    mark = run.folder / "metrics.json"
    if not mark.is_file() or mark.stat().st_mtime < own.config.stat().st_mtime:
        return False
    made = provenance.read(run.folder / provenance.NAME)
    keys = {key: value for one in instances for key, value in vars(one).items()}
    parent = keys.get("model_name_or_path")
    return (
        made.get("command") == f"arith-hf {own.verb} {shlex.join(run.argv)}"
        and made.get("data") == provenance.data_proof(keys["dataset_name"])
        and (parent is None or made.get("parent_sha256") == provenance.weights_hash(Path(parent)))
    )


def launch(words: Sequence[str]) -> int:
    """Exit status of a run. Ctrl+C is for the stage, which saves its step: it is waited for, then the sweep stops."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the launcher would die with a traceback
    try:
        process = subprocess.Popen(words)
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise


# What came out


def result(run: Run, metric: str, status: int) -> Row:
    """The values of a run, what it came to, and its exit status; no value where it failed or has no such metric."""
    metrics = files.read_object(run.folder / "metrics.json") if not status else {}
    said = metrics.get(metric)
    value = float("NaN" if said is None else said)  # what is no finite number stands there by name
    return {
        **{"values": run.values, "value": value if math.isfinite(value) else None},
        **{key: metrics.get(key) for key in ("best_step", "steps", "seconds")},
        **{"status": status, "folder": str(run.folder)},
    }


def order(value: float | None, greater: bool) -> tuple[bool, float]:
    """The best first, what has no value last."""
    return value is None, 0.0 if value is None else -value if greater else value


def show(folder: str, found: Row) -> None:
    keys = list(found["runs"][0]["values"])
    table = Table(*keys, found["metric"], "best step", "steps", "seconds", "", title=folder)
    for row in found["runs"]:
        cells = ["" if row[key] is None else f"{row[key]:.6g}" for key in ("value", "best_step", "steps", "seconds")]
        table.add_row(*row["values"].values(), *cells, f"failed ({row['status']})" if row["status"] else "")
    Console().print(table)
