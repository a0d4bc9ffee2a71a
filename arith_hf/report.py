"""The results of a model: what each stage took and what its checkpoint scores, as one table.

May not measure anything: it reads the `metrics.json` and `evaluate.json` that the stages left.

    arith-hf report --model expression [--format text|markdown|json] [--output FILE]
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from arith_hf import files

STAGES = ("pretrain", "sft", "lora", "grpo")  # in the order in which they are made


class Arguments(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def main(argv: list[str]) -> None:
    parser = Arguments("arith-hf report", description="Print the results table of a model.", allow_abbrev=False)
    parser.add_argument("--model", default="expression", help="folder of recipes/ and checkpoints/")
    parser.add_argument("--checkpoints", default="checkpoints", help="where the checkpoints of all models lie")
    parser.add_argument("--format", choices=list(FORMATS), default="text")
    parser.add_argument("--output", help="also write the table to this file")
    given = parser.parse_args(argv)
    table = FORMATS[given.format](collect(Path(given.checkpoints, given.model)))
    print(table)
    if given.output:
        files.write_text(given.output, table + "\n")


def collect(folder: Path) -> list[dict[str, Any]]:
    """One row a measured stage; FileNotFoundError where none is."""
    rows = [row(folder / stage) for stage in STAGES if (folder / stage / "evaluate.json").is_file()]
    if not rows:
        raise FileNotFoundError(f"nothing measured in {folder}: run make pipeline MODEL={folder.name}")
    return rows


def row(stage: Path) -> dict[str, Any]:
    """The numbers of one stage: cost from metrics.json, scores from evaluate.json."""
    trained = files.read_json(stage / "metrics.json") if (stage / "metrics.json").is_file() else {}
    measured = files.read_json(stage / "evaluate.json")
    keys = ("n", "exact_match", "exact_match_interval", "parse_rate", "mean_tokens")
    return {
        "stage": stage.name,
        "parameters": measured["parameters"],
        "minutes": round(trained["seconds"] / 60, 1) if "seconds" in trained else None,
        "core_minutes": round(trained["cpu_seconds"] / 60, 1) if "cpu_seconds" in trained else None,
        "scores": {
            name: {key: block[key] for key in keys} | invalid(block) for name, block in measured["protocols"].items()
        },
        "command": measured["command"],
    }


def invalid(block: dict[str, Any]) -> dict[str, Any]:
    """The share of malformed problems answered ERROR, where a protocol has such problems."""
    kind = block["by_kind"].get("invalid")
    return {"invalid": kind["exact_match"], "invalid_n": kind["n"]} if kind else {}


def cells(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Header and rows of the table, as text."""
    protocols = list(dict.fromkeys(name for row in rows for name in row["scores"]))
    header = ["stage", "minutes"] + [title for name in protocols for title in (f"{name} (95 %)", "parsed")]
    has_invalid = any("invalid" in score for row in rows for score in row["scores"].values())
    table = [header + ["invalid"] * has_invalid]
    for one in rows:
        line = [one["stage"], "" if one["minutes"] is None else str(one["minutes"])]
        for name in protocols:
            line += score_cells(one["scores"].get(name))
        shares = [score["invalid"] for score in one["scores"].values() if "invalid" in score]
        table.append(line + [f"{share:.1%}" for share in shares[:1] or [0.0] * has_invalid])
    return table


def score_cells(score: dict[str, Any] | None) -> list[str]:
    if score is None:
        return ["", ""]
    low, high = score["exact_match_interval"]
    return [f"{score['exact_match']:.1%} ({low:.1%} to {high:.1%})", f"{score['parse_rate']:.1%}"]


def footnote(rows: list[dict[str, Any]]) -> str:
    """What the numbers are: sizes, how many problems, and how each protocol answers."""
    sizes = {name: score["n"] for row in rows for name, score in row["scores"].items()}
    counts = ", ".join(f"{name} n = {count}" for name, count in sizes.items())
    return (
        f"{rows[0]['parameters']:,} parameters; exact match with Wilson intervals, {counts}; one seed. nontrivial: "
        "greedy, no repeats, at least one operator; seed: the document's sampler at temperature 0.8, "
        "a third bare numbers; the two do not compare. invalid: malformed problems answered ERROR."
    )


def as_text(rows: list[dict[str, Any]]) -> str:
    table = cells(rows)
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], "", footnote(rows)])


def as_markdown(rows: list[dict[str, Any]]) -> str:
    header, *body = cells(rows)
    lines = [header, ["---"] * len(header), *body]
    return "\n".join(["| " + " | ".join(line) + " |" for line in lines] + ["", footnote(rows)])


def as_json(rows: list[dict[str, Any]]) -> str:
    return json.dumps(rows)


FORMATS: dict[str, Callable[[list[dict[str, Any]]], str]] = {
    "text": as_text,
    "markdown": as_markdown,
    "json": as_json,
}
