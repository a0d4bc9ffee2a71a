"""The one inference core: prompts in, completions out, in batches; and the solver that answers what people type.

May not know how a model was trained or how it is scored; what is typed and what is read back goes through the form that
the tokenizer names.
From Python: `Solver.from_pretrained(DIR).solve("5 + (10 - 3)")`. The verb is in solve.py.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from tqdm.auto import tqdm
from transformers import GenerationConfig

from arith_hf import checkpoint, notation, tasks
from arith_hf import tokenizer as tokenizers
from arith_hf.tasks.base import Answer

CACHED = {"cpu": 16_384, "cuda": 1 << 20}  # tokens of a batch with its caps; a cache is copied at every token, which
# costs a CPU more than a small batch: workings of depth 5 take 1.3 times as long with 65 536, 2.2 times with 262 144
VERIFIED = 8192  # tokens of a batch of drafts, whose logits are all held at once; on a CPU half or twice is no quicker
LONGEST = 4000  # characters of one expression; beyond it a working would take millions of tokens


# The core


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote: `num_tokens` counts the end token, `finished` says that it was written.

    `answer` is read from the text; None if there is none, or if the text was cut off. Of greedy decoding from a draft,
    `agreed` is the share of the draft's tokens, each behind those before it, that the model would have written
    (token accuracy under teacher forcing). `token_ids` are what was written, the end token too, and padding behind it.
    """

    text: str
    num_tokens: int
    finished: bool
    answer: Answer | None = None
    agreed: float | None = field(default=None, compare=False)
    token_ids: tuple[int, ...] = field(default=(), compare=False, repr=False)


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
    drafts: Sequence[str] | None = None,
    go_on: bool = True,
) -> list[Completion]:
    """One completion per prompt, in order; greedy at temperature 0, else sampled from the whole distribution.

    `max_new_tokens` is one cap, or one for each prompt. Runs where the model is, in batches of like length, longest
    first: padding is small, and a batch that does not fit fails at once. The global random state is left as it was.

    `drafts`, for greedy decoding only, are guesses of the completions: what a guess has in common with the completion
    costs one forward pass, and only the rest is written token by token. The completions are those without drafts; where
    two logits are equal to rounding either may win, as between any two batch sizes. Without `go_on` a completion is cut
    off where it parts from its draft.
    """
    caps = [max_new_tokens] * len(prompts) if isinstance(max_new_tokens, int) else list(max_new_tokens)
    if batch_size < 1 or temperature < 0 or min(caps, default=1) < 1:
        raise ValueError(
            "need batch_size >= 1, max_new_tokens >= 1 and temperature >= 0, "
            f"got {batch_size}, {min(caps, default=1)} and {temperature}"
        )
    if drafts is None and not go_on:
        raise ValueError("need drafts where the completions shall not go on from them")
    if drafts is not None and (temperature or len(drafts) != len(prompts)):
        raise ValueError(
            "need temperature 0 and one draft for each prompt, "
            f"got {temperature}, {len(drafts)} drafts and {len(prompts)} prompts"
        )
    rows: list[list[int]] = tokenizer(list(prompts))["input_ids"] if prompts else []
    ends, limit = end_tokens(model, tokenizer), hard_limit(model.config)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else ends[0]
    caps = caps if limit is None else [min(cap, limit - len(row)) for row, cap in zip(rows, caps, strict=True)]
    written: list[list[int]] = [[] for _ in rows]
    agreed: list[float | None] = [None for _ in rows]

    def unfinished(index: int) -> bool:
        return len(written[index]) < caps[index] and not set(written[index]) & set(ends)

    bar = progress
    if isinstance(bar, bool):
        bar = tqdm(total=len(rows), desc="solving", unit="problem", disable=not progress)
    with ready(model), seeded(model, seed):
        if drafts:
            guesses = [[*ids, ends[0]] for ids in tokenizer(list(drafts), add_special_tokens=False)["input_ids"]]
            guesses = [guess[: max(cap, 0)] for guess, cap in zip(guesses, caps, strict=True)]
            matches = agreements(model, rows, guesses, show=progress is True)
            written = [guess[: [*same, False].index(False)] for guess, same in zip(guesses, matches, strict=True)]
            agreed = [sum(same) / len(same) if same else None for same in matches]
        left = [index for index in range(len(rows)) if unfinished(index)] if go_on else []
        bar.update(len(rows) - len(left))
        begun = [rows[index] + written[index] for index in left]
        rest = [caps[index] - len(written[index]) for index in left]
        tokens = CACHED.get(model.device.type, CACHED["cuda"])
        for chosen in batches(begun, rest, batch_size, tokens, same_length=limit is not None):
            some = [begun[place] for place in chosen], [rest[place] for place in chosen]
            for place, ids in zip(chosen, complete(model, *some, ends, pad, temperature), strict=True):
                written[left[place]] += ids
            bar.update(len(chosen))
    if bar is not progress:
        bar.close()
    return [read(tokenizer, ids, ends, share) for ids, share in zip(written, agreed, strict=True)]


def batches(
    rows: list[list[int]], caps: list[int], batch_size: int, tokens: int, *, same_length: bool = False
) -> Iterator[list[int]]:
    """Indices of rows that will take like many steps, at most `tokens` together; of the same length where asked.

    Under a hard limit on positions they are of the same length, so that no row takes another's last tokens.
    """
    lengths = [len(row) for row in rows]
    order = sorted(range(len(rows)), key=lambda index: (-lengths[index] * same_length, -caps[index], -lengths[index]))
    batch: list[int] = []
    for index in order:
        joined = [*batch, index]
        room = max(lengths[one] for one in joined) + caps[joined[0]]
        if batch and (
            len(batch) == batch_size
            or room * len(joined) > tokens
            or (same_length and lengths[batch[0]] != lengths[index])
        ):
            yield batch
            joined = [index]
        batch = joined
    if batch:
        yield batch


@torch.no_grad()
def agreements(model: Any, rows: list[list[int]], guesses: list[list[int]], *, show: bool = False) -> list[list[bool]]:
    """Of each token of a guess, whether greedy decoding would write it behind those before it, from one forward pass.

    Padding stands on the right, where no causal model looks, so it needs no mask.
    """
    found: list[list[bool]] = [[] for _ in rows]
    guessed = [index for index, guess in enumerate(guesses) if guess]
    whole = [rows[index] + guesses[index] for index in guessed]
    read_in = list(batches(whole, [0] * len(whole), len(whole), VERIFIED))
    for chosen in tqdm(read_in, desc="reading drafts", unit="batch", disable=not show, leave=False):
        width = len(whole[chosen[0]])
        ids = torch.tensor([whole[place] + [0] * (width - len(whole[place])) for place in chosen], device=model.device)
        logits = model(input_ids=ids[:, :-1], use_cache=False).logits  # (B, T - 1, V)
        agrees = logits.argmax(-1) == ids[:, 1:]
        for index, same in zip((guessed[place] for place in chosen), agrees.tolist(), strict=True):
            begin, count = len(rows[index]) - 1, len(guesses[index])
            found[index] = same[begin : begin + count]
    return found


def complete(
    model: Any, rows: list[list[int]], caps: list[int], ends: list[int], pad: int, temperature: float
) -> list[list[int]]:
    """What the model writes after each row of token ids; what follows an end token is padding. One padded batch."""
    width = max(map(len, rows))
    input_ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows], device=model.device)
    attention_mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=model.device)
    choice = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
    settings = GenerationConfig(max_new_tokens=max(caps), pad_token_id=pad, eos_token_id=ends, use_cache=True, **choice)
    with alone(model, settings):
        written = model.generate(input_ids=input_ids, attention_mask=attention_mask, generation_config=settings)
    return [ids[:cap] for ids, cap in zip(written[:, width:].tolist(), caps, strict=True)]


def read(tokenizer: Any, ids: list[int], ends: list[int], agreed: float | None = None) -> Completion:
    """The completion in `ids`, up to and without the first end token; what follows it is padding."""
    stop = next((place for place, token in enumerate(ids) if token in ends), None)
    text = tokenizer.decode(ids[:stop], skip_special_tokens=True, clean_up_tokenization_spaces=False)
    answer = None if stop is None else tokenizers.form_of(tokenizer).read_answer(text)
    return Completion(text, len(ids) if stop is None else stop + 1, stop is not None, answer, agreed, tuple(ids))


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
            max_new_tokens=max_new_tokens or [self.form.room(prompt) for prompt in prompts],
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
        limit, tokens = hard_limit(self.model.config), len(self.tokenizer(prompt)["input_ids"])
        if limit is not None and tokens >= limit:
            raise ValueError(f"need a problem of fewer than {limit} tokens for this model, got {tokens}")
        return prompt
