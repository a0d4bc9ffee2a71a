"""The results table of a model of natural text: perplexity by stage and source, beside what needs no training.

May not measure anything: it reads the `metrics.json` and `evaluate.json` that the stages left.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from arith_hf import files
from arith_hf.report import measured, table

Row = dict[str, Any]
BASELINES = {"untrained": "untrained, seed 0", "unigram": "token frequencies"}
LONGEST = 160  # characters of a sample in a terminal


def is_text(folder: Path) -> bool:
    """Whether the model whose stages lie here is of natural text, as an evaluation or a tokenizer says."""
    for stage in (*table.STAGES, "tokenizer"):
        for name in ("evaluate.json", "tokenizer_config.json"):
            if (path := folder / stage / name).is_file() and (said := files.read_object(path).get("task")):
                return bool(said == "text")
    return False


def collect(folder: Path) -> list[Row]:
    """One row a measured stage; FileNotFoundError where none is."""
    rows = [row(folder / stage) for stage in table.STAGES if (folder / stage / "evaluate.json").is_file()]
    if not rows:
        raise FileNotFoundError(f"nothing measured in {folder}: run make pipeline MODEL={folder.name}")
    return rows


def row(stage: Path) -> Row:
    """The numbers of one stage; `scores` is what tells whether two stages compare."""
    trained, found = measured.metrics(stage), measured.evaluation(stage)
    return {
        "stage": stage.name,
        "parameters": found["parameters"],
        "minutes": table.minutes(trained.get("seconds")),
        "core_minutes": table.minutes(trained.get("cpu_seconds")),
        "perplexity": found["perplexity"],
        "yesno": found.get("yesno"),
        "preferences": found.get("preferences") or {},
        "samples": found.get("samples") or [],
        "windows": [found.get("context_length"), found.get("stride")],
        "scores": {name: {"n": one["n"], "data": one.get("sha256")} for name, one in found["perplexity"].items()},
        "command": found["command"],
        "verified": measured.is_verified(trained, found),
    }


# Tables


def perplexity_table(rows: list[Row], key: str = "perplexity", places: int = 2) -> list[list[str]]:
    """Header and rows, as text: a line a stage, then what an untrained model and the frequencies of tokens come to."""
    names = sources(rows)
    head = {"perplexity": "perplexity per token (95 %)", "bits_per_byte": "bits per byte (95 %)"}[key]
    lines = [
        [one["stage"], *(cell(one["perplexity"].get(name, {}).get("trained"), key, places) for name in names)]
        for one in rows
    ]
    for kind, said in BASELINES.items():
        blocks = [latest(rows, name, kind) for name in names]
        lines += [[said, *(cell(block, key, places) for block in blocks)]] if any(blocks) else []
    return [[head, *names], *lines]


def yesno_table(rows: list[Row]) -> list[list[str]]:
    """Header and rows: questions answered yes or no, by likelihood and by that of a byte; [] where none was asked."""
    lines = [
        [
            *(one["stage"], share(found, "accuracy"), table.percent(found.get("accuracy_per_byte"))),
            *(table.percent(found.get("majority")), f"{found['n']:,}"),
        ]
        for one in rows
        if (found := one["yesno"])
    ]
    return [["yes or no", "right (95 %)", "by byte", "more frequent answer", "n"], *lines] if lines else []


def costs_table(rows: list[Row]) -> list[list[str]]:
    """Header and rows: minutes by the clock, and of cores, of each stage."""
    lines = [[one["stage"], str(one["minutes"] or ""), str(one["core_minutes"] or "")] for one in rows]
    return [["stage", "minutes", "core minutes"], *lines]


def tables(rows: list[Row]) -> list[list[list[str]]]:
    """All but the costs."""
    found = [
        perplexity_table(rows),
        perplexity_table(rows, "bits_per_byte", 3),
        yesno_table(rows),
        table.preferences_table(rows),
    ]
    return [one for one in found if one]


def sources(rows: list[Row]) -> list[str]:
    return list(dict.fromkeys(name for one in rows for name in one["perplexity"]))


def latest(rows: list[Row], source: str, kind: str) -> Row | None:
    """A baseline as the last stage that has it measured it."""
    found = [one["perplexity"].get(source, {}).get(kind) for one in rows]
    return next(filter(None, reversed(found)), None)


def cell(block: Row | None, key: str, places: int) -> str:
    """
    >>> cell({"perplexity": 31.25, "perplexity_interval": [30.0, 32.5]}, "perplexity", 1)
    '31.2 (30.0 to 32.5)'
    """
    if not block:
        return ""
    told, between = number(block[key], places), block.get(f"{key}_interval")
    return told if not between else f"{told} ({number(between[0], places)} to {number(between[1], places)})"


def number(value: float | None, places: int = 2) -> str:
    return "" if value is None else f"{value:,.{places}f}" if value < 1e9 else f"{value:.1e}"


def share(block: Row | None, key: str) -> str:
    """A share with its interval."""
    if not block or block.get(key) is None:
        return ""
    low, high = block[f"{key}_interval"]
    return f"{table.percent(block[key])} ({table.percent(low)} to {table.percent(high)})"


# Words


def footnote(rows: list[Row]) -> str:
    """What the numbers are: sizes, of what, and how they were taken."""
    sizes = [
        f"{name} {one['n']:,} documents of {one['tokens']:,} tokens, {one['bytes']:,} bytes"
        for name in sources(rows)
        for one in [next(row["perplexity"][name] for row in reversed(rows) if name in row["perplexity"])]
    ]
    context, stride = rows[-1]["windows"]
    how = f"each token scored once, {context} tokens seen at most, windows {stride} apart; bootstrap over documents"
    told = [f"{rows[-1]['parameters']:,} parameters; {how}", "; ".join(sizes)]
    return ". ".join([*told, *doubts(rows)]) + "."


def doubts(rows: list[Row]) -> list[str]:
    """Why rows may not compare."""
    cut = {tuple(one["windows"]) for one in rows}
    return [*table.doubts(rows), *(["cut into other windows, so not to be compared"] if len(cut) > 1 else [])]


def samples(rows: list[Row]) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """For each prompt what was written, in turn: by which stage, at which temperature, the text."""
    prompts = dict.fromkeys(sample["prompt"] for one in rows for sample in one["samples"])
    return [
        (
            prompt,
            [
                (one["stage"], heat(sample["temperature"]), trimmed(sample["completion"], sample["finished"]))
                for one in rows
                for sample in one["samples"]
                if sample["prompt"] == prompt
            ],
        )
        for prompt in prompts
    ]


def trimmed(completion: str, finished: bool) -> str:
    """For reading: no white space around it, and a mark where it breaks off.

    >>> trimmed("\\n\\nand on\\n", False)
    'and on …'
    """
    return completion.strip() + ("" if finished else " …")


def heat(temperature: float) -> str:
    return "greedy" if temperature == 0 else f"temperature {temperature:g}"


# Formats


def as_text(rows: list[Row]) -> str:
    lines = [line for one in (costs_table(rows), *tables(rows)) for line in table.aligned(one)]
    for prompt, written in samples(rows):
        lines += [repr(prompt)]
        lines += [f"  {stage}, {how}: {shown(text)}" for stage, how, text in written]
        lines += [""]
    return "\n".join([*lines, footnote(rows)])


def shown(text: str) -> str:
    """A sample on one line.

    >>> shown("one\\ntwo")
    'one / two'
    """
    line = " / ".join(text.strip().splitlines())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} …"


def as_markdown(rows: list[Row]) -> str:
    lines = [line for one in (costs_table(rows), *tables(rows)) for line in table.marked_down(one)]
    return "\n".join([*lines, footnote(rows)])


def as_json(rows: list[Row]) -> str:
    return json.dumps(rows)


FORMATS: dict[str, Callable[[list[Row]], str]] = {"text": as_text, "markdown": as_markdown, "json": as_json}
