"""The numbers that a stage left, read and checked: shapes, shares from 0 to 1, and whether they are of its weights.

May not know how any of it is shown. ValueError names the file and says what to do.
"""

from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Any

from arith_hf import files

Row = dict[str, Any]
COSTS = ("parameters", "steps", "tokens", "seconds", "cpu_seconds", "train_steps_per_second")
NEEDED = ("n", "exact_match", "exact_match_interval", "parse_rate", "mean_tokens", "by_kind")
SHARES = (
    *("exact_match", "steps_match", "parse_rate", "called_error", "flip_rate", "share", "accuracy", "confidence"),
    *("preferred", "preferred_by_token", "reward_accuracy", "accuracy_per_byte"),
)
OBJECTS = ("faults", "outcomes", "calibration", "sampling", "faithfulness", "hints")


def metrics(stage: Path) -> Row:
    """What training cost; {} where there is no metrics.json."""
    path = stage / "metrics.json"
    found = files.read_object(path) if path.is_file() else {}
    odd = [key for key in COSTS if found.get(key) is not None and not is_number(found[key], least=0)]
    odd += [key for key in ("weights", "files") if not isinstance(found.get(key) or {}, dict)]
    if odd:
        raise ValueError(f"{path}: {odd[0]} cannot be {found[odd[0]]!r}: {anew(stage, path)}")
    return found


def evaluation(stage: Path) -> Row:
    """The content of evaluate.json; ValueError where it is damaged, or of other weights than the stage has now."""
    path, repair = (
        stage / "evaluate.json",
        f"run `rm {stage / 'evaluate.json'}; make evaluate MODEL={stage.parent.name}`",
    )
    found = files.read_object(path)
    if fault := next(faults(found), None):
        raise ValueError(f"{path}: {fault}: {repair}")
    trained, told = metrics(stage).get("weights") or {}, found.get("weights") or {}
    if told and any(told.get(name) != digest for name, digest in trained.items()):
        raise ValueError(f"{path} is not of the weights in {stage} (it measured {found.get('checkpoint')}): {repair}")
    return found


def provenance(stage: Path) -> Row:
    """What the stage says of how it was made; {} where there is no provenance.json."""
    path = stage / "provenance.json"
    found = files.read_object(path) if path.is_file() else {}
    kinds = {"data": dict, "versions": dict, "parent": str, "commit": str}
    for key, kind in kinds.items():
        if found.get(key) is not None and not isinstance(found[key], kind):
            raise ValueError(f"{path}: {key} cannot be {found[key]!r}: {anew(stage, path.with_name('metrics.json'))}")
    return {key: value for key, value in found.items() if value is not None}


def log(stage: Path) -> list[Row]:
    """The log of its training; none where there is no trainer_state.json. NaN may stand in it."""
    path = stage / "trainer_state.json"
    rows = files.read_object(path).get("log_history", []) if path.is_file() else []
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(
            f"{path}: need a list of objects as log_history: {anew(stage, path.with_name('metrics.json'))}"
        )
    for row in rows:
        for key, value in row.items():
            if value is not None and not isinstance(value, int | float):
                raise ValueError(f"{path}: {key} is {value!r} in log_history, need a number: remove the file")
    return rows


def anew(stage: Path, mark: Path) -> str:
    """The command that makes a stage again."""
    return f"run `rm {mark}; make {stage.name} MODEL={stage.parent.name}`"


def is_verified(trained: Row, measured: Row) -> bool:
    """Whether both sides say which weights they are of; older versions did not."""
    return bool(trained.get("weights") and measured.get("weights"))


# Shapes


def faults(content: Row) -> Iterator[str]:
    """What of an evaluate.json is not as `arith-hf evaluate` writes it."""
    blocks = content.get("protocols")
    if not isinstance(blocks, dict) or not all(isinstance(block, dict) for block in blocks.values()):
        yield "need the scores of each protocol under protocols"
        return
    kinds: dict[str, type] = {"parameters": int, "command": str}
    for key, kind in kinds.items():
        if not isinstance(content.get(key), kind):
            yield f"need {key}, got {content.get(key)!r}"
    for key in ("weights", "data"):
        if not isinstance(content.get(key) or {}, dict):
            yield f"{key} is {content[key]!r}, need an object"
    if not isinstance(content.get("preferences") or {}, dict):
        yield f"preferences is {content['preferences']!r}, need an object"
        return
    yield from odd_numbers(content.get("preferences"), "preferences")
    if content.get("task") == "text":
        yield from text_faults(content)
    for name, block in blocks.items():
        for key in NEEDED:
            if key not in block or (block[key] is None and key != "mean_tokens"):
                yield f"{name} has no {key}"
        if block.get("n") == 0:
            yield f"{name} is of 0 problems"
        grouped = [key for key in block if key.startswith("by_")]
        for key in (*OBJECTS, *grouped):
            if not isinstance(block.get(key) or {}, dict):
                yield f"{name}.{key} is {block[key]!r}, need an object"
        for key in grouped:
            if isinstance(block[key], dict) and not all(isinstance(part, dict) for part in block[key].values()):
                yield f"{name}.{key}: need an object for each group"
        yield from odd_numbers(block, name)


def text_faults(content: Row) -> Iterator[str]:
    """What the evaluation of a model of natural text has besides."""
    scores = content.get("perplexity")
    if not isinstance(scores, dict) or not scores or not all(isinstance(one, dict) for one in scores.values()):
        yield "need the scores of each source under perplexity"
        return
    for name, block in scores.items():
        if odd := [key for key in ("n", "tokens", "bytes") if not is_number(block.get(key), least=1)]:
            yield f"{name}.{odd[0]} is {block.get(odd[0])!r}, need a count"
        if not isinstance(block.get("trained"), dict):
            yield f"{name} has no score of the model"
        for kind, one in block.items():
            for key, least in (("perplexity", 1.0), ("bits_per_byte", 0.0)) if isinstance(one, dict) else ():
                if not is_number(one.get(key), least=least):
                    yield f"{name}.{kind}.{key} is {one.get(key)!r}, need a number of at least {least:g}"
                between = one.get(f"{key}_interval")
                if between is not None and not is_interval(between, most=inf):
                    yield f"{name}.{kind}.{key}_interval is {between!r}, need two numbers"
    asked = {"yesno": content.get("yesno"), **(content.get("preferences") or {})}
    for key, block in asked.items():
        share = "accuracy" if key == "yesno" else "preferred"
        if block is not None and (not isinstance(block, dict) or not is_interval(block.get(f"{share}_interval"))):
            yield f"{key} is {block!r}, need an object with {share} and its interval"
    yield from odd_numbers(content.get("yesno"), "yesno")
    samples = content.get("samples") or []
    kinds = {"prompt": str, "completion": str, "temperature": int | float, "finished": bool}
    if not isinstance(samples, list) or not all(
        isinstance(one, dict) and all(isinstance(one.get(key), kind) for key, kind in kinds.items()) for one in samples
    ):
        yield f"samples need {', '.join(kinds)}"


def odd_numbers(content: Any, where: str) -> Iterator[str]:
    """Every number under a known name, however deep, that cannot be one of its kind."""
    if isinstance(content, list):
        for at, one in enumerate(content):
            yield from odd_numbers(one, f"{where}[{at}]")
    if not isinstance(content, dict):
        return
    for key, value in content.items():
        place = f"{where}.{key}"
        if value is None:
            continue
        if key in SHARES and not is_number(value, 0, 1):
            yield f"{place} is {value!r}, need a share from 0 to 1"
        if key == "n" and not (is_number(value, 0) and isinstance(value, int)):
            yield f"{place} is {value!r}, need a count"
        if key == "mean_tokens" and not is_number(value, 0):
            yield f"{place} is {value!r}, need a number"
        if key.endswith("interval") and not is_interval(value):
            yield f"{place} is {value!r}, need two shares"
        yield from odd_numbers(value, place)


def is_interval(value: Any, most: float = 1) -> bool:
    """Whether it is two shares, or numbers up to `most`, the lower one first."""
    two = isinstance(value, list) and len(value) == 2 and all(is_number(one, 0, most) for one in value)
    return two and value[0] <= value[1]


def is_number(value: Any, least: float = -inf, most: float = inf) -> bool:
    """Whether it is a finite number within these limits; true and false are none.

    >>> is_number(1.5, 0, 1), is_number(0.5, 0, 1), is_number(float("nan")), is_number(True)
    (False, True, False, False)
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and -inf < value < inf and least <= value <= most
