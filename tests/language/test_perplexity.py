"""Perplexity: that of a batch is that of a document by hand, and no window scores a token twice."""

from itertools import chain
from math import exp, log

import pytest
import torch
from accelerate import Accelerator
from hypothesis import given, settings
from hypothesis import strategies as st
from prose import make_model, make_tokenizer, texts

from arith_hf.language import perplexity
from arith_hf.language.perplexity import Document, document_losses, encode, estimate, first_token, windows
from arith_hf.language.yesno import pose
from arith_hf.train import data

DOCUMENTS = [*texts("en", 9), *texts("es", 7), "x", "ñ" * 70]


@pytest.fixture(scope="module")
def known():
    return make_tokenizer(320, DOCUMENTS)


def measured(model, known, context, stride, batch_size):
    found = list(encode(known, DOCUMENTS))
    return found, document_losses(model, found, first_token(known), context, stride, batch_size, Accelerator(), "test")


def by_hand(model, known, text, context, stride):
    """Each token by itself: the nats of it, from a pass over what its window shows before it, in doubles."""
    ids = known(text)["input_ids"]
    assert ids[0] == known.bos_token_id
    total = 0.0
    for place in range(1, len(ids)):
        windows_before = max(0, -(-(place - context) // stride))  # how many strides its window stands further on
        end = min(context + windows_before * stride, len(ids) - 1)
        begin = max(0, end - context)
        logits = model(input_ids=torch.tensor([ids[begin:place]]), use_cache=False).logits[0, -1].double()
        total -= float(logits.log_softmax(-1)[ids[place]])
    return total


@pytest.mark.parametrize(("context", "stride"), [(24, 12), (24, 24), (24, 1), (7, 3)])
@pytest.mark.parametrize("positions", ["rotary", "learned"])
def test_batches_padding_and_windows_give_what_single_tokens_give(known, context, stride, positions):
    model = make_model(known, position_embedding=positions)
    found, nats = measured(model, known, context, stride, 5)
    with torch.no_grad():
        due = [by_hand(model, known, text, context, stride) for text in DOCUMENTS]
    assert nats == pytest.approx(due, rel=1e-5)
    tokens = sum(len(one.ids) for one in found)
    assert estimate(found, nats)["perplexity"] == pytest.approx(exp(sum(due) / tokens), rel=1e-5)


def test_a_document_that_fits_is_scored_as_the_model_s_own_loss(known):
    model = make_model(known)
    found, nats = measured(model, known, 24, 12, 64)
    short = [at for at, one in enumerate(found) if len(one.ids) <= 24]
    assert len(short) > 3
    for at in short:
        ids = torch.tensor([[known.bos_token_id, *found[at].ids]])
        with torch.no_grad():
            loss = float(model(input_ids=ids, labels=ids, use_cache=False).loss)
        assert nats[at] / len(found[at].ids) == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_the_batch_size_changes_nothing(known, batch_size):
    model = make_model(known)
    assert measured(model, known, 24, 12, batch_size)[1] == pytest.approx(
        measured(model, known, 24, 12, 8)[1], rel=1e-6
    )


@given(length=st.integers(0, 90), context=st.integers(1, 40), part=st.floats(0, 1))
def test_each_token_is_scored_once_behind_all_that_its_window_may_show(length, context, part):
    stride = max(1, round(part * context))
    ids = list(range(1, length + 1))
    found = list(windows(ids, 0, context, stride))
    assert list(chain.from_iterable(one.ids[-one.scored :] for one in found)) == ids
    for at, one in enumerate(found):
        assert 1 <= one.scored < len(one.ids) <= context + 1
        assert list(one.ids) == list(range(one.ids[0], one.ids[-1] + 1)), "what stands there, in its order"
        assert one.ids[0] == 0 or len(one.ids) == context + 1, "no less is shown than fits"
        assert at == 0 or len(one.ids) - one.scored > context - stride


def test_windows_need_a_stride_that_leaves_no_gap():
    with pytest.raises(ValueError, match="1 <= stride <= context_length, got 5 and 4"):
        list(windows([1, 2], 0, 4, 5))


def test_an_untrained_model_is_near_its_vocabulary_and_the_same_at_every_call(known):
    model = make_model(known, initializer_range=0.5)
    state = torch.random.get_rng_state()
    fresh = perplexity.untrained(model)
    assert torch.equal(torch.random.get_rng_state(), state), "the global generator is left as it was"
    again = perplexity.untrained(model).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in fresh.state_dict().items())
    assert not torch.equal(fresh.get_input_embeddings().weight, model.get_input_embeddings().weight)
    plain = perplexity.untrained(make_model(known))
    found, nats = measured(plain, known, 24, 12, 32)
    assert estimate(found, nats)["perplexity"] == pytest.approx(len(known), rel=0.1)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=6))
def test_bytes_are_those_of_the_text_however_it_is_cut_into_tokens(some):
    for size in (261, 320):
        found = list(encode(make_tokenizer(size, DOCUMENTS), some))
        assert [one.bytes for one in found] == [len(text.encode()) for text in some]


def test_bits_per_byte_compare_where_perplexity_does_not():
    """One text as two tokens of 16 sorts, or as one of 256: the same information."""
    coarse, fine = [Document((1,), 4)] * 3, [Document((1, 2), 4)] * 3
    one, two = estimate(coarse, [log(256)] * 3), estimate(fine, [2 * log(16)] * 3)
    assert one["bits_per_byte"] == two["bits_per_byte"] == 2
    assert (round(one["perplexity"], 4), round(two["perplexity"], 4)) == (256, 16)


def test_a_mark_in_a_text_is_scored_as_it_is_learned(known):
    """As characters: the training reads `<eos>` in a text so, and an unknown token would end it."""
    texts = ["an <eos> and an <unk> in a manual"]
    learned = data.encode(known, texts)["input_ids"][0]
    (found,) = encode(known, texts)
    assert list(found.ids) == learned[1:]
    assert not {known.eos_token_id, known.unk_token_id} & set(found.ids)
    (asked,) = pose(known, [{"passage": texts[0], "question": "is it", "answer": True}], 0, 1000)
    assert not {known.eos_token_id, known.unk_token_id} & set(asked.windows[0].ids)


def test_the_unigram_baseline_counts_with_one_more_of_each(known):
    score = perplexity.unigram(known, ["a", "b", "a"])
    for letter, count in {"a": 3, "b": 2, "c": 1}.items():
        (_, token) = known(letter)["input_ids"]
        assert score(Document((token,), 1)) == pytest.approx(-log(count / (3 + len(known))))
    assert perplexity.unigram(known, []) is None


def test_intervals_hold_the_value_and_narrow_with_the_documents():
    few = [Document((1,) * (1 + at % 5), 4) for at in range(10)]
    nats = [len(one.ids) * (1 + 0.3 * (at % 7)) for at, one in enumerate(few)]
    one, many = estimate(few, nats), estimate(few * 16, nats * 16)
    assert one["perplexity"] == many["perplexity"]
    widths = []
    for found in (one, many):
        low, high = found["perplexity_interval"]
        assert low < found["perplexity"] < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2
    assert estimate(few[:1], nats[:1])["perplexity_interval"] is None
