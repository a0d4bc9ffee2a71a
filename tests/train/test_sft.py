import pytest
import torch
import yaml
from conftest import stage
from safetensors.torch import load_file

from arith_hf import checkpoint, files
from arith_hf.notation import expression as notation
from arith_hf.train import sft


def argv(road, *more: str, recipe: str = "sft") -> list[str]:
    return ["--config", str(road / f"recipes/tiny/{recipe}.yaml"), *more]


def test_only_the_completion_and_its_end_token_are_learned(road):
    """The mask's boundary is exact: nothing of the prompt, all of the completion, the end token last."""
    trainer, _ = sft.prepare(argv(road, "--output_dir", str(road / "checkpoints/tiny/masked")))
    tokenizer = trainer.processing_class
    rows = {row["prompt"] + row["completion"]: row for row in files.read_jsonl(road / "data/tiny/sft/train.jsonl")}
    batch = next(iter(trainer.get_train_dataloader()))
    for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True):
        learned = labels != -100
        assert torch.equal(labels[learned], ids[learned])
        assert labels[learned][-1] == tokenizer.eos_token_id
        row = rows[tokenizer.decode(ids, skip_special_tokens=True)]
        assert tokenizer.decode(labels[learned], skip_special_tokens=True) == row["completion"]
        prompt = tokenizer(row["prompt"])["input_ids"]
        start = int(torch.nonzero(learned)[0])
        first = int(torch.nonzero(ids == tokenizer.bos_token_id)[0])
        assert ids[first:start].tolist() == prompt
        assert (row["prompt"] + row["completion"]).count(notation.THINK) == 1


def test_a_length_is_recorded_where_the_recipe_says_one(road, tmp_path):
    """TRL's own is a cap that no row may come near."""
    said = yaml.safe_load((road / "recipes/tiny/sft.yaml").read_text())
    place = ("--dataset_name", str(road / "data/tiny"), "--model_name_or_path", str(road / "checkpoints/tiny/pretrain"))
    for name, length in (("said", said.pop("max_length")), ("unsaid", None)):
        recipe = tmp_path / f"{name}.yaml"
        recipe.write_text(yaml.safe_dump(said | ({"max_length": length} if length else {})))
        _, run = sft.prepare(["--config", str(recipe), *place, "--output_dir", str(tmp_path / name)])
        assert run.provenance["max_length"] == length


def test_every_parameter_moves_and_the_answer_is_measured(road):
    assert stage(road, "sft") == 0
    before, after = (load_file(road / f"checkpoints/tiny/{name}/model.safetensors") for name in ("pretrain", "sft"))
    assert all(not torch.equal(before[name], after[name]) for name in before)
    assert "eval_exact_match" in files.read_json(road / "checkpoints/tiny/sft/metrics.json")


def test_lora_leaves_an_adapter_and_the_model_merged_with_it(road):
    assert stage(road, "sft", recipe="lora") == 0
    folder = road / "checkpoints/tiny/lora"
    merged, tokenizer = checkpoint.load(folder)
    adapted, _ = checkpoint.load(folder / "adapter")
    moved = [name for name, value in load_file(folder / "adapter/adapter_model.safetensors").items() if value.any()]
    assert all("lora_A" in name or "lora_B" in name for name in moved)
    assert any("lora_B" in name for name in moved)
    ids = torch.tensor([tokenizer("Evaluate: 1 + 2\n")["input_ids"]])
    with torch.no_grad():
        torch.testing.assert_close(merged(ids).logits, adapted(ids).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"prompt": "Evaluate: 1\\n", "prompt": "Evaluate: 2\\n", "completion": "x"}', "key 'prompt' stands twice"),
        ('{"prompt": "Evaluate: 1\\n", "completion": "x", "weight": NaN}', "need a finite number"),
        ('{"prompt": "Evaluate: 1\\n", "completion": "x"', "not a JSON object"),
    ],
)
def test_rows_that_two_readers_take_for_two_things(road, tmp_path, capsys, line, said):
    mine = tmp_path / "mine.jsonl"
    mine.write_text(f'{{"prompt": "Evaluate: 3\\n", "completion": "y"}}\n{line}\n')
    assert stage(road, "sft", "--dataset_name", str(mine), "--output_dir", str(tmp_path / "sft")) == 2
    err = capsys.readouterr().err
    assert f"{mine}:2: broken line" in err
    assert said in err
    assert not (tmp_path / "sft").exists()


def test_rows_of_your_own(road, tmp_path):
    mine = tmp_path / "mine.jsonl"
    rows = list(files.read_jsonl(road / "data/tiny/sft/train.jsonl"))
    files.write_jsonl(mine, [{key: row[key] for key in ("prompt", "completion")} for row in rows])
    output = tmp_path / "mine"
    assert stage(road, "sft", "--dataset_name", str(mine), "--output_dir", str(output)) == 0
    assert files.read_json(output / "provenance.json")["data"]["path"] == str(mine)


def test_another_tokenizer_is_refused_with_both_fingerprints_and_the_repair(road, capsys, tmp_path):
    corpus = tmp_path / "data/tiny"
    corpus.mkdir(parents=True)
    manifest = files.read_json(road / "data/tiny/manifest.json")
    files.write_json(corpus / "manifest.json", manifest | {"tokenizer_fingerprint": "0" * 64})
    assert stage(road, "sft", "--dataset_name", str(corpus), "--output_dir", str(tmp_path / "out")) == 2
    said = capsys.readouterr().err
    assert "0" * 64 in said
    assert manifest["tokenizer_fingerprint"] in said
    assert "make" in said
