"""Whether reinforcement helps: one fine-tuned model, and what equal core-seconds make of it in several ways.

May not know how any stage works: each arm is a run of the stages' own commands on the recipes beside `--config`, a
recipe of GRPO. For each seed a parent is pretrained and fine-tuned; the arms start from it:

- `frozen`: the parent. - `steps`: the recipe, paid for right answers and right steps, rollouts end at their fault.
- `judged`: as `steps`, but rollouts go on to their end. - `answers`: GRPO, paid for answers alone, however they came
  about. - `coin`: GRPO, paid by the toss of a coin. - `more`: the fine-tuning goes on.
- `kept`: the parent answers as many prompts as often as `answers` did; fine-tuned on the right completions, each once,
  in the time left.

Each takes as many updates as `steps` has core-seconds for, by what an update costs in a trial; what then stays below
95 % of them is run again, longer. The weights are those of the last update. All are measured on the test set `depth5`,
which nothing was chosen by. Finished parts are kept: a run goes on where it was stopped; the commits of the parts are
printed; remove checkpoints/controls/<model> where the code or a recipe changed.

    make controls MODEL=expression-rl [SEEDS=3] [JOBS=2]
    python -m benchmarks.controls --config recipes/expression-rl/grpo.yaml --seeds 3 [--only_table]
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arith_hf import files, provenance, recipe
from benchmarks import claims

LAUNCH = (sys.executable, "-m", "accelerate.commands.launch", "--quiet", "--config_file")
MEASURED = "depth5"
SAMPLED = 32  # problems that are answered 16 times; of every problem the chance of the right working is known exactly
TRIAL = {"sft": 200, "grpo": 12}  # updates that tell what one costs; the first ones cost more
EQUAL = 0.95  # of the core-seconds of `steps`, at least
STILL = ("--eval_strategy", "no", "--save_strategy", "no", "--load_best_model_at_end", "false")
OTHERS = {  # the arms of GRPO beside the recipe
    "judged": ("--stop_at_fault", "false"),
    "answers": ("--stop_at_fault", "false", "--reward_funcs", "arith_hf.rewards.exact_answer"),
    "coin": ("--stop_at_fault", "false", "--reward_funcs", "arith_hf.rewards.coin"),
}
ARMS = {
    "frozen": "the fine-tuned model as it is",
    "steps": "GRPO, right answers and right steps, stops at the fault",
    "judged": "GRPO, right answers and right steps",
    "answers": "GRPO, right answers alone",
    "coin": "GRPO, a coin (random reward)",
    "more": "fine-tuning goes on",
    "kept": "fine-tuning on right rollouts (rejection sampling)",
}
SCORES = {  # answers, but for the second and third
    "greedy": "greedy",
    "pass@1": "right working, pass@1",
    "pass@16": "right working, pass@16",
    "sampled pass@1": "sampled, pass@1",
    "sampled pass@16": "sampled, pass@16",
}
Keys = dict[str, Any]


@dataclass(frozen=True)
class Lab:
    """Where the recipes, the corpus and the checkpoints of all seeds are, and how a stage is launched."""

    recipes: Path
    launch_config: Path

    @property
    def root(self) -> Path:
        return self.recipes.parent.parent

    @property
    def data(self) -> Path:
        return self.root / "data" / self.recipes.name

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def folder(self) -> Path:
        return self.checkpoints / "controls" / self.recipes.name

    def place(self, arm: str, seed: int) -> Path:
        return self.folder / f"seed-{seed}" / arm

    def key(self, stage: str, name: str) -> Any:
        return recipe.load(self.recipes / f"{stage}.yaml")[name]

    def run(self, verb: str, *more: object, stage: str | None = None) -> None:
        """A stage in a process of its own; its output goes to stderr."""
        module = ["-m", "arith_hf", verb, "--config", self.recipes / f"{stage or verb}.yaml"]
        finish([*LAUNCH, self.launch_config, *module, *more])


def main(argv: Sequence[str] | None = None) -> None:
    own = read(argv)
    lab = Lab(own.config.parent, own.launch_config)
    if not own.only_table:
        make_data(lab)
        with ThreadPoolExecutor(own.jobs) as pool:
            list(pool.map(lambda seed: run(lab, seed, own.only), own.seed or range(own.seeds)))
    results = [measured(lab, seed) for seed in own.seed or range(own.seeds)]
    rows = summarize([one for one in results if one.get("frozen")])
    if not rows:
        raise SystemExit(f"nothing finished in {lab.folder}: leave --only_table out")
    print(table(rows), behind(rows), f"Commits: {', '.join(commits(lab)) or 'unknown'}.", sep="\n\n", end="\n\n")
    print(json.dumps({"model": lab.recipes.name, "measured": MEASURED, "rows": rows}))


def read(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.controls", allow_abbrev=False)
    parser.add_argument("--config", type=Path, required=True, help="recipe of GRPO; the other stages' lie beside it")
    parser.add_argument("--launch_config", type=Path, default=Path("recipes/accelerate/cpu.yaml"))
    parser.add_argument("--seeds", type=int, default=3, help="how many: 0, 1, ...")
    parser.add_argument("--seed", type=int, nargs="+", help="these seeds instead")
    parser.add_argument("--only", nargs="+", choices=list(ARMS), default=list(ARMS), help="these arms only")
    parser.add_argument("--jobs", type=int, default=1, help="seeds side by side, a core each")
    parser.add_argument("--only_table", action="store_true", help="print what is finished, run nothing")
    own = parser.parse_args(argv)
    if own.config.name != "grpo.yaml" or not own.config.is_file():
        raise SystemExit(f"need --config recipes/<model>/grpo.yaml, got {own.config}")
    if not recipe.load(own.launch_config).get("use_cpu"):
        raise SystemExit(f"need a launch_config with use_cpu, as core-seconds are made equal, got {own.launch_config}")
    if own.seeds < 1 or own.jobs < 1:
        raise SystemExit(f"need seeds and jobs > 0, got {own.seeds} and {own.jobs}")
    return own


# Running


def make_data(lab: Lab) -> None:
    if not (lab.data / "manifest.json").is_file():
        finish([sys.executable, "-m", "arith_hf", "corpus", "--config", lab.recipes / "corpus.yaml"])
    if not (lab.checkpoints / lab.recipes.name / "tokenizer" / "metrics.json").is_file():
        finish([sys.executable, "-m", "arith_hf", "tokenizer", "--config", lab.recipes / "tokenizer.yaml"])


def run(lab: Lab, seed: int, only: Sequence[str]) -> None:
    """All arms of a seed that are not finished, then what each scores."""
    begin = lab.place("pretrain", seed)
    if not done(begin):
        lab.run("pretrain", "--output_dir", begin, "--seed", seed)
    parent = lab.place("frozen", seed)
    if not done(parent):
        lab.run("sft", "--model_name_or_path", begin, "--output_dir", parent, "--seed", seed)
    for arm in ARMS:
        place = lab.place(arm, seed)
        if arm in only and not done(place):
            if arm == "steps":
                last = ("--eval_on_start", "false", *STILL)
                lab.run("grpo", "--model_name_or_path", parent, "--output_dir", place, "--seed", seed, *last)
            else:
                equal(lab, arm, seed, budget=spent(lab.place("steps", seed)))
        if arm in only and not known(place):
            lab.run("evaluate", "--checkpoint", place, *asked(lab))
            print(f"seed {seed}, {arm}: {scores(place)}", file=sys.stderr, flush=True)


def known(place: Path) -> bool:
    """Whether it is measured, with as many problems sampled."""
    return (place / "evaluate.json").is_file() and scores(place)["sampled_n"] == SAMPLED


def asked(lab: Lab) -> list[object]:
    """Of the recipe's test sets the one that the arms are measured on."""
    sizes = dict(zip(lab.key("evaluate", "protocol"), lab.key("evaluate", "num_samples"), strict=True))
    return ["--protocol", MEASURED, "--num_samples", sizes[MEASURED], "--num_sampled", SAMPLED]


def equal(lab: Lab, arm: str, seed: int, budget: float) -> None:
    """An arm from the frozen model for `budget` core-seconds, the sampling of `kept` rollouts among them."""
    verb, more, period = "sft", ["--seed", seed + 1000], 1
    if arm in OTHERS:
        verb, more = "grpo", ["--seed", seed, "--eval_on_start", "false", *OTHERS[arm]]
        period = lab.key("grpo", "steps_per_generation")
    if arm == "kept":
        room = 2 * lab.key("grpo", "max_completion_length")  # with the prompt, which is shorter
        more += ["--dataset_name", lab.place("rollouts", seed) / "kept.jsonl", "--max_length", room]
        budget -= sample(lab, seed)["core_seconds"]
    start = ["--model_name_or_path", lab.place("frozen", seed), *more, *STILL]
    trial, short = lab.place(f"{arm}-trial", seed), TRIAL[verb]
    if not done(trial):
        lab.run(verb, *start, "--max_steps", short, "--output_dir", trial)
    place, each = lab.place(arm, seed), spent(trial) / short
    for _ in range(2):
        steps = max(1, round(budget / each / period)) * period
        lab.run(verb, *start, "--max_steps", steps, "--output_dir", place)
        each = spent(place) / steps
        if spent(place) >= EQUAL * budget:
            break


def sample(lab: Lab, seed: int) -> Keys:
    """As many rollouts of the frozen model as `answers` used; the right ones are written. Returns what it took."""
    folder = lab.place("rollouts", seed)
    if not (folder / "rollouts.json").is_file():
        each = lab.key("grpo", "num_generations")
        updates = files.read_json(lab.place("answers", seed) / "metrics.json")["steps"]
        prompts = updates * lab.key("grpo", "per_device_train_batch_size") // each
        sizes = ("--num_prompts", prompts, "--num_generations", each, "--seed", seed)
        cap = ("--max_completion_length", lab.key("grpo", "max_completion_length"))
        where = ("--checkpoint", lab.place("frozen", seed), "--dataset_name", lab.data)
        module = [sys.executable, "-m", "benchmarks.rejection", *where, "--output", folder / "kept.jsonl"]
        said = finish([*module, *sizes, *cap], keep=True)
        files.write_json(folder / "rollouts.json", json.loads(said.splitlines()[-1]))
    return dict(files.read_json(folder / "rollouts.json"))


def finish(command: Sequence[object], keep: bool = False) -> str:
    """What a command prints, where it is to be kept; SystemExit where it fails."""
    words = list(map(str, command))
    out = subprocess.PIPE if keep else sys.stderr
    ended = subprocess.run(words, stdout=out, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"failed: {' '.join(words)}")
    return ended.stdout or ""


def done(place: Path) -> bool:
    return (place / "metrics.json").is_file()


def spent(place: Path) -> float:
    """Core-seconds of a stage's training."""
    return float(files.read_json(place / "metrics.json")["cpu_seconds"])


# Telling


def measured(lab: Lab, seed: int) -> dict[str, Keys]:
    """What each finished arm of a seed scores and took."""
    places = {arm: lab.place(arm, seed) for arm in ARMS}
    return {
        arm: scores(place) | {"core_seconds": cost(lab, arm, seed), "updates": updates(place, arm)}
        for arm, place in places.items()
        if (place / "evaluate.json").is_file()
    }


def cost(lab: Lab, arm: str, seed: int) -> float:
    """Core-seconds from the frozen model on."""
    if arm == "frozen":
        return 0.0
    return spent(lab.place(arm, seed)) + (sample(lab, seed)["core_seconds"] if arm == "kept" else 0.0)


def updates(place: Path, arm: str) -> int:
    return 0 if arm == "frozen" else int(files.read_json(place / "metrics.json")["steps"])


def commits(lab: Lab) -> list[str]:
    """Of the code that made the parts, the first seven digits; `edited` where it was no commit."""
    made = [files.read_object(path) for path in sorted(lab.folder.glob("seed-*/*/provenance.json"))]
    return sorted({provenance.brief(one.get("commit")) for one in made if one.get("commit")})


def scores(place: Path) -> Keys:
    block = files.read_json(place / "evaluate.json")["protocols"][MEASURED]
    (sampled,) = block["sampling"].values()
    passed = {f"pass@{k}": sampled["exact_pass_at"][k]["value"] for k in ("1", "16")}
    drawn = {f"sampled pass@{k}": sampled["pass_at"][k]["value"] for k in ("1", "16")}
    return {"n": block["n"], "sampled_n": sampled["n"], "greedy": block["exact_match"], **passed, **drawn}


def summarize(seeds: list[dict[str, Keys]]) -> list[Keys]:
    """A row an arm: the mean of each score over seeds, and its difference from the frozen model, seed by seed."""
    rows = []
    for arm, what in ARMS.items():
        pairs = [(one[arm], one["frozen"]) for one in seeds if arm in one]
        if not pairs:
            continue
        row: Keys = {"arm": arm, "what": what, "seeds": len(pairs)}
        row |= {key: pairs[0][0][key] for key in ("n", "sampled_n")}
        row["core_minutes"] = round(sum(mine["core_seconds"] for mine, _ in pairs) / len(pairs) / 60, 1)
        row["updates"] = [mine["updates"] for mine, _ in pairs]
        for key in SCORES:
            row[key] = interval([mine[key] for mine, _ in pairs])
            row[f"{key} gain"] = interval([mine[key] - base[key] for mine, base in pairs])
            ahead = [one["steps"][key] - one[arm][key] for one in seeds if arm in one and "steps" in one]
            row[f"{key} behind"] = interval(ahead) if ahead and arm != "steps" else None
        rows.append(row)
    return rows


def interval(values: list[float]) -> Keys:
    mean, ends = claims.spread(values)
    return {"mean": round(mean, 4), "interval": ends and [round(end, 4) for end in ends], "seeds": values}


def table(rows: list[Keys]) -> str:
    """Markdown: percent, and the gain over `frozen` in points with its 95 % interval over seeds (paired)."""
    head = ["arm", "core-minutes", "updates", *(f"{title} | gain" for title in SCORES.values())]
    lines = [" | ".join(head), " | ".join(["---"] * (len(head) + len(SCORES)))]
    for row in rows:
        cells = [row["what"], str(row["core_minutes"]), ", ".join(map(str, row["updates"]))]
        for key in SCORES:
            cells.append(f"{100 * row[key]['mean']:.1f} ({', '.join(f'{100 * one:.1f}' for one in row[key]['seeds'])})")
            cells.append("" if row["arm"] == "frozen" else points(row[f"{key} gain"]))
        lines.append(" | ".join(cells))
    return "\n".join(f"| {line} |" for line in lines)


def behind(rows: list[Keys]) -> str:
    """Markdown: how far the recipe is ahead of each other arm, in points, paired by seed."""
    lines = [" | ".join(["the recipe ahead of", *SCORES.values()]), " | ".join(["---"] * (len(SCORES) + 1))]
    for row in rows:
        if row["greedy behind"]:
            lines.append(" | ".join([row["what"], *(points(row[f"{key} behind"]) for key in SCORES)]))
    return "\n".join(f"| {line} |" for line in lines)


def points(gain: Keys) -> str:
    """
    >>> points({"mean": 0.123, "interval": [0.1, 0.146]}), points({"mean": -0.02, "interval": None})
    ('+12.3 [+10.0, +14.6]', '-2.0')
    """
    shown = f"{100 * gain['mean']:+.1f}"
    ends = gain["interval"]
    return shown if ends is None else f"{shown} [{100 * ends[0]:+.1f}, {100 * ends[1]:+.1f}]"


if __name__ == "__main__":
    main()
