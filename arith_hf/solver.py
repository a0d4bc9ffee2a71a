"""The one inference core: prompts in, completions out, in batches; and the solver that answers what people type.

May not know how a model was trained or how it is scored; what is typed and what is read back goes through notation.py.
From Python: `Solver.from_pretrained(DIR).solve("5 + (10 - 3)")`. The verb is in solve.py.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from tqdm.auto import tqdm
from transformers import GenerationConfig

from arith_hf import checkpoint, notation
from arith_hf.tasks.base import Answer

STEP_ROOM = 64  # tokens: more than the fixed words and three numbers of one step take, even character by character
LEAST_ROOM = 256  # tokens that any prompt may be answered with
LONGEST = 4000  # characters of one expression; beyond it a working would take millions of tokens


# The core


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote: `num_tokens` counts the end token, `finished` says that it was written."""

    text: str
    num_tokens: int
    finished: bool

    @property
    def answer(self) -> Answer | None:
        """The answer read from the text; None if there is none, or if the text was cut off."""
        return notation.read_answer(self.text) if self.finished else None


def generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    *,
    batch_size: int = 64,
    max_new_tokens: int | Sequence[int],
    temperature: float = 0.0,
    seed: int = 0,
    progress: bool | tqdm = False,
) -> list[Completion]:
    """One completion per prompt, in order; greedy at temperature 0, else sampled from the whole distribution.

    `max_new_tokens` is one cap, or one for each prompt. Runs where the model is, in batches of like length, longest
    first: padding is small, and a batch that does not fit fails at once. The global random state is left as it was.
    """
    caps = [max_new_tokens] * len(prompts) if isinstance(max_new_tokens, int) else list(max_new_tokens)
    if batch_size < 1 or temperature < 0 or min(caps, default=1) < 1:
        raise ValueError(
            "need batch_size >= 1, max_new_tokens >= 1 and temperature >= 0, "
            f"got {batch_size}, {min(caps, default=1)} and {temperature}"
        )
    rows: list[list[int]] = tokenizer(list(prompts))["input_ids"] if prompts else []
    completions: dict[int, Completion] = {}
    bar = progress
    if isinstance(bar, bool):
        bar = tqdm(total=len(rows), desc="solving", unit="problem", disable=not progress)
    with ready(model), seeded(model, seed):
        for chosen in batches(rows, batch_size, hard_limit(model.config)):
            some = [rows[index] for index in chosen], [caps[index] for index in chosen]
            completions.update(zip(chosen, complete(model, tokenizer, *some, temperature), strict=True))
            bar.update(len(chosen))
    if bar is not progress:
        bar.close()
    return [completions[index] for index in range(len(rows))]


def batches(rows: list[list[int]], batch_size: int, limit: int | None) -> Iterator[list[int]]:
    """Indices of rows of like length; under a hard limit of the same length, so no row takes another's last tokens."""
    order = sorted(range(len(rows)), key=lambda index: -len(rows[index]))
    for _, group in groupby(order, key=lambda index: None if limit is None else len(rows[index])):
        while chosen := list(islice(group, batch_size)):
            yield chosen


def complete(
    model: Any, tokenizer: Any, rows: list[list[int]], caps: list[int], temperature: float
) -> list[Completion]:
    """Completions of one batch of token ids, padded on the left."""
    width, limit = max(map(len, rows)), hard_limit(model.config)
    caps = caps if limit is None else [min(cap, limit - width) for cap in caps]
    if max(caps) < 1:
        return [Completion("", 0, False)] * len(rows)
    ends = end_tokens(model, tokenizer)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else ends[0]
    input_ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows], device=model.device)
    attention_mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=model.device)
    choice = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
    settings = GenerationConfig(max_new_tokens=max(caps), pad_token_id=pad, eos_token_id=ends, use_cache=True, **choice)
    with alone(model, settings):
        written = model.generate(input_ids=input_ids, attention_mask=attention_mask, generation_config=settings)
    return [read(tokenizer, ids[:cap], ends) for ids, cap in zip(written[:, width:].tolist(), caps, strict=True)]


def read(tokenizer: Any, ids: list[int], ends: list[int]) -> Completion:
    """The completion in `ids`, up to and without the first end token; what follows it is padding."""
    stop = next((place for place, token in enumerate(ids) if token in ends), None)
    text = tokenizer.decode(ids[:stop], skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return Completion(text, len(ids) if stop is None else stop + 1, stop is not None)


def end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Ids that end a completion: the tokenizer's, and those that the checkpoint's generation config adds."""
    of_model = model.generation_config.eos_token_id
    ends = [tokenizer.eos_token_id, *(of_model if isinstance(of_model, list) else [of_model])]
    known = list(dict.fromkeys(end for end in ends if end is not None))
    if not known:
        raise ValueError("the tokenizer has no end token, so no completion could ever be finished")
    return known


def hard_limit(config: Any) -> int | None:
    """Tokens past which the model has no position to give (learned positions); None where it can go on."""
    learned = getattr(config, "position_embedding", None) == "learned" or config.model_type in ("gpt2", "opt")
    return int(config.max_position_embeddings) if learned else None


@contextmanager
def ready(model: Any) -> Iterator[None]:
    """The model in evaluation mode, then in the mode it was in."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


@contextmanager
def seeded(model: Any, seed: int) -> Iterator[None]:
    """A random state of its own, from `seed`, on the processor and on the model's device."""
    devices = [] if model.device.type == "cpu" else [model.device]
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


@contextmanager
def alone(model: Any, settings: GenerationConfig) -> Iterator[None]:
    """`settings` without what transformers would fill in from the checkpoint's generation_config.json."""
    holder = (
        model.get_base_model() if hasattr(model, "get_base_model") else model
    )  # an adapter has no config of its own
    before, holder.generation_config = holder.generation_config, settings
    try:
        yield
    finally:
        holder.generation_config = before


def to_seed(*parts: object) -> int:
    """A seed from names and numbers, so that near seeds and neighbouring uses share no noise."""
    return int(hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()[:15], 16)


# The solver


@dataclass
class Solver:
    """A model that answers what a person types."""

    model: Any
    tokenizer: Any

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
        """A dict with `problem`, `completion`, `answer` (integer, "ERROR" or None) and `finished` for each problem.

        A problem is an expression, with or without `Evaluate:`. ValueError names a character that no problem can have.
        """
        asked = [problems] if isinstance(problems, str) else list(problems)
        prompts = [self.prompt(problem) for problem in asked]
        completions = generate(
            self.model,
            self.tokenizer,
            prompts,
            batch_size=batch_size,
            max_new_tokens=max_new_tokens or [room(prompt) for prompt in prompts],
            temperature=temperature,
            seed=seed,
            progress=progress,
        )
        return [
            {"problem": problem, "completion": done.text, "answer": done.answer, "finished": done.finished}
            for problem, done in zip(asked, completions, strict=True)
        ]

    def prompt(self, problem: str) -> str:
        """The prompt of what was typed; ValueError says why it cannot be asked."""
        if not problem.strip():
            raise ValueError("need an expression such as 5 + (10 - 3), got nothing")
        if len(problem) > LONGEST:
            raise ValueError(f"need an expression of at most {LONGEST} characters, got {len(problem)}")
        prompt = notation.ask(problem)
        limit, tokens = hard_limit(self.model.config), len(self.tokenizer(prompt)["input_ids"])
        if limit is not None and tokens >= limit:
            raise ValueError(f"need an expression of fewer than {limit} tokens for this model, got {tokens}")
        return prompt


def room(prompt: str) -> int:
    """New tokens that any right working of `prompt` fits in: a step per operator, each rewriting the line at most."""
    return max(LEAST_ROOM, sum(map(prompt.count, "+-")) * (len(prompt) + STEP_ROOM))
