"""The ablations: arms that differ from the recipe of record in one thing, each trained for the same core-seconds.

May not know what an arm changes: ablations.yaml says it in recipe keys. An arm's steps are chosen from its own speed,
measured in a short warm-up, so that its learning-rate schedule ends with its time; warm-up and decay keep their share
of the steps. With `--steps` all arms take the same number instead. Each arm answers `heldout/validation` of the base's
corpus greedily, once, at its end. Corpora and tokenizers are made in a work folder, with fewer rows than the recipe's.
A finished seed of an arm is kept and not run again unless the recipes changed; the code is not watched: remove
checkpoints/ablations/<model> where it changed.

    make ablations [MODEL=expression] [SEEDS=3] [ARGS='--seconds 120 --only base no-drills']
    python -m benchmarks.ablations --config recipes/expression/pretrain.yaml --seconds 120 --only_table
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from arith_hf import corpus, files, recipe, tokenizer
from benchmarks import claims, clock, speedrun

ARMS = Path(__file__).with_suffix(".yaml")
# Only pretraining reads the corpus; the tokenizer stage wants a few whole workings.
SMALL = {"num_sft": 64, "num_prompts": 0, "num_validation": 32, "num_test": 2000, "num_harder": 0}
SKIPPED, TIMED = 20, 100  # steps of the warm-up that settle in, and that are timed
RESULT = "ablation.json"
Keys = dict[str, Any]


@dataclass(frozen=True)
class Arm:
    """A name, what differs in a few words, and keys of the recipes that make it so; `model` are config fields."""

    name: str
    what: str
    corpus: Keys = field(default_factory=dict)
    tokenizer: Keys = field(default_factory=dict)
    pretrain: Keys = field(default_factory=dict)
    model: Keys = field(default_factory=dict)


@dataclass(frozen=True)
class Bench:
    """What all arms share: the stage's arguments, the work folder, the budget and the rows of a corpus."""

    rest: list[str]
    folder: Path
    budget: Keys
    num_pretrain: int

    def data(self, arm: Arm) -> tuple[Keys, Keys, Path]:
        """Corpus keys, tokenizer keys, and the folder that is named by both."""
        config = recipe.config_path([*self.rest])
        assert config is not None
        base = [recipe.load(config.with_name(f"{stage}.yaml")) for stage in ("corpus", "tokenizer")]
        drawn = base[0] | SMALL | {"num_pretrain": self.num_pretrain} | arm.corpus
        cut = base[1] | arm.tokenizer
        name = hashlib.sha256(json.dumps([drawn, cut], sort_keys=True).encode()).hexdigest()[:8]
        return drawn, cut, self.folder / "corpora" / name

    def argv(self, arm: Arm) -> list[str]:
        """The pretraining stage's arguments for an arm, but for the seed and the number of steps."""
        where = self.data(arm)[2]
        keys = arm.pretrain | {"dataset_name": str(where / "data"), "tokenizer_name_or_path": str(where / "tokenizer")}
        if arm.model:
            own = json.loads(speedrun.understood(self.rest)[0].config_overrides or "{}")
            keys |= {"config_overrides": json.dumps(own | arm.model)}
        return [*self.rest, *tokens(keys)]

    def identity(self, arm: Arm) -> Keys:
        return {"recipe": speedrun.keys_of(self.argv(arm)), "budget": self.budget}

    def place(self, arm: Arm, seed: int) -> Path:
        return self.folder / arm.name / f"seed-{seed}"


def main(argv: Sequence[str] | None = None) -> None:
    own, rest = read(argv)
    bench = Bench(rest, place(rest), {"steps": own.steps} if own.steps else {"seconds": own.seconds}, own.num_pretrain)
    arms = read_arms(own.arms)
    if unknown := {*own.only} - {arm.name for arm in arms}:
        raise SystemExit(f"no arm {', '.join(sorted(unknown))}: have {', '.join(arm.name for arm in arms)}")
    if not own.only_table:
        make_data(bench, arms[0])
        exam = clock.Exam(bench.data(arms[0])[2] / "data")
        for arm in arms:
            if not own.only or arm.name in own.only:
                run(bench, arm, range(own.seeds), exam)
    results = {arm.name: [one for seed in range(own.seeds) if (one := kept(bench, arm, seed))] for arm in arms}
    rows = [row(arm, results[arm.name], results[arms[0].name]) for arm in arms if results[arm.name]]
    if not rows:
        raise SystemExit(f"nothing finished in {bench.folder} with {bench.budget}: leave --only_table out")
    print(table(rows), end="\n\n")
    print(json.dumps({"model": bench.folder.name, "budget": bench.budget, "rows": rows}))


def read(argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """Keys of ours, and what is the stage's: `--config` and any key of the pretraining recipe, for all arms."""
    parser = argparse.ArgumentParser("python -m benchmarks.ablations", allow_abbrev=False)
    parser.add_argument("--seconds", type=float, default=120.0, help="core-seconds of training of each run")
    parser.add_argument("--steps", type=int, help="the same steps for each run, instead of the same seconds")
    parser.add_argument("--seeds", type=int, default=3, help="how many: 0, 1, ...")
    parser.add_argument("--arms", type=Path, default=ARMS, help="a list of arms")
    parser.add_argument(
        "--only", nargs="+", default=[], help="run these arms only; the table shows all that are finished"
    )
    parser.add_argument("--num_pretrain", type=int, default=200_000, help="pretraining documents of each corpus")
    parser.add_argument("--only_table", action="store_true", help="print what is finished, run nothing")
    own, rest = parser.parse_known_args(argv)
    if own.seeds < 1 or own.seconds <= 0 or (own.steps is not None and own.steps < 1):
        raise SystemExit(f"need seeds, seconds and steps > 0, got {own.seeds}, {own.seconds} and {own.steps}")
    return own, rest


def place(rest: Sequence[str]) -> Path:
    """checkpoints/ablations/<model>."""
    model = speedrun.place(rest).parent
    return model.parent / "ablations" / model.name


def read_arms(path: Path) -> list[Arm]:
    """The arms of a YAML file; ValueError where one has a field that no arm has, or a name stands twice."""
    try:
        arms = [Arm(**fields) for fields in yaml.load(path.read_text(encoding="utf-8"), Loader=recipe.StrictLoader)]
    except TypeError as error:
        raise ValueError(f"{path}: need name, what, corpus, tokenizer, pretrain, model in an arm: {error}") from error
    names = [arm.name for arm in arms]
    if len({*names}) < len(names):
        raise ValueError(f"{path}: a name stands twice among {', '.join(names)}")
    return arms


def tokens(keys: Keys) -> list[str]:
    return [token for key, value in keys.items() for token in recipe.to_tokens(key, value)]


# Running


def make_data(bench: Bench, arm: Arm) -> None:
    """The corpus and tokenizer of an arm, by the real stages, unless they are there: arms of equal keys share them."""
    drawn, cut, folder = bench.data(arm)
    if (folder / "tokenizer" / "metrics.json").is_file():
        return
    print(f"{arm.name}: making {folder}", file=sys.stderr, flush=True)
    data, cutter = str(folder / "data"), str(folder / "tokenizer")
    with redirect_stdout(sys.stderr):
        corpus.main(tokens(drawn | {"output_dir": data}))
        tokenizer.main(tokens(cut | {"dataset_name": data, "output_dir": cutter}))


def kept(bench: Bench, arm: Arm, seed: int) -> Keys | None:
    return speedrun.finished(bench.place(arm, seed) / RESULT, bench.identity(arm))


def run(bench: Bench, arm: Arm, seeds: Iterable[int], exam: clock.Exam) -> None:
    """The seeds of an arm that are not finished, all with the steps of those that are, or as its speed allows."""
    missing = [seed for seed in seeds if not kept(bench, arm, seed)]
    if not missing:
        return
    make_data(bench, arm)
    known = [one["step"] for seed in seeds if (one := kept(bench, arm, seed))]
    steps = bench.budget.get("steps") or (known or [affordable(bench, arm, bench.budget["seconds"])])[0]
    for seed in missing:
        argv = [*bench.argv(arm), *schedule(bench.argv(arm), steps), "--seed", str(seed)]
        trainer, prepared, _ = clock.prepare(argv, fresh=False, output_dir=bench.place(arm, seed))
        done = clock.train(trainer, prepared, lambda _: [], exam)
        result = {
            "seed": seed,
            "parameters": done.parameters,
            "epochs": round(trainer.state.epoch or 0.0, 3),
            **done.curve[-1],
            "identity": bench.identity(arm),
        }
        files.write_json(bench.place(arm, seed) / RESULT, result)
        print(f"{arm.name}, seed {seed}: {result['exact_match']:.2%} after {steps} steps", file=sys.stderr, flush=True)


def affordable(bench: Bench, arm: Arm, seconds: float) -> int:
    """Steps that fit in so many core-seconds, what comes before the first steady one (a compilation) counted."""
    argv = [*bench.argv(arm), *schedule(bench.argv(arm), SKIPPED + TIMED)]
    trainer, prepared, _ = clock.prepare(argv, fresh=False, output_dir=bench.folder / arm.name / "warm-up")
    first, last = clock.train(trainer, prepared, lambda _: [SKIPPED], lambda *_: {}).curve
    return fitting(seconds, first["core_seconds"], last["core_seconds"])


def fitting(seconds: float, settled: float, timed: float) -> int:
    """Steps in `seconds`, where SKIPPED took `settled` and TIMED more took until `timed`.

    >>> fitting(121.0, 2.0, 7.0)
    2400
    """
    each = (timed - settled) / TIMED
    return max(1, round((seconds - max(0.0, settled - SKIPPED * each)) / each))


def schedule(argv: Sequence[str], steps: int) -> list[str]:
    """`steps` steps; warm-up and the phases of the schedule keep the share of the steps that the recipe gives them."""
    training = speedrun.understood(argv)[1]
    if training.max_steps < 1:
        raise SystemExit("need max_steps in the recipe, of which the schedule's phases are shares")
    share = steps / training.max_steps
    keys: Keys = {"max_steps": steps}
    if training.warmup_steps >= 1:  # below 1 it is a share already
        keys["warmup_steps"] = round(training.warmup_steps * share)
    if phases := training.lr_scheduler_kwargs:
        scaled = {key: round(value * share) if key.endswith("_steps") else value for key, value in phases.items()}
        keys["lr_scheduler_kwargs"] = scaled
    return tokens(keys)


# Telling


def row(arm: Arm, results: list[Keys], base: list[Keys]) -> Keys:
    """What an arm's seeds say, and how far they are from the base's."""
    scores = [one["exact_match"] for one in results]
    mean, interval = claims.spread(scores)
    gap, gap_interval = claims.difference(scores, [one["exact_match"] for one in base]) if base else (None, None)
    costs = {key: sum(one[key] for one in results) / len(results) for key in ("tokens", "core_seconds", "epochs")}
    return {
        "arm": arm.name,
        "what": arm.what,
        "seeds": [one["seed"] for one in results],
        "n": results[0]["n"],
        "parameters": results[0]["parameters"],
        "steps": results[0]["step"],
        **{key: round(value, 2) for key, value in costs.items()},
        "exact_match": round(mean, 4),
        "interval": interval and [round(end, 4) for end in interval],
        "scores": scores,
        "difference": gap if gap is None else round(gap, 4),
        "difference_interval": gap_interval and [round(end, 4) for end in gap_interval],
    }


def table(rows: list[Keys]) -> str:
    """Markdown; percent and percentage points, with 95 % intervals over seeds where there are several."""
    head = ["arm", "what differs", "parameters", "steps", "M tokens", "core-s", "seeds", "exact match", "against base"]
    lines = [head, ["---"] * len(head)]
    for one in rows:
        again = f" ({one['epochs']:.1f} epochs)" if one["epochs"] > 1 else ""
        lines.append(
            [
                one["arm"],
                one["what"],
                f"{one['parameters']:,}",
                str(one["steps"]),
                f"{one['tokens'] / 1e6:.2f}{again}",
                f"{one['core_seconds']:.0f}",
                str(len(one["seeds"])),
                percent(one["exact_match"], one["interval"]),
                ""
                if one is rows[0] or one["difference"] is None
                else percent(one["difference"], one["difference_interval"], "+"),
            ]
        )
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def percent(value: float, interval: list[float] | None, sign: str = "") -> str:
    """
    >>> percent(0.912, [0.89, 0.93]), percent(-0.02, None, "+")
    ('91.2 [89.0, 93.0]', '-2.0')
    """
    shown = f"{100 * value:{sign}.1f}"
    return shown if interval is None else f"{shown} [{100 * interval[0]:{sign}.1f}, {100 * interval[1]:{sign}.1f}]"


if __name__ == "__main__":
    main()
