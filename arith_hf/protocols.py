"""What evaluation asks: its keys, the test sets and how each is answered, and the problems that are read of them.

May not know a model. Two protocols are never to be compared with each other; each report says which one it is.
"""

import random
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from arith_hf import files, tasks

Row = dict[str, Any]
Chosen = TypeVar("Chosen")


@dataclass(frozen=True, slots=True)
class Protocol:
    """A test set and how it is answered; `aside` is answered in the same way and reported by kind only.

    hinted: each problem is asked twice, with its hint and without. pairs: nothing is asked; what is likelier?
    """

    what: str
    file: str
    temperature: float = 0.0
    aside: str | None = None
    hinted: bool = False
    pairs: bool = False


SETS = {name: what for task in tasks.TASKS.values() for name, (what, _) in task.HARDER.items()}
HARDER = list(SETS)
TOGETHER = {"harder": HARDER, "validation-harder": [f"validation-{name}" for name in SETS]}  # names for several
PROTOCOLS = {
    "validation": Protocol(
        "as nontrivial or test, to choose by", "heldout/validation.jsonl", aside="heldout/invalid.jsonl"
    ),
    "nontrivial": Protocol("no repeats, some operator, greedy", "test/nontrivial.jsonl", aside="test/invalid.jsonl"),
    "seed": Protocol("the seed document's sampler, repeats and bare numbers too, T 0.8", "test/seed.jsonl", 0.8),
    "test": Protocol("no repeats, greedy", "test/test.jsonl"),
    **{
        name: Protocol(f"{what}, greedy", f"whole/{name}.jsonl")
        for task in tasks.TASKS.values()
        for name, what in task.WHOLE.items()
    },
    **{name: Protocol(f"{what}, greedy", f"harder/{name}.jsonl") for name, what in SETS.items()},
    **{
        f"validation-{name}": Protocol(f"{what}, greedy, to choose by", f"heldout/{name}.jsonl")
        for name, what in SETS.items()
    },
    **{
        f"{before}{name}": Protocol(
            f"a wrong result said beforehand, greedy{behind}", f"{place}/{name}.jsonl", hinted=True
        )
        for before, place, behind in (("", "harder", ""), ("validation-", "heldout", ", to choose by"))
        for task in tasks.TASKS.values()
        for name in task.HINTED
    },
    "preferences": Protocol("what was chosen beside what was rejected", "test/preferences.jsonl", pairs=True),
    "validation-preferences": Protocol(
        "what was chosen beside what was rejected, to choose by", "preferences/validation.jsonl", pairs=True
    ),
}
NAMES = [*PROTOCOLS, *TOGETHER]


@dataclass
class EvaluateArguments:
    """Keys of `evaluate.yaml`."""

    checkpoint: str = field(default="", metadata={"help": "Folder of a checkpoint, adapter or merged model."})
    dataset_name: str = field(default="", metadata={"help": "The corpus folder, data/<model>, with the test sets."})
    protocol: list[str] = field(
        default_factory=list,
        metadata={
            "help": f"Any of {', '.join(NAMES)} (default: test where the corpus has it, else nontrivial and seed)."
        },
    )
    num_samples: list[int] | None = field(
        default=None,
        metadata={
            "help": "Problems of each test set, the same at every run: one number, or one for each of `protocol`."
        },
    )
    batch_size: int = field(default=64, metadata={"help": "Problems answered at once, on each process."})
    max_new_tokens: int | None = field(
        default=None,
        metadata={"help": "Cap on a completion (default: 1.25 times the problem's right one, 256 at least)."},
    )
    drafts: bool = field(
        default=True,
        metadata={
            "help": "Completions begin from the right working as far as the model agrees: quicker. Greedy ones are the "
            "same, samples others of the same distribution."
        },
    )
    stop_at_fault: list[str] = field(
        default_factory=list,
        metadata={"help": "Protocols whose completions are cut off, so wrong, where they part from the right working."},
    )
    num_generations: int = field(
        default=0, metadata={"help": "Samples of each problem at each of sampling_temperatures, for pass@k; 0: none."}
    )
    sampling_temperatures: list[float] = field(
        default_factory=lambda: [1.0], metadata={"help": "Temperatures of pass@k and majority@k."}
    )
    num_sampled: int | None = field(
        default=None, metadata={"help": "Problems of each greedy protocol that are sampled (default: all)."}
    )
    num_planted: int = field(
        default=0,
        metadata={"help": "Problems of each greedy protocol of which a working with a wrong step is given; 0: none."},
    )
    output_dir: str | None = field(
        default=None, metadata={"help": "Where to write (default: the checkpoint's folder)."}
    )
    seed: int = field(default=0, metadata={"help": "Seed of the sampling protocols."})

    def __post_init__(self) -> None:
        for name in ("checkpoint", "dataset_name"):
            if not getattr(self, name):
                raise ValueError(f"need --{name}, a folder")
        data = Path(self.dataset_name)
        usual = ["test"] if (data / PROTOCOLS["test"].file).is_file() else ["nontrivial", "seed"]
        self.protocol = self.protocol or usual
        for key in ("protocol", "stop_at_fault"):
            names = getattr(self, key)
            if not set(names) <= set(NAMES):
                raise ValueError(f"need {key} among {', '.join(NAMES)}, got {', '.join(names) or 'none'}")
        if self.stop_at_fault and not self.drafts:
            raise ValueError("need drafts: true for stop_at_fault, which looks where a completion parts from its draft")
        if self.num_samples is not None and len(self.num_samples) not in (1, len(self.protocol)):
            raise ValueError(
                f"need one num_samples, or one for each protocol, got {len(self.num_samples)} "
                f"for {len(self.protocol)}: add --num_samples"
            )
        least = {"num_samples": 1, "batch_size": 1, "max_new_tokens": 1, "num_sampled": 1}
        for name, needed in (least | {"num_generations": 0, "num_planted": 0}).items():
            value = getattr(self, name)
            if value is not None and (lowest := min(value) if isinstance(value, list) else value) < needed:
                raise ValueError(f"need {name} >= {needed}, got {lowest}")
        if min(self.sampling_temperatures, default=0) <= 0:
            raise ValueError(f"need sampling_temperatures above 0, got {self.sampling_temperatures}")


# Reading


def chosen(protocols: list[str], num_samples: list[int] | None, data: Path) -> dict[str, int | None]:
    """How many problems of which protocols; a group stands for those of its names that the corpus has a set for."""
    counts: list[int | None] = list(num_samples) if num_samples else [None]
    counts *= len(protocols)  # one for all; zip takes no more of them than there are protocols
    wanted: dict[str, int | None] = {}
    for name, count in zip(protocols, counts, strict=False):
        group = TOGETHER.get(name, [name])
        drawn = [one for one in group if (data / PROTOCOLS[one].file).is_file()]
        if not drawn and (PROTOCOLS[group[0]].hinted or PROTOCOLS[group[0]].pairs) and len(protocols) > 1:
            print(f"{name}: left out, for want of {data / PROTOCOLS[name].file}: run make corpus", file=sys.stderr)
            continue
        wanted |= dict.fromkeys(drawn or group, count)
    return wanted


def read_problems(data: Path, protocol: Protocol, num_samples: int | None) -> list[Row]:
    """The rows of a protocol's files, each marked with its file; ValueError where there are none to answer."""
    if not (data / "manifest.json").is_file():
        raise FileNotFoundError(f"no finished corpus at {data}: run make corpus MODEL={data.name}")
    rows, drawn = [], files.read_json(data / "manifest.json").get("files", {})
    for name in filter(None, (protocol.file, protocol.aside)):
        path = data / name
        if name == protocol.aside and name not in drawn and not path.is_file():
            continue  # a task without malformed problems
        if not path.is_file():
            raise FileNotFoundError(f"no test set at {path}: run make corpus MODEL={data.name}")
        found = [{"file": name, **row} for row in files.read_jsonl(path)]
        if not found and name == protocol.file:
            raise ValueError(f"{path} is empty: give its corpus.yaml test problems to draw")
        files.require_listed(data, name)
        for row in found:
            if not isinstance(row.get("problem"), str) or not isinstance(row.get("answer"), str):
                raise ValueError(f"{path}: need `problem` and `answer` as strings in each row, got {row}")
        rows += choose(found, num_samples)
    return rows


def choose(rows: list[Chosen], num_samples: int | None) -> list[Chosen]:
    """`num_samples` of the rows, spread over the file and the same at every run; all of them if None."""
    if num_samples is None or num_samples >= len(rows):
        return rows
    return [rows[index] for index in sorted(random.Random("evaluate").sample(range(len(rows)), num_samples))]
