"""Rows of whole commands: `corpus` (problems per second), `help` (wall time), `memory` (peak of training, evaluation).

Each command runs in a process of its own, except the corpus, whose libraries are loaded before its clock starts.
"""

import os
import time
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from arith_hf import corpus, recipe
from benchmarks import material
from benchmarks.measure import Row, peak_memory, wall_seconds

PIECES = {f"{source}_rate": 0 for source in ("drill", "segment", "excerpt", "verdict")}
WHOLE = {**PIECES, "num_sft": 0, "num_validation": 0, "num_test": 0}  # workings, nothing else


def draw(folder: Path, quick: bool) -> list[Row]:
    """The whole stage with drawing, checking and writing, by the recipe of record's sampler."""
    repeats, problems = (1, 200) if quick else (3, 4000)
    rates: dict[int, list[float]] = {1: [], 2: []}
    core: list[float] = []
    for _ in range(repeats):
        for processes, found in rates.items():
            wall, spent = draw_once(folder, problems, processes)
            found.append(problems / wall)
            core += [problems / spent] if processes == 1 else []
    cores = len(os.sched_getaffinity(0))
    return [
        Row(
            "corpus",
            "corpus stage, 2 processes / 1",
            "problems / s",
            ours=rates[2],
            other=rates[1],
            facts={"problems": problems, "cores": cores, "per_core_second": round(sorted(core)[len(core) // 2], 1)},
        )
    ]


def draw_once(folder: Path, problems: int, processes: int) -> tuple[float, float]:
    """(wall seconds, core-seconds of this process and its children)."""
    keys = material.SMALL | WHOLE | {"num_pretrain": problems, "num_proc": processes, "output_dir": folder / "drawn"}
    before, started = os.times(), time.perf_counter()
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        corpus.main(["--config", material.recipe("expression", "corpus"), *material.said(**keys)])
    return time.perf_counter() - started, sum(os.times()[:4]) - sum(before[:4])


def help_time(folder: Path, quick: bool) -> list[Row]:
    walls = [wall_seconds("-m", "arith_hf", "--help") for _ in range(1 if quick else 7)]
    return [Row("help", "arith-hf --help", "s", walls, facts={"fresh_processes": len(walls)})]


def memory(folder: Path, quick: bool) -> list[Row]:
    """Peak resident memory of the two commands on a small corpus, by the recipes of record."""
    steps, problems = (2, 4) if quick else (60, 256)
    places = material.make("expression", folder, 400 if quick else 6000)
    output = str(folder / "expression/pretrain")
    tiny = material.TINY if quick else {}
    keys = material.BARE | places | tiny | {"output_dir": output, "max_steps": steps}
    pretrain = ["--config", material.recipe("expression", "pretrain"), *material.said(**keys)]
    training = peak_memory("-m", "arith_hf", "pretrain", *pretrain)
    keys = {"checkpoint": output, "dataset_name": places["dataset_name"], "num_samples": problems}
    if quick:
        keys["max_new_tokens"] = 8
    evaluate = material.recipe("expression", "evaluate")
    evaluation = peak_memory(
        "-m", "arith_hf", "evaluate", "--config", evaluate, *material.said(**keys), "--protocol", "nontrivial"
    )
    batch_size = recipe.load(Path(evaluate)).get("batch_size")
    return [
        Row("memory_pretrain", "arith-hf pretrain", "MiB at most", [training], facts={"steps": steps}),
        Row(
            "memory_evaluate",
            "arith-hf evaluate",
            "MiB at most",
            [evaluation],
            facts={"problems": problems, "batch_size": batch_size},
        ),
    ]
