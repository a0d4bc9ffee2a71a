"""The speedrun: what the pretraining recipe of record costs to 90, 99 and 99.9 % exact match, seed after seed.

May not know how a model is trained. The real stage, its recipe untouched, runs in a folder of its own; at every 5 % of
the steps and at the end the clock is stopped (see clock.py) and all of `heldout/validation` is answered greedily. A
level is reached at the first such point whose score on the whole set is at least that. A finished seed is kept and not
run again unless its recipe, its data or its tokenizer changed.

    make speedrun [MODEL=expression] [SEEDS=3] [ARGS='--note "what changed" --max_steps 5000']
    python -m benchmarks.speedrun --config recipes/expression/pretrain.yaml --only_table
"""

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from datetime import date
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from arith_hf import files, recipe
from arith_hf.metric.exact_answer import wilson
from arith_hf.train import resume, stage
from arith_hf.train.pretrain import PretrainArguments
from benchmarks import claims, clock
from benchmarks.measure import machine

LEVELS = (0.9, 0.99, 0.999)
COSTS = ("step", "tokens", "flops", "core_seconds", "wall_seconds")
OFF = ("eval_", "save_", "per_device_eval", "num_eval", "metric_for", "load_best", "output_dir", "seed")
RESULT = "speedrun.json"
Run = dict[str, Any]


def main(argv: Sequence[str] | None = None) -> None:
    own, rest = read(argv)
    folder = place(rest)
    if not own.only_table:
        exam = clock.Exam(understood(rest)[0].dataset_name)
        for seed in range(own.seeds):
            done = finished(folder / f"seed-{seed}" / RESULT, identity(rest))
            result = done or run([*rest, "--seed", str(seed)], folder / f"seed-{seed}", exam, own.every)
            print(f"seed {seed}: {'kept' if done else 'done'}, {result['exact_match']:.2%}", file=sys.stderr)
    runs = of_one_recipe(folder)
    print(table(runs), board(runs, own.note), sep="\n\n", end="\n\n")
    print(json.dumps({"model": folder.parent.name, "note": own.note, **summary(runs), "runs": runs}))


def read(argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """Keys of ours, and what is the stage's: `--config` and any key of the recipe."""
    parser = argparse.ArgumentParser("python -m benchmarks.speedrun", allow_abbrev=False)
    parser.add_argument("--seeds", type=int, default=1, help="how many: 0, 1, ... one after the other")
    parser.add_argument("--every", type=float, default=0.05, help="share of the steps between two examinations")
    parser.add_argument("--note", default="", help="what changed, for the board")
    parser.add_argument("--only_table", action="store_true", help="print what is finished, run nothing")
    own, rest = parser.parse_known_args(argv)
    if own.seeds < 1 or not 0 < own.every <= 1:
        raise SystemExit(f"need seeds >= 1 and 0 < every <= 1, got {own.seeds} and {own.every}")
    return own, rest


def place(rest: Sequence[str]) -> Path:
    """checkpoints/<model>/speedrun."""
    places = recipe.places(recipe.config_path([*rest]), "pretrain")
    if not places:
        raise SystemExit("need --config recipes/<model>/pretrain.yaml")
    return Path(places["output_dir"]).with_name("speedrun")


def understood(rest: Sequence[str]) -> tuple[Any, ...]:
    return recipe.read((PretrainArguments, TrainingArguments), rest, "pretrain")


# Running


def identity(rest: Sequence[str]) -> Run:
    """All that decides what a seed's run will be, but for the code."""
    own = understood(rest)[0]
    data = stage.data_proof(own.dataset_name)["sha256"]
    tokenizer = files.sha256(Path(own.tokenizer_name_or_path, "tokenizer.json"))
    return {"recipe": keys_of(rest), "data": data, "tokenizer": tokenizer}


def keys_of(rest: Sequence[str]) -> Run:
    """The keys that can change what is learned, with what they were said to be, as JSON gives them back."""
    said = recipe.explicit(understood(rest), rest, "pretrain")
    kept = {key: value for key, value in said.items() if key not in resume.HARMLESS and not key.startswith(OFF)}
    return json.loads(json.dumps(kept))


def finished(path: Path, same: Run) -> Run | None:
    """The result at `path`, if it is of a run with the same identity."""
    result = files.read_json(path) if path.is_file() else None
    return result if result and result["identity"] == same else None


def run(argv: Sequence[str], folder: Path, exam: clock.Exam, every: float) -> Run:
    """One seed from start to end: trained on the clock, saved as a checkpoint, its result written last."""
    (folder / RESULT).unlink(missing_ok=True)
    same = identity(argv)
    trainer, prepared, preparation = clock.prepare(argv, output_dir=folder)
    kept = clock.train(trainer, prepared, lambda steps: points(steps, every), exam)
    with redirect_stdout(sys.stderr):
        stage.finish(trainer, prepared)
    last = kept.curve[-1]
    result = {
        "seed": trainer.args.seed,
        "date": date.today().isoformat(),
        "parameters": kept.parameters,
        "to": {str(level): reached(kept.curve, level, exam.n) for level in LEVELS},
        **last,
        "interval": wilson(last["right"], last["n"]),
        "curve": kept.curve,
        "preparation": preparation,
        "flops_per_token": round(kept.flops),
        "machine": machine(),
        "identity": same,
    }
    files.write_json(folder / RESULT, result)
    return result


def points(steps: int, every: float) -> list[int]:
    """
    >>> points(40, 0.25), points(3, 0.05)
    ([10, 20, 30, 40], [1, 2, 3])
    """
    gap = max(1, round(steps * every))
    return list(range(gap, steps + 1, gap))


def reached(curve: list[Run], level: float, n: int) -> Run | None:
    """What it had cost at the first point with `level` of all `n` problems; None where there is none."""
    for point in curve:
        if point["n"] == n and point["right"] >= level * n:
            return {key: point[key] for key in COSTS}
    return None


# Telling


def of_one_recipe(folder: Path) -> list[Run]:
    """The finished seeds of the recipe that was run last; says which others are left out."""
    paths = sorted(folder.glob(f"seed-*/{RESULT}"), key=lambda path: path.stat().st_mtime)
    if not paths:
        raise SystemExit(f"nothing finished in {folder}: run make speedrun MODEL={folder.parent.name}")
    found = {path: files.read_json(path) for path in paths}
    last = found[paths[-1]]["identity"]
    for path, result in found.items():
        if result["identity"] != last:
            print(f"left out, of another recipe: {path.parent}", file=sys.stderr)
    return sorted((one for one in found.values() if one["identity"] == last), key=lambda one: one["seed"])


def summary(runs: list[Run]) -> Run:
    """Over seeds: mean, interval (t), p-values, and the core-seconds by which all had reached each level."""
    scores = [one["exact_match"] for one in runs]
    mean, interval = claims.spread(scores)
    return {
        "seeds": [one["seed"] for one in runs],
        "n": runs[0]["n"],
        "parameters": runs[0]["parameters"],
        "exact_match": round(mean, 5),
        "exact_match_interval": None if interval is None else [round(end, 5) for end in interval],
        "p_at_least": {str(level): claims.p_at_least(scores, level) for level in LEVELS[1:]},
        "all_reached_by": {str(level): all_reached(runs, level) for level in LEVELS},
    }


def all_reached(runs: list[Run], level: float) -> float | None:
    """Core-seconds of the slowest seed; None unless all reached the level."""
    costs = [one["to"][str(level)] for one in runs]
    return max(cost["core_seconds"] for cost in costs) if all(costs) else None


def table(runs: list[Run]) -> str:
    """One line a seed, then what all of them say."""
    titles = [f"{level:.1%}" for level in LEVELS]
    head = f"{'seed':>4} {'core-s':>8} {'wall-s':>8} {'steps':>7} {'M tokens':>9} {'TFLOP':>8}"
    lines = [head + "".join(f"{title + ' at':>11}" for title in titles) + "   final (95 %)"]
    for one in runs:
        low, high = one["interval"]
        spots = "".join(f"{seconds(one['to'][str(level)]):>11}" for level in LEVELS)
        lines.append(
            f"{one['seed']:>4} {one['core_seconds']:>8.0f} {one['wall_seconds']:>8.0f} {one['step']:>7}"
            f" {one['tokens'] / 1e6:>9.2f} {one['flops'] / 1e12:>8.1f}{spots}"
            f"   {one['exact_match']:.2%} [{low:.2%}, {high:.2%}], n {one['n']}, every step {one['steps_match']:.2%}"
        )
    all_ = summary(runs)
    lines.append(f"over {len(runs)} seeds: {with_interval(all_)}; {', '.join(told(all_))}")
    for level, by in all_["all_reached_by"].items():
        lines.append(f"all seeds at {float(level):.1%}: " + (f"by {by:.0f} core-seconds" if by else "not reached"))
    apart = runs[-1]["preparation"]
    lines.append(f"apart: {apart['core_seconds']:.0f} core-seconds of reading, tokenizing, packing, building the model")
    return "\n".join(lines)


def board(runs: list[Run], note: str) -> str:
    """A row for the board in the recipe's README."""
    all_, last = summary(runs), runs[-1]
    spots = " / ".join(mean_seconds(runs, level) for level in LEVELS)
    commits = " ".join(dict.fromkeys(short(one["machine"]["commit"]) for one in runs))
    cells = [last["date"], commits, note or "?", str(len(runs)), spots, with_interval(all_), ", ".join(told(all_))]
    return "| " + " | ".join(cells) + " |"


def short(commit: str | None) -> str:
    """
    >>> short("f48204ee38d531ba74c747c1b50e1d76a0d6bfc6-dirty"), short(None)
    ('f48204e+edits', '?')
    """
    return commit[:7] + "+edits" * commit.endswith("-dirty") if commit else "?"


def told(all_: Run) -> list[str]:
    """The p-values, each with its claim."""
    values = all_["p_at_least"].items()
    return [f"p(>= {float(level):.1%}) " + ("-" if value is None else f"{value:.2g}") for level, value in values]


def with_interval(all_: Run) -> str:
    if all_["exact_match_interval"] is None:
        return f"{all_['exact_match']:.2%}"
    low, high = all_["exact_match_interval"]
    return f"{all_['exact_match']:.2%} [{low:.2%}, {min(high, 1):.2%}]"


def seconds(cost: Run | None) -> str:
    return f"{cost['core_seconds']:.0f} s" if cost else "-"


def mean_seconds(runs: list[Run], level: float) -> str:
    """Mean over the seeds that reached the level, and how many did where not all."""
    costs = [cost["core_seconds"] for one in runs if (cost := one["to"][str(level)])]
    if not costs:
        return "-"
    return f"{sum(costs) / len(costs):.0f}" + (f" ({len(costs)} of {len(runs)})" if len(costs) < len(runs) else "")


if __name__ == "__main__":
    main()
