"""The one inference core: prompts in, completions out, in batches; and the solver that answers what people type.

May not know how a model was trained or how it is scored; what is typed and what is read back goes through the form that
the tokenizer names.
From Python: `Solver.from_pretrained(DIR).solve("5 + (10 - 3)")`. The verb is in solve.py.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from tqdm.auto import tqdm

from arith_hf import checkpoint, notation, tasks
from arith_hf import tokenizer as tokenizers
from arith_hf.decoding import end_tokens, hard_limit, ready, seeded
from arith_hf.drafts import Guess, weigh
from arith_hf.jobs import Job, decode, encode, follow, guess, resumed, write
from arith_hf.tasks.base import Answer

LONGEST = 4000  # characters of one expression; beyond it a working would take millions of tokens
MOST = 20_000  # tokens that a completion may take if nothing is said: three workings of depth 8, a minute on a CPU
PADDED = 4 * LONGEST  # characters of a prompt: tidied, an operator has spaces around it


# The core


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote: `num_tokens` counts the end token, `finished` says that it was written.

    `answer` is read from the text; None if there is none, or if the text was cut off. `token_ids` are what was written,
    the end token too, and padding behind it.

    Of a draft: `agreed` is the share of its tokens, each behind those before it, that greedy decoding would have
    written (token accuracy under teacher forcing); `logprobs` are its log probabilities, end token included, at the
    temperatures that were asked for (of what fits under the cap).

    `confidence`, where it was asked for (`with_confidence`), is the probability of all that was written, at
    temperature 1.
    """

    text: str
    num_tokens: int
    finished: bool
    answer: Answer | None = None
    agreed: float | None = field(default=None, compare=False)
    token_ids: tuple[int, ...] = field(default=(), compare=False, repr=False)
    logprobs: dict[float, float] = field(default_factory=dict, compare=False, repr=False)
    confidence: float | None = field(default=None, compare=False)


def generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    *,
    batch_size: int = 64,
    max_new_tokens: int | Sequence[int],
    temperature: float | Sequence[float] = 0.0,
    seed: int = 0,
    progress: bool | tqdm = False,
    drafts: Sequence[str] | None = None,
    resume: Callable[[str], str] | None = None,
    go_on: bool = True,
    weigh_at: Sequence[float] = (),
) -> list[Completion]:
    """One completion per prompt, in order; greedy at temperature 0, else sampled from the whole distribution.

    `max_new_tokens` and `temperature` are one for all, or one for each prompt. Runs where the model is, in batches of
    like length, longest first: padding is small, and a batch that does not fit fails at once. The global random state
    is left as it was.

    `drafts` are guesses of the completions: what a guess has in common with the completion costs one forward pass,
    which all completions of the same prompt share (so repeat a prompt to sample it often), and only the rest is written
    token by token. `resume` makes another guess where one goes wrong: it is given the prompt with what was written, and
    returns that with its continuation. Greedy completions are those without drafts (where two logits are equal to
    rounding either may win, as between any two batch sizes); samples are others, of the same distribution (`drafts.py`
    says why). Without `go_on` a completion is cut off behind the first token that is not its draft's. `weigh_at`:
    temperatures for `Completion.logprobs`.
    """
    caps, heats = spread(max_new_tokens, len(prompts)), spread(temperature, len(prompts))
    if batch_size < 1 or min(heats, default=0) < 0 or min(caps, default=1) < 1:
        raise ValueError(
            "need batch_size >= 1, max_new_tokens >= 1 and temperature >= 0, "
            f"got {batch_size}, {min(caps, default=1)} and {min(heats, default=0)}"
        )
    if drafts is None and (resume or weigh_at or not go_on):
        raise ValueError("need drafts for resume and weigh_at, and where the completions shall not go on from them")
    if drafts is not None and len(drafts) != len(prompts):
        raise ValueError(f"need one draft for each prompt, got {len(drafts)} drafts and {len(prompts)} prompts")
    ends, limit = end_tokens(model, tokenizer), hard_limit(model.config)
    rows = encode(tokenizer, prompts)
    caps = caps if limit is None else [min(cap, limit - len(row)) for row, cap in zip(rows, caps, strict=True)]
    jobs = [Job(*one) for one in zip(prompts, rows, caps, heats, strict=True)]
    bar = progress
    if isinstance(bar, bool):
        bar = tqdm(total=len(rows), desc="solving", unit="problem", disable=not progress)
    with ready(model), seeded(model, seed):
        asked, texts = jobs if drafts else [], list(drafts or ())
        while asked:
            guess(tokenizer, asked, texts, ends)
            follow(model, asked, () if asked[0].tried else weigh_at, show=progress is True)
            asked = [job for job in asked if resume and go_on and job.unfinished(ends) and job.promising]
            texts = resumed(tokenizer, asked, resume) if resume else []
        left = [job for job in jobs if job.unfinished(ends)] if go_on else []
        bar.update(len(rows) - len(left))
        for one in sorted({job.temperature for job in left}):
            write(model, tokenizer, [job for job in left if job.temperature == one], ends, batch_size, bar)
    if bar is not progress:
        bar.close()
    return read(tokenizer, jobs, ends)


def with_confidence(
    model: Any, tokenizer: Any, prompts: Sequence[str], completions: Sequence[Completion]
) -> list[Completion]:
    """The completions with their confidence: that of a draft which greedy decoding agreed with to its end, else from a
    forward pass over what was written."""
    written = [done.token_ids[: done.num_tokens] for done in completions]
    known = [done.logprobs.get(1.0) if done.agreed == 1 else None for done in completions]
    asked = [index for index, one in enumerate(known) if one is None]
    rows = encode(tokenizer, [prompts[index] for index in asked])
    with ready(model):
        verdicts = weigh(model, [Guess(row, written[one]) for row, one in zip(rows, asked, strict=True)], [1.0])
    for index, verdict in zip(asked, verdicts, strict=True):
        known[index] = verdict.logprobs.get(1.0)
    return [
        replace(done, confidence=None if one is None else math.exp(one))
        for done, one in zip(completions, known, strict=True)
    ]


def spread(values: Any, count: int) -> list[Any]:
    """One value for each of so many, of one for all or of a sequence."""
    return [values] * count if isinstance(values, int | float) else list(values)


def read(tokenizer: Any, jobs: Sequence[Job], ends: Sequence[int]) -> list[Completion]:
    """The completions that jobs wrote, up to and without the first end token; what follows it is padding."""
    form = tokenizers.form_of(tokenizer)
    known: dict[tuple[int, ...], tuple[str, int, bool, Answer | None]] = {}
    for ids in {job.written for job in jobs}:
        stop = next((place for place, token in enumerate(ids) if token in ends), None)
        text = decode(tokenizer, ids[:stop])
        known[ids] = (text, len(ids), False, None) if stop is None else (text, stop + 1, True, form.read_answer(text))
    return [Completion(*known[job.written], job.agreed, job.written, job.logprobs) for job in jobs]


def to_seed(*parts: object) -> int:
    """A seed from names and numbers, so that near seeds and neighbouring uses share no noise."""
    return int(hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()[:15], 16)


# The solver


@dataclass
class Solver:
    """A model that answers what a person types."""

    model: Any
    tokenizer: Any

    @property
    def form(self) -> notation.Form:
        """How the problems of this model are written."""
        return tokenizers.form_of(self.tokenizer)

    @classmethod
    def from_pretrained(cls, path: str | Path) -> "Solver":
        """The checkpoint at `path` (full, adapter or merged) on the device that accelerate gives."""
        model, tokenizer = checkpoint.load(path)
        return cls(model.to(Accelerator().device), tokenizer)

    def solve(
        self,
        problems: str | Sequence[str],
        *,
        batch_size: int = 64,
        max_new_tokens: int | None = None,
        temperature: float = 0.0,
        seed: int = 0,
        progress: bool | tqdm = False,
    ) -> list[dict[str, Any]]:
        """A dict with `problem`, `completion`, `answer` (integer, "ERROR" or None) and `finished` for each problem,
        and the `token_ids` of the completion.

        A problem is what a person types, such as `5 + (10 - 3)`. ValueError names a character that none can have.
        """
        asked = [problems] if isinstance(problems, str) else list(problems)
        prompts = [self.prompt(problem) for problem in asked]
        completions = generate(
            self.model,
            self.tokenizer,
            prompts,
            batch_size=batch_size,
            max_new_tokens=max_new_tokens or [min(self.form.room(prompt), MOST) for prompt in prompts],
            temperature=temperature,
            seed=seed,
            progress=progress,
        )
        return [
            {
                "problem": problem,
                "completion": done.text,
                "answer": self.form.read_answer(self.form.continued(prompt, done.text)) if done.finished else None,
                "finished": done.finished,
                "token_ids": list(done.token_ids[: done.num_tokens]),
            }
            for problem, prompt, done in zip(asked, prompts, completions, strict=True)
        ]

    def fault(self, row: dict[str, Any]) -> str | None:
        """Why a row of `solve` is not right, as the task judges it; None if it is, or if the problem was left open."""
        name, prompt = tokenizers.task_of(self.tokenizer), self.prompt(row["problem"])
        problem, reading = self.form.posed(prompt), self.form.read_working(row["completion"], row["finished"])
        if prompt.endswith("+"):
            return None
        found = tasks.get(name).judge(problem, reading, row["answer"])
        return None if found is None else f"step {found.index + 1}: {found.reason}"

    @torch.no_grad()
    def next_tokens(
        self, problem: str, token_ids: Sequence[int], count: int
    ) -> list[tuple[str, list[tuple[str, float]]]]:
        """Each token that was written, and the `count` likeliest tokens at its place with their chances."""
        begun, decode = self.tokenizer(self.prompt(problem))["input_ids"], self.tokenizer.decode
        ids = torch.tensor([[*begun, *token_ids]], device=self.model.device)
        logits = self.model(input_ids=ids[:, :-1], use_cache=False).logits[0, len(begun) - 1 :]  # (T, V)
        shares, likeliest = logits.float().softmax(-1).topk(min(count, logits.shape[-1]))
        choices = zip(likeliest.tolist(), shares.tolist(), strict=True)
        return [
            (decode([written]), [(decode([one]), share) for one, share in zip(*choice, strict=True)])
            for written, choice in zip(token_ids, choices, strict=True)
        ]

    def prompt(self, problem: str) -> str:
        """The prompt of what was typed; ValueError says why it cannot be asked."""
        if not problem.strip():
            raise ValueError(f"need a problem such as {self.form.EXAMPLE}, got nothing")
        if len(problem) > LONGEST:
            raise ValueError(f"need a problem of at most {LONGEST} characters, got {len(problem)}")
        prompt = self.form.ask(problem)
        if len(prompt) > PADDED:  # the form may write every number as long as the longest
            raise ValueError(f"need a problem that takes at most {PADDED} characters as it is asked, got {len(prompt)}")
        limit, tokens = hard_limit(self.model.config), len(self.tokenizer(prompt)["input_ids"])
        if limit is not None and tokens >= limit:
            raise ValueError(f"need a problem of fewer than {limit} tokens for this model, got {tokens}")
        return prompt
