import doctest
from itertools import pairwise

import pytest
import texts
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from arith_hf import checkpoint
from arith_hf.model import ArithConfig, ArithForCausalLM
from arith_hf.notation import expression as notation
from arith_hf.train import data, packing
from arith_hf.train.packing import pack, pieces


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


# Natural text


@pytest.fixture(scope="module")
def prose(tmp_path_factory):
    return texts.write(tmp_path_factory.mktemp("prose"))


def test_examples():
    assert doctest.testmod(packing).failed == 0


@given(st.integers(1, 200), st.integers(2, 20), st.data())
def test_windows_begin_a_stride_apart_and_reach_the_end(count, max_length, data):
    stride = data.draw(st.integers(1, max_length))
    found = [range(count)[piece] for piece in pieces(count, max_length, "split", stride)]
    assert [one.start for one in found] == list(range(0, stride * len(found), stride))
    assert all(len(one) == max_length for one in found[:-1])
    assert len(found) == 1 or len(found[-1]) > max_length - stride, "no window holds but what the one before holds"
    assert found[-1][-1] == count - 1


@given(st.integers(1, 200), st.integers(2, 20))
def test_each_token_but_the_first_is_learned_once(count, max_length):
    found = [range(count)[piece] for piece in pieces(count, max_length, "split", None)]
    assert [place for one in found for place in one[1:]] == list(range(1, count))


@pytest.mark.parametrize("stride", [None, 64, 40])
def test_each_token_of_a_long_document_is_in_a_piece_and_the_end_behind_the_last(prose, stride):
    model_tokenizer = checkpoint.load_tokenizer(prose / "checkpoints/tiny/tokenizer")
    rows, _ = data.load(str(prose / "data/tiny"), "pretrain", ["text"])
    assert len(rows) == 36, "both shards"
    end = model_tokenizer.eos_token_id
    whole = [(*ids, end) for ids in model_tokenizer(rows["text"][:])["input_ids"]]
    assert sum(len(ids) > 64 for ids in whole) > 20
    step = stride or 63
    tails = [range(0, max(1, len(ids) - 64 + step), step) for ids in whole]
    expected = [ids[start : start + 64] for ids, starts in zip(whole, tails, strict=True) for start in starts]
    blocks = pack(rows, model_tokenizer, 64, "split", stride=stride)
    found = [part for block in blocks for part in parts(block, model_tokenizer.pad_token_id)]
    assert sorted(ids for ids, _ in found) == sorted(expected)
    assert all(labels == (-100, *ids[1:]) for ids, labels in found), "all is learned but what nothing stands before"
    ends = [place for ids, _ in found for place, token in enumerate(ids, start=1 - len(ids)) if token == end]
    assert set(ends) == {0}, "the end token is the last of a piece, or in none"


def parts(block: dict[str, torch.Tensor], pad: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Tokens and labels of each document or piece in a block."""
    starts = [*(block["position_ids"] == 0).nonzero().flatten().tolist(), len(block["input_ids"])]
    ids, labels = (tuple(block[name].tolist()) for name in ("input_ids", "labels"))
    return [(ids[a:b], labels[a:b]) for a, b in pairwise(starts) if ids[a] != pad]


def surprise(model, ids: torch.Tensor, labels: torch.Tensor, **more: torch.Tensor) -> float:
    """The loss of a model, summed over what is learned, as the Trainer computes it."""
    learned = int((labels[1:] != -100).sum())
    with torch.no_grad():
        return float(model(ids[None], labels=labels[None], use_cache=False, **more).loss) * learned


def test_packed_text_has_the_perplexity_of_its_documents_alone(prose):
    """The loss that training sees, so that no label is of another document; of the model's own classes, not a copy."""
    model_tokenizer = checkpoint.load_tokenizer(prose / "checkpoints/tiny/tokenizer")
    rows, _ = data.load(str(prose / "data/tiny"), "pretrain", ["text"])
    torch.manual_seed(0)
    model = ArithForCausalLM(
        ArithConfig.from_size("tiny", vocab_size=len(model_tokenizer), initializer_range=0.2)
    ).eval()
    blocks = pack(rows, model_tokenizer, 160, "split")
    several = 0
    for block in blocks:
        alone = parts(block, model_tokenizer.pad_token_id)
        several += len(alone) > 1
        ids, labels = block["input_ids"], block["labels"]
        together = surprise(model, ids, labels, position_ids=block["position_ids"][None])
        apart = sum(surprise(model, *map(torch.tensor, one)) for one in alone if len(one[0]) > 1)
        learned = int((labels != -100).sum())
        assert together / learned == pytest.approx(apart / learned, abs=1e-5)
        crossed = surprise(model, ids, labels)
        assert len(alone) == 1 or abs(crossed - together) / learned > 1e-4, "it would be seen"
    assert several > 5
