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
from arith_hf.decoding import complete, end_tokens, ready, seeded
from arith_hf.language.context import context_of
from arith_hf.language.written import in_chat
from arith_hf.solver import to_seed

LENGTH = 200  # tokens of a reply, where nothing is said


@dataclass
class Talk:
    """A model and what was said; `answers`: by its chat template, `context`: tokens that it sees at once.

    `turns`: replies so far, those forgotten too.
    """

    model: Any
    tokenizer: Any
    answers: bool
    context: int
    said: list[chat.Message] = field(default_factory=list)
    turns: int = 0

    @classmethod
    def from_pretrained(cls, path: str) -> "Talk":
        model, tokenizer = checkpoint.load(path)
        context, _ = context_of(model.config, Path(path))
        return cls(model.to(Accelerator().device), tokenizer, in_chat(tokenizer, Path(path), None), context)

    @torch.no_grad()
    def reply(self, text: str, *, max_new_tokens: int | None = None, temperature: float = 0.0, seed: int = 0) -> str:
        """What follows, printed as it is written; ValueError where the text is empty, or as long as the context."""
        if not text:
            raise ValueError(f"need {self.wanted}, got nothing")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"need {self.wanted} in UTF-8, got {text!r}") from error
        marks = [mark for mark in self.tokenizer.all_special_tokens if self.answers and mark in text]
        if marks:
            raise ValueError(f"need {self.wanted} without {marks[0]}, which ends or begins a turn")
        ids = self.ask(text, max_new_tokens or min(LENGTH, self.context // 2))
        most = min(max_new_tokens or LENGTH, self.context - len(ids))
        ends = end_tokens(self.model, self.tokenizer)
        pad = ends[0] if self.tokenizer.pad_token_id is None else self.tokenizer.pad_token_id
        print("" if self.answers else text, end="", flush=True)
        streamer = TextStreamer(self.tokenizer, skip_prompt=True, skip_special_tokens=True)
        with ready(self.model), seeded(self.model, to_seed("talk", seed, self.turns)):
            (written,) = complete(self.model, [ids], [most], ends, pad, temperature, streamer)
        self.turns += 1
        if not set(ends) & set(written):
            allowed = len(self.said) > 1 or len(ids) + most < self.context  # what was said before would make room
            why = "--max_new_tokens allows more" if allowed else f"this model sees {self.context} at once"
            print(f"(cut off after {most} tokens: {why})")
        found = str(self.tokenizer.decode(written, skip_special_tokens=True))
        self.said.append({"role": "assistant", "content": found.strip()})
        return found

    def ask(self, text: str, room: int) -> list[int]:
        """The tokens of the prompt; of the turns before so many as leave `room`, which a single turn may not."""
        before = self.said if self.answers else []
        while True:
            said = [*before, {"role": "user", "content": text}]
            ids = list(self.tokenizer(chat.prompt(self.tokenizer, said) if self.answers else text)["input_ids"])
            if len(ids) + room <= self.context or not before:
                break
            before = before[2:]
        if len(ids) >= self.context:
            raise ValueError(f"need a text of fewer than {self.context} tokens for this model, got {len(ids)}")
        self.said = said
        return ids

    @property
    def wanted(self) -> str:
        return "a question or a request" if self.answers else "the beginning of a text"
