"""Packing: texts to fixed blocks of tokens that hold whole documents, or the pieces of one that no block can hold.

May not know what the text means, nor who learns it. Positions restart at each document, so that no document attends to
another.
"""

from typing import Any

import pyarrow.compute as pc
from datasets import Dataset, Features, List, Value
from transformers import PreTrainedTokenizerBase
from trl import pack_dataset

from arith_hf import tokenizer
from arith_hf.train import data


def pack(
    rows: Dataset,
    model_tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    overlong: str = "error",
    num_proc: int | None = None,
    loss_on_given: bool = False,
    weights: tuple[float, float] = (1.0, 1.0),
    stride: int | None = None,
) -> Dataset:
    """Blocks of `max_length` tokens made of whole documents (TRL's best fit): `input_ids`, `position_ids`, `labels`.

    `weights` are `decisive_weight` and `verdict_weight`; unless both are 1 there are also `loss_weights`, whose mean
    over all labels is 1.

    Positions restart at each document; padding is one more document, with labels -100.
    No label for the beginning of a document, nor for its first `given` characters where there is such a column, unless
    `loss_on_given`.
    The end token stands behind each document but those whose column `ends` is false: pieces cut from a longer one.
    Of a document that no block can hold `overlong: cut` keeps the beginning; `split` makes pieces of it, one from every
    `stride` tokens on, each as a document of its own. The default is `max_length - 1`: a piece begins with the last
    token of the one before, so that each token but the document's first is learned exactly once.
    """
    # of a module `datasets` finds no hash, and caches nothing; of a pattern it hashes what it says
    form = tokenizer.form_of(model_tokenizer)
    end, encode, decisive, verdict = model_tokenizer.eos_token_id, data.encode, form.DECISIVE, form.VERDICT
    weighted = weights != (1.0, 1.0)

    def tokenize(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        count = len(batch["text"])
        encoded = encode(model_tokenizer, batch["text"], return_offsets_mapping=True)
        documents: dict[str, list[Any]] = {"input_ids": [], "labels": [], "length": []}
        if weighted:
            documents["marks"] = []
        for text, ids, offsets, given, whole in zip(
            batch["text"],
            encoded["input_ids"],
            encoded["offset_mapping"],
            batch.get("given", [0] * count),
            batch.get("ends", [True] * count),
            strict=True,
        ):
            posed = given or 0  # rows of a mixed file may lack what others have
            given, whole = posed * (not loss_on_given), whole is not False
            labels = [token if start >= given else -100 for token, (start, _) in zip(ids, offsets, strict=True)]
            found = {"input_ids": ids + [end] * whole, "labels": labels + [end] * whole}
            if weighted:
                inside = {place: 1 for one in decisive.finditer(text) for place in range(*one.span())}
                inside |= {one.start(): 2 for one in verdict.finditer(text, posed)}
                marks = [
                    inside.get(start, 0) * (label != -100) for label, (start, _) in zip(labels, offsets, strict=True)
                ]
                found["marks"] = marks + [0] * whole
            for piece in pieces(len(ids) + whole, max_length, overlong, stride):
                for name, values in found.items():
                    documents[name].append(values[piece])
                documents["length"].append(len(documents["labels"][-1]))
                documents["labels"][-1][0] = -100  # before it there is nothing that could tell
                if weighted:
                    documents["marks"][-1][0] = 0
        return documents

    ids = rows.map(
        tokenize,
        batched=True,
        batch_size=20 if overlong == "split" else 1000,  # whole books
        remove_columns=rows.column_names,
        num_proc=num_proc,
        desc="Tokenizing",
    )
    lengths = ids.select_columns("length").with_format("numpy")["length"][:]
    ids = data.keep(ids, lengths, max_length, overlong).remove_columns("length")
    packed = pack_dataset(ids, max_length, strategy="bfd", map_kwargs={"desc": "Packing"})
    narrow = "int16" if max(len(model_tokenizer), max_length) < 2**15 else "int32"
    columns = {name: List(Value(narrow), length=max_length) for name in ("input_ids", "position_ids", "labels")}
    scaled = None
    if weighted:
        columns["loss_weights"] = List(Value("float32"), length=max_length)
        shares = marked(packed, len(weights))
        for name, weight, share in zip(("decisive_weight", "verdict_weight"), weights, shares, strict=True):
            if weight != 1 and not share:
                raise ValueError(f"{name}: these texts have no token that it weighs: leave it out")
        mean = 1 + sum((weight - 1) * share for weight, share in zip(weights, shares, strict=True))
        scaled = [weight / mean for weight in (1.0, *weights)]
    return packed.map(
        lay_out,
        batched=True,
        remove_columns=packed.column_names,
        fn_kwargs={"max_length": max_length, "pad_token_id": model_tokenizer.pad_token_id, "weights": scaled},
        features=Features(columns),
        num_proc=num_proc,
        desc="Laying out",
    ).with_format("torch")


def pieces(count: int, max_length: int, overlong: str, stride: int | None) -> list[slice]:
    """What is kept of a document of so many tokens.

    TRL's `bfd_split` knows no stride, and would label the first token of a piece.

    >>> pieces(10, 4, "split", None)
    [slice(0, 4, None), slice(3, 7, None), slice(6, 10, None)]
    >>> pieces(10, 4, "split", 4)
    [slice(0, 4, None), slice(4, 8, None), slice(8, 12, None)]
    """
    if overlong == "cut":
        return [slice(max_length)]
    if overlong != "split":
        return [slice(None)]
    step = stride or max_length - 1
    return [slice(start, start + max_length) for start in range(0, max(count - max_length + step, 1), step)]


def marked(packed: Dataset, kinds: int) -> list[float]:
    """The shares of the tokens with the marks 1 to `kinds` among the labels of packed documents."""
    found, labelled = [0] * kinds, 0
    for batch in packed.select_columns(["labels", "marks"]).with_format("arrow").iter(1000):
        marks = batch["marks"].combine_chunks().flatten()
        found = [count + pc.sum(pc.equal(marks, kind)).as_py() for kind, count in enumerate(found, start=1)]
        labelled += pc.sum(pc.not_equal(batch["labels"].combine_chunks().flatten(), -100)).as_py()
    return [count / max(labelled, 1) for count in found]


def lay_out(
    packed: dict[str, list[Any]], max_length: int, pad_token_id: int, weights: list[float] | None = None
) -> dict[str, list[Any]]:
    """Once for the whole run what a collator would do at every step, 1 ms each time: rectangular blocks.

    `weights` are those of the labels with the marks 0, 1, ...
    """
    columns: dict[str, list[Any]] = {"input_ids": [], "position_ids": [], "labels": []}
    if weights:
        columns["loss_weights"] = [
            [weights[mark] for mark in marks] + [0.0] * (max_length - len(marks)) for marks in packed["marks"]
        ]
    for ids, labels, sizes in zip(packed["input_ids"], packed["labels"], packed["seq_lengths"], strict=True):
        room = max_length - len(ids)
        columns["input_ids"].append(ids + [pad_token_id] * room)
        columns["labels"].append(labels + [-100] * room)
        columns["position_ids"].append([place for size in (*sizes, room) for place in range(size)])
    return columns
