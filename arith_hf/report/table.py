"""The results table: what each stage took and what its checkpoint scores, a line a stage, as text, markdown or JSON.

May not measure anything: it reads the `metrics.json` and `evaluate.json` that the stages left.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from arith_hf import tasks
from arith_hf.report import measured

SETS = [name for task in tasks.TASKS.values() for name in (*task.HARDER, *task.HINTED)]
HARDER = [f"{of}{name}" for of in ("", "validation-") for name in SETS]
STAGES = ("pretrain", "gumbel", "continue", "sft", "lora", "dpo", "grpo")  # in the order in which they are made


def collect(folder: Path) -> list[dict[str, Any]]:
    """One row a measured stage; FileNotFoundError where none is."""
    rows = [row(folder / stage) for stage in STAGES if (folder / stage / "evaluate.json").is_file()]
    if not rows:
        raise FileNotFoundError(f"nothing measured in {folder}: run make pipeline MODEL={folder.name}")
    return rows


def row(stage: Path) -> dict[str, Any]:
    """The numbers of one stage: cost from metrics.json, scores from evaluate.json."""
    trained, found = measured.metrics(stage), measured.evaluation(stage)
    data = (found.get("data") or {}).get("sha256")  # of its manifest, as it was signed
    return {
        "stage": stage.name,
        "parameters": found["parameters"],
        "minutes": minutes(trained.get("seconds")),
        "core_minutes": minutes(trained.get("cpu_seconds")),
        "scores": {name: score(block) | {"data": data} for name, block in found["protocols"].items()},
        "preferences": found.get("preferences", {}),
        "command": found["command"],
        "verified": measured.is_verified(trained, found),
    }


def minutes(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds / 60, 1)


def score(block: dict[str, Any]) -> dict[str, Any]:
    """The numbers of one protocol; `invalid` is the share of malformed problems answered ERROR, where it has such."""
    keys = ("n", "exact_match", "exact_match_interval", "parse_rate", "mean_tokens")
    found = {key: block[key] for key in keys}
    found |= {key: block[key] for key in ("steps_match", "called_error") if block.get(key) is not None}
    if invalid := block["by_kind"].get("invalid"):
        found |= {"invalid": invalid["exact_match"], "invalid_n": invalid["n"]}
    if unseen := block.get("by_unseen", {}).get("some"):
        found["unseen"] = {key: unseen[key] for key in ("n", "exact_match", "exact_match_interval")}
    return found


def stages_table(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Header and rows, as text: a line a stage, with all but the harder sets."""
    protocols = [name for name in protocols_of(rows) if name not in HARDER]
    kinds = {"invalid": "invalid", "called_error": "called ERROR"}
    kinds = {key: title for key, title in kinds.items() if any(key in one for row in rows for one in all_scores(row))}
    titles = [title for name in protocols for title in (f"{name} (95 %)", "every step", "parsed")]
    table = [["stage", "minutes", *titles, *kinds.values()]]
    for one in rows:
        line = [one["stage"], "" if one["minutes"] is None else str(one["minutes"])]
        for name in protocols:
            line += score_cells(one["scores"].get(name))
        for key in kinds:
            shares = [score[key] for score in all_scores(one) if key in score]  # of nontrivial, if it is there
            line.append(percent(shares[0]) if shares else "")
        table.append(line)
    return table


def harder_table(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Header and rows, as text: a line a harder set, and one for problems with facts never trained on; [] if none."""
    lines = []
    for name in protocols_of(rows):
        scores = [one["scores"].get(name, {}) for one in rows]
        unseen = [score.get("unseen", {}) for score in scores]
        lines += [[name, *map(interval, scores)]] if name in HARDER else []
        lines += [[f"{name}, unseen facts", *map(interval, unseen)]] if any(unseen) else []
    return [["exact match (95 %)", *(one["stage"] for one in rows)], *lines] if lines else []


def preferences_table(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Header and rows, as text: a line a stage and set of pairs; [] if none was measured by pairs."""
    lines = []
    for one in rows:
        for name, block in one.get("preferences", {}).items():
            shares = [shared(block, key) for key in ("preferred", "preferred_by_token", "reward_accuracy")]
            numbers = [f"{block[key]:.4g}" for key in ("margin", "perplexity_chosen", "perplexity_rejected")]
            lines.append([name, one["stage"], str(block["n"]), *shares, *numbers])
    titles = [
        "chosen likelier (95 %)",
        "by token",
        "more so than its parent",
        "margin",
        "perplexity chosen",
        "rejected",
    ]
    return [["pairs", "stage", "n", *titles], *lines] if lines else []


def shared(block: dict[str, Any], key: str) -> str:
    if key not in block:
        return ""
    low, high = block[f"{key}_interval"]
    return f"{percent(block[key])} ({percent(low)} to {percent(high)})"


def protocols_of(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row["scores"]))


def all_scores(row: dict[str, Any]) -> list[dict[str, Any]]:
    return [row["scores"][name] for name in sorted(row["scores"], key=lambda name: name != "nontrivial")]


def score_cells(score: dict[str, Any] | None) -> list[str]:
    if score is None:
        return ["", "", ""]
    return [interval(score), percent(score.get("steps_match")), percent(score["parse_rate"])]


def interval(score: dict[str, Any]) -> str:
    if not score:
        return ""
    low, high = score["exact_match_interval"]
    return f"{percent(score['exact_match'])} ({percent(low)} to {percent(high)})"


def percent(share: float | None) -> str:
    """With a second decimal where the first would hide that some are wrong.

    >>> percent(0.5), percent(0.9987), percent(1.0), percent(0.0004)
    ('50.0%', '99.87%', '100.0%', '0.04%')
    """
    if share is None:
        return ""
    return f"{share:.2%}" if 0 < share < 0.01 or 0.99 < share < 1 else f"{share:.1%}"


def footnote(rows: list[dict[str, Any]]) -> str:
    """What the numbers are: sizes, how many problems, and how each protocol answers."""
    sizes = {name: size_of(rows, name) for name in protocols_of(rows)}
    counts = ", ".join(f"{name} n = {told}" for name, told in sizes.items())
    said = {
        "nontrivial": "nontrivial: greedy, no repeats, at least one operator",
        "seed": "seed: the document's sampler at temperature 0.8, a third bare numbers; it compares with no other",
        "test": "test: greedy, no repeats",
        "pairs": "pairs: all of a small domain, those trained on too",
    }
    shown = [text for name, text in said.items() if name in sizes] + ["every step: every step of the working right too"]
    if any("called_error" in score for row in rows for score in row["scores"].values()):
        shown.append("invalid: malformed problems answered ERROR; called ERROR: valid ones")
    if any("unseen" in score for row in rows for score in row["scores"].values()):
        shown.append("unseen facts: problems whose right working has a single fact that no training row has")
    start = f"{rows[0]['parameters']:,} parameters; exact match with Wilson intervals, {counts}; one seed"
    return ". ".join([start, *shown, *doubts(rows)]) + "."


def size_of(rows: list[dict[str, Any]], name: str) -> str:
    """How many problems of a protocol were asked; where that differs, of which stage."""
    sizes = stages_by(rows, name, "n")
    told = [f"{n}" + (f" ({', '.join(stages)})" if len(sizes) > 1 else "") for n, stages in sizes.items()]
    return " or ".join(told)


def doubts(rows: list[dict[str, Any]]) -> list[str]:
    """Why rows may not compare: other data, or an evaluation that does not say which weights it is of."""
    data = [stages_by(rows, name, "data") for name in protocols_of(rows)]
    groups = dict.fromkeys(tuple(map(tuple, found.values())) for found in data if len(found) > 1)
    told = [
        f"not of the same data, so not to be compared: {' beside '.join(', '.join(some) for some in group)}"
        for group in groups
    ]
    old = [row["stage"] for row in rows if not row["verified"]]
    return [*told, *([f"not verified to be of the weights that are there now: {', '.join(old)}"] if old else [])]


def stages_by(rows: list[dict[str, Any]], name: str, key: str) -> dict[Any, list[str]]:
    """The stages that were measured by a protocol, by what its score has under a key, if anything."""
    found: dict[Any, list[str]] = {}
    for row in rows:
        if (value := row["scores"].get(name, {}).get(key)) is not None:
            found.setdefault(value, []).append(row["stage"])
    return found


def as_text(rows: list[dict[str, Any]]) -> str:
    return "\n".join(
        [*aligned(stages_table(rows)), *aligned(harder_table(rows)), *aligned(preferences_table(rows)), footnote(rows)]
    )


def aligned(table: list[list[str]]) -> list[str]:
    if not table:
        return []
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table]
    return [lines[0], "-" * len(lines[0]), *lines[1:], ""]


def as_markdown(rows: list[dict[str, Any]]) -> str:
    tables = [table for table in (stages_table(rows), harder_table(rows), preferences_table(rows)) if table]
    return "\n".join([line for table in tables for line in marked_down(table)] + [footnote(rows)])


def marked_down(table: list[list[str]]) -> list[str]:
    header, *body = table
    return ["| " + " | ".join(line) + " |" for line in [header, ["---"] * len(header), *body]] + [""]


def as_json(rows: list[dict[str, Any]]) -> str:
    return json.dumps(rows)


FORMATS: dict[str, Callable[[list[dict[str, Any]]], str]] = {
    "text": as_text,
    "markdown": as_markdown,
    "json": as_json,
}
