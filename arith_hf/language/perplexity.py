"""How well a model foretells texts: each token of each document scored once, per token and per byte, with intervals.

May not know where texts come from.
A document is scored alone. Before its first token stands BOS (of a model without one EOS), which is not scored; nor is
the end token behind it, so that what is scored is the text, byte for byte. A document longer than the model's context
is cut into windows `stride` tokens apart: the first scores all of its tokens, each later one its last `stride`, behind
at least `context - stride` tokens that it only reads.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import exp, log
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch.nn import functional
from tqdm.auto import tqdm
from transformers import AutoModelForCausalLM

from arith_hf.decoding import batches, ready, seeded
from arith_hf.estimates import require_finite
from arith_hf.tokenizer import plain

RESAMPLES = 1000
LOGITS = {"cpu": 1 << 24, "cuda": 1 << 28}  # numbers of one batch: 64 MiB stay in a CPU's reach, 1 GiB keep a GPU busy
CHUNK = 1000  # documents tokenized at once
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Document:
    """Tokens of a text, without BOS and end; `bytes` are those of the text as it is in UTF-8."""

    ids: tuple[int, ...]
    bytes: int


@dataclass(frozen=True, slots=True)
class Window:
    """Tokens that a model reads, and how many of them, the last, are scored."""

    document: int
    ids: tuple[int, ...]
    scored: int


# Tokens


def encode(tokenizer: Any, texts: Iterable[str]) -> Iterator[Document]:
    """The tokens of texts; a text without any is left out."""
    rest = iter(texts)
    while some := list(islice(rest, CHUNK)):
        for text, ids in zip(some, written(tokenizer, some), strict=True):
            if ids:
                yield Document(tuple(ids), len(text.encode()))


def written(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    """The tokens of texts as they are learned, without BOS: a mark such as `<eos>` in one is no token of it."""
    return list(tokenizer(texts, add_special_tokens=False, **plain(tokenizer))["input_ids"])


def first_token(tokenizer: Any) -> int:
    """What stands before a document; ValueError for a tokenizer that has neither BOS nor EOS."""
    found = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    if found is None:
        raise ValueError("need a tokenizer with a BOS or an EOS token, to score the first token of a text behind it")
    return int(found)


def windows(ids: Sequence[int], first: int, context: int, stride: int, document: int = 0) -> Iterator[Window]:
    """The windows of one document: what is scored of them, one after the other, is the document.

    >>> [(one.ids, one.scored) for one in windows([1, 2, 3, 4, 5], first=0, context=3, stride=2)]
    [((0, 1, 2, 3), 3), ((2, 3, 4, 5), 2)]
    """
    if not 1 <= stride <= context:
        raise ValueError(f"need 1 <= stride <= context_length, got {stride} and {context}")
    whole = (first, *ids)
    done, end = 0, min(context, len(ids))
    while done < len(ids):
        yield Window(document, whole[max(0, end - context) : end + 1], end - done)
        done, end = end, min(end + stride, len(ids))


# Scores


@torch.no_grad()
def losses(model: Any, asked: Sequence[Window], batch_size: int, bar: tqdm) -> list[float]:
    """The sum of the negative log-likelihoods, in nats, of what each window scores; padded batches of like length."""
    device, found = model.device, [0.0] * len(asked)
    many = max(1, LOGITS.get(device.type, LOGITS["cpu"]) // model.get_input_embeddings().num_embeddings)
    alike = sorted(range(len(asked)), key=lambda index: asked[index].scored)  # so that few logits are left over
    with ready(model):
        for some in batches([asked[index].ids for index in alike], [0] * len(asked), batch_size, many):
            batch = [alike[at] for at in some]
            width = max(len(asked[index].ids) for index in batch) - 1
            read = torch.zeros((len(batch), width), dtype=torch.long)  # behind a row no token of it looks at the zeros
            due = torch.full((len(batch), width), -100)
            for at, index in enumerate(batch):
                ids, scored = torch.tensor(asked[index].ids), asked[index].scored
                last = len(ids) - 1
                read[at, :last] = ids[:-1]
                due[at, last - scored : last] = ids[-scored:]
            kept = width - min(len(asked[index].ids) - 1 - asked[index].scored for index in batch)
            due = due[:, -kept:]
            logits = model(input_ids=read.to(device), use_cache=False, **{keep: kept for keep in keeps(model)}).logits
            logits = logits[:, -kept:].float()  # (B, T, V)
            nats = functional.cross_entropy(logits.flatten(0, 1), due.flatten().to(device), reduction="none")
            for index, total in zip(batch, nats.double().view_as(due).sum(1).tolist(), strict=True):
                found[index] = total
            bar.update(len(batch))
    return found


def keeps(model: Any) -> list[str]:
    """The argument by which a model makes the logits of the last tokens alone, where it has one: most of the work."""
    held = model.get_base_model() if hasattr(model, "get_base_model") else model
    return [name for name in ("logits_to_keep",) if name in inspect.signature(held.forward).parameters]


def document_losses(
    model: Any,
    documents: Sequence[Document],
    first: int,
    context: int,
    stride: int,
    batch_size: int,
    accelerator: Accelerator,
    what: str,
) -> list[float]:
    """The nats of each document, worked out by all processes."""
    asked = [one for at, text in enumerate(documents) for one in windows(text.ids, first, context, stride, at)]
    with accelerator.split_between_processes(asked) as mine:
        bar = tqdm(total=len(mine), desc=what, unit="window", disable=not accelerator.is_main_process)
        nats = losses(model, mine, batch_size, bar)
        bar.close()
    gathered = gather_object(nats)
    require_finite(gathered)
    total = [0.0] * len(documents)
    for one, found in zip(asked, gathered, strict=True):
        total[one.document] += found
    return total


def untrained(model: Any) -> Any:
    """A model of the same shape with the weights that it begins with at seed 0, on the same device."""
    held = model.get_base_model() if hasattr(model, "get_base_model") else model
    with seeded(model, 0):
        fresh = AutoModelForCausalLM.from_config(held.config, dtype=held.dtype)
    return fresh.to(held.device).eval()


def unigram(tokenizer: Any, texts: Iterable[str]) -> Callable[[Document], float] | None:
    """The nats of a document by how often each token stands in `texts`, and once more; None where there are none."""
    counts, read = np.ones(len(tokenizer)), 0
    for one in encode(tokenizer, texts):
        counts += np.bincount(one.ids, minlength=len(counts))
        read += 1
    weights = -np.log(counts / counts.sum())
    return (lambda one: float(weights[list(one.ids)].sum())) if read else None


# Estimates


def estimate(documents: Sequence[Document], nats: Sequence[float]) -> Row:
    """Perplexity per token and bits per byte, with bootstrap intervals at 95 % over documents (none of a single one).

    >>> found = estimate([Document((1, 2), 4)], [2 * log(8)])
    >>> round(found["perplexity"], 6), round(found["bits_per_byte"], 6), found["perplexity_interval"]
    (8.0, 1.5, None)
    """
    total = np.array([nats, [len(one.ids) for one in documents], [one.bytes for one in documents]], dtype=float)
    drawn = np.random.default_rng(0)  # of its own, and the same for every model: intervals differ by the model alone
    many = total.shape[1]
    draws = [total[:, drawn.integers(many, size=many)].sum(1) for _ in range(RESAMPLES if many > 1 else 0)]
    values = {"perplexity": by_token, "bits_per_byte": by_byte}
    found: Row = {}
    for name, value in values.items():
        some = sorted(value(one) for one in draws)
        found[name] = round(value(total.sum(1)), 6)
        low, high = (some[int(RESAMPLES * part)] for part in (0.025, 0.975)) if some else (None, None)
        found[f"{name}_interval"] = None if low is None or high is None else [round(low, 4), round(high, 4)]
    return found | {"nats": round(float(total[0].sum()), 3)}


def by_token(sums: Any) -> float:
    return exp(min(float(sums[0] / sums[1]), 700))


def by_byte(sums: Any) -> float:
    return float(sums[0] / sums[2]) / log(2)
