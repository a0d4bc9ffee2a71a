"""The drawings of how it fails and of how far it can be believed: outcomes, faults, calibration, many answers, hints.

May not draw (`charts` does) nor write HTML. What no stage has is no figure.
"""

from collections.abc import Iterable, Iterator

from arith_hf.report import charts
from arith_hf.report.charts import Line, Spot
from arith_hf.report.figures import Figure, legend_of, lower_end
from arith_hf.report.stages import Row, Stage, usual_protocols, with_key
from arith_hf.report.table import percent
from arith_hf.report.worked import OUTCOMES, WORDS

PAINTS = {"right": "good", "unfaithful": "unfaithful", "wrong": "bad", "unparseable": "odd", "truncated": "cut"}
WENT = {  # after a result was falsified
    "followed": ("answer follows the false step", "good"),
    "kept": ("answer stays as it was", "unfaithful"),
    "other": ("other", "cut"),
}
HINTS = {f"off{by}": f"off by {by}" for by in (1, 2, 5, 10)}


# Faults


def outcomes(stages: list[Stage]) -> Iterator[Figure]:
    """A drawing a protocol, a bar a stage."""
    for name in usual_protocols(stages):
        blocks = {stage.name: stage.protocols.get(name, {}).get("outcomes") for stage in stages}
        held = {stage: block for stage, block in blocks.items() if block}
        kinds = list(dict.fromkeys(kind for block in held.values() for kind in block))
        words = {kind: (OUTCOMES.get(kind, kind), PAINTS.get(kind, "other")) for kind in kinds}
        if held:
            yield stacked(f"outcomes, {name}", held, words)


def stacked(title: str, held: dict[str, Row], words: dict[str, tuple[str, str]], note: str = "") -> Figure:
    """Bars of parts, each part with its words and its paint."""
    rows = [
        (stage, [(block.get(kind, 0), paint) for kind, (_, paint) in words.items()]) for stage, block in held.items()
    ]
    table = [(stage, *(f"{block.get(kind, 0):,}" for kind in words)) for stage, block in held.items()]
    head = ("", *(said for said, _ in words.values()))
    return Figure(title, charts.stacks(rows, f"{title}, by stage"), note, tuple(words.values()), (head, *table))


def faults(stages: list[Stage]) -> Iterator[Figure]:
    """First faults of the main protocol, small multiples on one scale: by kind, then by step."""
    name, found = with_key(stages, "faults")
    for by in ("kind", "step"):
        counts = [(stage, block[f"by_{by}"]) for stage, block in found if block.get(f"by_{by}")]
        names = {key for _, one in counts for key in one}
        keys = [key for key in WORDS if key in names] if by == "kind" else sorted(names, key=lower_end)
        most = max((number for _, one in counts for number in one.values()), default=0)
        for stage, one in counts:
            rows = [(WORDS.get(key, f"step {key}"), one.get(key, 0)) for key in keys]
            title = f"{stage.name}: first faults by {by}"
            note = f"{sum(one.values()):,} of {stage.protocols[name]['n']:,} problems, {name}"
            yield Figure(title, charts.bars(rows, most, stage.paint, title), note)


# Whether it can be believed


def belief(stages: list[Stage]) -> Iterator[Figure]:
    for part in (calibration, sampling, faithfulness, hints):
        yield from part(stages)


def calibration(stages: list[Stage]) -> Iterator[Figure]:
    """Of the last stage that has it; the scores of all in the table."""
    name, found = with_key(stages, "calibration")
    if found:
        stage, last = found[-1]
        bins = [(one["confidence"], one["accuracy"], one["n"]) for one in last["bins"]]
        head = ("stage", "Brier score", "calibration error", "n")
        table = [(one.name, f"{block['brier']:.4f}", f"{block['ece']:.4f}", f"{block['n']:,}") for one, block in found]
        note = f"{name}; height: the share that is right; dashed: as often as it is sure; larger dots: more problems"
        drawing = charts.reliability(bins, stage.paint, f"{stage.name}: calibration")
        yield Figure(f"{stage.name}: does it know when it is right?", drawing, note, (), (head, *table))


def sampling(stages: list[Stage]) -> Iterator[Figure]:
    """A drawing a temperature: pass@k, and majority@k dashed; without samples, the chance of a right working."""
    name, found = with_key(stages, "sampling")
    for temperature in sorted({one for _, block in found for one in block}, key=float):
        held = [(stage, block[temperature]) for stage, block in found if temperature in block]
        drawn = [one for one in ("pass_at", "majority_at") if any(block.get(one) for _, block in held)]
        drawn = drawn or ["exact_pass_at"]
        lines = [
            Line(
                points(block[key]),
                stage.paint,
                dots=key != "majority_at",
                dashed=key == "majority_at",
                band=band(block[key]),
            )
            for stage, block in held
            for key in drawn
            if block.get(key)
        ]
        if lines:
            counts = sorted({int(count) for line in lines for count, _ in line.points})
            sure = drawn == ["exact_pass_at"]
            title = f"k answers at temperature {temperature}: is one right{', every step' if sure else ''}?"
            n = max(block.get("exact_n" if sure else "n") or 0 for _, block in held)
            note = f"{name}, n = {n:,}" + ("" if sure else "; dashed: what most of k say")
            drawing = charts.curves(lines, title, shares=True, x="k", powers=counts[-1])
            yield Figure(title, drawing, note, legend_of([stage for stage, _ in held]), many_answers(held, counts))


def points(block: Row) -> list[tuple[float, float]]:
    return [(int(count), block[count]["value"]) for count in sorted(block, key=int)]


def band(block: Row) -> list[tuple[float, float]]:
    """The interval of each point; none where one has none."""
    found = [block[count].get("interval") for count in sorted(block, key=int)]
    return [(low, high) for low, high in found] if all(found) else []


def many_answers(held: list[tuple[Stage, Row]], counts: list[int]) -> tuple[tuple[str, ...], ...]:
    """A line a stage and measure, a column a k."""
    measures = {"pass_at": "one right of k", "majority_at": "most of k", "exact_pass_at": "one right of k, every step"}
    lines = [
        (f"{stage.name}: {said}", *(with_interval(block[key].get(str(count), {})) for count in counts))
        for stage, block in held
        for key, said in measures.items()
        if block.get(key)
    ]
    return (("", *(f"k = {count}" for count in counts)), *lines)


def with_interval(one: Row, key: str = "value") -> str:
    if not one.get("interval"):
        return percent(one.get(key))
    low, high = one["interval"]
    return f"{percent(one[key])} ({percent(low)} to {percent(high)})"


def faithfulness(stages: list[Stage]) -> Iterator[Figure]:
    """What the answer does after a result was falsified."""
    name, found = with_key(stages, "faithfulness")
    held = {stage.name: block for stage, block in found if block["n"]}
    if held:
        shares = ", ".join(f"{stage} {with_interval(block, 'share')}" for stage, block in held.items())
        note = f"{name}. One result of a working is falsified and the model goes on. It followed: {shares}."
        yield stacked("does it believe its own steps?", held, WENT, note)


def hints(stages: list[Stage]) -> Iterator[Figure]:
    """How often a wrong hint turns a right answer."""
    name, found = with_key(stages, "hints")
    kinds: Iterable[str] = dict.fromkeys(kind for _, block in found for kind in block)
    held = [(kind, stage, block[kind]) for kind in kinds for stage, block in found if block.get(kind, {}).get("n")]
    if held:
        rows, table = [], []
        for kind, stage, one in held:
            said, (low, high) = HINTS.get(kind, kind), one["interval"]
            rows.append(Spot(said, one["flip_rate"], low, high, stage.paint))
            table.append((f"{said}, {stage.name}", with_interval(one, "flip_rate"), f"{one['n']:,}"))
        note = f"{name}. Share of right answers that a wrong hint in the question turns; lower is better."
        drawing = charts.spots(rows, "flip rate by hint", charts.from_zero(rows))
        legend = legend_of([stage for stage, _ in found])
        yield Figure("can it be talked out of it?", drawing, note, legend, (("hint", "turned", "n"), *table))
