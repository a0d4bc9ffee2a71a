"""What a model makes of pairs: how likely it finds what was chosen, and what was rejected, and what that comes to.

May not know how a pair was made, nor how the model was trained. A pair is a row of strings `prompt`, `chosen` and
`rejected`; to a tokenizer with a chat template they are a question and two answers to it.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from arith_hf import estimates
from arith_hf.decoding import ready
from arith_hf.drafts import Guess, weigh

COLUMNS = ("prompt", "chosen", "rejected")
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Of both completions of a pair: the log probability, and the tokens, the end token included."""

    chosen: float
    rejected: float
    chosen_tokens: int
    rejected_tokens: int

    @property
    def margin(self) -> float:
        return self.chosen - self.rejected

    @property
    def margin_by_token(self) -> float:
        return self.chosen / self.chosen_tokens - self.rejected / self.rejected_tokens


# Reading


def check(rows: Iterable[Row], where: str) -> None:
    """ValueError names the first row (counted from 1) that is no pair."""
    for number, row in enumerate(rows, start=1):
        for column in COLUMNS:
            if not isinstance(row.get(column), str) or not row[column].strip():
                raise ValueError(f"{where}, row {number}: need words in `{column}`, got {str(row.get(column))[:40]!r}")
        if row["chosen"] == row["rejected"]:
            raise ValueError(f"{where}, row {number}: need two different completions, got {row['chosen'][:40]!r} twice")


def conversation(row: Row) -> Row:
    """The pair as TRL reads turns of a conversation.

    >>> conversation({"prompt": "Hi", "chosen": "Hello!", "rejected": "No."})["chosen"]
    [{'role': 'assistant', 'content': 'Hello!'}]
    """
    roles = {"prompt": "user", "chosen": "assistant", "rejected": "assistant"}
    return {column: [{"role": role, "content": row[column]}] for column, role in roles.items()}


def encode(tokenizer: Any, row: Row) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Token ids of the prompt, and of both completions behind it with their end, as TRL's `DPOTrainer` makes them."""
    if tokenizer.chat_template:
        turns = conversation(row)
        texts = [
            tokenizer.apply_chat_template(turns["prompt"], add_generation_prompt=True, tokenize=False),
            *(tokenizer.apply_chat_template(turns["prompt"] + turns[one], tokenize=False) for one in COLUMNS[1:]),
        ]
        ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    else:
        end = tokenizer.eos_token
        texts = [row["prompt"], *(row["prompt"] + row[one].removesuffix(end) + end for one in COLUMNS[1:])]
        ids = [tokenizer(text)["input_ids"] for text in texts]
    begun = min(shared(ids[0], whole) for whole in ids[1:])  # a token may reach over the end of the prompt
    return tuple(ids[0][:begun]), tuple(ids[1][begun:]), tuple(ids[2][begun:])


def shared(one: Sequence[int], other: Sequence[int]) -> int:
    """How many first tokens two texts have in common."""
    same = [mine == yours for mine, yours in zip(one, other, strict=False)]
    return [*same, False].index(False)


# Measuring


def likelihoods(model: Any, tokenizer: Any, rows: Sequence[Row], show: bool = False) -> list[Likelihood]:
    """Of each pair, in order, at temperature 1; the model stays in the mode that it was in."""
    encoded = [encode(tokenizer, row) for row in rows]
    guesses = [Guess(begun, ids) for begun, *both in encoded for ids in both]
    with ready(model):
        found = iter([verdict.logprobs[1.0] for verdict in weigh(model, guesses, [1.0], show=show)])
    return [Likelihood(next(found), next(found), len(chosen), len(rejected)) for _, chosen, rejected in encoded]


def summarize(found: Sequence[Likelihood]) -> Row:
    """In how many pairs the chosen is likelier, by how much (nats), and what each side surprises a token.

    `preferred` compares log probabilities, `preferred_by_token` their means over tokens; shares have 95 % intervals.
    """
    return {
        "n": len(found),
        **share("preferred", [one.margin for one in found]),
        **share("preferred_by_token", [one.margin_by_token for one in found]),
        **mean("margin", [one.margin for one in found]),
        "perplexity_chosen": perplexity([(one.chosen, one.chosen_tokens) for one in found]),
        "perplexity_rejected": perplexity([(one.rejected, one.rejected_tokens) for one in found]),
    }


def rewards(found: Sequence[Likelihood], parent: Sequence[Likelihood]) -> Row:
    """What was learned since the parent, the reference of DPO: in how many pairs the margin grew, and by how much.

    In nats: TRL's rewards/margins is beta times as much. A margin that stays as it was counts half: so the parent
    itself is at chance.
    """
    gains = [one.margin - other.margin for one, other in zip(found, parent, strict=True)]
    return {**share("reward_accuracy", gains), **mean("reward_margin", gains)}


def share(name: str, margins: Sequence[float]) -> Row:
    """How many are above 0, of which one that is 0 counts half."""
    found = estimates.mean([0.5 if margin == 0 else float(margin > 0) for margin in margins])
    return {name: found["value"], f"{name}_interval": found["interval"]}


def mean(name: str, values: Sequence[float]) -> Row:
    """The mean, and half the width of its 95 % interval (normal)."""
    middle = sum(values) / len(values)
    spread = sum((value - middle) ** 2 for value in values) / max(1, len(values) - 1)
    return {name: round(middle, 4), f"{name}_error": round(1.96 * math.sqrt(spread / len(values)), 4)}


def perplexity(sums: Sequence[tuple[float, int]]) -> float:
    """Per token, of log probabilities and their tokens."""
    surprise = -sum(logprob for logprob, _ in sums) / sum(tokens for _, tokens in sums)
    return round(math.exp(min(surprise, 700)), 5)
