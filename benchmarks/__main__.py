"""The command: rows by name or all, a table, and one JSON object as the last line.

make bench
python -m benchmarks [--only PART ...] [--quick] [--config recipes/M/pretrain.yaml]
"""

import argparse
import importlib
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.measure import Row, machine

PARTS = {  # part -> (module, function); imported when used, so that what is set below holds for torch
    "stage": ("training", "run"),
    "seed_training": ("seed_training", "run"),
    "seed_evaluation": ("seed_evaluation", "run"),
    "corpus": ("commands", "draw"),
    "help": ("commands", "help_time"),
    "memory": ("commands", "memory"),
}
# One core, no network. `make bench` also keeps glibc from giving buffers back, as it does for every stage.
SETTINGS = {
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def main(argv: Sequence[str] | None = None) -> dict[str, object]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Our way beside others, as ratios.")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="these parts")
    parser.add_argument("--quick", action="store_true", help="tiny models and one repeat: proves that it runs")
    parser.add_argument("--config", help="recipe of the part `stage` (default: the recipe of record)")
    said = parser.parse_args(argv)
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    started = time.perf_counter()
    rows: list[Row] = []
    for part in said.only:
        print(f"{part} ...", file=sys.stderr)
        more = {"config": said.config} if part == "stage" and said.config else {}
        with TemporaryDirectory(prefix="arith-hf-bench-") as folder:
            module, function = PARTS[part]
            measure = getattr(importlib.import_module(f"benchmarks.{module}"), function)
            found = measure(Path(folder), said.quick, **more)
        rows += found
        for row in found:
            print(json.dumps({row.name: row.to_json()}), file=sys.stderr)  # what was measured outlives a later failure
    report: dict[str, object] = {
        "rows": {row.name: row.to_json() for row in rows},
        "machine": machine(),
        "command": " ".join(["python -m benchmarks", *(sys.argv[1:] if argv is None else argv)]),
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "seconds": round(time.perf_counter() - started, 1),
        "quick": said.quick,
    }
    Console(width=180).print(table(rows))
    print(json.dumps(report))
    return report


def table(rows: Sequence[Row]) -> Table:
    """One line for each row, as Markdown; the spread is of the ratio where there is one, from least to greatest."""
    made = Table("row", "ours / other", "unit", "ours", "other", "ratio", "spread", "n", "wanted", box=box.MARKDOWN)
    for row in rows:
        block = row.to_json()
        low, high = block.get("ratio_spread", block["ours_spread"])
        figures = [shown(block.get(name, "")) for name in ("ours", "other", "ratio")]
        made.add_row(
            row.name, row.what, row.unit, *figures, f"{shown(low)} - {shown(high)}", str(block["n"]), row.wanted
        )
    for column in made.columns:
        column.no_wrap = True
    return made


def shown(value: Any) -> str:
    """Four significant digits without an exponent."""
    return f"{value:,.0f}" if isinstance(value, float) and value >= 1000 else str(value)


if __name__ == "__main__":
    main()
