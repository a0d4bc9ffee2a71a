"""Of a conversation what the assistant says is learned, with its end, from any columns, in full or as an adapter."""

import pytest
import torch
from conftest import stage
from safetensors.torch import load_file
from talks import ASKED, LONG, ROWS, SAID, write
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

from arith_hf import chat, checkpoint, files, solver
from arith_hf.train import sft

COLUMNS = {
    "messages": [{"messages": one} for one in ROWS],
    "alpaca": [{"instruction": ask, "output": reply} for ask, reply in zip(ASKED, SAID, strict=True)],
    "prompt": [{"prompt": ask, "completion": reply} for ask, reply in zip(ASKED, SAID, strict=True)],
}
FAST = {"max_steps": 120, "eval_steps": 60, "save_steps": 60, "logging_steps": 20, "learning_rate": 0.02}
LORA = {"use_peft": True, "lora_r": 32, "lora_alpha": 64, "lora_dropout": 0.0, "lora_target_modules": "all-linear"}


def argv(root, *more: str) -> list[str]:
    return ["--config", str(root / "recipes/tiny/sft.yaml"), *more]


@pytest.mark.parametrize("name", chat.NAMES)
@pytest.mark.parametrize("columns", COLUMNS)
def test_the_labels_are_the_replies_and_their_ends(tmp_path, name, columns):
    trainer, _ = sft.prepare(argv(write(tmp_path, name, COLUMNS[columns])))
    own = trainer.processing_class
    end = own.convert_ids_to_tokens(chat.end_ids(own))[-1]
    found = []
    for batch in trainer.get_train_dataloader():
        for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True):
            assert torch.equal(labels[labels != -100], ids[labels != -100])
            found.append(own.decode(labels[labels != -100]).lstrip(" "))
            prompt = own.decode(ids[: int(torch.nonzero(labels != -100)[0])])
            assert prompt.replace("<pad>", "") in {"<bos>" + chat.ask(own, ask) for ask in ASKED}
    assert sorted(found) == sorted(reply + end for reply in SAID)


INPUT = [{"messages": [{**ROWS[0][0], "input": "dog, cat"}, {**ROWS[0][1], "input": ""}]}]
FOREIGN = chat.template("chat").replace("('\\n\\n' + message.input if message.input else '') + ", "")


@pytest.mark.parametrize(
    ("template", "behind"),
    [
        (chat.template("alpaca"), "\n\n### Input:\ndog, cat\n\n### Response:\n"),
        (chat.template("instruct"), "\n\ndog, cat\n\n### Response:\n"),
        (FOREIGN, "\n\ndog, cat\n\nAssistant:"),
    ],
)
def test_an_input_arrives_in_the_words_of_every_template(tmp_path, template, behind):
    root = write(tmp_path, "chat", INPUT * 4)
    folder = root / "checkpoints/tiny/pretrain"
    own = checkpoint.load_tokenizer(folder)
    assert "input" not in FOREIGN
    own.chat_template = template
    own.save_pretrained(folder)
    trainer, _ = sft.prepare(argv(root))
    text = own.decode(trainer.train_dataset[0]["input_ids"])
    assert f"{ASKED[0]}{behind}" in text
    assert text.count("dog, cat") == 1


@pytest.mark.parametrize("name", ["chatml", "chat"])
@pytest.mark.parametrize("how", ["full", "lora"])
def test_it_learns_to_answer_and_to_stop(tmp_path, name, how, capsys):
    """With our own decoding, and with what anybody would write who only has the folder."""
    keys = (
        {} if how == "full" else LORA | {"max_steps": 300, "eval_steps": 300, "save_steps": 300, "learning_rate": 0.005}
    )
    root = write(tmp_path, name, **(FAST | keys))
    folder = root / "checkpoints/tiny/sft"
    assert stage(root, "sft") == 0
    out = capsys.readouterr().out
    assert f"  {ASKED[0]} | " in out  # the first held-out questions
    assert files.read_json(folder / "metrics.json").get("eval_exact_match") is None
    model, own = checkpoint.load(folder)
    done = solver.generate(model, own, [chat.ask(own, ask) for ask in ASKED], max_new_tokens=40)
    assert [one.text.strip() for one in done] == list(SAID)
    assert all(one.finished and one.num_tokens < 40 for one in done)
    if how == "full":
        before, after = (load_file(root / f"checkpoints/tiny/{one}/model.safetensors") for one in ("pretrain", "sft"))
        assert all(not torch.equal(before[one], after[one]) for one in before)
    stock, its = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    asked = its.apply_chat_template(ROWS[0][:1], add_generation_prompt=True, return_tensors="pt", return_dict=True)
    written = stock.generate(**asked, max_new_tokens=40, do_sample=False)[0, asked["input_ids"].shape[1] :]
    assert its.decode(written, skip_special_tokens=True).strip() == SAID[0]
    assert len(written) < 40
    assert written[-1] == chat.end_ids(its)[-1]
    (told,) = pipeline("text-generation", model=str(folder), trust_remote_code=True)(ROWS[0][:1], do_sample=False)
    assert told["generated_text"][:-1] == ROWS[0][:1]
    assert told["generated_text"][-1]["content"].strip() == SAID[0]


def test_an_adapter_learns_the_tokens_that_pretraining_never_saw(tmp_path):
    root = write(tmp_path, "chatml", **LORA)
    assert stage(root, "sft") == 0
    folder = root / "checkpoints/tiny/sft"
    before, after = (load_file(root / f"checkpoints/tiny/{one}/model.safetensors") for one in ("pretrain", "sft"))
    own = AutoTokenizer.from_pretrained(folder)
    moved = (before["model.embed_tokens.weight"] != after["model.embed_tokens.weight"]).any(1).nonzero().flatten()
    assert set(own.convert_tokens_to_ids(list(chat.MARKS["chatml"]))) <= set(moved.tolist())
    merged, _ = checkpoint.load(folder)
    adapted, _ = checkpoint.load(folder / "adapter")
    assert merged.lm_head.weight is merged.model.embed_tokens.weight
    ids = torch.tensor([own(chat.ask(own, ASKED[0]))["input_ids"]])
    with torch.no_grad():
        torch.testing.assert_close(merged(ids).logits, adapted(ids).logits, rtol=1e-4, atol=1e-5)


def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path):
    whole, parts = (write(tmp_path / one, lr_scheduler_type="constant") for one in ("whole", "parts"))
    assert stage(whole, "sft") == 0
    assert stage(parts, "sft", "--max_steps", "2") == 0
    assert stage(parts, "sft", "--resume_from_checkpoint", "true") == 0
    one, other = (load_file(root / "checkpoints/tiny/sft/model.safetensors") for root in (whole, parts))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_conversation_that_does_not_fit_is_an_error_or_dropped(tmp_path, capsys):
    root = write(tmp_path, max_length=130)
    assert stage(root, "sft") == 2
    assert "max_length 130 cannot hold 1 of 5 rows" in capsys.readouterr().err
    trainer, _ = sft.prepare(argv(root, "--overlong", "drop"))
    assert len(trainer.train_dataset) == len(ROWS)


@pytest.mark.parametrize(
    ("name", "row", "said"),
    [
        (None, {"messages": ROWS[0]}, "set chat_template in tokenizer.yaml and make the tokenizer, which signs"),
        ("chat", {"messages": LONG[:2]}, "row 2 for fine-tuning: need a conversation that another begins"),
        ("chat", {"messages": [*ROWS[0], {"role": "robot", "content": "x"}]}, "got 'robot'"),
        ("chat", {"messages": [{"role": "user", "content": "<eos>"}, ROWS[0][1]]}, "'<eos>' in it"),
    ],
)
def test_rows_that_cannot_be_learned_are_named(tmp_path, capsys, name, row, said):
    root = write(tmp_path, name, [{"messages": ROWS[0]}, row])
    assert stage(root, "sft") == 2
    assert said in capsys.readouterr().err
    assert not (root / "checkpoints/tiny/sft/recipe.yaml").exists()


def test_without_a_template_a_prompt_and_its_completion_stand_as_they_are(tmp_path):
    trainer, _ = sft.prepare(argv(write(tmp_path, None, COLUMNS["prompt"])))
    own = trainer.processing_class
    texts = {own.decode(row["input_ids"], skip_special_tokens=True) for row in trainer.train_dataset}
    assert texts == {ask + reply for ask, reply in zip(ASKED, SAID, strict=True)}
