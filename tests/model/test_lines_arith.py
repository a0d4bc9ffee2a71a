"""Lines that all begin at position 0: where a token stands, what it sees, and the same numbers however it is called."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from arith_hf import files
from arith_hf.model import ArithConfig, ArithForCausalLM, lines_arith

PAD, BOS, EOS, VOCABULARY = 0, 1, 2, 24
LINES = [3, 7]  # ids that begin a line
NUMBERS = {"aligned": {}, "narrow": {"position_window": 2}, "wide": {"position_window": 4}}
NUMBERS["sink"] = {"position_window": 2, "attention_sink": True}


def make(**fields) -> ArithForCausalLM:
    """A tiny model in evaluation mode; weights larger than at the start of training, so that mistakes show."""
    torch.manual_seed(0)
    known = {"vocab_size": VOCABULARY, "pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": EOS}
    known |= {"initializer_range": 0.2, "line_stride": 0, "line_token_ids": LINES}
    return ArithForCausalLM(ArithConfig.from_size("tiny", **{**known, **fields})).eval()


def draw(*shape: int, seed: int = 1) -> torch.Tensor:
    """Ids, of which about a third begin a line."""
    chance = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, VOCABULARY, shape, generator=chance)
    return torch.where(torch.rand(shape, generator=chance) < 0.25, torch.tensor(LINES[0]), ids)


def assert_close(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def place(model: ArithForCausalLM, ids: torch.Tensor, position_ids: torch.Tensor | None = None) -> torch.Tensor:
    counted = torch.arange(ids.shape[1])[None] if position_ids is None else position_ids
    return lines_arith.line_positions(model.config, ids, counted)


# Where a token stands


def test_every_line_and_every_document_begins_at_zero() -> None:
    ids = torch.tensor([[BOS, 9, 9, 3, 9, 7, 3, 9, 9, 9, EOS, BOS, 9, 3, 9]])
    position_ids = torch.tensor([[*range(11), *range(4)]])
    placed = place(make(), ids, position_ids)
    assert placed.tolist() == [[0, 1, 2, 0, 1, 0, 0, 1, 2, 3, 4, 0, 1, 0, 1]]


@given(st.lists(st.lists(st.sampled_from([3, 7, 9, 9, 9]), min_size=1, max_size=9), min_size=1, max_size=5))
def test_positions_are_counted_from_the_last_beginning(documents: list[list[int]]) -> None:
    expected = []
    for document in documents:
        for index, token in enumerate(document):
            expected.append(0 if index == 0 or token in LINES else expected[-1] + 1)
    config = ArithConfig.from_size("tiny", line_stride=0, line_token_ids=LINES)
    ids = torch.tensor([[token for document in documents for token in document]])
    position_ids = torch.tensor([[index for document in documents for index in range(len(document))]])
    assert lines_arith.line_positions(config, ids, position_ids).tolist() == [expected]


def test_digits_of_one_place_share_a_position_whatever_the_padding() -> None:
    """Of two numbers behind each other, with padding on the left, as the solver gives them."""
    ids = torch.tensor([[PAD, PAD, BOS, 9, 9, 3, 9, 9], [BOS, 9, 9, 9, 3, 9, 9, 9]])
    counted = torch.tensor([[0, 0, 0, 1, 2, 3, 4, 5], [*range(8)]])
    assert place(make(), ids, counted).tolist() == [[0, 0, 0, 1, 2, 0, 1, 2], [0, 1, 2, 3, 0, 1, 2, 3]]


# What it sees


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("window", [None, 1, 2, 3])
def test_a_token_sees_those_before_it_whose_positions_are_near(window: int | None, attention: str) -> None:
    """Each token in turn is made another one of its kind; with one layer only those that see it change."""
    model = make(position_window=window, num_hidden_layers=1, attn_implementation=attention)
    ids = torch.tensor([[BOS, 9, 9, 9, 3, 9, 9, 9, 9, 7, 9, 9]])
    placed = place(model, ids)[0].tolist()
    before = model(ids).logits[0]
    for index, token in enumerate(ids[0].tolist()):
        other = ids.clone()
        other[0, index] = {BOS: EOS, 3: 7, 7: 3}.get(token, 11)
        changed = (model(other).logits[0] - before).abs().amax(-1) > 1e-5
        near = [abs(placed[at] - placed[index]) < (window or 99) for at in range(len(placed))]
        assert changed.tolist() == [at >= index and near[at] for at in range(len(placed))], index


def test_without_a_stride_the_same_weights_say_something_else() -> None:
    model, ids = make(), draw(1, 12)
    plain = make(line_stride=None, line_token_ids=None)
    plain.load_state_dict(model.state_dict())
    assert not torch.allclose(model(ids).logits[0, -1], plain(ids).logits[0, -1], atol=1e-3)


def test_a_number_looks_the_same_wherever_it_stands() -> None:
    """What follows from no position but that in the line: a line in front, out of the window, changes nothing."""
    model = make(position_window=1, num_hidden_layers=1)
    short, long = torch.tensor([[3, 9, 11, 12]]), torch.tensor([[7, 3, 9, 11, 12]])
    assert_close(model(long).logits[0, -3:], model(short).logits[0, -3:])


# However it is called


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_sink_tells_how_many_there_are_to_see(attention: str) -> None:
    """A mean over equal tokens is the same for any number of them; with one more score of 0 it is not."""
    once, twice = torch.tensor([[BOS, 9, 3, 9]]), torch.tensor([[BOS, 9, 3, 9, 3, 9]])
    for sink in (False, True):
        fields = {"position_window": 1, "num_hidden_layers": 1, "attention_sink": sink}
        model = make(attn_implementation=attention, **fields)
        one, other = (model(input_ids=ids).logits[0, -1] for ids in (once, twice))
        assert torch.allclose(one, other, atol=1e-5) is not sink


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("fields", NUMBERS.values(), ids=NUMBERS)
def test_cached_equals_uncached(fields: dict, attention: str) -> None:
    model, ids = make(attn_implementation=attention, **fields), draw(2, 20)
    placed, cache, steps = place(model, ids), None, []
    for part in (slice(8), slice(8, 13), *(slice(at, at + 1) for at in range(13, 20))):
        out = model(ids[:, part], past_key_values=cache, use_cache=True, rotary_position_ids=placed[:, : part.stop])
        cache = out.past_key_values
        steps.append(out.logits)
    assert_close(torch.cat(steps, dim=1), model(ids, use_cache=False).logits)


@pytest.mark.parametrize("cache", ["dynamic", "static", "none"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("fields", NUMBERS.values(), ids=NUMBERS)
def test_a_padded_batch_writes_what_each_row_writes_alone(fields: dict, attention: str, cache: str) -> None:
    model = make(attn_implementation=attention, **fields)
    rows = [draw(length, seed=length) for length in (3, 9, 14)]
    ids = torch.stack([torch.cat((torch.full((14 - len(row),), PAD), row)) for row in rows])
    mask = (ids != PAD).long()
    how = {"dynamic": {}, "static": {"cache_implementation": "static"}, "none": {"use_cache": False}}[cache]
    written = model.generate(
        ids, attention_mask=mask, max_new_tokens=12, do_sample=False, eos_token_id=None, disable_compile=True, **how
    )
    together = model(ids, attention_mask=mask).logits
    for index, row in enumerate(rows):
        assert_close(together[index, 14 - len(row) :], model(row[None]).logits[0])
        expected = row[None]
        for _ in range(12):
            expected = torch.cat((expected, model(expected).logits[:, -1:].argmax(-1)), dim=1)
        assert torch.equal(written[index, 14:], expected[0, len(row) :])


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("fields", NUMBERS.values(), ids=NUMBERS)
def test_packed_documents_are_as_each_alone(fields: dict, attention: str, use_cache: bool) -> None:
    model, lengths = make(attn_implementation=attention, **fields), (5, 1, 9, 5)
    ids = draw(2, sum(lengths))
    position_ids = torch.cat([torch.arange(length) for length in lengths]).expand(2, -1)
    packed = model(ids, position_ids=position_ids, use_cache=use_cache).logits
    for part, alone in zip(packed.split(lengths, dim=1), ids.split(lengths, dim=1), strict=True):
        assert_close(part, model(alone).logits)


@pytest.mark.parametrize("fields", NUMBERS.values(), ids=NUMBERS)
def test_training_gives_the_same_gradients_for_both_attentions(fields: dict) -> None:
    model, ids = make(**fields).train(), draw(2, 20)
    eager = copy.deepcopy(model)
    eager.set_attn_implementation("eager")
    for one in (model, eager):
        one(ids, labels=ids).loss.backward()
    for one, other in zip(model.parameters(), eager.parameters(), strict=True):
        assert one.grad.abs().sum() > 0
        assert_close(one.grad, other.grad)


@pytest.mark.parametrize("fields", NUMBERS.values(), ids=NUMBERS)
def test_a_saved_model_keeps_its_lines(fields: dict, tmp_path) -> None:
    model, ids = make(**fields), draw(2, 20)
    model.save_pretrained(tmp_path)
    said = files.read_json(tmp_path / "config.json")
    assert (said["line_stride"], said["line_token_ids"]) == (0, LINES), "0 is not none"
    assert said.get("position_window") == fields.get("position_window")
    loaded = ArithForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(loaded(ids).logits, model(ids).logits)
    how = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None}
    assert torch.equal(loaded.generate(ids, **how), model.generate(ids, **how))


# What is refused


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"line_stride": None, "position_window": 2}, "need line_stride 0 and a position_window >= 1, or none"),
        ({"line_stride": 4, "position_window": 2}, "need line_stride 0 and a position_window >= 1, or none"),
        ({"position_window": 0}, "need line_stride 0 and a position_window >= 1, or none, got 0 and 0"),
        ({"sliding_window": 8}, "need position_window, and no sliding_window, with line_stride 0, got 8"),
        ({"sliding_window": 8, "window_counts": "positions"}, "need a line_stride, and a sliding_window greater"),
        ({"attention_sink": True}, "need a position_window for attention_sink, got none"),
        ({"line_token_ids": None}, "need line_token_ids with line_stride"),
        ({"line_token_ids": [VOCABULARY]}, "need line_token_ids with line_stride, below vocab_size = 24"),
        ({"line_stride": -1}, "need line_stride >= 0"),
        ({"position_embedding": "learned"}, "need line_stride >= 0 and rotary positions"),
    ],
)
def test_fields_that_do_not_go_together_are_refused(fields: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make(**fields)


@pytest.mark.parametrize("attention", ["flash_attention_2", "flex_attention"])
def test_a_position_window_needs_an_attention_that_takes_a_mask(attention: str) -> None:
    config = make(position_window=2).config
    config._attn_implementation_internal = attention
    with pytest.raises(ValueError, match=f"need attn_implementation sdpa or eager .* got {attention}"):
        lines_arith.require_mask(config)
    aligned = make().config
    aligned._attn_implementation_internal = attention
    lines_arith.require_mask(aligned)  # positions alone need none


@pytest.mark.parametrize("fields", NUMBERS.values(), ids=NUMBERS)
def test_aligned_lines_are_no_stock_architecture(fields: dict) -> None:
    with pytest.raises(ValueError, match="no stock architecture has a line_stride"):
        make(qk_norm=True, **fields).config.to_stock()


@pytest.mark.parametrize("fields", NUMBERS.values(), ids=NUMBERS)
def test_the_ids_of_the_whole_text_are_needed(fields: dict) -> None:
    model = make(**fields)
    with pytest.raises(ValueError, match="rotary_position_ids"):
        model(inputs_embeds=torch.zeros(1, 2, 32))
    cache = model(draw(1, 5), use_cache=True).past_key_values
    with pytest.raises(ValueError, match="rotary_position_ids"):
        model(draw(1, 1), past_key_values=cache)
    with pytest.raises(ValueError, match="prefill_chunk_size"):
        model.generate(draw(1, 9), max_new_tokens=2, prefill_chunk_size=4)
