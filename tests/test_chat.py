"""Each template writes what its page says, to the byte, and marks what the assistant says and where it ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from talks import LONG, ROWS, known
from trl.chat_template_utils import is_chat_template_prefix_preserving, is_chat_template_stop_token_trained

from arith_hf import chat

TALK = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "Sum up", "input": "1, 2"},
    {"role": "assistant", "content": "3"},
]
WRITTEN = {
    "chatml": "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    "Hello<|im_end|>\n<|im_start|>user\nSum up\n\n1, 2<|im_end|>\n<|im_start|>assistant\n3<|im_end|>\n",
    "instruct": "### System:\nBe kind.\n\n### Instruction:\nHi\n\n### Response:\nHello<eos>\n\n"
    "### Instruction:\nSum up\n\n1, 2\n\n### Response:\n3<eos>",
    "chat": "Be kind.\n\nHuman: Hi\n\nAssistant: Hello<eos>\n\nHuman: Sum up\n\n1, 2\n\nAssistant: 3<eos>",
    "alpaca": "Be kind.\n\n### Instruction:\nHi\n\n### Response:\nHello<eos>\n\n"
    "### Instruction:\nSum up\n\n### Input:\n1, 2\n\n### Response:\n3<eos>",
}
OPEN = {
    "chatml": "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    "instruct": "### Instruction:\nHi\n\n### Response:\n",
    "chat": "Human: Hi\n\nAssistant:",
    "alpaca": "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n### Instruction:\nHi\n\n### Response:\n",
}


@pytest.fixture(scope="module", params=chat.NAMES)
def own(request):
    one = known(request.param)
    one.init_kwargs["asked"] = request.param
    return one


def name(own) -> str:
    return own.init_kwargs["asked"]


def test_it_writes_what_is_said_of_it(own):
    assert own.apply_chat_template(TALK, tokenize=False) == "<bos>" + WRITTEN[name(own)]
    assert chat.write(own, TALK) == WRITTEN[name(own)]
    assert chat.ask(own, "Hi") == OPEN[name(own)]


def test_alpaca_says_when_there_is_an_input():
    row = {"instruction": "Add", "input": "1, 2", "output": "3"}
    assert chat.write(known("alpaca"), chat.messages(row)) == (
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nAdd\n\n### Input:\n1, 2\n\n### Response:\n3<eos>"
    )


def learned(own, messages) -> list[str]:
    """The stretches of what is learned, specials written out."""
    found = own.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
    parts, open_ = [], False
    for token, mark in zip(found["input_ids"], found["assistant_masks"], strict=True):
        if mark and not open_:
            parts.append([])
        if mark:
            parts[-1].append(token)
        open_ = bool(mark)
    return [own.decode(part) for part in parts]


def due(own, messages) -> list[str]:
    space = " " if name(own) == "chat" else ""
    end = own.convert_ids_to_tokens(chat.end_ids(own))[-1]
    plain = own.backend_tokenizer.normalizer.normalize_str
    return [space + plain(one["content"]) + end for one in messages if one["role"] == "assistant"]


@pytest.mark.parametrize("messages", [TALK, LONG, *ROWS])
def test_what_is_learned_is_what_the_assistant_says_and_its_end(own, messages):
    assert learned(own, messages) == due(own, messages)


WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(lambda text: text.strip())


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=3))
def test_so_it_is_whatever_is_said(own, turns):
    messages = [
        {"role": role, "content": text}
        for turn in turns
        for role, text in zip(("user", "assistant"), turn, strict=True)
    ]
    assert learned(own, messages) == due(own, messages)


def test_a_prompt_is_the_beginning_of_what_was_trained_on(own):
    """Its tokens are those in front of the first that is learned, so the mask covers exactly the prompt."""
    for messages in (TALK, LONG, *ROWS):
        found = own.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
        for end, one in enumerate(messages):
            if one["role"] != "assistant":
                continue
            prompt = own(chat.prompt(own, messages[:end]))["input_ids"]
            assert found["input_ids"][: len(prompt)] == prompt
            assert (found["assistant_masks"][len(prompt) - 1], found["assistant_masks"][len(prompt)]) == (0, 1)


def test_trl_finds_the_end_token_trained_and_earlier_turns_unchanged(own):
    assert is_chat_template_stop_token_trained(own)
    if name(own) == "chatml":
        assert is_chat_template_prefix_preserving(own)


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ("Hi", "need a list of messages"),
        ([{"role": "user", "content": "Hi"}], "the assistant ends"),
        ([{"role": "assistant", "content": "Hi"}], "another begins"),
        ([*ROWS[0], {"role": "tool", "content": "x"}], "need the roles system, user, assistant, got 'tool'"),
        ([*ROWS[0], TALK[0], *ROWS[1]], "system's message first"),
        ([ROWS[0][0], {"role": "assistant", "content": None}], "need a string"),
        ([ROWS[0][0], {"role": "assistant", "content": " "}], "says nothing"),
        ([{"role": "user", "content": "what is <eos>?"}, ROWS[0][1]], "'<eos>' in it, which is a token"),
    ],
)
def test_what_cannot_be_learned_from(messages, said):
    assert said in chat.fault(messages, ["<eos>"])


def test_a_template_that_there_is_not():
    with pytest.raises(ValueError, match="need one of chatml, instruct, chat, alpaca, got llama"):
        chat.template("llama")
