"""Conversations as text: the chat templates, which are files beside this one, and what each of them needs.

May not know any tokenizer's tokens, nor who talks. A tokenizer is given one by name (`chat_template` in tokenizer.yaml)
and carries it from then on, so that a checkpoint needs no code of ours to be talked to. The written forms, BOS in
front of each, `END` the token that ends what the assistant says:

- chatml: `<|im_start|>ROLE\\nTEXT<|im_end|>\\n` for each message; `END` is `<|im_end|>`.
- instruct: `### System:\\nTEXT\\n\\n`, `### Instruction:\\nTEXT\\n\\n`, `### Response:\\nTEXT<eos>`, and `\\n\\n`
  if more follows.
- chat: `TEXT\\n\\n` of the system, `Human: TEXT\\n\\n`, `Assistant: TEXT<eos>`, and `\\n\\n` if more follows.
- alpaca: as instruct, behind a line that describes the task, or the system's text in its place.

A message of the user may have an `input` (Alpaca's column) beside its `content`: alpaca writes it as `### Input:`, the
others behind the content. A template of another's that knows no `input` is given both as one, see `joined`.
"""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Literal, get_args

Name = Literal["chatml", "instruct", "chat", "alpaca"]
NAMES: tuple[str, ...] = get_args(Name)
ROLES = ("system", "user", "assistant")
MARKS = {"chatml": ("<|im_start|>", "<|im_end|>")}  # tokens that a template has beside the road's specials
ENDS = {"chatml": "<|im_end|>"}  # where it is not EOS
TURN_END = "turn_end"  # in tokenizer_config.json: the token that ends a turn, where it is not EOS

Message = dict[str, Any]


def template(name: str) -> str:
    """The template of this name, in Jinja, with `{% generation %}` around what the assistant says and its end token."""
    if name not in NAMES:
        raise ValueError(f"chat_template: need one of {', '.join(NAMES)}, got {name}")
    return (files("arith_hf") / "templates" / f"{name}.jinja").read_text(encoding="utf-8").rstrip("\n")


def messages(row: dict[str, Any]) -> list[Message]:
    """The conversation of a row with the columns `messages`, Alpaca's, or `prompt` and `completion`."""
    if row.get("messages") is not None:
        return list(row["messages"])
    if "instruction" in row:
        asked = {"content": row["instruction"], "input": row.get("input") or ""}
        return [{"role": "user", **asked}, {"role": "assistant", "content": row["output"]}]
    return [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["completion"]}]


def whole(message: Message) -> str:
    """What a message says, with its input behind it.

    >>> whole({"role": "user", "content": "Add", "input": "1, 2"})
    'Add\n\n1, 2'
    """
    return "\n\n".join(filter(None, (message["content"], message.get("input"))))


def joined(messages: list[Message]) -> list[Message]:
    """The messages without inputs of their own, for a template that would leave them out."""
    return [{**message, "content": whole(message), "input": None} for message in messages]


def knows_input(tokenizer: Any) -> bool:
    """Whether the template writes what a message has as its input."""
    probe = {"role": "user", "content": "content", "input": "[input]"}
    return probe["input"] in tokenizer.apply_chat_template([probe], tokenize=False)


def fault(messages: Any, marks: Sequence[str] = ()) -> str | None:
    """Why this is no conversation that can be learned from; None if it is. `marks` are tokens that none may write."""
    if not isinstance(messages, list) or not all(isinstance(one, dict) for one in messages):
        return "need a list of messages"
    roles = [one.get("role") for one in messages]
    if odd := [role for role in roles if role not in ROLES]:
        return f"need the roles {', '.join(ROLES)}, got {odd[0]!r}"
    if "system" in roles[1:]:
        return "need the system's message first"
    if "assistant" not in roles or roles[-1] != "assistant" or roles[0] == "assistant":
        return "need a conversation that another begins and the assistant ends"
    for one in messages:
        if not isinstance(one.get("content"), str) or not isinstance(one.get("input") or "", str):
            return "need a string as the content of each message"
        if found := [mark for mark in marks if mark in one["content"] + (one.get("input") or "")]:
            return f"a message has {found[0]!r} in it, which is a token of the model"
        if one["role"] == "assistant" and not one["content"].strip():
            return "the assistant says nothing"
    return None


def write(tokenizer: Any, messages: list[Message]) -> str:
    """The text of a conversation, without BOS, which the tokenizer puts in front."""
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    return str(text).removeprefix(tokenizer.bos_token or "")


def prompt(tokenizer: Any, messages: list[Message]) -> str:
    """What the model is given to answer the last message, without BOS, which the tokenizer puts in front."""
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return str(text).removeprefix(tokenizer.bos_token or "")


def ask(tokenizer: Any, text: str) -> str:
    """The prompt of a single question; the text itself where the tokenizer has no template."""
    return prompt(tokenizer, [{"role": "user", "content": text}]) if tokenizer.chat_template else text


def end_ids(tokenizer: Any) -> list[int]:
    """Ids of the tokens that end what a model writes: EOS, and the end of a turn where that is another one."""
    turn_end = getattr(tokenizer, "init_kwargs", {}).get(TURN_END)
    ids = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(turn_end) if turn_end else None]
    return [one for one in ids if one is not None]
