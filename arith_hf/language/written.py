"""What a model writes behind fixed prompts, greedily and drawn with a fixed seed.

May not judge it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from arith_hf import provenance
from arith_hf.decoding import complete, end_tokens, hard_limit, ready, seeded
from arith_hf.solver import to_seed

PLAIN = ("pretrain", "continue", "gumbel")  # stages that saw no conversation
Row = dict[str, Any]


def in_chat(tokenizer: Any, checkpoint: Path, asked: bool | None) -> bool:
    """Whether prompts go through the chat template; ValueError where that is asked for and there is none."""
    if asked and not tokenizer.chat_template:
        raise ValueError(f"need a tokenizer with a chat template for chat: true, {checkpoint} has none")
    places = (checkpoint, checkpoint.parent)  # a step that was saved says nothing itself
    made = next(filter(None, (provenance.read(place / provenance.NAME) for place in places)), {})
    stage = made.get("stage") or checkpoint.name
    return bool(tokenizer.chat_template and stage not in PLAIN) if asked is None else asked


@torch.no_grad()
def write(
    model: Any, tokenizer: Any, prompts: Sequence[str], *, chat: bool, temperature: float, most: int, seed: int
) -> list[Row]:
    """Two samples of each prompt, greedy and at `temperature`, up to an end token of the checkpoint or `most` tokens.

    `completion` is the text without the end token; `finished` says whether there was one.
    """
    rows = [tokenizer(chatted(tokenizer, one), add_special_tokens=False) if chat else tokenizer(one) for one in prompts]
    asked = [row["input_ids"] for row in rows]
    ends, limit = end_tokens(model, tokenizer), hard_limit(model.config)
    caps = [most if limit is None else min(most, limit - len(ids)) for ids in asked]
    if min(caps, default=1) < 1:
        raise ValueError(f"need sample_prompts of fewer than {limit} tokens for this model, got {max(map(len, asked))}")
    pad = ends[0] if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    found = []
    with ready(model):
        for index, ids in enumerate(asked):  # one by one: what a prompt is answered does not depend on the others
            for heat in (0.0, temperature):
                with seeded(model, to_seed("samples", seed, prompts[index])):
                    (written,) = complete(model, [ids], [caps[index]], ends, pad, heat)
                stop = next((at for at, token in enumerate(written) if token in ends), None)
                found.append(
                    {
                        "prompt": prompts[index],
                        "temperature": heat,
                        "chat": chat,
                        "completion": tokenizer.decode(written[:stop], skip_special_tokens=True),
                        "num_tokens": len(written) if stop is None else stop + 1,
                        "finished": stop is not None,
                    }
                )
    return found


def chatted(tokenizer: Any, prompt: str) -> str:
    messages = [{"role": "user", "content": prompt}]
    return str(tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))
