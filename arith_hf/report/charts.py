"""The drawings of the page: numbers in, inline SVG out, in colours that the page's style sheet decides.

May not know what a stage or a file is. Every drawing is as wide as a column of the page and scales with it; words stay
text. Colours are names (`PAINT`), which become CSS variables, so that one drawing serves a light and a dark page.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator, ScalarFormatter

from arith_hf.report.table import percent

WIDTH = 6.0  # inches of 72 units: with text of 12 units readable on a column of 350 pixels and on one of 470
NAMES = (
    *("ink", "soft", "rule", "accent", "good", "unfaithful", "bad", "odd", "cut", "other"),
    *("stage-pretrain", "stage-gumbel", "stage-sft", "stage-lora", "stage-dpo", "stage-grpo", "stage-continue"),
)
PAINT = {name: f"#0000{number:02x}" for number, name in enumerate(NAMES, start=1)}  # stand-ins, no colours
STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # words of the data may have dollar signs
    "font.size": 12.5,
    "text.color": PAINT["ink"],
    "axes.labelcolor": PAINT["soft"],
    "axes.edgecolor": PAINT["rule"],
    "axes.linewidth": 1,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": PAINT["rule"],
    "ytick.color": PAINT["rule"],
    "xtick.labelcolor": PAINT["soft"],
    "ytick.labelcolor": PAINT["soft"],
    "xtick.major.size": 4,
    "ytick.major.size": 0,
    "ytick.major.pad": 7,
    "ytick.minor.size": 0,
    "axes.axisbelow": True,
    "axes.grid.axis": "y",
    "grid.color": PAINT["rule"],
    "grid.linewidth": 0.8,
    "lines.linewidth": 2,
    "lines.solid_capstyle": "round",
}


@dataclass(frozen=True)
class Line:
    """Points of one curve; `dots`: each is one measurement, marked as such; `band`: low and high of each."""

    points: Sequence[tuple[float, float]]
    paint: str = "accent"
    dots: bool = False
    dashed: bool = False
    band: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True)
class Spot:
    """A share and its interval, in the row `row`."""

    row: str
    value: float
    low: float
    high: float
    paint: str = "accent"


styled = matplotlib.rc_context(STYLE)
"""The drawing is made in our style, whatever the reader's own settings are."""


# Drawings


@styled
def curves(lines: Sequence[Line], alt: str, shares: bool = False, x: str = "step", powers: int = 0) -> Markup:
    """Curves over steps; `shares`: an axis from 0 to 100 %; `powers`: x doubles from tick to tick, up to this."""
    figure, axes = blank(2.6)
    for line in lines:
        xs, ys = [at for at, _ in line.points], [value for _, value in line.points]
        if line.band:
            lows, highs = zip(*line.band, strict=True)
            axes.fill_between(xs, lows, highs, color=PAINT[line.paint], alpha=0.14, linewidth=0)
        style = "--" if line.dashed else "-"
        marker = {"marker": "o", "markersize": 5.5} if line.dots or len(xs) == 1 else {}
        axes.plot(xs, ys, style, color=PAINT[line.paint], **marker)  # type: ignore[arg-type]
    values = [value for line in lines for _, value in line.points]
    axes.grid(True, axis="y")
    axes.set_xlabel(x)
    if shares:
        share_axis(axes, values)
    elif min(values) > 0 and max(values) > 8 * min(values):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(FixedLocator([base * 10.0**power for power in range(-9, 9) for base in (1, 3)]))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(ScalarFormatter(useOffset=False))
    if powers:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator([2**power for power in range(powers.bit_length())]))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    return svg(figure, alt)


@styled
def spots(found: Sequence[Spot], alt: str, limits: tuple[float, float]) -> Markup:
    """Shares with their intervals, a line a row; those of one row below each other, in the order given."""
    rows = list(dict.fromkeys(spot.row for spot in found))
    paints = list(dict.fromkeys(spot.paint for spot in found))
    many = max(sum(spot.row == row for spot in found) for row in rows)
    pitch = 0.36 if many == 1 else 0.16 * many + 0.16
    figure, axes = blank(0.55 + pitch * len(rows))
    for spot in found:
        shift = 0.0 if many == 1 else (paints.index(spot.paint) - (len(paints) - 1) / 2) * 0.16 / pitch
        y = rows.index(spot.row) + shift
        axes.plot([spot.low, spot.high], [y, y], color=PAINT[spot.paint], linewidth=3.2, alpha=0.38)
        axes.plot([spot.value], [y], "o", color=PAINT[spot.paint], markersize=7 if many == 1 else 5.5, clip_on=False)
        if many == 1:
            axes.annotate(
                percent(spot.value), (1.02, y), xycoords=("axes fraction", "data"), va="center", weight="bold"
            )
    if many > 1:
        for edge in range(1, len(rows)):
            axes.axhline(edge - 0.5, color=PAINT["rule"], linewidth=0.8)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), rows, color=PAINT["ink"])
    axes.set_xlim(limits)
    axes.grid(True, axis="x")
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(ticked))
    return svg(figure, alt)


def from_below(found: Sequence[Spot]) -> tuple[float, float]:
    """Limits up to 100 % that hold all intervals."""
    lowest = min(spot.low for spot in found)
    return max(edge for edge in (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99) if edge <= lowest or edge == 0), 1.0


def from_zero(found: Sequence[Spot]) -> tuple[float, float]:
    """Limits from 0 that hold all intervals."""
    highest = max(spot.high for spot in found)
    return 0.0, min(edge for edge in (0.05, 0.1, 0.2, 0.5, 1.0) if edge >= highest or edge == 1)


@styled
def stacks(rows: Sequence[tuple[str, Sequence[tuple[float, str]]]], alt: str) -> Markup:
    """A bar a row, of parts that are drawn as shares of their sum; parts are numbers and their paints."""
    figure, axes = blank(0.5 + 0.36 * len(rows))
    for at, (_, parts) in enumerate(rows):
        whole, left = sum(number for number, _ in parts) or 1, 0.0
        for number, paint in parts:
            axes.barh(at, number / whole, left=left, height=0.62, color=PAINT[paint], linewidth=0)
            left += number / whole
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows], color=PAINT["ink"])
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(FuncFormatter(ticked))
    axes.spines["left"].set_visible(False)
    return svg(figure, alt)


@styled
def bars(rows: Sequence[tuple[str, int]], most: int, paint: str, alt: str) -> Markup:
    """A bar a row, `most` being the longest there could be, with its number behind it."""
    figure, axes = blank(0.12 + 0.3 * len(rows))
    names, numbers = [name for name, _ in rows], [number for _, number in rows]
    axes.barh(range(len(rows)), numbers, height=0.62, color=PAINT[paint], linewidth=0)
    for at, number in enumerate(numbers):
        axes.annotate(f"{number:,}", (number, at), (6, 0), textcoords="offset points", va="center", color=PAINT["soft"])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, (most or 1) * 1.12)
    axes.set_yticks(range(len(rows)), names, color=PAINT["ink"])
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    return svg(figure, alt)


@styled
def heat(rows: Sequence[str], columns: Sequence[str], cells: Sequence[Sequence[float | None]], alt: str) -> Markup:
    """Shares of right answers, tinted by the root of what is wrong, so that 1 % can be seen; None: no problems.

    The last column, of all the others together, stands apart.
    """
    figure, axes = blank(0.42 + 0.42 * len(rows))
    middles = [place + 0.5 + 0.12 * (place == len(columns) - 1) for place in range(len(columns))]
    for at, line in enumerate(cells):
        for middle, share in zip(middles, line, strict=True):
            paint, tint = ("rule", 0.35) if share is None else ("bad", 0.06 + 0.7 * (1 - share) ** 0.5)
            box = Rectangle((middle - 0.47, at + 0.05), 0.94, 0.9, color=PAINT[paint], alpha=tint, linewidth=0)
            axes.add_patch(box)
            text = "–" if share is None else percent(share).replace("100.0%", "100%")
            axes.text(middle, at + 0.5, text, ha="center", va="center", fontsize=11.5)
    axes.set_xlim(0, len(columns) + 0.12)
    axes.set_ylim(len(rows), 0)
    axes.set_xticks(middles, columns)
    axes.set_yticks([at + 0.5 for at in range(len(rows))], rows)
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    for spine in axes.spines.values():
        spine.set_visible(False)
    return svg(figure, alt)


@styled
def reliability(bins: Sequence[tuple[float, float, int]], paint: str, alt: str) -> Markup:
    """Mean confidence and accuracy of each bin, sized by how many it has; on the diagonal the model knows itself."""
    figure, axes = blank(3.4)
    axes.plot([0, 1], [0, 1], "--", color=PAINT["soft"], linewidth=1)
    most = max(number for _, _, number in bins)
    for confidence, accuracy, number in bins:
        size = 30 + 420 * number / most
        axes.scatter([confidence], [accuracy], s=size, color=PAINT[paint], alpha=0.75, linewidths=0, clip_on=False)
    for set_limits, axis in ((axes.set_xlim, axes.xaxis), (axes.set_ylim, axes.yaxis)):
        set_limits(0, 1)
        axis.set_major_formatter(FuncFormatter(ticked))
    axes.set_xlabel("probability that it gives its answer")
    axes.grid(True)
    return svg(figure, alt)


# Parts


def blank(height: float) -> tuple[Figure, Axes]:
    figure = Figure((WIDTH, height), layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.03))
    return figure, figure.add_subplot()


def share_axis(axes: Axes, values: Sequence[float]) -> None:
    axes.set_ylim(min(0, *values), 1.02)
    axes.yaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
    axes.yaxis.set_major_formatter(FuncFormatter(ticked))


def ticked(share: float, _: int = 0) -> str:
    """
    >>> ticked(0.5), ticked(0.995)
    ('50%', '99.5%')
    """
    return f"{share * 100:.4g}%"


FONT = re.compile(r"'DejaVu Sans'[^;\"]*")
IDENTITY = re.compile(r' id="([^"]+)"')


def svg(figure: Figure, alt: str) -> Markup:
    """The drawing, without what a page has no use for, its stand-ins for colours turned into CSS variables."""
    stream = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": alt}):
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(stream, format="svg", transparent=True, metadata=nothing)
    drawn = stream.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    inside = drawn[drawn.index(">") + 1 :]
    inside = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", inside, flags=re.DOTALL)
    inside = inside.replace("xlink:href", "href")
    wanted = set(re.findall(r"#([\w-]+)[\")]", inside))
    inside = IDENTITY.sub(lambda match: match[0] if match[1] in wanted else "", inside)
    inside = FONT.sub("var(--sans)", inside)
    for name, stand_in in PAINT.items():
        inside = inside.replace(stand_in, f"var(--{name})")
    box = re.search(r'viewBox="([^"]+)"', drawn)
    assert box is not None
    inside = re.sub(r"\n\s*", "\n", inside)
    return Markup(f'<svg viewBox="{box[1]}" role="img" aria-label="{escape(alt)}">{inside}')
