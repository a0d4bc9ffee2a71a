import json
import shutil
from pathlib import Path

import pytest
import texts
import torch
import yaml
from conftest import stage
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file

from arith_hf import checkpoint, files, provenance, solver
from arith_hf.tokenizer import train as train_tokenizer
from arith_hf.train import data
from arith_hf.train.pretrain import PretrainArguments, prepare, shape


def test_the_stage_signs_off_last(road):
    folder = road / "checkpoints/tiny/pretrain"
    metrics = files.read_json(folder / "metrics.json")
    assert metrics["steps"] == 4
    assert metrics["eval_loss"] > 0
    assert 0 <= metrics["eval_exact_match"] <= 1
    last = max(folder.iterdir(), key=lambda path: path.stat().st_ctime_ns)
    assert last.name == "metrics.json"
    log = files.read_json(folder / "trainer_state.json")["log_history"]
    assert [row["step"] for row in log if "loss" in row] == [1, 2, 3, 4]
    assert [row["eval_exact_match"] for row in log if "eval_exact_match" in row][-1] == metrics["eval_exact_match"]
    provenance = files.read_json(folder / "provenance.json")
    tokenizer = files.read_json(road / "checkpoints/tiny/tokenizer/metrics.json")
    assert provenance["tokenizer_fingerprint"] == tokenizer["fingerprint"]
    assert provenance["max_length"] == 256
    assert json.loads((folder / "config.json").read_text())["tokenizer_fingerprint"] == tokenizer["fingerprint"]


def test_the_config_says_which_tokens_a_stride_places(road):
    tokenizer = checkpoint.load_tokenizer(road / "checkpoints/tiny/tokenizer")
    config = shape(PretrainArguments(size="tiny", config_overrides='{"line_stride": 16}'), tokenizer)
    assert [tokenizer.decode([token]) for token in config.line_token_ids] == ["Evaluate: ", "\nExpression now: "]
    assert shape(PretrainArguments(size="tiny"), tokenizer).line_token_ids is None
    with pytest.raises(ValueError, match="kind: digits"):
        shape(PretrainArguments(size="tiny", config_overrides='{"line_stride": 16}'), train_tokenizer("char"))


@pytest.mark.parametrize(
    "keys", [["--verdict_weight=0"], ["--decisive_weight=inf"], ["--decisive_weight=2", "--label_smoothing_factor=0.1"]]
)
def test_weights_that_cannot_be_are_refused(road, tmp_path, capsys, keys):
    refused = tmp_path / "refused"
    assert stage(road, "pretrain", "--output_dir", str(refused), *keys) == 2
    assert keys[0][2:].split("=")[0] in capsys.readouterr().err
    assert not refused.exists()


def test_another_recipe_is_not_mixed_with_an_unfinished_run(road, capsys):
    folder = road / "checkpoints/tiny/changed"
    again = ["--output_dir", str(folder), "--learning_rate", "0.002"]
    assert stage(road, "pretrain", "--output_dir", str(folder)) == 0
    assert stage(road, "pretrain", *again, "--resume_from_checkpoint", str(folder)) == 2
    assert "no step checkpoint at" in capsys.readouterr().err, "the log beside a finished model is no step"
    (folder / "metrics.json").unlink()
    (folder / "checkpoint-9").mkdir()  # a step whose saving was cut off: no trainer_state.json in it
    assert stage(road, "pretrain", *again) == 2
    assert "learning_rate changed" in capsys.readouterr().err
    assert (folder / "checkpoint-4").is_dir()
    assert stage(road, "pretrain", "--output_dir", str(folder), "--logging_steps", "3") == 0
    assert files.read_json(folder / "metrics.json")["resumed_from"].endswith("checkpoint-4")
    (folder / "metrics.json").unlink()
    assert stage(road, "pretrain", *again, "--resume_from_checkpoint", "false") == 0
    assert files.read_json(folder / "metrics.json")["resumed_from"] is None


def test_rows_that_do_not_fit_are_an_error_or_counted(road, capsys):
    output = str(road / "checkpoints/tiny/short")
    assert stage(road, "pretrain", "--output_dir", output) == 0
    assert stage(road, "pretrain", "--output_dir", output, "--max_length", "40") == 2
    said = capsys.readouterr().err
    assert "max_length 40 cannot hold" in said
    assert "overlong: drop" in said
    assert (Path(output) / "model.safetensors").is_file()  # the finished model is still there
    assert (Path(output) / "metrics.json").is_file()
    assert stage(road, "pretrain", "--output_dir", output, "--max_length", "40", "--overlong", "drop") == 0


def test_a_flipped_byte_in_the_weights_is_found(road, tmp_path):
    shutil.copytree(road / "checkpoints/tiny/pretrain", tmp_path / "flipped")
    weights = tmp_path / "flipped/model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-9] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ValueError, match="is not what the stage saved"):
        checkpoint.load(tmp_path / "flipped")


def test_a_corpus_that_was_cut_is_not_trained_on(road, tmp_path):
    shutil.copytree(road / "data/tiny", tmp_path / "cut")
    path = tmp_path / "cut/sft/train.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(ValueError, match=r"sft/train\.jsonl is not the file that the corpus was finished with"):
        data.load(str(tmp_path / "cut"), "sft", ["prompt"])


# Natural text


@pytest.fixture(scope="module")
def prose(tmp_path_factory):
    """Pretrained on natural text, its first phase."""
    root = texts.write(tmp_path_factory.mktemp("prose"))
    (root / "recipes/tiny/continue.yaml").write_text(
        yaml.safe_dump({key: value for key, value in texts.KEYS.items() if key != "size"})
    )
    assert stage(root, "pretrain") == 0
    return root


def test_fixed_prompts_are_gone_on_with_at_each_evaluation(prose, tmp_path):
    folder = prose / "checkpoints/tiny/pretrain"
    rows = list(files.read_jsonl(folder / "generations.jsonl"))
    assert [(row["step"], row["prompt"]) for row in rows] == [(2, "Hello"), (2, "Hola"), (4, "Hello"), (4, "Hola")]
    model, model_tokenizer = checkpoint.load(folder)
    (last,) = solver.generate(model, model_tokenizer, ["Hola"], max_new_tokens=64)
    assert rows[-1]["completion"] == last.text, "greedy, by the weights of that step"
    more = ("--sample_steps", "1", "--sample_length", "3", "--sample_temperature", "0.7")
    assert stage(prose, "pretrain", "--output_dir", str(tmp_path / "often"), *more, "--report_to", "tensorboard") == 0
    often = list(files.read_jsonl(tmp_path / "often/generations.jsonl"))
    assert [row["step"] for row in often] == [1, 1, 2, 2, 3, 3, 4, 4]
    said = [row["completion"].replace("\N{REPLACEMENT CHARACTER}", "?") for row in often]  # half a character
    assert all(len(ids) <= 1 + 3 for ids in model_tokenizer(said)["input_ids"])
    written = b"".join(path.read_bytes() for path in (tmp_path / "often").rglob("events.out.*"))
    assert b"samples/text_summary" in written


def test_a_second_phase_goes_on_from_the_first(prose):
    """By the recipe's name alone: its weights, a new optimizer and schedule, another mixture."""
    first, second = (prose / "checkpoints/tiny" / name for name in ("pretrain", "continue"))
    weights = ["--source_weights", '{"es": 1.0}', "--learning_rate", "1e-9", "--optimizer", "trainer"]
    assert stage(prose, "pretrain", *weights, recipe="continue") == 0
    made = files.read_json(second / "provenance.json")
    assert made["parent"] == str(first)
    assert made["parent_sha256"] == provenance.weights_hash(first)
    assert [one["stage"] for one in made["ancestors"]] == ["tiny", "tokenizer", "pretrain"]
    before, after = (load_file(folder / "model.safetensors") for folder in (first, second))
    for name in before:
        torch.testing.assert_close(before[name], after[name], rtol=0, atol=1e-7)
    assert any(not torch.equal(before[name], after[name]) for name in before)
    log = files.read_json(second / "trainer_state.json")["log_history"]
    assert [row["step"] for row in log if "loss" in row] == [1, 2, 3, 4]
    assert [row["mix_es"] for row in log if "mix_es" in row] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--size", "mini"], "size: {}, which model_name_or_path goes on from, has its shape"),
        (["--config_overrides", "{}"], "config_overrides: {}, which"),
        (["--window_stride", "8", "--overlong", "cut"], "window_stride: need overlong: split, got cut"),
        (["--window_stride", "65"], "need 1 <= window_stride <= max_length = 64, got 65"),
        (["--max_length", "1"], "need max_length >= 2"),
        (["--sample_steps", "0"], "need sample_steps >= 1, got 0"),
    ],
)
def test_keys_that_cannot_be_are_refused(prose, tmp_path, capsys, more, said):
    assert stage(prose, "pretrain", "--output_dir", str(tmp_path / "out"), *more, recipe="continue") == 2
    assert said.format(prose / "checkpoints/tiny/pretrain") in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_model_of_another_tokenizer_is_not_gone_on_from(prose, road, tmp_path, capsys):
    other = str(road / "checkpoints/tiny/pretrain")
    place = ["--output_dir", str(tmp_path / "out"), "--model_name_or_path", other]
    assert stage(prose, "pretrain", *place, recipe="continue") == 2
    said = capsys.readouterr().err
    assert f"{other} was made with tokenizer" in said
    assert files.read_json(prose / "checkpoints/tiny/tokenizer/metrics.json")["fingerprint"] in said


def test_an_adapter_is_not_gone_on_from(prose, tmp_path):
    parent = prose / "checkpoints/tiny/pretrain"
    model, model_tokenizer = checkpoint.load(parent)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear"))
    adapted.peft_config["default"].base_model_name_or_path = str(parent)
    adapted.save_pretrained(tmp_path / "adapter")
    model_tokenizer.save_pretrained(tmp_path / "adapter")
    place = ["--output_dir", str(tmp_path / "out"), "--model_name_or_path", str(tmp_path / "adapter")]
    with pytest.raises(ValueError, match="need a full or merged model to go on from, got the adapter"):
        prepare(["--config", str(prose / "recipes/tiny/continue.yaml"), *place])


def test_more_than_the_learned_positions_is_refused(prose, tmp_path, capsys):
    learned = '{"position_embedding": "learned", "max_position_embeddings": 32}'
    place = ["--output_dir", str(tmp_path / "out"), "--config_overrides", learned]
    assert stage(prose, "pretrain", *place) == 2
    assert "need max_length <= 32" in capsys.readouterr().err
    assert stage(prose, "pretrain", *place, "--max_length", "32", "--max_steps", "1") == 0


def test_what_repeats_is_predicted_one_step_ahead_not_two(tmp_path):
    """A label that is shifted twice, by the data and by the model, teaches to skip a token."""
    period = "abcdefg"
    root = texts.write(tmp_path, [{"text": period[i % 7 :] + period * 12, "source": "en"} for i in range(28)])
    more = ("--max_steps", "80", "--learning_rate", "0.01", "--eval_steps", "80", "--save_steps", "80")
    assert stage(root, "pretrain", *more, "--logging_steps", "80") == 0
    model, model_tokenizer = checkpoint.load(root / "checkpoints/tiny/pretrain")
    ids = torch.tensor([model_tokenizer("abcdefgabcd")["input_ids"]])
    with torch.no_grad():
        predicted = model(ids).logits[0].argmax(-1)
    assert predicted[4:-1].tolist() == ids[0, 5:].tolist()
