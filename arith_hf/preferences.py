"""What a model makes of pairs: how likely it finds what was chosen, and what was rejected, and what that comes to.

May not know how a pair was made, nor how the model was trained. A pair is a row of strings `prompt`, `chosen` and
`rejected`; to a tokenizer with a chat template they are a question and two answers to it.
"""

import math
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import gather_object

from arith_hf import checkpoint, estimates, files, provenance
from arith_hf.decoding import hard_limit, ready
from arith_hf.drafts import Guess, weigh
from arith_hf.protocols import PROTOCOLS, choose
from arith_hf.tokenizer import task_of

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


def check(rows: Iterable[Row], where: str, marks: Sequence[str] = ()) -> None:
    """ValueError names the first row (counted from 1) that is no pair. `marks` are tokens that none may write."""
    for number, row in enumerate(rows, start=1):
        for column in COLUMNS:
            if not isinstance(row.get(column), str) or not row[column].strip():
                raise ValueError(f"{where}, row {number}: need words in `{column}`, got {str(row.get(column))[:40]!r}")
            if found := [mark for mark in marks if mark in row[column]]:
                raise ValueError(
                    f"{where}, row {number}: `{column}` has {found[0]!r} in it, which is a token of the model"
                )
        if row["chosen"] == row["rejected"]:
            raise ValueError(f"{where}, row {number}: need two different completions, got {row['chosen'][:40]!r} twice")


def marks_of(model_tokenizer: Any) -> list[str]:
    """What no pair may write: in natural text a token that ends a turn, or begins one, would be taken for one."""
    return list(model_tokenizer.all_special_tokens) if task_of(model_tokenizer) == "text" else []


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
        ids = [
            tokenizer.apply_chat_template(turns["prompt"], add_generation_prompt=True, return_dict=True)["input_ids"]
        ]
        for one in COLUMNS[1:]:
            ids.append(tokenizer.apply_chat_template(turns["prompt"] + turns[one], return_dict=True)["input_ids"])
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


def read(data: Path, name: str, num_samples: int | None) -> list[Row]:
    """The pairs of a protocol; FileNotFoundError or ValueError where a finished corpus has none."""
    file = PROTOCOLS[name].file
    require(data, file)
    files.require_listed(data, file)
    rows = list(files.read_jsonl(data / file))
    check(rows, str(data / file))
    if not rows:
        lacking = "more pairs under `preferences`" if is_text(data) else "num_test"
        raise ValueError(f"{data / file} is empty: give corpus.yaml {lacking}, or leave {name} out")
    return choose(rows, num_samples)


def require(data: Path, file: str) -> None:
    """FileNotFoundError says what makes a file or folder of pairs, where a corpus has none."""
    if not (data / "manifest.json").is_file():
        raise FileNotFoundError(f"no finished corpus at {data}: run make corpus MODEL={data.name}")
    if not (data / file).exists():
        lacking = "`preferences`, files of pairs" if is_text(data) else "num_preferences"
        raise FileNotFoundError(f"no pairs at {data / file}: give corpus.yaml {lacking}, or ask for none")


def is_text(data: Path) -> bool:
    return bool(files.read_object(data / "manifest.json").get("task") == "text")


def parent_of(path: Path) -> Path | None:
    """What preference tuning started from, if the checkpoint is of that stage and its parent is still as it was."""
    made = provenance.read(path / provenance.NAME)
    if str(made.get("command")).split()[:2] != ["arith-hf", "dpo"]:
        return None
    parent = Path(str(made.get("parent")))
    if not parent.is_dir() or provenance.weights_hash(parent) != made.get("parent_sha256"):
        if PartialState().is_main_process:
            print(f"no rewards: {parent} is not there, or not what {path} started from any more", file=sys.stderr)
        return None
    return parent


# Measuring


def examine(model: Any, tokenizer: Any, accelerator: Any, path: Path, data: Path, pairs: dict[str, list[Row]]) -> Row:
    """By protocol, what `arith-hf evaluate` reports of these pairs; each process reads its share of them."""
    for name, rows in pairs.items():
        check(rows, str(data / PROTOCOLS[name].file), marks_of(tokenizer))
    started, parent = time.monotonic(), parent_of(path) if pairs else None
    reference = checkpoint.load(parent)[0].to(accelerator.device) if parent else None
    blocks: Row = {}
    for name, given in pairs.items():
        rows = fitting(model, tokenizer, given)
        if not rows and accelerator.is_main_process:
            print(f"{name}: left out, none of {len(given)} pairs fits the positions of this model", file=sys.stderr)
        if not rows:
            continue
        found = together(model, tokenizer, accelerator, rows)
        estimates.require_finite([value for one in found for value in (one.chosen, one.rejected)])
        before = together(reference, tokenizer, accelerator, rows) if reference else []
        places = list(range(len(rows)))
        blocks[name] = {
            "protocol": PROTOCOLS[name].what,
            "files": {PROTOCOLS[name].file: files.sha256(data / PROTOCOLS[name].file)},
            **compare(found, before, places),
            "too_long": len(given) - len(rows),
            **({"parent": str(parent)} if before else {}),
            "by_kind": {kind: compare(found, before, some) for kind, some in by_kind(rows).items()},
            "seconds": round(time.monotonic() - started, 1),
        }
    return blocks


def fitting(model: Any, tokenizer: Any, rows: list[Row]) -> list[Row]:
    """The pairs of which both sides fit the positions that the model has learned, the last token not being read."""
    limit = hard_limit(model.config)
    if limit is None:
        return rows
    encoded = [encode(tokenizer, row) for row in rows]
    return [
        row for row, (begun, *both) in zip(rows, encoded, strict=True) if len(begun) + max(map(len, both)) <= limit + 1
    ]


def together(model: Any, tokenizer: Any, accelerator: Any, rows: list[Row]) -> list[Likelihood]:
    with accelerator.split_between_processes(rows) as mine:
        return gather_object(likelihoods(model, tokenizer, mine, show=accelerator.is_main_process))


def by_kind(rows: Sequence[Row]) -> dict[str, list[int]]:
    """The places of the rows that say what is wrong with the rejected."""
    kinds: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        if "kind" in row:
            kinds.setdefault(str(row["kind"]), []).append(place)
    return dict(sorted(kinds.items()))


def compare(found: Sequence[Likelihood], parent: Sequence[Likelihood], places: Sequence[int]) -> Row:
    """What is reported of the pairs at these places; rewards where the parent was asked too."""
    now = [found[place] for place in places]
    return summarize(now) | (rewards(now, [parent[place] for place in places]) if parent else {})


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
