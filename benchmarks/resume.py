"""Whether a run that is killed ends where an undisturbed one does: each stage is killed at random moments and started
again, and what it leaves is compared byte for byte.

May not know how a stage goes on. Killed is the whole process group, by SIGKILL, at a moment drawn from the time that an
undisturbed run takes, late ones more often, as a stage begins by loading; the same command is given again until it
ends, undisturbed after four kills. Then the next such run begins, until all kills are spent. Compared is all that a
stage publishes, weights, metrics and every line of its log, but for times.

    make verify-resume MODEL=smoke [ARGS='--kills 20']
    python -m benchmarks.resume --recipes recipes/smoke --kills 20 [--stages sft grpo]
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from arith_hf import files

KILLS_A_RUN = 4  # each ended run is one comparison
STAGES = ("corpus", "tokenizer", "pretrain", "sft", "lora", "dpo", "grpo")
VERBS = {"lora": "sft"}
LAUNCH = (sys.executable, "-m", "accelerate.commands.launch", "--quiet", "--config_file", "recipes/accelerate/cpu.yaml")
TIMES = (
    "seconds",
    "runtime",
    "per_second",
    "step_time",
    "resumed_from",
    "finished",
    "started",
    "ended",
    "run_id",
)  # parts of a key
APART = {".lock", "provenance.json", "recipe.yaml", "README.md", "training_args.bin"}  # name the folder or the moment
NAMING = {"best_model_checkpoint", "configuration", "files"}  # the folder; recipe.yaml; the hash of provenance.json
Row = dict[str, Any]


@dataclass(frozen=True)
class Stage:
    """A stage, its recipe, and the folder for its runs."""

    name: str
    recipes: Path
    folder: Path

    def command(self, place: Path) -> list[str]:
        start = LAUNCH if self.name not in ("corpus", "tokenizer") else (sys.executable,)
        recipe = self.recipes / f"{self.name}.yaml"
        said = [*start, "-m", "arith_hf", VERBS.get(self.name, self.name), "--config", recipe, "--output_dir", place]
        return list(map(str, said))


def main(argv: Sequence[str] | None = None) -> int:
    own = read(argv)
    rows = []
    for name in own.stages:
        stage = Stage(name, own.recipes, own.folder / own.recipes.name / name)
        rows.append(verify(stage, own.kills, random.Random(f"resume/{own.seed}/{name}")))
        found = rows[-1]
        print(
            f"{name}: {found['kills']} kills, {found['ended']} runs ended, "
            f"{found['resumed']} from a step, {len(found['differences'])} differences",
            *found["differences"],
            sep="\n  ",
            file=sys.stderr,
            flush=True,
        )
    print(json.dumps({"model": own.recipes.name, "seed": own.seed, "stages": rows}))
    return int(any(row["differences"] for row in rows))


def read(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.resume", allow_abbrev=False)
    parser.add_argument("--recipes", type=Path, required=True, help="of a model whose stages are finished up to sft")
    parser.add_argument("--kills", type=int, default=20, help="of each stage")
    parser.add_argument("--stages", nargs="+", choices=STAGES, help="these only (default: all that have a recipe)")
    parser.add_argument("--folder", type=Path, default=Path("checkpoints/resume"), help="where the runs are kept")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    own = parser.parse_args(argv)
    has = [name for name in STAGES if (own.recipes / f"{name}.yaml").is_file()]
    if own.kills < 1:
        raise SystemExit(f"need kills > 0, got {own.kills}")
    if not has or (own.stages and not set(own.stages) <= set(has)):
        raise SystemExit(f"no recipe in {own.recipes} for {own.stages or 'any stage'}: have {has or 'none'}")
    own.stages = own.stages or has
    return own


def verify(stage: Stage, kills: int, rng: random.Random) -> Row:
    """Kill a stage so often, and say in what its runs differ from an undisturbed one."""
    shutil.rmtree(stage.folder, ignore_errors=True)
    whole, killed = (stage.folder / way / stage.name for way in ("whole", "killed"))
    began = time.monotonic()
    run(stage, whole, None)
    seconds = time.monotonic() - began
    row: Row = {"stage": stage.name, "seconds": round(seconds, 1), "kills": 0, "at_work": 0, "ended": 0, "resumed": 0}
    differences: dict[str, None] = {}
    bar = tqdm(total=kills, desc=f"killing {stage.name}", unit="kill")
    suffered = 0  # kills of the run at hand
    while row["kills"] < kills or suffered:
        after = seconds * rng.random() ** 0.5 if row["kills"] < kills and suffered < KILLS_A_RUN else None
        if not run(stage, killed, after):
            row["kills"] += 1
            suffered += 1
            row["at_work"] += any(path.name not in APART for path in killed.rglob("*"))  # it had begun to write
            bar.update()
        else:
            row["ended"] += 1
            row["resumed"] += gone_on(killed)
            suffered = 0
            differences |= dict.fromkeys(compare(whole, killed))
            shutil.rmtree(killed)
    bar.close()
    return row | {"differences": list(differences)}


def gone_on(place: Path) -> bool:
    """Whether the process that ended a training went on from a saved step, and did not begin anew."""
    told = place / "metrics.json"
    return told.is_file() and bool(files.read_json(told).get("resumed_from"))


def run(stage: Stage, place: Path, after: float | None) -> bool:
    """Whether it ended before it was killed, so many seconds after its start (None: not at all)."""
    stage.folder.mkdir(parents=True, exist_ok=True)
    with (stage.folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(stage.command(place), stdout=log, stderr=log, start_new_session=True)
        try:
            status = process.wait(after)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return False
        except KeyboardInterrupt:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if status:
        raise SystemExit(f"{stage.name} ended with status {status}: see {stage.folder}/log.txt")
    return True


# Comparing


def compare(whole: Path, killed: Path) -> list[str]:
    """What of two finished runs differs: files by name, keys of JSON by their path."""
    ours, theirs = published(whole), published(killed)
    found = [f"{name}: only in one of them" for name in sorted(set(ours) ^ set(theirs))]
    for name in sorted(set(ours) & set(theirs)):
        if ours[name] != theirs[name]:
            found.append(f"{name}: {first_difference(ours[name], theirs[name])}")
    return found


def published(folder: Path) -> Row:
    """What each file of a finished stage says: JSON without its times, else a hash; step checkpoints are none."""
    found: Row = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in APART):
        name = str(path.relative_to(folder))
        if name.startswith(("checkpoint-", "runs/")):
            continue
        found[name] = timeless(files.read_json(path)) if path.suffix == ".json" else files.sha256(path)
    return found


def timeless(content: Any) -> Any:
    """JSON without what tells a time or the folder.

    >>> timeless({"loss": 1.5, "train_runtime": 3.0, "log": [{"step": 1, "step_time": 0.2}]})
    {'loss': 1.5, 'log': [{'step': 1}]}
    """
    if isinstance(content, dict):
        kept = {key: one for key, one in content.items() if not any(part in key for part in TIMES)}
        return {key: timeless(one) for key, one in kept.items() if key not in NAMING}
    return [timeless(one) for one in content] if isinstance(content, list) else content


def first_difference(ours: Any, theirs: Any, where: str = "") -> str:
    """
    >>> first_difference({"a": [1, 2]}, {"a": [1, 3]})
    'a.1 is 2 and 3'
    """
    if isinstance(ours, dict) and isinstance(theirs, dict):
        pairs = {str(key): (ours.get(key), theirs.get(key)) for key in {**ours, **theirs}}
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        pairs = {str(index): pair for index, pair in enumerate(zip(ours, theirs, strict=True))}
    else:
        return f"{where.lstrip('.') or 'content'} is {str(ours)[:80]} and {str(theirs)[:80]}"
    key, (mine, other) = next((key, pair) for key, pair in pairs.items() if pair[0] != pair[1])
    return first_difference(mine, other, f"{where}.{key}")


if __name__ == "__main__":
    sys.exit(main())
