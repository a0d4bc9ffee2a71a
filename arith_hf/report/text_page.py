"""The page of a model of natural text: perplexity, answers, curves and samples, in the frame of every page.

May not measure or draw: it puts together what the other rooms of the report give.
"""

import re
from collections.abc import Iterator
from math import exp
from pathlib import Path

from arith_hf.report import charts, figures, page, stages, text_table
from arith_hf.report.charts import Line, Spot
from arith_hf.report.figures import Figure
from arith_hf.report.stages import Row, Stage

HELD_OUT = re.compile(r"eval_(?:(.+)_)?loss")
MOST = 20.0  # nats: the perplexity of what is worse is not drawn
PAINTS = ("ink", "accent", "odd", "good", "cut")
CHOICES = {
    "yesno": ("accuracy", "questions answered yes or no", "the likelier of the two words; chance is 50 %"),
    "pairs": ("preferred", "pairs of answers", "the chosen one is the likelier; chance is 50 %"),
}
DOES = {
    "corpus": "texts, cleaned and split by document",
    "pretrain": "a new model learns to go on with text",
    "sft": "tuned on conversations",
    "lora": "tuned on conversations with low-rank adapters",
}


def render(folder: Path) -> str:
    """The whole page of the stages in `folder`; everything that comes from a file is escaped."""
    return page.fill("text.html.jinja", content(stages.read(folder), folder.name))


def content(found: list[Stage], model: str) -> Row:
    """What the template is given."""
    rows = [text_table.row(stage.folder) for stage in found if stage.evaluation]
    base = page.common(found, model)
    road = [one | {"does": DOES.get(one["name"], one["does"])} for one in base["road"]]
    return {
        **base,
        "road": [one | ({"does": told} if (told := read_from(found, one)) else {}) for one in road],
        "headline": headline(found),
        "drawn": {"training": list(training(found)), "choices": list(choices(found))},
        "tables": text_table.tables(rows) if rows else [],
        "footnote": text_table.footnote(rows) if rows else "",
        "samples": text_table.samples(rows),
    }


def read_from(found: list[Stage], entry: Row) -> str | None:
    """What stands beside the corpus: its documents by source, where its manifest says so."""
    manifest = stages.read_corpus(found) if entry["name"] == "corpus" else {}
    listed = [
        (Path(name), one["rows"]) for name, one in manifest.get("files", {}).items() if isinstance(one.get("rows"), int)
    ]
    read = sum(rows for path, rows in listed if path.parent.name == "pretrain" and path.name.startswith("train"))
    held = sum(rows for path, rows in listed if path.parent.name == "test")
    return f"{read:,} documents to read, {held:,} rows to be measured by" if read else None


def headline(found: list[Stage]) -> Row | None:
    """The perplexity of the last measured stage on all of its corpus's sources; None where nothing is measured."""
    measured = [stage for stage in found if stage.evaluation]
    if not measured:
        return None
    last, scores = measured[-1], measured[-1].evaluation["perplexity"]
    source = "all sources" if "all sources" in scores else next(iter(scores))
    block = scores[source]
    said = {kind: block[kind]["perplexity"] for kind in text_table.BASELINES if kind in block}
    return {"stage": last.name, "source": source, "n": block["n"], "tokens": block["tokens"]} | {
        "interval": text_table.cell(block["trained"], "perplexity", 2).partition(" (")[2].rstrip(")"),
        "perplexity": text_table.number(block["trained"]["perplexity"]),
        "bits_per_byte": text_table.number(block["trained"]["bits_per_byte"], 3),
        "baselines": [(text_table.BASELINES[kind], text_table.number(value)) for kind, value in said.items()],
        "yesno": text_table.share(last.evaluation.get("yesno"), "accuracy"),
        "preferred": text_table.share(asked(last, "pairs"), "preferred"),
    }


def training(found: list[Stage]) -> Iterator[Figure]:
    """Perplexity of what is read and of what is held out, by source where that was taken; of DPO loss and accuracy."""
    for stage in found:
        if stage.logged("rewards/margins"):
            yield from preferred(stage)
        elif stage.logged("reward"):
            yield from figures.rewarded(stage)
        elif stage.logged("loss"):
            keys = dict.fromkeys(key for row in stage.log for key in row if HELD_OUT.fullmatch(key))
            lines = {"training": Line(powers(stage.logged("loss")), stage.paint)}
            for key, paint in zip(keys, PAINTS, strict=False):
                (source,) = HELD_OUT.fullmatch(key).groups()  # type: ignore[union-attr]
                lines[f"held out{f', {source}' if source else ''}"] = Line(powers(stage.logged(key)), paint, dots=True)
            held_out = [line.points[-1][1] for line in list(lines.values())[1:] if line.points]
            note = f"held out {', '.join(text_table.number(one) for one in held_out)} at the end" if held_out else ""
            yield figures.curves(f"{stage.name}: perplexity per token", lines, note)


def powers(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Perplexities of losses; what is no number is left out."""
    return [(step, exp(value)) for step, value in points if value == value and value <= MOST]


def preferred(stage: Stage) -> Iterator[Figure]:
    """The loss of pairs, and how often the chosen one gained on the rejected."""
    yield from figures.fitted(stage)
    for key, title in (("rewards/accuracies", "pairs whose margin grew"), ("rewards/margins", "reward margin")):
        lines = {
            "training": Line(stage.logged(key), stage.paint),
            "held out": Line(stage.logged(f"eval_{key}"), "ink", dots=True),
        }
        yield figures.curves(f"{stage.name}: {title}", lines, shares=key.endswith("accuracies"))


def choices(found: list[Stage]) -> Iterator[Figure]:
    """Shares with their intervals: yes or no, and pairs."""
    for name, (key, title, note) in CHOICES.items():
        held = [(stage, block) for stage in found if (block := asked(stage, name))]
        if held:
            rows = []
            for stage, block in held:
                low, high = block[f"{key}_interval"]
                rows.append(Spot(stage.name, block[key], low, high, stage.paint))
            more = [
                f"always the more frequent answer {one['majority']:.1%}" for _, one in held[-1:] if "majority" in one
            ]
            told = "; ".join([f"n = {held[-1][1]['n']:,}", note, *more])
            yield Figure(title, charts.spots(rows, title, charts.from_zero(rows)), told)


def asked(stage: Stage, name: str) -> Row | None:
    """What a stage made of the questions, or of the first set of pairs; None where it was not asked."""
    if name == "yesno":
        return stage.evaluation.get("yesno")
    return next(iter((stage.evaluation.get("preferences") or {}).values()), None)
