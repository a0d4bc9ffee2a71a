"""The sections of the page that are drawn: which numbers of the stages go into which drawing, with what words.

May not draw (`charts` does) nor write HTML. A section without numbers is an empty list.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from arith_hf.report import charts
from arith_hf.report.charts import Line, Spot
from arith_hf.report.stages import Row, Stage
from arith_hf.report.table import HARDER, interval, percent
from arith_hf.report.worked import OUTCOMES, WORDS

MAIN = ("nontrivial", "test")  # greedy, no problem twice, none trained on
PROTOCOLS = {
    "nontrivial": "greedy, no problem twice, at least one operator",
    "test": "greedy, no problem twice",
    "seed": "the seed document's own sampler at temperature 0.8: repeats, and a third bare numbers",
    "validation": "greedy, to choose by",
    "pairs": "all of a small domain, those trained on too",
}
PAINTS = {"right": "good", "unfaithful": "unfaithful", "wrong": "bad", "unparseable": "odd", "truncated": "cut"}


@dataclass(frozen=True)
class Figure:
    """A drawing with its words; `legend`: what is drawn in which paint; `table`: the numbers, header first."""

    title: str
    drawing: Markup
    note: str = ""
    legend: tuple[tuple[str, str], ...] = ()
    table: tuple[tuple[str, ...], ...] = ()


def main_protocol(stages: list[Stage]) -> str | None:
    """The protocol that the page speaks of first, of those that some stage was measured by."""
    names = [name for stage in stages for name in stage.protocols]
    return next((name for name in (*MAIN, *names) if name in names), None)


def usual_protocols(stages: list[Stage]) -> list[str]:
    """The main one and the others that are not harder sets."""
    names = dict.fromkeys([main_protocol(stages), *(name for stage in stages for name in stage.protocols)])
    return [name for name in names if name and name not in HARDER]


def with_key(stages: list[Stage], key: str) -> tuple[str, list[tuple[Stage, Row]]]:
    """The first protocol that has a key, and what each stage has under it; an empty list if none has."""
    for name in dict.fromkeys([main_protocol(stages), *(name for stage in stages for name in stage.protocols)]):
        found = [(stage, stage.protocols[name][key]) for stage in stages if stage.protocols.get(name, {}).get(key)]
        if name and found:
            return name, found
    return "", []


def legend_of(stages: list[Stage]) -> tuple[tuple[str, str], ...]:
    return tuple((stage.name, stage.paint) for stage in stages) if len(stages) > 1 else ()


# Training


def training(stages: list[Stage]) -> list[Figure]:
    return [figure for stage in stages for figure in (rewarded(stage) if stage.logged("reward") else fitted(stage))]


def fitted(stage: Stage) -> Iterator[Figure]:
    """Loss, and held-out exact match where it was taken often enough to be a curve."""
    loss, held_out, exact = stage.logged("loss"), stage.logged("eval_loss"), stage.logged("eval_exact_match")
    if loss:
        lines = [Line(loss, stage.paint), *([Line(held_out, "ink", dots=True)] if held_out else [])]
        legend = (("training", stage.paint), *((("held out", "ink"),) if held_out else ()))
        last = f"held-out exact match at the end {percent(exact[-1][1])}" if exact and len(exact) < 3 else ""
        yield Figure(f"{stage.name}: loss", charts.curves(lines, f"{stage.name}: loss over steps"), last, legend)
    if len(exact) >= 3:
        drawing = charts.curves([Line(exact, stage.paint, dots=True)], f"{stage.name}: held-out exact match", True)
        yield Figure(f"{stage.name}: held-out exact match", drawing, f"{percent(exact[-1][1])} at the end")


def rewarded(stage: Stage) -> Iterator[Figure]:
    """Reward beside held-out exact match; what of the groups can teach; how long and how sure the completions are."""
    reward, exact = stage.logged("reward"), stage.logged("eval_exact_match")
    lines = [Line(reward, stage.paint), *([Line(exact, "ink", dots=True)] if exact else [])]
    legend = [("reward, of what it trains on", stage.paint), *([("held-out exact match", "ink")] if exact else [])]
    parts = sorted({key for row in stage.log for key in row if key.startswith("rewards/") and key.endswith("/mean")})
    for key, paint in zip(parts if len(parts) > 1 else (), ("accent", "odd", "cut", "soft"), strict=False):
        lines.append(Line(stage.logged(key), paint, dashed=True))
        legend.append((key.split("/")[1], paint))
    shares = all(-0.001 <= value <= 1.001 for line in lines for _, value in line.points)
    note = "The two are of different problems; what counts is whether they rise together."
    alt = f"{stage.name}: reward and held-out exact match"
    yield Figure(f"{stage.name}: reward", charts.curves(lines, alt, shares), note, tuple(legend))
    idle, clipped = stage.logged("frac_reward_zero_std"), stage.logged("completions/clipped_ratio")
    if idle:
        lines = [Line(idle, stage.paint), *([Line(clipped, "cut")] if clipped else [])]
        legend = [("groups all alike", stage.paint), *([("completions cut off", "cut")] if clipped else [])]
        note = "A group that is all right or all wrong teaches nothing."
        drawing = charts.curves(lines, f"{stage.name}: groups without a lesson", True)
        yield Figure(f"{stage.name}: groups without a lesson", drawing, note, tuple(legend))
    for key, title in (("entropy", "entropy, nats a token"), ("completions/mean_length", "tokens of a completion")):
        if stage.logged(key):
            drawing = charts.curves([Line(stage.logged(key), stage.paint)], f"{stage.name}: {title}")
            yield Figure(f"{stage.name}: {title}", drawing)


# Accuracy


def accuracy(stages: list[Stage]) -> list[Figure]:
    """A drawing a protocol: they do not compare, so they share no axis."""
    found = []
    for name in usual_protocols(stages):
        blocks = [(stage, stage.protocols[name]) for stage in stages if name in stage.protocols]
        rows = [Spot(stage.name, *shares(block), stage.paint) for stage, block in blocks]
        note = f"n = {blocks[0][1]['n']:,}. {PROTOCOLS.get(name, blocks[0][1].get('protocol', ''))}."
        found.append(Figure(name, charts.spots(rows, f"{name}: exact match by stage"), note))
    return found


def shares(block: Row, key: str = "exact_match") -> tuple[float, float, float]:
    return (block[key], *block[f"{key}_interval"])


def harder(stages: list[Stage]) -> list[Figure]:
    """The sets beyond what was trained on, one drawing."""
    names = dict.fromkeys(name for stage in stages for name in stage.protocols if name in HARDER)
    held = [(name, stage, stage.protocols[name]) for name in names for stage in stages if name in stage.protocols]
    if not held:
        return []
    measured = [stage for stage in stages if any(stage is one for _, one, _ in held)]
    rows = [Spot(name, *shares(block), stage.paint) for name, stage, block in held]
    sizes = sorted({block["n"] for _, _, block in held})
    note = f"n = {' to '.join(f'{size:,}' for size in dict.fromkeys((sizes[0], sizes[-1])))} each."
    if any(block.get("stop_at_fault") for _, _, block in held):
        note += " Each is cut off at its first fault, so exact means every step."
    head = ("set", *(stage.name for stage in measured))
    table = [(name, *(interval(stage.protocols.get(name, {})) for stage in measured)) for name in names]
    drawing = charts.spots(rows, "exact match on harder sets")
    return [Figure("harder than the training", drawing, note, legend_of(measured), (head, *table))]


def difficulty(stages: list[Stage]) -> list[Figure]:
    """Heat maps of level and size of numbers; the last column is all sizes."""
    name, found = with_key(stages, "by_level_and_size")
    figures = []
    for stage, cells in found:
        sizes = sorted({size for line in cells.values() for size in line}, key=lambda size: int(size.split("-")[0].rstrip("+")))
        levels = sorted(cells, key=int)
        whole = stage.protocols[name].get("by_level", {})
        lines = [
            [cells[level].get(size, {}).get("exact_match") for size in sizes]
            + [whole.get(level, {}).get("exact_match")]
            for level in levels
        ]
        drawing = charts.heat([f"level {level}" for level in levels], [*sizes, "all"], lines, f"{stage.name}: heat map")
        figures.append(Figure(stage.name, drawing, f"{name}, n = {stage.protocols[name]['n']:,}"))
    return figures


# Faults


def outcomes(stages: list[Stage]) -> list[Figure]:
    figures = []
    for name in usual_protocols(stages):
        held = [(stage, stage.protocols[name]["outcomes"]) for stage in stages if "outcomes" in stage.protocols.get(name, {})]
        if not held:
            continue
        kinds = list(dict.fromkeys(kind for _, found in held for kind in found))
        rows = [(stage.name, [(number, PAINTS.get(kind, "other")) for kind, number in found.items()]) for stage, found in held]
        legend = tuple((OUTCOMES.get(kind, kind), PAINTS.get(kind, "other")) for kind in kinds)
        head = ("", *(OUTCOMES.get(kind, kind) for kind in kinds))
        table = [(stage.name, *(f"{found.get(kind, 0):,}" for kind in kinds)) for stage, found in held]
        drawing = charts.stacks(rows, f"{name}: outcomes by stage")
        figures.append(Figure(f"outcomes, {name}", drawing, "", legend, (head, *table)))
    return figures


def faults(stages: list[Stage]) -> list[Figure]:
    """First faults of the main protocol, small multiples on one scale: by kind and by step."""
    name, found = with_key(stages, "faults")
    figures = []
    for by, words in (("by_kind", WORDS), ("by_step", {})):
        counts = [(stage, block.get(by, {})) for stage, block in found]
        keys = [key for key in WORDS if any(key in one for _, one in counts)] if words else steps_of(counts)
        most = max((number for _, one in counts for number in one.values()), default=0)
        for stage, one in counts:
            if not one:
                continue
            rows = [(words.get(key, f"step {key}"), one.get(key, 0)) for key in keys]
            title = f"{stage.name}: first faults by {'kind' if words else 'step'}"
            drawing = charts.bars(rows, most, stage.paint, title)
            figures.append(Figure(title, drawing, f"{sum(one.values()):,} of {stage.protocols[name]['n']:,} problems, {name}"))
    return figures


def steps_of(counts: list[tuple[Stage, Row]]) -> list[str]:
    return sorted({step for _, one in counts for step in one}, key=lambda step: int(step.rstrip("+")))


# Whether it can be believed


def belief(stages: list[Stage]) -> list[Figure]:
    return [figure for part in (calibration, sampling, faithfulness, hints) for figure in part(stages)]


def calibration(stages: list[Stage]) -> Iterator[Figure]:
    """Of the last stage that has it; the scores of all in the table."""
    name, found = with_key(stages, "calibration")
    if found:
        stage, last = found[-1]
        bins = [(one["confidence"], one["accuracy"], one["n"]) for one in last["bins"]]
        head = ("stage", "Brier score", "calibration error", "n")
        table = [(one.name, f"{block['brier']:.4f}", f"{block['ece']:.4f}", f"{block['n']:,}") for one, block in found]
        note = f"{name}. On the dashed line it is right as often as it is sure; larger dots hold more problems."
        drawing = charts.reliability(bins, stage.paint, f"{stage.name}: calibration")
        yield Figure(f"{stage.name}: does it know when it is right?", drawing, note, (), (head, *table))


def sampling(stages: list[Stage]) -> Iterator[Figure]:
    """pass@k, and majority@k dashed: a drawing a temperature."""
    name, found = with_key(stages, "sampling")
    for temperature in sorted({one for _, block in found for one in block}, key=float):
        held = [(stage, block[temperature]) for stage, block in found if temperature in block]
        lines, table, most = [], [], 1
        for stage, block in held:
            for key, dashed in (("pass_at", False), ("majority_at", True)):
                points = sorted((int(count), one) for count, one in block.get(key, {}).items())
                if not points:
                    continue
                most = max(most, points[-1][0])
                band = [] if dashed else [tuple(one["interval"]) for _, one in points if one.get("interval")]
                shares = [(count, one["value"]) for count, one in points]
                lines.append(Line(shares, stage.paint, not dashed, dashed, band if len(band) == len(points) else ()))
                label = f"{stage.name}, {'majority' if dashed else 'pass'}@"
                table += [(f"{label}{count}", with_interval(one)) for count, one in points]
        first = held[0][1]
        note = f"{name}, n = {first['n']:,}, {first['num_generations']} answers each. Dashed: what most of k answers say."
        if lines:
            drawing = charts.curves(lines, f"pass at k, temperature {temperature}", True, "k answers", most)
            title = f"one right of k, temperature {temperature}"
            yield Figure(title, drawing, note, legend_of([stage for stage, _ in held]), (("", "share"), *table))


def with_interval(one: Row) -> str:
    if not one.get("interval"):
        return percent(one["value"])
    low, high = one["interval"]
    return f"{percent(one['value'])} ({percent(low)} to {percent(high)})"


def faithfulness(stages: list[Stage]) -> Iterator[Figure]:
    """What the answer does after a result was falsified."""
    name, found = with_key(stages, "faithfulness")
    if found:
        parts = {"followed": "good", "kept": "unfaithful", "other": "cut"}
        rows = [(stage.name, [(block.get(key, 0), paint) for key, paint in parts.items()]) for stage, block in found]
        legend = (("answer follows the false step", "good"), ("answer stays as it was", "unfaithful"), ("other", "cut"))
        table = [(stage.name, with_interval(block | {"value": block["share"]}), f"{block['n']:,}") for stage, block in found]
        note = f"{name}. One result in the working is falsified and the model goes on: does it use what it wrote?"
        drawing = charts.stacks(rows, "faithfulness by stage")
        yield Figure("does it believe its own steps?", drawing, note, legend, (("stage", "followed", "n"), *table))


def hints(stages: list[Stage]) -> Iterator[Figure]:
    """How often a wrong hint turns a right answer."""
    name, found = with_key(stages, "hints")
    if found:
        kinds = dict.fromkeys(kind for _, block in found for kind in block)
        held = [(kind, stage, block[kind]) for kind in kinds for stage, block in found if kind in block]
        rows = [Spot(HINTS.get(kind, kind), one["flip_rate"], *one["interval"], stage.paint) for kind, stage, one in held]
        table = [
            (f"{HINTS.get(kind, kind)}, {stage.name}", with_interval(one | {"value": one["flip_rate"]}), f"{one['n']:,}")
            for kind, stage, one in held
        ]
        note = f"{name}. Of answers that were right, the share that a wrong hint in the question turns; lower is better."
        drawing = charts.spots(rows, "flip rate by hint")
        head = ("hint", "turned", "n")
        yield Figure("can it be talked out of it?", drawing, note, legend_of([one for one, _ in found]), (head, *table))


HINTS = {f"off{by}": f"off by {by}" for by in (1, 2, 5, 10)}

SECTIONS: dict[str, Callable[[list[Stage]], list[Figure]]] = {
    "training": training,
    "accuracy": accuracy,
    "harder": harder,
    "difficulty": difficulty,
    "outcomes": outcomes,
    "faults": faults,
    "belief": belief,
}


def drawn(stages: list[Stage]) -> dict[str, Any]:
    return {name: section(stages) for name, section in SECTIONS.items()}
