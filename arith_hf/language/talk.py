"""What a model of natural text says at a terminal, word by word: it goes on with what is typed, or answers it.

May not judge it. It answers, by its chat template and with what was said before, where it was tuned on conversations.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from transformers import TextStreamer

from arith_hf import chat, checkpoint
from arith_hf.decoding import complete, end_tokens, hard_limit, ready, seeded
from arith_hf.language.written import in_chat
from arith_hf.solver import to_seed

LENGTH = 200  # tokens of a reply, where nothing is said


@dataclass
class Talk:
    """A model and what was said; `answers`: by its chat template. `turns`: replies so far, those forgotten too."""

    model: Any
    tokenizer: Any
    answers: bool
    said: list[chat.Message] = field(default_factory=list)
    turns: int = 0

    @classmethod
    def from_pretrained(cls, path: str) -> "Talk":
        model, tokenizer = checkpoint.load(path)
        return cls(model.to(Accelerator().device), tokenizer, in_chat(tokenizer, Path(path), None))

    @torch.no_grad()
    def reply(self, text: str, *, max_new_tokens: int | None = None, temperature: float = 0.0, seed: int = 0) -> str:
        """What follows, printed as it is written; ValueError where the text is empty, or longer than the positions."""
        if not text:
            raise ValueError(f"need {self.wanted}, got nothing")
        ids, limit = self.ask(text), hard_limit(self.model.config)
        most = max_new_tokens or LENGTH
        most = most if limit is None else min(most, limit - len(ids))
        ends = end_tokens(self.model, self.tokenizer)
        pad = ends[0] if self.tokenizer.pad_token_id is None else self.tokenizer.pad_token_id
        print("" if self.answers else text, end="", flush=True)
        streamer = TextStreamer(self.tokenizer, skip_prompt=True, skip_special_tokens=True)
        with ready(self.model), seeded(self.model, to_seed("talk", seed, self.turns)):
            (written,) = complete(self.model, [ids], [most], ends, pad, temperature, streamer)
        self.turns += 1
        found = str(self.tokenizer.decode(written, skip_special_tokens=True))
        self.said.append({"role": "assistant", "content": found.strip()})
        return found

    def ask(self, text: str) -> list[int]:
        """The tokens of the prompt; of the turns before so many as leave room for one more token."""
        before, limit = self.said if self.answers else [], hard_limit(self.model.config)
        while True:
            self.said = [*before, {"role": "user", "content": text}]
            ids = self.tokenizer(chat.prompt(self.tokenizer, self.said) if self.answers else text)["input_ids"]
            if limit is None or len(ids) < limit:
                return list(ids)
            if not before:
                raise ValueError(f"need a text of fewer than {limit} tokens for this model, got {len(ids)}")
            before = before[2:]

    @property
    def wanted(self) -> str:
        return "a question or a request" if self.answers else "the beginning of a text"
