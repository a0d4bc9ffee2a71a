"""Conversations to train on: rows of any of the known columns to checked `messages`, and how many tokens they take.

May not know a template. The columns are `messages`, Alpaca's `instruction`, `input`, `output`, or `prompt` and
`completion`; what is learned is what the assistant says and the token that ends it.
"""

import json
from pathlib import Path
from typing import Any, cast

import datasets
from datasets import Dataset
from peft import LoraConfig, PeftConfig
from transformers import PreTrainedTokenizerBase
from trl.chat_template_utils import has_generation_markers

from arith_hf import chat, files
from arith_hf.tokenizer import task_of
from arith_hf.train import data

ALPACA = ("instruction", "output")
PLAIN = ("prompt", "completion")
PART = {"role": datasets.Value("string"), "content": datasets.Value("string"), "input": datasets.Value("string")}
FEATURES = datasets.Features({"messages": [PART]})  # of any columns, so that the files of a corpus may differ


def columns(dataset_name: str) -> tuple[str, ...]:
    """The columns that the first row for fine-tuning has, of those known; `prompt` and `completion` if none."""
    path = Path(dataset_name)
    path = path if path.is_file() else path / "sft" / "train.jsonl"
    first = next(iter(files.read_jsonl(path)), {}) if path.is_file() else {}
    return next((known for known in (("messages",), ALPACA) if known[0] in first), PLAIN)


def talked(model_tokenizer: PreTrainedTokenizerBase, names: tuple[str, ...]) -> bool:
    """Whether rows of these columns are conversations for this tokenizer; ValueError where it could not write them.

    A prompt and its completion are, for natural text with a template; elsewhere they are read as they stand.
    """
    template = model_tokenizer.chat_template
    if names == PLAIN and (task_of(model_tokenizer) != "text" or template is None):
        return False
    if template is None:
        raise ValueError(
            f"the column `{names[0]}` holds conversations, and this model's tokenizer has no chat template: set "
            "chat_template in tokenizer.yaml and make the tokenizer, which signs the corpus, and what was pretrained "
            "with it anew (make does), or give the columns prompt and completion"
        )
    if not has_generation_markers(template):
        raise ValueError(
            "the chat template of this model does not mark what the assistant says: put {% generation %} before and "
            "{% endgeneration %} behind it, its end token included"
        )
    return True


def read(
    rows: Dataset, model_tokenizer: PreTrainedTokenizerBase, num_proc: int | None = None, source: str = ""
) -> Dataset:
    """One column `messages`; ValueError names the first row (of the source) that is no conversation to learn from."""
    marks, apart = model_tokenizer.all_special_tokens, chat.knows_input(model_tokenizer)

    def converse(row: dict[str, Any], index: int) -> dict[str, list[chat.Message]]:
        messages = chat.messages(row)
        if fault := chat.fault(messages, marks):
            of_source = f" of {source}" if source else ""
            raise ValueError(f"row {index + 1}{of_source} for fine-tuning: {fault}: {json.dumps(messages)[:120]}")
        return {"messages": [{"input": None, **one} for one in (messages if apart else chat.joined(messages))]}

    return rows.map(
        converse,
        with_indices=True,
        remove_columns=rows.column_names,
        features=FEATURES,
        num_proc=num_proc,
        desc="Reading conversations",
    )


def fit(
    rows: Dataset, model_tokenizer: PreTrainedTokenizerBase, max_length: int | None, overlong: str, num_proc: int | None
) -> Dataset:
    """Conversations that take at most `max_length` tokens as the template writes them; see `data.keep`."""

    def measure(row: dict[str, Any]) -> dict[str, int]:
        written: Any = model_tokenizer.apply_chat_template(row["messages"], return_dict=True)
        return {"length": len(written["input_ids"])}

    lengths = rows.map(measure, remove_columns=rows.column_names, num_proc=num_proc, desc="Measuring lengths")
    return data.keep(rows, lengths.with_format("numpy")["length"][:], max_length, overlong)


def questions(rows: Dataset, model_tokenizer: PreTrainedTokenizerBase, count: int) -> dict[str, str]:
    """Of the first conversations what is asked first, with the prompt up to the assistant's first words."""
    first = cast(list[list[chat.Message]], rows["messages"][:count])
    replies = [[message["role"] for message in messages].index("assistant") for messages in first]
    return {
        chat.whole(messages[end - 1]): chat.prompt(model_tokenizer, messages[:end])
        for messages, end in zip(first, replies, strict=True)
    }


def stop_at(model: Any, model_tokenizer: PreTrainedTokenizerBase) -> None:
    """Let the model's own configuration end a reply at the template's end token, for `generate` anywhere."""
    ends = chat.end_ids(model_tokenizer)
    if len(ends) > 1:
        for config in (model.config, model.generation_config):
            config.eos_token_id = list(ends)


def learn_marks(adapter: PeftConfig | None, model: Any, model_tokenizer: PreTrainedTokenizerBase) -> None:
    """Let an adapter change the embeddings too where the template has tokens of its own: pretraining has seen none.

    All of them: TRL's loss reads the weight of the head, which `trainable_token_indices` does not offer.
    """
    marks = {mark for of_template in chat.MARKS.values() for mark in of_template}
    unseen = task_of(model_tokenizer) == "text" and not marks.isdisjoint(model_tokenizer.vocab)
    if not unseen or not isinstance(adapter, LoraConfig) or adapter.modules_to_save:
        return
    tied = model.config.tie_word_embeddings
    adapter.modules_to_save = ["embed_tokens"] if tied else ["embed_tokens", "lm_head"]
    adapter.ensure_weight_tying = tied
