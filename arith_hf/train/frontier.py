"""Where the prompts of reinforcement come from: groups that are all right or all wrong teach nothing.

They are counted and, with `sample_by`, prompts are drawn where the model is right now and then.

May not know the problems: a prompt's difficulty is a column of its row.
"""

import random
from collections import Counter
from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any, cast

import torch
from accelerate.utils import gather_object
from datasets import Dataset
from transformers import PreTrainedModel, TrainerCallback
from transformers.trainer_callback import ExportableState

from arith_hf.train.trimmed import TrimmedTrainer

MEMORY = 64  # completions: the weight of what was seen of a difficulty before; four groups of 16
LARGEST = torch.finfo(torch.float32).max  # what a reward becomes
LEAST = 0.02  # weight of a difficulty that always or never succeeds, beside 0.25 at best: it is looked at again


class Frontier(TrainerCallback, ExportableState):
    """How often each difficulty succeeds; kept in a step checkpoint, so that a resumed run draws the same prompts.

    `rates` are (mean, weight) of each difficulty met so far; one not met yet is taken to succeed half of the time.
    """

    def __init__(self) -> None:
        self.rates: dict[str, list[float]] = {}

    def state(self) -> dict[str, Any]:
        return {"args": {}, "attributes": {"rates": self.rates}}

    def learn(self, difficulties: list[str], rewards: list[float]) -> None:
        """Take in the rewards, 1 right and 0 wrong, of completions of these difficulties."""
        for name, reward in zip(difficulties, rewards, strict=True):
            mean, weight = self.rates.get(name, [0.5, 2.0])
            weight = min(weight, MEMORY)
            self.rates[name] = [(mean * weight + reward) / (weight + 1), weight + 1]

    def weight(self, difficulty: str) -> float:
        """How much a prompt of this difficulty teaches: the variance of its reward, a little at least.

        >>> frontier = Frontier()
        >>> frontier.learn(["easy"] * 98, [1.0] * 98)
        >>> frontier.weight("new"), frontier.weight("easy")
        (0.25, 0.02)
        """
        mean, _ = self.rates.get(difficulty, [0.5, 0.0])
        return max(mean * (1 - mean), LEAST)

    def draw(self, rng: random.Random, places: dict[str, list[int]]) -> int:
        """The place of a prompt, of the places of each difficulty."""
        weights = [self.weight(name) * len(rows) for name, rows in places.items()]
        return rng.choice(places[rng.choices(list(places), weights)[0]])


class FrontierTrainer(TrimmedTrainer):
    """TRL's trainer, which logs `groups/all_right` and `groups/all_wrong`, by its first reward function.

    With `sample_by`, a column of the prompts, the groups that the sampler gives are replaced by draws of the frontier.
    """

    def __init__(self, *args: Any, sample_by: str | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        named = zip(self.reward_funcs, self.reward_func_names, strict=True)
        self.reward_funcs = [finite(pay, name) for pay, name in named]
        self.sample_by = sample_by
        if sample_by:
            self.places = places_of(cast(Dataset, self.train_dataset), sample_by)
            self.args.restore_callback_states_from_checkpoint = True
            self.add_callback(Frontier())

    @property
    def frontier(self) -> Frontier:
        """The one in use: another than at the start where a run was resumed."""
        return next(one for one in self.callback_handler.callbacks if isinstance(one, Frontier))

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        return super()._generate_and_score_completions(self.replaced(inputs) if self.drawing else inputs)

    def _calculate_rewards(
        self, inputs: list[dict[str, Any]], prompts: Any, completions: Any, completion_ids_list: Any
    ) -> torch.Tensor:
        rewards: torch.Tensor = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)  # (B, R)
        if self.learning and rewards.isnan().all():
            names = ", ".join(self.reward_func_names)
            raise ValueError(
                f"the reward function {names} paid None for all {len(rewards)} completions: nothing to learn"
            )
        right = rewards[:, 0].nan_to_num()
        if self.drawing and not ((right == 0) | (right == 1)).all():
            raise ValueError("need a first reward function that pays 0 or 1 for sample_by, which counts what succeeds")
        if self.learning:
            groups = right.view(-1, int(self.num_generations or 1))
            for name, value in (("all_right", 1.0), ("all_wrong", 0.0)):
                self._metrics["train"][f"groups/{name}"].append((groups == value).all(1).float().mean().item())
        if self.drawing:
            column = str(self.sample_by)
            self.frontier.learn(gather_object([str(row[column]) for row in inputs]), right.tolist())
        return rewards

    @property
    def learning(self) -> bool:
        return bool(cast(PreTrainedModel, self.model).training)

    @property
    def drawing(self) -> bool:
        return self.sample_by is not None and self.learning

    def replaced(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """As many rows, each group one prompt of the frontier; the processes that share a group draw the same."""
        first, rows = self.accelerator.process_index * len(inputs), cast(Dataset, self.train_dataset)
        seed = f"frontier/{self.args.seed}/{self.state.global_step}"
        groups = [(first + index) // self.num_generations for index in range(len(inputs))]
        drawn = {
            group: rows[self.frontier.draw(random.Random(f"{seed}/{group}"), self.places)]
            for group in dict.fromkeys(groups)
        }
        return [dict(drawn[group]) for group in groups]


def finite(pay: Any, name: str) -> Callable[..., Any]:
    """The reward function with a ValueError for what is no finite number; None stays, of which TRL makes NaN."""

    def checked(paid: Any) -> list[Any]:
        rewards = list(paid)
        for reward in rewards:
            if reward is not None and not abs(reward) <= LARGEST:
                raise ValueError(f"the reward function {name} paid {float(reward)}: need finite rewards, or None")
        return rewards

    async def awaited(*args: Any, **options: Any) -> list[Any]:
        return checked(await pay(*args, **options))

    def called(*args: Any, **options: Any) -> list[Any]:
        return checked(pay(*args, **options))

    return awaited if iscoroutinefunction(pay) or iscoroutinefunction(pay.__call__) else called


def places_of(rows: Dataset, column: str) -> dict[str, list[int]]:
    """The indices of the rows of each value of a column, as text; ValueError where there is no such column."""
    if column not in rows.column_names:
        raise ValueError(f"need sample_by among the prompts' columns {', '.join(rows.column_names)}, got {column}")
    values = [str(value) for value in rows[column]]
    places: dict[str, list[int]] = {value: [] for value in sorted(Counter(values))}
    for index, value in enumerate(values):
        places[value].append(index)
    return places
