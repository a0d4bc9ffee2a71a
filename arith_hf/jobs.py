"""Completions under way: what each takes over of a guess, and what is written token by token behind it.

May not know what a text means.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tqdm.auto import tqdm

from arith_hf.decoding import batches, complete, hard_limit
from arith_hf.drafts import Guess, weigh

CACHED = {"cpu": 16_384, "cuda": 1 << 20}  # tokens of a batch with its caps; a cache is copied at every token, which
# costs a CPU more than a small batch: workings of depth 5 take 1.3 times as long with 65 536, 2.2 times with 262 144
GOOD = (
    16  # a guess was good if one token in so many of its row was taken over: to write that many one by one costs what
)
# a forward pass over the row does, or more where few rows are left
MISSES = 6  # guesses in a row that were not good, after which no other is made: of 3, 6 and 12 the quickest


@dataclass(slots=True)
class Job:
    """A completion under way: at most `cap` token ids behind those of `row`, the prompt.

    `guess` may follow next; `tried` guesses were weighed, the last `misses` of them no good.
    """

    prompt: str
    row: tuple[int, ...]
    cap: int
    temperature: float
    written: tuple[int, ...] = ()
    guess: tuple[int, ...] = ()
    tried: int = 0
    misses: int = 0
    agreed: float | None = None
    logprobs: dict[float, float] = field(default_factory=dict)

    def unfinished(self, ends: Sequence[int]) -> bool:
        return len(self.written) < self.cap and not any(end in self.written for end in ends)

    @property
    def promising(self) -> bool:
        """Whether another guess may be worth a forward pass: some token was right, and not all of late were bad."""
        return self.misses < MISSES and len(self.written) >= self.tried + 2


def encode(tokenizer: Any, texts: Sequence[str], **how: Any) -> list[tuple[int, ...]]:
    """The token ids of each text; equal texts are encoded once."""
    distinct = list(dict.fromkeys(texts))
    ids = dict(zip(distinct, map(tuple, tokenizer(distinct, **how)["input_ids"]), strict=True)) if distinct else {}
    return [ids[text] for text in texts]


def guess(tokenizer: Any, jobs: Sequence[Job], texts: Sequence[str], ends: Sequence[int]) -> None:
    """Give each job its text as a guess, up to the first end token, which stands at the end else, or to the cap."""
    for job, encoded in zip(jobs, encode(tokenizer, texts, add_special_tokens=False), strict=True):
        ids = (*encoded, ends[0])
        stop = 1 + min(ids.index(end) for end in ends if end in ids)
        job.guess = ids[: max(0, min(stop, job.cap - len(job.written)))]


def follow(model: Any, jobs: Sequence[Job], weigh_at: Sequence[float], show: bool) -> None:
    """Write what each job takes over of its guess, and the token that it writes instead of the next."""
    guesses = [Guess(job.row + job.written, job.guess, job.temperature) for job in jobs]
    for job, verdict in zip(jobs, weigh(model, guesses, weigh_at, show=show), strict=True):
        if not job.tried:
            job.agreed = None if job.temperature else verdict.agreed
            job.logprobs = verdict.logprobs
        job.tried += 1
        job.misses = 0 if GOOD * verdict.taken >= len(job.row) + len(job.written) else job.misses + 1
        job.written += job.guess[: verdict.taken]
        if verdict.token is not None:
            job.written += (verdict.token,)


def resumed(tokenizer: Any, jobs: Sequence[Job], resume: Callable[[str], str]) -> list[str]:
    """How each job may go on from what it wrote; equal ones are asked for once."""
    known: dict[tuple[str, tuple[int, ...]], str] = {}
    for job in jobs:
        if (key := (job.prompt, job.written)) not in known:
            begun = job.prompt + decode(tokenizer, job.written)
            known[key] = resume(begun).removeprefix(begun)
    return [known[job.prompt, job.written] for job in jobs]


def write(model: Any, tokenizer: Any, jobs: Sequence[Job], ends: list[int], batch_size: int, bar: tqdm) -> None:
    """Write the jobs to their ends, token by token; all of them at one temperature."""
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else ends[0]
    rows = [[*job.row, *job.written] for job in jobs]
    caps = [job.cap - len(job.written) for job in jobs]
    tokens, same_length = CACHED.get(model.device.type, CACHED["cuda"]), hard_limit(model.config) is not None
    for chosen in batches(rows, caps, batch_size, tokens, same_length=same_length):
        some = [rows[place] for place in chosen], [caps[place] for place in chosen]
        for place, ids in zip(chosen, complete(model, *some, ends, pad, jobs[0].temperature), strict=True):
            jobs[place].written += tuple(ids)
        bar.update(len(chosen))


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))
