"""A run of GRPO read from its folder, checked as it is read: a broken file is named.

May not know what the figures are for.
"""

import io
from collections.abc import Callable
from math import isfinite, sqrt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from safetensors import SafetensorError, safe_open

from arith_hf import files, provenance
from arith_hf.doctor.history import History, Row

TOLD: dict[str, type] = {"num_eval_generations": int, "reward_funcs": list, "reward_weights": list}
READ = ("step", "group", "task", "completion", "right", "fault", "finished", "truncated", "num_tokens", "reward")


def read(folder: Path) -> History:
    """The history of the run in a folder; FileNotFoundError or ValueError where there is none of GRPO."""
    state, rollouts = read_state(state_of(folder)), read_rollouts(folder / "rollouts")
    if not rollouts and not any("reward" in row for row in state["log_history"]):
        raise ValueError(f"{folder} holds no run of GRPO: nothing in its log has a reward")
    moved = change(folder)
    return History(
        log=state["log_history"],
        rollouts=rollouts,
        recipe=read_recipe(folder / "recipe.yaml"),
        updates=state["global_step"],
        finished=(folder / "metrics.json").is_file(),
        moved=None if isinstance(moved, str) else moved,
        unmoved=moved if isinstance(moved, str) else "",
    )


def read_state(path: Path) -> Row:
    """The trainer's state; ValueError names the file where it is none: numbers are what is judged."""
    state = files.read_object(path)
    log, updates = state.get("log_history"), state.get("global_step")
    if not isinstance(log, list) or not all(isinstance(row, dict) for row in log):
        raise ValueError(f"{path}: need a list of objects as log_history")
    if not isinstance(updates, int):
        raise ValueError(f"{path}: need a number of updates as global_step, got {updates!r}")
    for row in log:
        for key, value in row.items():
            if value is not None and not isinstance(value, int | float):
                raise ValueError(f"{path}: need numbers in log_history, got {key} {value!r}")
    return state


def read_recipe(path: Path) -> Row:
    """What the run was told; {} where nothing says. ValueError where what is judged by is of another kind."""
    try:
        said = (yaml.safe_load(files.read_text(path)) or {}) if path.is_file() else {}
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: no YAML ({' '.join(str(error).split())})") from error
    if not isinstance(said, dict):
        raise ValueError(f"{path}: need a key and a value on each line, got {type(said).__name__}")
    for key, kind in TOLD.items():
        if said.get(key) is not None and not isinstance(said[key], kind):
            raise ValueError(f"{path}: need {kind.__name__} as {key}, got {said[key]!r}")
    return said


def state_of(folder: Path) -> Path:
    """The trainer's state of a finished run, else of its newest step checkpoint."""
    found = [folder, *checkpoints(folder)]
    for one in found:
        if (path := one / "trainer_state.json").is_file() and path.stat().st_size:
            return path
    raise FileNotFoundError(
        f"no run in {folder}: need its trainer_state.json or a checkpoint-*; name the folder that `arith-hf grpo` "
        "wrote, such as checkpoints/expression/grpo"
    )


def checkpoints(folder: Path) -> list[Path]:
    """The step checkpoints, the newest first."""
    numbered = [path for path in folder.glob("checkpoint-*") if path.name.rpartition("-")[2].isdecimal()]
    return sorted(numbered, key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)


def read_rollouts(folder: Path) -> list[Row]:
    """The recorded rollouts of training, step by step; ValueError names a broken file.

    A completion that was written more than once is held once: 0.5 kB a row in place of 1.
    """
    rows: list[Row] = []
    texts: dict[str, str] = {}
    for path in sorted(folder.glob("train-*.parquet"), key=lambda path: int(path.stem.rpartition("-")[2])):
        content = io.BytesIO(path.read_bytes())
        try:
            table = pq.ParquetFile(content).read(columns=list(READ), use_threads=False)
            some = table.select(list(READ)).to_pylist()
        except (pa.ArrowException, OSError, KeyError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: no file of rollouts ({error}): remove it") from error
        if fault := misshapen(table):
            raise ValueError(f"{path}: no file of rollouts ({fault}): remove it")
        rows += [row | {"completion": texts.setdefault(row["completion"], row["completion"])} for row in some]
    return rows


def misshapen(table: pa.Table) -> str | None:
    """The first column of another type than the recorder writes, or with a gap where it leaves none."""
    kinds: dict[str, Callable[[Any], bool]] = {
        **dict.fromkeys(("step", "group", "num_tokens"), pa.types.is_integer),
        **dict.fromkeys(("task", "completion", "fault"), pa.types.is_string),
        **dict.fromkeys(("right", "finished", "truncated"), pa.types.is_boolean),
        "reward": lambda one: pa.types.is_floating(one) or pa.types.is_integer(one),
    }
    for name, fits in kinds.items():
        found, may_lack = table.schema.field(name).type, name in ("fault", "reward")
        if not (fits(found) or (pa.types.is_null(found) and may_lack)):
            return f"{name} is of type {found}"
        if table[name].null_count and not may_lack:
            return f"{name} is missing in {table[name].null_count} rows"
    return None


def change(folder: Path) -> float | str:
    """How far the newest weights are from the parent's, relative to their size; in words why that is not known."""
    newest = next((one for one in (*checkpoints(folder), folder) if weight_files(one)), None)
    path = folder / "provenance.json"
    said = files.read_object(path) if path.is_file() else {}
    parent = find(folder, said.get("parent"))
    if newest is None or parent is None:
        return "no weights here" if newest is None else "its parent is not here"
    if said.get("parent_sha256") not in (None, provenance.weights_hash(parent)):
        return f"its parent {parent} was made anew since"
    try:
        before, after = tensors(parent), tensors(newest)
    except SafetensorError as error:
        return f"weights of {newest.name} or {parent} cannot be read ({error})"
    common = [name for name in before if name in after and after[name].shape == before[name].shape]
    if not common:
        return f"no weight of {newest.name} is one of {parent}"
    moved = sum(float((after[name].double() - before[name].double()).square().sum()) for name in common)
    size = sum(float(before[name].double().square().sum()) for name in common)
    return sqrt(moved / size) if isfinite(moved) else f"the weights of {newest.name} are no finite numbers"


def find(folder: Path, parent: str | None) -> Path | None:
    """The parent, whose path is relative to where the run was started: here, or above its folder."""
    places = [Path(), *folder.resolve().parents] if parent else []
    return next((place / str(parent) for place in places if weight_files(place / str(parent))), None)


def weight_files(checkpoint: Path) -> list[Path]:
    return sorted(checkpoint.glob("model*.safetensors"))


def tensors(checkpoint: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in weight_files(checkpoint):
        with safe_open(path, framework="pt") as stream:
            found |= {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - it is no dict
    return found
