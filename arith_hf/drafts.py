"""What guesses of completions are worth: from one forward pass, how much of each a completion takes over, and the token
that it goes on with instead of what it refuses.

May not know where a guess comes from, nor text: token ids in, token ids out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from tqdm.auto import tqdm

from arith_hf.decoding import batches

VERIFIED = 8192  # tokens of a batch of guesses, whose logits are all held at once; on a CPU half or twice is no quicker


@dataclass(frozen=True, slots=True)
class Guess:
    """Token ids that may follow those of `begun`, for a completion at this temperature (0: greedy)."""

    begun: tuple[int, ...]
    ids: tuple[int, ...]
    temperature: float = 0.0


@dataclass(slots=True)
class Verdict:
    """How much of a guess is taken over: so many tokens, and behind them `token`, None where none is refused.

    `agreed` is the share of its tokens that greedy decoding would write, each behind those before it, None for a guess
    of none; `logprobs` are the guess's log probabilities at the temperatures that were asked for.
    """

    taken: int = 0
    token: int | None = None
    agreed: float | None = None
    logprobs: dict[float, float] = field(default_factory=dict)


@torch.no_grad()
def weigh(
    model: Any, guesses: Sequence[Guess], temperatures: Sequence[float] = (), *, show: bool = False
) -> list[Verdict]:
    """A verdict on each guess; equal ones, such as many samples of one prompt, share their place in the forward pass.

    Greedy decoding takes a guess over up to the first token that it would not write. A sample takes each token t over
    with the probability p(t) that the model gives it at the temperature, and at the first refusal draws from the rest
    of the distribution, p without t and renormalised. So its token is t with p(t), and any other token s with
    (1 - p(t)) * p(s) / (1 - p(t)) = p(s): what is written is distributed exactly as without a guess. (It is the
    speculative sampling of Leviathan et al. 2023, arXiv 2211.17192, with a draft that has no doubt.)

    Padding stands on the right, where no causal model looks, so it needs no mask.
    """
    verdicts = [Verdict() for _ in guesses]
    places: dict[tuple[tuple[int, ...], tuple[int, ...]], list[int]] = {}
    for index, guess in enumerate(guesses):
        if guess.ids:
            places.setdefault((guess.begun, guess.ids), []).append(index)
    rows = list(places)
    whole = [begun + ids for begun, ids in rows]
    read_in = list(batches(whole, [0] * len(whole), len(whole), VERIFIED))
    for chosen in tqdm(read_in, desc="reading drafts", unit="batch", disable=not show, leave=False):
        width = len(whole[chosen[0]])
        ids = torch.tensor([[*whole[row], *[0] * (width - len(whole[row]))] for row in chosen], device=model.device)
        batch = Batch(
            logits=model(input_ids=ids[:, :-1], use_cache=False).logits,
            targets=ids[:, 1:],
            spans=[slice(len(rows[row][0]) - 1, len(whole[row]) - 1) for row in chosen],
            asked=[places[rows[row]] for row in chosen],
        )
        judge_greedily(batch, guesses, verdicts)
        drawn = {guesses[index].temperature for some in batch.asked for index in some} - {0.0}
        for temperature in sorted({*drawn, *temperatures}):
            judge_by_chance(batch, guesses, verdicts, temperature, weighed=temperature in temperatures)
    return verdicts


@dataclass(frozen=True, slots=True)
class Batch:
    """What a forward pass says of the guesses in its rows: row r has those with the indices `asked[r]`.

    `spans` are their places in the logits (B, T, V) and in the targets (B, T), the tokens that should follow.
    """

    logits: torch.Tensor
    targets: torch.Tensor
    spans: list[slice]
    asked: list[list[int]]


def judge_greedily(batch: Batch, guesses: Sequence[Guess], verdicts: Sequence[Verdict]) -> None:
    """Fill in the verdicts on the greedy guesses of a batch, and of all how many tokens greedy decoding agrees with."""
    likeliest = batch.logits.argmax(-1)
    rows = zip(likeliest.tolist(), (likeliest == batch.targets).tolist(), batch.spans, batch.asked, strict=True)
    for tokens, agrees, span, asked in rows:
        same = agrees[span]
        taken = [*same, False].index(False)
        for index in asked:
            verdicts[index].agreed = sum(same) / len(same)
            if guesses[index].temperature == 0:
                verdicts[index].taken = taken
                verdicts[index].token = None if taken == len(same) else tokens[span][taken]


def judge_by_chance(
    batch: Batch, guesses: Sequence[Guess], verdicts: Sequence[Verdict], temperature: float, weighed: bool
) -> None:
    """Fill in the verdicts on the samples of a batch at this temperature, and, if `weighed`, how likely each guess is.

    That a sample takes the first n tokens over has the probability p(1) ... p(n): the first n whose sum of -log p
    passes a number drawn from the exponential distribution is the one that is refused.
    """
    logits = batch.logits.float() / temperature
    likely = logits.gather(-1, batch.targets[..., None])[..., 0]
    surprise = (logits.logsumexp(-1) - likely).double().clamp(min=0)  # (B, T), -log p of each token
    refused: list[tuple[int, int, int]] = []  # row, place in the logits, guess
    for row, (span, asked) in enumerate(zip(batch.spans, batch.asked, strict=True)):
        sums = surprise[row, span].cumsum(-1)
        for index in asked if weighed else ():
            verdicts[index].logprobs[temperature] = -float(sums[-1])
        samples = [index for index in asked if guesses[index].temperature == temperature]
        patience = torch.empty(len(samples), dtype=torch.float64).exponential_().to(sums.device)
        for index, taken in zip(samples, torch.searchsorted(sums, patience, right=True).tolist(), strict=True):
            verdicts[index].taken = taken
            if taken < len(sums):
                refused.append((row, span.start + taken, index))
    if refused:
        at_rows, at, indices = map(list, zip(*refused, strict=True))
        rest = logits[at_rows, at].scatter(-1, batch.targets[at_rows, at][:, None], -torch.inf)  # (refusals, V)
        for index, token in zip(indices, rest.softmax(-1).multinomial(1)[:, 0].tolist(), strict=True):
            verdicts[index].token = token
