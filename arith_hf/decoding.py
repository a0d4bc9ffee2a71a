"""How a model writes: token ids in, token ids out, in padded batches, with no setting that it was not asked for.

May not know text, nor what the tokens stand for.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import GenerationConfig
from transformers.generation.streamers import BaseStreamer

from arith_hf import chat


def batches(
    rows: Sequence[Sequence[int]], caps: list[int], batch_size: int, tokens: int, *, same_length: bool = False
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


def complete(
    model: Any,
    rows: list[list[int]],
    caps: list[int],
    ends: list[int],
    pad: int,
    temperature: float,
    streamer: BaseStreamer | None = None,
) -> list[list[int]]:
    """What the model writes after each row of token ids; what follows an end token is padding. One padded batch.

    `streamer` is given each token of a single row as it is written.
    """
    width = max(map(len, rows))
    input_ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows], device=model.device)
    attention_mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=model.device)
    choice = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
    settings = GenerationConfig(max_new_tokens=max(caps), pad_token_id=pad, eos_token_id=ends, use_cache=True, **choice)
    with alone(model, settings):
        written = model.generate(
            input_ids=input_ids, attention_mask=attention_mask, generation_config=settings, streamer=streamer
        )
    return [ids[:cap] for ids, cap in zip(written[:, width:].tolist(), caps, strict=True)]


def end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Ids that end a completion: the tokenizer's, its template's, and those that the generation config adds."""
    of_model = model.generation_config.eos_token_id
    ends = [*chat.end_ids(tokenizer), *(of_model if isinstance(of_model, list) else [of_model])]
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
