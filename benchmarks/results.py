"""The results table over seeds: the same recipe trained with several seeds, each measured by `arith-hf evaluate`.

May not measure anything: it reads `evaluate.json` of each folder, and the cost in `metrics.json` or `speedrun.json`.

    python -m benchmarks.results checkpoints/expression/pretrain checkpoints/expression/speedrun/seed-1
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arith_hf import files
from benchmarks import claims

HEAD = ("set", "n", "exact match, mean (95 %)", "seed by seed", "every step right", "called ERROR")


def main(argv: Sequence[str] | None = None) -> None:
    folders = [Path(name) for name in (sys.argv[1:] if argv is None else argv)]
    if not folders:
        raise SystemExit("need folders of checkpoints that `arith-hf evaluate` has measured")
    blocks = [scores(files.read_json(folder / "evaluate.json")["protocols"]) for folder in folders]
    shared = [name for name in blocks[0] if all(name in block for block in blocks)]
    rows = [row(name, [block[name] for block in blocks]) for name in shared]
    print(*(f"| {' | '.join(cells)} |" for cells in (HEAD, ["---"] * len(HEAD), *rows)), sep="\n", end="\n\n")
    minutes = [round(cost(folder) / 60, 1) for folder in folders]
    means = {name: claims.spread([block[name]["exact_match"] for block in blocks]) for name in shared}
    print(json.dumps({"folders": [str(folder) for folder in folders], "core_minutes": minutes, "mean_interval": means}))


def scores(protocols: dict[str, Any]) -> dict[str, Any]:
    """The protocols, and the malformed problems of the one that has them as a set of their own."""
    aside = {f"{name}: malformed": block["by_kind"].get("invalid") for name, block in protocols.items()}
    return protocols | {name: block for name, block in aside.items() if block}


def row(name: str, blocks: list[dict[str, Any]]) -> tuple[str, ...]:
    exact = [block["exact_match"] for block in blocks]
    called = [block["called_error"] for block in blocks if block.get("called_error") is not None]
    return (
        name,
        str(blocks[0]["n"]),
        interval(exact),
        ", ".join(f"{100 * score:.2f}" for score in exact),
        "-" if name.endswith("malformed") else interval([block["steps_match"] for block in blocks]),
        interval(called) if called and not name.endswith("malformed") else "-",
    )


def interval(values: Sequence[float]) -> str:
    """Mean in per cent and its interval over seeds, inside what a share can be."""
    mean, ends = claims.spread(values)
    low, high = (None, None) if ends is None else (max(ends[0], 0.0), min(ends[1], 1.0))
    return f"{100 * mean:.2f}" + ("" if low is None or high is None else f" ({100 * low:.1f} to {100 * high:.1f})")


def cost(folder: Path) -> float:
    """CPU seconds of the training."""
    for name, key in (("speedrun.json", "core_seconds"), ("metrics.json", "cpu_seconds")):
        if (folder / name).is_file():
            return float(files.read_json(folder / name)[key])
    return float("nan")


if __name__ == "__main__":
    main()
