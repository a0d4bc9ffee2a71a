"""The drawings of training and of scores: which numbers of the stages go into which one, with what words.

May not draw (`charts` does) nor write HTML. What no stage has is no figure.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup

from arith_hf import tasks
from arith_hf.report import charts
from arith_hf.report.charts import Line, Spot
from arith_hf.report.stages import Row, Stage, usual_protocols, with_key
from arith_hf.report.table import HARDER, interval, percent
from arith_hf.rewards import FADING

PROTOCOLS = {
    "nontrivial": "greedy, no problem twice, at least one operator",
    "test": "greedy, no problem twice",
    "seed": "the seed document's own sampler at temperature 0.8: repeats, and a third bare numbers",
    "validation": "greedy, to choose by",
    "pairs": "all of a small domain, those trained on too",
}


@dataclass(frozen=True)
class Figure:
    """A drawing with its words; `legend`: what is drawn in which paint; `table`: the numbers, header first."""

    title: str
    drawing: Markup
    note: str = ""
    legend: tuple[tuple[str, str], ...] = ()
    table: tuple[tuple[str, ...], ...] = ()


def legend_of(stages: list[Stage]) -> tuple[tuple[str, str], ...]:
    return tuple((stage.name, stage.paint) for stage in stages) if len(stages) > 1 else ()


# Training


def training(stages: list[Stage]) -> Iterator[Figure]:
    for stage in stages:
        yield from rewarded(stage) if stage.logged("reward") else fitted(stage)


def fitted(stage: Stage) -> Iterator[Figure]:
    """Loss, and held-out exact match where it was taken often enough to be a curve."""
    loss, held_out, exact = stage.logged("loss"), stage.logged("eval_loss"), stage.logged("eval_exact_match")
    if loss:
        few = f"held-out exact match at the end {percent(exact[-1][1])}" if 0 < len(exact) < 3 else ""
        lines = {"training": Line(loss, stage.paint), "held out": Line(held_out, "ink", dots=True)}
        yield curves(f"{stage.name}: loss", lines, few)
    if len(exact) >= 3:
        lines = {"held out": Line(exact, stage.paint, dots=True)}
        note = f"{percent(exact[-1][1])} at the end"
        yield curves(f"{stage.name}: held-out exact match", lines, note, shares=True)


def rewarded(stage: Stage) -> Iterator[Figure]:
    """Reward beside held-out exact match; what of the groups can teach; how long and how sure the completions are."""
    first, *others = paid(stage).items()
    held_out = Line(stage.logged("eval_exact_match"), "ink", dots=True)
    lines = dict([first, ("held-out exact match", held_out), *others])
    shares = all(-0.001 <= value <= 1.001 for line in lines.values() for _, value in line.points)
    note = "The two are of different problems; what counts is whether they rise together."
    yield curves(f"{stage.name}: reward", lines, note, shares)
    lines = {"groups all alike": Line(stage.logged("frac_reward_zero_std"), stage.paint)}
    if not stage.stopped:  # else TRL's ratio counts every wrong one
        lines["completions cut off"] = Line(stage.logged("completions/clipped_ratio"), "cut")
    note = "A group that is all right or all wrong teaches nothing."
    if any(line.points for line in lines.values()):
        yield curves(f"{stage.name}: groups without a lesson", lines, note, shares=True)
    for key, title in (("entropy", "entropy, nats a token"), ("completions/mean_length", "tokens of a completion")):
        if stage.logged(key):
            yield curves(f"{stage.name}: {title}", {title: Line(stage.logged(key), stage.paint)})


def paid(stage: Stage) -> dict[str, Line]:
    """The reward, then its parts, dashed. With one that fades by design their sum falls: then another part is first."""
    parts = sorted({key for row in stage.log for key in row if key.startswith("rewards/") and key.endswith("/mean")})
    names = {key: key.split("/")[1] for key in parts}
    lasting = [key for key, name in names.items() if name not in FADING]
    first = lasting[0] if 0 < len(lasting) < len(parts) else "reward"
    lines = {f"{names.get(first, first)}, of what it trains on": Line(stage.logged(first), stage.paint)}
    others = [key for key in parts if key != first] if len(parts) > 1 else []
    for key, paint in zip(others, ("accent", "odd", "cut", "soft"), strict=False):
        fades = ", which fades by design" if key not in lasting else ""
        lines[names[key] + fades] = Line(stage.logged(key), paint, dashed=True)
    return lines


def curves(title: str, lines: dict[str, Line], note: str = "", shares: bool = False) -> Figure:
    """A figure of the lines that have points; its legend, where there is more than one."""
    drawn = {name: line for name, line in lines.items() if line.points}
    legend = tuple((name, line.paint) for name, line in drawn.items()) if len(drawn) > 1 else ()
    return Figure(title, charts.curves(list(drawn.values()), title, shares), note, legend)


# Accuracy


def accuracy(stages: list[Stage]) -> Iterator[Figure]:
    """A drawing a protocol: they do not compare, so they share no axis."""
    for name in usual_protocols(stages):
        blocks = [(stage, stage.protocols[name]) for stage in stages if name in stage.protocols]
        rows = [Spot(stage.name, *shares(block), stage.paint) for stage, block in blocks]
        note = f"n = {size_of(blocks)}; {PROTOCOLS.get(name, blocks[0][1].get('protocol', ''))}"
        drawing = charts.spots(rows, f"{name}: exact match by stage", charts.from_below(rows))
        yield Figure(name, drawing, note)


def size_of(blocks: list[tuple[Stage, Row]]) -> str:
    """How many problems were asked; where that differs, of which stage."""
    sizes = dict.fromkeys(block["n"] for _, block in blocks)
    if len(sizes) == 1:
        return f"{blocks[0][1]['n']:,}"
    return ", ".join(f"{block['n']:,} ({stage.name})" for stage, block in blocks)


def shares(block: Row) -> tuple[float, float, float]:
    """Exact match, and its interval."""
    low, high = block["exact_match_interval"]
    return block["exact_match"], low, high


def harder(stages: list[Stage]) -> Iterator[Figure]:
    """The sets beyond what was trained on, in two halves if they are many, on one scale."""
    names = list(dict.fromkeys(name for stage in stages for name in stage.protocols if name in HARDER))
    held = [(name, stage, stage.protocols[name]) for name in names for stage in stages if name in stage.protocols]
    if not held:
        return
    measured = [stage for stage in stages if any(stage is one for _, one, _ in held)]
    spots = [Spot(name, *shares(block), stage.paint) for name, stage, block in held]
    half = (len(names) + 1) // 2 if len(names) > 4 else len(names)
    for some, title in ((names[:half], "harder sets"), (names[half:], "harder sets, continued")):
        if some:
            rows = [spot for spot in spots if spot.row in some]
            drawing = charts.spots(rows, f"{title}: exact match", charts.from_below(spots))
            note = sizes_of([block for _, _, block in held])
            yield Figure(title, drawing, note, legend_of(measured), harder_table(some, measured))


def sizes_of(blocks: list[Row]) -> str:
    """How many problems each set has, and how they were answered."""
    sizes = sorted({block["n"] for block in blocks})
    cut = any(block.get("stop_at_fault") for block in blocks)
    told = " to ".join(f"{size:,}" for size in dict.fromkeys((sizes[0], sizes[-1])))
    return f"n = {told} each" + ("; cut off at the first fault, so exact means every step" if cut else "")


def harder_table(names: list[str], stages: list[Stage]) -> tuple[tuple[str, ...], ...]:
    whats = {name: what for task in tasks.TASKS.values() for name, (what, _) in task.HARDER.items()}
    lines = [
        (
            name,
            *(interval(stage.protocols.get(name, {})) for stage in stages),
            whats.get(name.removeprefix("validation-"), ""),
        )
        for name in names
    ]
    return (("set", *(stage.name for stage in stages), "what"), *lines)


def difficulty(stages: list[Stage]) -> Iterator[Figure]:
    """Heat maps of level and size of numbers; the last column is all sizes."""
    name, found = with_key(stages, "by_level_and_size")
    for stage, cells in found:
        sizes = sorted({size for line in cells.values() for size in line}, key=lower_end)
        whole = stage.protocols[name].get("by_level", {})
        levels = sorted(cells, key=int)
        rows = [[*(cells[level].get(size, {}) for size in sizes), whole.get(level, {})] for level in levels]
        shares = [[cell.get("exact_match") for cell in row] for row in rows]
        drawing = charts.heat(
            [f"level {level}" for level in levels], [*sizes, "all"], shares, f"{stage.name}: heat map"
        )
        yield Figure(stage.name, drawing, f"{name}, n = {stage.protocols[name]['n']:,}")


def lower_end(name: str) -> int:
    """
    >>> lower_end("3"), lower_end("11+"), lower_end("10-20")
    (3, 11, 10)
    """
    return int(name.split("-")[0].rstrip("+"))
