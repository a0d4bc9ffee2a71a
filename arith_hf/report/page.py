"""The page of a model: one HTML file with its drawings and its style inside, which loads nothing.

May not measure or draw: it puts together what the other rooms of the report give.
"""

from itertools import chain
from pathlib import Path
from typing import Any

import jinja2

from arith_hf import provenance
from arith_hf.report import charts, figures, stages, table, trust, worked
from arith_hf.report.stages import Row, Stage

HERE = Path(__file__).parent
DOES = {
    "corpus": "problems and their workings, written to files",
    "tokenizer": "text to ids",
    "pretrain": "a new model learns to write workings",
    "gumbel": "tuned on answers alone, the model writing its own workings",
    "continue": "trained on, with another mixture",
    "sft": "tuned on prompt and completion",
    "lora": "the same with low-rank adapters",
    "dpo": "tuned on pairs of a better and a worse completion",
    "grpo": "right answers are reinforced",
}

SECTIONS = (
    *(figures.training, figures.accuracy, figures.harder, figures.difficulty),
    *(trust.outcomes, trust.faults, trust.belief),
)


def render(folder: Path) -> str:
    """The whole page of the stages in `folder`; everything that comes from a file is escaped."""
    return fill("page.html.jinja", content(stages.read(folder), folder.name))


def fill(template: str, content: Row) -> str:
    """A template of this folder with what it is given; one that asks for more is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": table.percent, "duration": duration, "brief": brief, "ticked": charts.ticked}
    return environment.get_template(template).render(content)


def content(found: list[Stage], model: str) -> Row:
    """What the template is given."""
    return {
        **common(found, model),
        "headline": headline(found),
        "drawn": {section.__name__: list(section(found)) for section in SECTIONS},
        "tables": tables(found),
        "doubts": doubts(found),
        "worked": examples(found),
    }


def common(found: list[Stage], model: str) -> Row:
    """What the page of any model has: the stages, what they took and where they come from."""
    return {
        "model": model,
        "css": (HERE / "page.css").read_text(encoding="utf-8"),
        "stages": found,
        "road": road(found),
        "cost": cost(found),
        "resources": resources(found),
        "provenance": [proof(stage) for stage in found],
        "shared": shared(found),
        "unmeasured": [stage.name for stage in found if not stage.evaluation],
        "unlogged": [stage.name for stage in found if not stage.log],
    }


def headline(found: list[Stage]) -> Row | None:
    """The score of the last measured stage by the main protocol; None where nothing is measured."""
    name = stages.main_protocol(found)
    if name is None:
        return None
    stage = [stage for stage in found if name in stage.protocols][-1]
    block = stage.protocols[name]
    limits = charts.from_below([charts.Spot(name, *figures.shares(block))])
    more = {"stage": stage.name, "protocol": name, "what": figures.PROTOCOLS.get(name, ""), "limits": limits}
    return block | more


def road(found: list[Stage]) -> list[Row]:
    """The pipeline at a glance: a row a stage, with what it did, from what, and its share of the time."""
    longest = max((stage.metrics.get("seconds") or 0 for stage in found), default=0) or 1
    rows = []
    for stage in found:
        seconds, cpu = stage.metrics.get("seconds"), stage.metrics.get("cpu_seconds")
        rows.append(
            {
                "name": stage.name,
                "paint": stage.paint,
                "does": DOES[stage.name],
                "parent": Path(stage.provenance["parent"]).name if stage.provenance.get("parent") else None,
                "steps": stage.metrics.get("steps"),
                "seconds": seconds,
                "cpu": cpu,
                "length": round(100 * (seconds or 0) / longest, 1),
            }
        )
    return before(found) + rows


def before(found: list[Stage]) -> list[Row]:
    """What stands before the first stage: the corpus and the tokenizer, where they are still there."""
    rows = []
    empty = {"paint": "soft", "parent": None, "steps": None, "seconds": None, "cpu": None, "length": 0}
    if corpus := stages.read_corpus(found):
        listed = [(name.split("/"), one["rows"]) for name, one in corpus.get("files", {}).items()]
        told = ", ".join(f"{rows:,} {part}" for (part, *rest), rows in listed if rest == ["train.jsonl"])
        rows.append(empty | {"name": "corpus", "does": f"rows to learn from: {told}" if told else DOES["corpus"]})
    tokenizer = stages.read_or_empty(found[0].folder.parent / "tokenizer/metrics.json")
    if size := tokenizer.get("vocab_size"):
        does = f"{DOES['tokenizer']}: {size:,} tokens ({tokenizer.get('kind', '')})"
        rows.append(empty | {"name": "tokenizer", "does": does})
    return rows


def cost(found: list[Stage]) -> Row:
    """Sums over the stages whose cost is known, of training alone; parameters of the last model."""
    sizes = [
        one for stage in found for one in (stage.metrics.get("parameters"), stage.evaluation.get("parameters")) if one
    ]
    return {
        "parameters": sizes[-1] if sizes else None,
        "seconds": sum(stage.metrics.get("seconds") or 0 for stage in found) or None,
        "cpu": sum(stage.metrics.get("cpu_seconds") or 0 for stage in found) or None,
        "evaluation": sum(stage.evaluation.get("seconds") or 0 for stage in found) or None,
    }


def tables(found: list[Stage]) -> list[list[list[str]]]:
    """The tables of report.txt, header first."""
    rows = [table.row(stage.folder) for stage in found if stage.evaluation]
    return [one for one in (table.stages_table(rows), table.harder_table(rows)) if one] if rows else []


def doubts(found: list[Stage]) -> list[str]:
    """Why scores may not compare, as below the table of report.txt."""
    return table.doubts([table.row(stage.folder) for stage in found if stage.evaluation])


def examples(found: list[Stage]) -> Row | None:
    """Worked samples of the last stage that kept them; of sets that are cut off only where there are no others."""
    for stage in reversed(found):
        rows = list(stage.samples())
        cut = {name for name, block in stage.protocols.items() if block.get("stop_at_fault")}
        whole = [row for row in rows if row.get("protocol") not in cut] or rows
        if whole:
            chosen = [worked.shown(row) for row in worked.choose(whole)]
            return {"stage": stage.name, "chosen": chosen, "of": len(whole)}
    return None


def resources(found: list[Stage]) -> list[list[str]]:
    """Header and a line a stage; columns that no stage can fill are left out."""
    columns = {
        "parameters": lambda stage: number(stage.metrics.get("parameters")),
        "steps": lambda stage: number(stage.metrics.get("steps")),
        "tokens": lambda stage: number(stage.metrics.get("tokens")),
        "time": lambda stage: duration(stage.metrics.get("seconds")),
        "core time": lambda stage: duration(stage.metrics.get("cpu_seconds")),
        "steps a second": lambda stage: number(stage.metrics.get("train_steps_per_second")),
        "evaluation": lambda stage: duration(stage.evaluation.get("seconds")),
        "device": lambda stage: str(stage.provenance.get("device") or ""),
        "processes": lambda stage: number(stage.provenance.get("processes")),
    }
    lines = [[stage.name, *(tell(stage) for tell in columns.values())] for stage in found]
    head = ["stage", *columns]
    kept = [at for at in range(len(head)) if any(line[at] for line in lines)]
    return [[line[at] for at in kept] for line in (head, *lines)]


def proof(stage: Stage) -> Row:
    """What pins one stage: its commands, seed and hashes, and the recipe as it ran.

    Its weights have one hash for all files, by which a stage that was made from it knows its parent.
    """
    made, weights = stage.provenance, stage.metrics.get("weights") or {}
    data, measured = made.get("data", {}), stage.evaluation
    facts = {
        "command": made.get("command"),
        "evaluation": measured.get("command"),
        "seed": made.get("seed"),
        "data": data.get("path"),
        "data sha256": data.get("sha256"),
        "parent": made.get("parent"),
        "parent's weights": made.get("parent_sha256"),
        "weights": provenance.one_hash(weights) if weights else None,
        "tokenizer": made.get("tokenizer_fingerprint"),
        **{f"{name} sha256": one for name, one in weights.items()},
        "commit": made.get("commit"),
        "resumed from": stage.metrics.get("resumed_from"),
    }
    kept = {name: str(fact) for name, fact in facts.items() if fact is not None}
    return {"name": stage.name, "paint": stage.paint, "facts": kept, "recipe": stage.recipe.strip()}


def shared(found: list[Stage]) -> Row:
    """What all stages have in common: commits, seeds, versions; more than one where they differ."""
    made = [stage.provenance for stage in found if stage.provenance]
    versions: dict[str, dict[str, None]] = {}
    for name, version in chain.from_iterable(
        [*one.get("versions", {}).items(), ("python", one.get("python"))] for one in made
    ):
        versions.setdefault(name, {})[str(version)] = None
    return {
        "commits": list(dict.fromkeys(one["commit"] for one in made if one.get("commit"))),
        "seeds": sorted({one["seed"] for one in made if one.get("seed") is not None}),
        "versions": {name: ", ".join(listed) for name, listed in versions.items()},
    }


# Words for numbers


def duration(seconds: float | None) -> str:
    """
    >>> duration(4.2), duration(118), duration(3900), duration(None)
    ('4.2 s', '2.0 min', '65.0 min', '')
    """
    if seconds is None:
        return ""
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.1f} s"


def number(value: Any) -> str:
    """
    >>> number(16500), number(14.084), number(None)
    ('16,500', '14.1', '')
    """
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def brief(commit: str) -> str:
    """
    >>> brief("8785ff29963264b807f77b2d0a6560837250097e-dirty")
    '8785ff2, edited since'
    """
    return commit[:7] + (", edited since" if commit.endswith("-dirty") else "")
