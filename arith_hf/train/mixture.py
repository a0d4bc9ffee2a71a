"""A mixture: in which order a run learns the blocks of several sources, and how much of each it has learned so far.

May not know what a block holds: packed text, or one row for fine-tuning. The weights are shares of the tokens.
`datasets.interleave_datasets` is not used: it draws the source of each row by chance, so that a mix is off by the root
of its rows, begins a source anew in its old order, and ends where a source does rather than where the run does.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml
from datasets import Dataset
from torch.utils.data import Sampler
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils import logging

from arith_hf import recipe

logger = logging.get_logger("arith_hf")


# What was asked


def read_weights(said: str, known: Iterable[str]) -> dict[str, float]:
    """Shares of the sources, which sum to 1; ValueError names the known ones.

    >>> read_weights("{en: 3, es: 1}", ["en", "es"])
    {'en': 0.75, 'es': 0.25}
    """
    have = sorted(known)
    try:
        weights = yaml.load(said, Loader=recipe.StrictLoader)
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"source_weights: need '{{en: 0.5, es: 0.5}}' or the like, got {said} ({error})") from error
    if not isinstance(weights, dict) or not weights:
        raise ValueError(f"source_weights: need a weight for one or more of {', '.join(have)}, got {said}")
    for name, weight in weights.items():
        if name not in have:
            raise ValueError(f"source_weights: no source `{name}`: these texts have {', '.join(have)}")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
            raise ValueError(f"source_weights: need a number > 0 for `{name}`, got {json.dumps(weight)}")
    if left := [name for name in have if name not in weights]:
        logger.warning(f"source_weights leaves out {', '.join(left)}")
    return {name: weight / sum(weights.values()) for name, weight in weights.items()}


def require_order(training: TrainingArguments) -> None:
    """ValueError where another key would lay the batches out, too."""
    if training.auto_find_batch_size:
        raise ValueError("source_weights: need auto_find_batch_size false, as the batches are laid out before the run")
    if training.train_sampling_strategy != "random":
        raise ValueError(
            f"source_weights and train_sampling_strategy: {training.train_sampling_strategy} would each say in which "
            "order the rows are learned: leave one of the two out"
        )
    for key in ("packing", "shuffle_dataset"):  # TRL's
        if getattr(training, key, False):
            raise ValueError(f"source_weights: need {key} false, which would lay the rows of all sources out anew")


def by_source(rows: Dataset, said: str) -> tuple[dict[str, Dataset], dict[str, float]]:
    """The rows of each source that has a weight, and the weights."""
    if "source" not in rows.column_names:
        raise ValueError("source_weights: these texts have no column `source`: leave it out")
    sources = np.asarray(rows["source"][:], dtype=object)
    for number, name in enumerate(sources, start=1):
        if not isinstance(name, str):
            raise ValueError(f"source_weights: need a string in the column `source`, got {name!r} in row {number}")
    weights = read_weights(said, set(sources))
    return {name: rows.select(np.flatnonzero(sources == name)) for name in weights}, weights


# The order


def largest_remainder(shares: Sequence[float], total: int) -> list[int]:
    """Whole numbers in these proportions that sum to `total`.

    >>> largest_remainder([0.5, 0.3, 0.2], 9)
    [4, 3, 2]
    """
    exact = [share / sum(shares) * total for share in shares]
    counts = [math.floor(one) for one in exact]
    nearest = sorted(range(len(shares)), key=lambda index: counts[index] - exact[index])
    for index in nearest[: total - sum(counts)]:
        counts[index] += 1
    return counts


def schedule(sizes: Sequence[int], shares: Sequence[float], total: int, seed: str) -> np.ndarray:
    """Which block stands at each of `total` places of a run; the blocks of the sources are numbered one behind another.

    A source has its share of the places to the nearest whole number, and so far at any place, but for one block or two:
    its k-th of n blocks falls due at a moment drawn from the k-th n-th of the run. All its blocks are seen before one
    is seen again, each time in another order.
    """
    due, blocks, begin = [], [], 0
    for index, (size, count) in enumerate(zip(sizes, largest_remainder(shares, total), strict=True)):
        rng = np.random.default_rng(list(f"mixture/{seed}/{index}".encode()))
        due.append((np.arange(count) + rng.random(count)) / max(count, 1))
        passes = [rng.permutation(size) for _ in range(-(-count // size))]
        blocks.append(begin + np.concatenate([np.empty(0, dtype=np.int64), *passes])[:count])
        begin += size
    return np.concatenate(blocks)[np.argsort(np.concatenate(due), kind="stable")]


@dataclass(frozen=True)
class Mixture:
    """The order of a run's blocks, and of each block the source and the tokens.

    A pass, the Trainer's epoch, is as many blocks as there are, to whole steps; in it a source may be seen often or not
    at all, by its weight.
    """

    names: Sequence[str]
    order: np.ndarray
    source: np.ndarray
    tokens: np.ndarray
    per_step: int
    per_pass: int

    @classmethod
    def make(
        cls,
        blocks: Mapping[str, Dataset],
        weights: Mapping[str, float],
        pad_token_id: int,
        training: TrainingArguments,
    ) -> "Mixture":
        """For the steps that these arguments ask for."""
        names, sizes = list(blocks), [len(one) for one in blocks.values()]
        tokens = [filled(one, pad_token_id) for one in blocks.values()]
        # of a source whose blocks are less full there have to be more
        shares = [weights[name] / float(of_source.mean()) for name, of_source in zip(names, tokens, strict=True)]
        per_step = training.train_batch_size * training.gradient_accumulation_steps * training.world_size
        per_pass = max(1, sum(sizes) // per_step) * per_step
        steps = training.max_steps
        if steps < 1:
            steps = math.ceil(training.num_train_epochs * (per_pass // per_step))
        seed = training.seed if training.data_seed is None else training.data_seed
        return cls(
            names,
            schedule(sizes, shares, steps * per_step, str(seed)),
            np.repeat(np.arange(len(names)), sizes),
            np.concatenate(tokens),
            per_step,
            per_pass,
        )

    def seen(self, steps: int) -> dict[str, Any]:
        """What was learned in the first steps: done, tokens, and of each source its share of them and its epochs."""
        places = self.order[: steps * self.per_step]
        found, whole = (
            np.bincount(self.source[some], weights=self.tokens[some], minlength=len(self.names))
            for some in (places, np.arange(len(self.source)))
        )
        told = {"done": round(len(places) / len(self.order), 4), "tokens_seen": int(found.sum())}
        for name, mine, all_of_it in zip(self.names, found, whole, strict=True):
            told |= {f"mix_{name}": round(mine / found.sum(), 4), f"epochs_{name}": round(mine / all_of_it, 3)}
        return told


def filled(blocks: Dataset, pad_token_id: int) -> np.ndarray:
    """The tokens of each block that are no padding; rows for fine-tuning are of any length."""
    parts = blocks.select_columns(["input_ids"]).with_format("numpy").iter(1000)
    return np.array([(ids != pad_token_id).sum() for part in parts for ids in part["input_ids"]])


def parted(blocks: Dataset, sizes: Mapping[str, int]) -> dict[str, Dataset]:
    """The blocks of each source again, where so many of each stand one source behind another."""
    assert len(blocks) == sum(sizes.values()), "the trainer has left rows out"
    found, begin = {}, 0
    for name, size in sizes.items():
        found[name] = blocks.select(range(begin, begin + size))
        begin += size
    return found


# The run


class InOrder(Sampler[int]):
    """The blocks of the pass that the run is in. That follows from the steps it has taken: a resumed run goes on.

    `set_epoch` would not do: it does not reach through the samplers that accelerate puts around one to resume.
    """

    def __init__(self, mixture: Mixture, steps: Callable[[], int]) -> None:
        self.mixture, self.steps = mixture, steps

    def __len__(self) -> int:
        return self.mixture.per_pass

    def __iter__(self) -> Iterator[int]:
        one = self.mixture
        passed = self.steps() * one.per_step // one.per_pass
        places = np.arange(passed * one.per_pass, (passed + 1) * one.per_pass)
        return iter(one.order.take(places, mode="wrap").tolist())  # the last pass ends where the run does


class Mixed:
    """What makes a trainer, named behind it, learn its blocks in the order of `mixture`."""

    mixture: Mixture
    state: TrainerState

    def _get_train_sampler(self, train_dataset: Any = None) -> InOrder:
        return InOrder(self.mixture, lambda: self.state.global_step)


class MixtureTrainer(Mixed, Trainer):
    """The Trainer of pretraining."""


class Progress(TrainerCallback):
    """Says at each evaluation how far the run is, what it has seen of each source, and how often."""

    def __init__(self, trainer: Any) -> None:  # `Mixed`
        self.trainer = trainer

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if not state.global_step:
            return
        told = self.trainer.mixture.seen(state.global_step)
        self.trainer.log(dict(told))
        if state.is_world_process_zero:
            print(line(self.trainer.mixture.names, told), flush=True)


def line(names: Sequence[str], told: Mapping[str, Any]) -> str:
    """
    >>> line(["en"], {"done": 0.25, "tokens_seen": 4096, "mix_en": 1.0, "epochs_en": 0.5})
    '  25.0 % done, 4,096 tokens: en 100.0 % (0.50 epochs)'
    """
    sources = [f"{name} {told[f'mix_{name}']:.1%} ({told[f'epochs_{name}']:.2f} epochs)" for name in names]
    return f"  {told['done']:.1%} done, {told['tokens_seen']:,} tokens: {', '.join(sources)}".replace("%", " %")
