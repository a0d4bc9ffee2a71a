import json
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from conftest import stage
from datasets import Dataset

from arith_hf import checkpoint, files
from arith_hf.notation import expression as notation
from arith_hf.tokenizer import train as train_tokenizer
from arith_hf.train import data
from arith_hf.train.pretrain import PretrainArguments, pack, shape


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
    assert json.loads((folder / "config.json").read_text())["tokenizer_fingerprint"] == tokenizer["fingerprint"]


def test_blocks_hold_whole_documents_with_restarting_positions(road):
    tokenizer = checkpoint.load_tokenizer(road / "checkpoints/tiny/tokenizer")
    rows, _ = data.load(str(road / "data/tiny"), "pretrain", ["text"])
    blocks = pack(rows, tokenizer, 256)
    batch = blocks[:]
    assert batch["input_ids"].shape == batch["labels"].shape == batch["position_ids"].shape == (len(blocks), 256)
    found = []
    for ids, positions, labels in zip(*(batch[key].tolist() for key in batch), strict=True):
        starts = [place for place, position in enumerate(positions) if position == 0] + [256]
        for start, stop in pairwise(starts):
            assert positions[start:stop] == list(range(stop - start))
            if ids[start] != tokenizer.bos_token_id:
                assert set(labels[start:stop]) == {-100}  # padding
                continue
            learned = [label for label in labels[start:stop] if label != -100]
            assert learned == ids[stop - len(learned) : stop]  # one stretch, to the end of the document
            whole = ids[stop - 1] == tokenizer.eos_token_id
            text = [tokenizer.decode(part, skip_special_tokens=True) for part in (ids[start:stop], learned)]
            found.append((*text, whole))
    expected = [(row["text"], row["text"][row["given"] :], row["ends"]) for row in rows]
    assert sorted(found) == sorted(expected)


def test_a_document_that_no_block_holds_keeps_its_beginning(road):
    tokenizer = checkpoint.load_tokenizer(road / "checkpoints/tiny/tokenizer")
    texts = {"text": ["1 + 2", "1" * 80], "given": [2, 70]}
    blocks = pack(Dataset.from_dict(texts), tokenizer, 16, overlong="cut")
    short, long = sorted(blocks, key=lambda block: -(block["input_ids"] == tokenizer.pad_token_id).sum())
    two, end = tokenizer("1 + 2")["input_ids"][3], tokenizer.eos_token_id
    assert short["labels"].tolist() == [-100, -100, -100, two, end] + [-100] * 11
    assert long["input_ids"].tolist() == tokenizer("1" * 80)["input_ids"][:16]


def test_what_is_given_is_learned_where_asked(road):
    tokenizer = checkpoint.load_tokenizer(road / "checkpoints/tiny/tokenizer")
    rows = Dataset.from_dict({"text": ["1 + 2"], "given": [4]})
    all_of_it, rest = (pack(rows, tokenizer, 16, loss_on_given=asked)[0]["labels"] for asked in (True, False))
    assert (all_of_it != -100).sum() == 4
    assert (rest != -100).sum() == 2


def test_the_config_says_which_tokens_a_stride_places(road):
    tokenizer = checkpoint.load_tokenizer(road / "checkpoints/tiny/tokenizer")
    config = shape(PretrainArguments(size="tiny", config_overrides='{"line_stride": 16}'), tokenizer)
    assert [tokenizer.decode([token]) for token in config.line_token_ids] == ["Evaluate: ", "\nExpression now: "]
    assert shape(PretrainArguments(size="tiny"), tokenizer).line_token_ids is None
    with pytest.raises(ValueError, match="kind: digits"):
        shape(PretrainArguments(size="tiny", config_overrides='{"line_stride": 16}'), train_tokenizer("char"))


def test_decisive_tokens_weigh_more_and_the_mean_weight_is_one(road):
    tokenizer = checkpoint.load_tokenizer(road / "checkpoints/tiny/tokenizer")
    text = "\nStep 7: 12 - -7 = 19\nExpression now: 19\nStep 8: "
    given = text.index("19")
    block = pack(
        Dataset.from_dict({"text": [text], "given": [given], "ends": [False]}), tokenizer, 32, weights=(3.0, 1.0)
    )[0]
    labelled = block["labels"] != -100
    weights = block["loss_weights"][labelled]
    torch.testing.assert_close(weights.mean(), torch.tensor(1.0))
    heavy = tokenizer.decode(block["labels"][labelled][weights == weights.max()])
    assert heavy == "19\nExpression now: \nStep 8: "
    torch.testing.assert_close(weights.max(), 3 * weights.min())
    assert set(block["loss_weights"][~labelled & (block["input_ids"] == tokenizer.pad_token_id)].tolist()) == {0.0}


@pytest.mark.parametrize("ask", ["1 + 2", "1 +"])
def test_the_verdict_has_a_weight_of_its_own(road, ask):
    tokenizer = checkpoint.load_tokenizer(road / "checkpoints/tiny/tokenizer")
    text = notation.ask(ask) + notation.solution(notation.ask(ask))
    weights = (3.0 if " = " in text else 1.0, 20.0)
    (block,) = pack(Dataset.from_dict({"text": [text]}), tokenizer, 64, weights=weights)
    weights = block["loss_weights"]
    heavy = weights == weights.max()
    assert tokenizer.decode(block["input_ids"][heavy]) == ("\nStep 1: " if ask == "1 + 2" else notation.FAILED)
    assert tokenizer.decode(block["input_ids"][heavy.roll(-1)]) == notation.THINK
    labelled = block["labels"] != -100
    torch.testing.assert_close(weights.max(), 20 * weights[labelled].min())
    torch.testing.assert_close(weights[labelled].mean(), torch.tensor(1.0))


def test_a_verdict_that_is_given_has_no_weight(road):
    """Excerpts open as problems do and are worked, though malformed: not to be learned as a verdict."""
    tokenizer = checkpoint.load_tokenizer(road / "checkpoints/tiny/tokenizer")
    text = "Evaluate: (5 - 3\n<think>\nStep 1: 5 - 3 = 2\nExpression now: (2\nStep 2: "
    rows = Dataset.from_dict({"text": [text], "given": [text.index("5 - 3 =")], "ends": [False]})
    with pytest.raises(ValueError, match="verdict_weight: these texts have no token that it weighs: leave it out"):
        pack(rows, tokenizer, 64, weights=(3.0, 20.0), loss_on_given=True)


@pytest.mark.parametrize(
    "keys", [["--verdict_weight=0"], ["--decisive_weight=inf"], ["--decisive_weight=2", "--label_smoothing_factor=0.1"]]
)
def test_weights_that_cannot_be_are_refused(road, tmp_path, capsys, keys):
    refused = tmp_path / "refused"
    assert stage(road, "pretrain", "--output_dir", str(refused), *keys) == 2
    assert keys[0][2:].split("=")[0] in capsys.readouterr().err
    assert not refused.exists()


def test_text_is_tokenized_once(road, monkeypatch, tmp_path):
    tokenizer = checkpoint.load_tokenizer(road / "checkpoints/tiny/tokenizer")
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "1 + 2"}\n')
    first, second = (pack(data.read(path, ["text"]), tokenizer, 16) for _ in range(2))
    assert first.cache_files == second.cache_files != []


def test_text_alone_is_learned_from_its_first_token_on(road):
    tokenizer = checkpoint.load_tokenizer(road / "checkpoints/tiny/tokenizer")
    (block,) = pack(Dataset.from_dict({"text": ["1 + 2"]}), tokenizer, 64)
    learned = [*tokenizer("1 + 2")["input_ids"][1:], tokenizer.eos_token_id]
    assert block["labels"].tolist() == [-100, *learned] + [-100] * (63 - len(learned))


def test_a_document_does_not_see_its_neighbours(road):
    model, tokenizer = checkpoint.load(road / "checkpoints/tiny/pretrain")
    rows, _ = data.load(str(road / "data/tiny"), "pretrain", ["text"])
    blocks = pack(rows, tokenizer, 256)
    positions = blocks[:]["position_ids"]
    most = int((positions == 0).sum(1).argmax())  # the block with the most documents
    input_ids, position_ids = blocks[most]["input_ids"][None], positions[most][None]
    with torch.no_grad():
        together = model(input_ids, position_ids=position_ids, use_cache=False).logits[0]
        starts = (position_ids[0] == 0).nonzero().flatten().tolist()
        assert len(starts) > 2
        for start, stop in pairwise(starts):
            alone = model(input_ids[:, start:stop], use_cache=False).logits[0]
            torch.testing.assert_close(together[start:stop], alone, rtol=1e-4, atol=1e-5)


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
