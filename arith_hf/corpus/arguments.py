"""The keys that every corpus recipe has, checked before any work; a task adds its own in a room of its own.

May not know how a row is drawn or written.
"""

from dataclasses import dataclass, field
from typing import Any

from arith_hf import tasks


def key(default: Any, help: str) -> Any:
    """A dataclass field as the recipe reader shows it in `--help`."""
    return field(default=default, metadata={"help": help})


@dataclass
class CorpusArguments:
    """What to draw, how much of it, and where to; every refusal is a ValueError of one line."""

    task: str = key("expression", "what the problems are")
    seed: int = key(0, "draws other training and validation rows; the test sets stay")
    output_dir: str | None = key(None, "folder to write")

    num_pretrain: int = key(100_000, "pretraining documents")
    num_sft: int = key(20_000, "prompt and completion rows")
    num_prompts: int = key(2_000, "prompts for reinforcement")
    num_preferences: int = key(0, "pairs of a sound working and one with a wrong step")
    num_validation: int = key(1_000, "validation rows beside each kind of training rows")
    num_test: int = key(1_000, "rows of each test set")
    num_harder: int = key(1_000, "problems of each set beyond those trained on")
    harder: list[str] | None = field(
        default=None, metadata={"help": "those sets by name (default: all of the task; --harder none: no such set)"}
    )
    num_proc: int = key(2, "worker processes; the rows do not depend on it")

    def __post_init__(self) -> None:
        known = [*tasks.get(self.task).HARDER, *tasks.get(self.task).HINTED]
        self.harder = list(known) if self.harder is None else [name for name in self.harder if name != "none"]
        if unknown := set(self.harder) - set(known):
            raise ValueError(f"need harder among {', '.join(known)}, got {', '.join(sorted(unknown))}")
        amounts = ("num_pretrain", "num_sft", "num_prompts", "num_preferences")
        for name in (*amounts, "num_validation", "num_test", "num_harder"):
            need(0, name, getattr(self, name))
        need(1, "num_proc", self.num_proc)
        if not any(getattr(self, name) for name in amounts):
            raise ValueError(f"need rows to make, got {' 0, '.join(amounts[:-1])} 0 and {amounts[-1]} 0")

    @property
    def form(self) -> str:
        """The name of the written form, which every row carries in its column `task`."""
        return self.task


def need(least: int, name: str, value: int) -> None:
    if value < least:
        raise ValueError(f"need {name} >= {least}, got {value}")
