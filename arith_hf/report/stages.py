"""What the stages of a model left on disk, as the page reads it: every file but one may be missing.

May not know how any of it is shown.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arith_hf import files
from arith_hf.report import measured
from arith_hf.report.table import HARDER, STAGES

Row = dict[str, Any]
MAIN = ("nontrivial", "test")  # greedy, no problem twice, none trained on


@dataclass(frozen=True)
class Stage:
    """A stage that was trained, measured or both; what it did not leave is empty.

    metrics, provenance, evaluation: the files of these names. recipe: the text of recipe.yaml. log: the log_history of
    trainer_state.json.
    """

    name: str
    folder: Path
    metrics: Row = field(default_factory=dict)
    provenance: Row = field(default_factory=dict)
    evaluation: Row = field(default_factory=dict)
    recipe: str = ""
    log: list[Row] = field(default_factory=list)

    @property
    def protocols(self) -> dict[str, Row]:
        return self.evaluation.get("protocols", {})

    @property
    def paint(self) -> str:
        return f"stage-{self.name}"

    @property
    def stopped(self) -> bool:
        """Whether a rollout ended where it left the right working, which the log counts as cut off."""
        return "stop_at_fault: true" in self.recipe.splitlines()

    def logged(self, key: str) -> list[tuple[float, float]]:
        """Step and value of every row of the log that has the key."""
        return [(row["step"], row[key]) for row in self.log if key in row and "step" in row]

    def samples(self) -> Iterator[Row]:
        """The rows of samples.jsonl, one by one."""
        path = self.folder / "samples.jsonl"
        return files.read_jsonl(path) if path.is_file() else iter(())


def main_protocol(stages: list[Stage]) -> str | None:
    """The protocol that the page speaks of first, of those that some stage was measured by."""
    names = every_protocol(stages)
    return next((name for name in (*MAIN, *names) if name in names), None)


def usual_protocols(stages: list[Stage]) -> list[str]:
    """The main one and the others, but for harder sets and those with wrong hints."""
    asked = [name for name in every_protocol(stages) if name not in HARDER]
    hinted = {name for stage in stages for name, block in stage.protocols.items() if block.get("hints")}
    return sorted(set(asked) - hinted or asked, key=lambda name: (name != main_protocol(stages), asked.index(name)))


def every_protocol(stages: list[Stage]) -> list[str]:
    return list(dict.fromkeys(name for stage in stages for name in stage.protocols))


def with_key(stages: list[Stage], key: str) -> tuple[str, list[tuple[Stage, Row]]]:
    """The first protocol that has a key, and what each stage has under it; an empty list if none has."""
    main = main_protocol(stages)
    for name in sorted(every_protocol(stages), key=lambda name: name != main):
        found = [(stage, stage.protocols[name][key]) for stage in stages if stage.protocols.get(name, {}).get(key)]
        if found:
            return name, found
    return "", []


def read(folder: Path) -> list[Stage]:
    """The stages of a model in the order in which they are made; FileNotFoundError where none was finished."""
    found = [read_stage(folder / name) for name in STAGES]
    stages = [stage for stage in found if stage.metrics or stage.evaluation]
    if not stages:
        raise FileNotFoundError(f"nothing finished in {folder}: run make pipeline MODEL={folder.name}")
    return stages


def read_stage(folder: Path) -> Stage:
    recipe = folder / "recipe.yaml"
    return Stage(
        folder.name,
        folder,
        metrics=measured.metrics(folder),
        provenance=measured.provenance(folder),
        evaluation=measured.evaluation(folder) if (folder / "evaluate.json").is_file() else {},
        recipe=files.read_text(recipe) if recipe.is_file() else "",
        log=measured.log(folder),
    )


def read_or_empty(path: Path) -> Row:
    return files.read_object(path) if path.is_file() else {}


def read_corpus(stages: list[Stage]) -> Row:
    """The manifest of the corpus that the last stage names, if it is still the one that the stage was made from."""
    for stage in reversed(stages):
        named = stage.provenance.get("data", {})
        manifest = Path(named.get("path", ""), "manifest.json")
        if manifest.is_file() and files.sha256(manifest) == named.get("sha256"):
            return files.read_json(manifest)
    return {}
