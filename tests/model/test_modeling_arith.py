"""The network: equal to the stock ones, and the same numbers however it is called."""

import copy

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import LlamaForCausalLM, Qwen3ForCausalLM, Trainer, TrainingArguments

from arith_hf.model import ArithConfig, ArithForCausalLM, lines_arith, modeling_arith

PAD, BOS, EOS, VOCABULARY = 0, 1, 2, 24
POSITIONS = ("rotary", "learned", "none", "window", "lines", "wide lines")


def make(seed: int = 0, **fields) -> ArithForCausalLM:
    """A tiny model in evaluation mode; weights larger than at the start of training, so that mistakes show."""
    torch.manual_seed(seed)
    named = {
        "window": {"sliding_window": 6},
        "lines": {"sliding_window": 6, "line_stride": 4, "line_token_ids": [3, 7, 8], "window_counts": "positions"},
        "wide lines": {"sliding_window": 30, "line_stride": 16, "line_token_ids": [3, 7], "window_counts": "positions"},
    }
    if (name := fields.get("position_embedding")) in named:
        fields = named[name] | fields | {"position_embedding": "rotary"}
    special = {"pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": EOS}
    shape = {"vocab_size": VOCABULARY, "max_position_embeddings": 64, "initializer_range": 0.2}
    return ArithForCausalLM(ArithConfig.from_size("tiny", **{**special, **shape, **fields})).eval()


def draw(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(3, VOCABULARY, shape, generator=torch.Generator().manual_seed(seed))


def assert_close(one: torch.Tensor, other: torch.Tensor, atol: float = 1e-5) -> None:
    torch.testing.assert_close(one, other, atol=atol, rtol=0)


# The stock architectures


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize(
    ("shape", "stock"),
    [
        ({}, LlamaForCausalLM),
        ({"head_dim": 24}, LlamaForCausalLM),
        ({"qk_norm": True}, Qwen3ForCausalLM),
        ({"qk_norm": True, "sliding_window": 6, "head_dim": 24}, Qwen3ForCausalLM),
    ],
)
def test_logits_loss_and_gradients_are_those_of_the_stock_architecture(shape, stock, tie, attention) -> None:
    ours = make(**shape, tie_word_embeddings=tie, rope_theta=500, attn_implementation=attention)
    theirs = stock(ours.config.to_stock()).eval()
    theirs.set_attn_implementation(attention)
    theirs.load_state_dict(ours.state_dict())
    ids = draw(3, 20)
    one, other = ours(ids, labels=ids), theirs(ids, labels=ids)
    assert torch.equal(one.logits, other.logits)
    assert torch.equal(one.loss, other.loss)
    one.loss.backward()
    other.loss.backward()
    for (name, mine), (_, stocks) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert_close(mine.grad, stocks.grad, 1e-6), name


def test_the_stock_configuration_has_the_same_special_tokens() -> None:
    stock = make().config.to_stock()
    assert (stock.pad_token_id, stock.bos_token_id, stock.eos_token_id) == (PAD, BOS, EOS)
    assert (stock.model_type, stock.architectures) == ("llama", ["LlamaForCausalLM"])


def test_a_window_without_qk_norm_is_no_stock_architecture() -> None:
    with pytest.raises(ValueError, match="qk_norm"):
        make(sliding_window=6).config.to_stock()


def test_a_token_sees_itself_and_the_window_before_it() -> None:
    model = make(sliding_window=3, num_hidden_layers=1)
    x = torch.randn(1, 9, 32, requires_grad=True)
    model(inputs_embeds=x).logits[:, 7].sum().backward()
    assert [bool(place.any()) for place in x.grad[0]] == [False] * 5 + [True] * 3 + [False]


@pytest.mark.parametrize("lines", [{}, {"line_stride": 30, "line_token_ids": [3], "window_counts": "positions"}])
@pytest.mark.parametrize("window", [32, 64, 100])
def test_a_long_input_in_chunks_is_the_same(window, lines, monkeypatch) -> None:
    ids, mask = draw(2, 150), torch.ones(2, 150).long()
    mask[0, :90] = 0
    position_ids = torch.cat((torch.arange(80), torch.arange(70)))[None].expand(2, -1)
    for how in ({}, {"attention_mask": mask}, {"position_ids": position_ids}):
        model, there = (
            make(qk_norm=True, sliding_window=window, **lines),
            how.get("attention_mask", mask * 0 + 1).bool(),
        )
        chunked = model(ids, **how).logits[there]
        chunked.sum().backward()
        with monkeypatch.context() as patch:
            patch.setattr(modeling_arith, "in_chunks", lambda *_: False)
            whole = copy.deepcopy(model)
            whole.zero_grad()
            logits = whole(ids, **how).logits[there]
            logits.sum().backward()
        assert_close(chunked, logits)
        for one, other in zip(model.parameters(), whole.parameters(), strict=True):
            assert_close(one.grad, other.grad, 1e-3)


def test_lines_begin_at_multiples_of_the_stride() -> None:
    config = make(position_embedding="lines").config
    ids = torch.tensor([[3, 9, 9, 7, 9, 9, 9, 9, 3, 9, 1, 9, 9, 9, 9, 8, 9]])
    position_ids = torch.tensor([[*range(10), *range(7)]])
    expected = [0, 1, 2, 4, 5, 6, 7, 8, 12, 13, 0, 1, 2, 3, 4, 8, 9]
    assert lines_arith.line_positions(config, ids, position_ids).tolist() == [expected]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_window_over_lines_counts_positions(attention) -> None:
    model = make(position_embedding="lines", num_hidden_layers=1, attn_implementation=attention)
    x, ids = torch.randn(1, 11, 32, requires_grad=True), torch.tensor([[3, 9, 7, 9, 9, 8, 9, 3, 7, 9, 9]])
    placed = lines_arith.line_positions(model.config, ids, torch.arange(11)[None])
    assert placed.tolist() == [[0, 1, 4, 5, 6, 8, 9, 12, 16, 17, 18]]
    model(inputs_embeds=x, rotary_position_ids=placed).logits[:, 9].sum().backward()
    assert [bool(place.any()) for place in x.grad[0]] == [False] * 7 + [True] * 3 + [False]  # three of six


def test_a_window_over_lines_needs_a_mask() -> None:
    config = make(position_embedding="lines").config
    config._attn_implementation_internal = "flash_attention_2"
    with pytest.raises(ValueError, match="sdpa or eager"):
        lines_arith.require_mask(config)


def test_a_window_of_tokens_sees_several_short_lines() -> None:
    ids = torch.tensor([[3, 9, 7, 9, 9, 8, 9, 3, 7, 9, 9]])
    positions, tokens = make(position_embedding="lines"), make(position_embedding="lines", window_counts="tokens")
    assert not torch.allclose(positions(ids).logits[0, -1], tokens(ids).logits[0, -1], atol=1e-3)
    assert tokens.config.window_counts == "tokens" == ArithConfig().window_counts


def test_rotary_positions_of_the_call_alone_are_refused() -> None:
    model, ids = make(position_embedding="lines"), draw(1, 9)
    cache = model(ids[:, :8], use_cache=True).past_key_values
    placed = lines_arith.line_positions(model.config, ids, torch.arange(9)[None])
    with pytest.raises(ValueError, match="rotary_position_ids"):
        model(ids[:, 8:], past_key_values=cache, rotary_position_ids=placed[:, 8:])


def test_lines_are_no_stock_architecture_and_need_all_ids() -> None:
    model = make(position_embedding="lines", qk_norm=True)
    with pytest.raises(ValueError, match="line_stride"):
        model.config.to_stock()
    with pytest.raises(ValueError, match="rotary_position_ids"):
        model(inputs_embeds=torch.zeros(1, 2, 32))
    with pytest.raises(ValueError, match="prefill_chunk_size"):
        model.generate(draw(1, 9), max_new_tokens=2, prefill_chunk_size=4)
    with pytest.raises(ValueError, match="rotary_position_ids"):
        model(draw(1, 1), past_key_values=model(draw(1, 5), use_cache=True).past_key_values)


# Loss


def test_labels_are_shifted_exactly_once() -> None:
    model, ids = make(), draw(2, 12)
    labels = ids.clone()
    labels[:, :5] = -100
    out = model(ids, labels=labels)
    flat = out.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
    assert_close(out.loss, cross_entropy(*flat))
    summed = cross_entropy(*flat, reduction="sum")
    assert_close(model(ids, labels=labels, num_items_in_batch=100).loss, summed / 100)


def test_loss_weights_count_labels() -> None:
    model, ids = make(), draw(2, 12)
    labels, weights = ids.clone(), torch.ones(2, 12)
    labels[:, :5] = -100
    for how in ({}, {"num_items_in_batch": None}, {"num_items_in_batch": torch.tensor(100)}):
        assert_close(model(ids, labels=labels, loss_weights=weights, **how).loss, model(ids, labels=labels, **how).loss)
    weights[0, 7:] = 0
    once = labels.clone()
    once[0, 7:] = -100
    weighted = model(ids, labels=labels, loss_weights=2 * weights, num_items_in_batch=50).loss
    assert_close(weighted, model(ids, labels=once, num_items_in_batch=25).loss)


def test_trainer_lowers_the_loss_and_changes_every_parameter(tmp_path) -> None:
    model = make(qk_norm=True, initializer_range=0.02)
    before = copy.deepcopy(model.state_dict())
    rows = [{"input_ids": row, "labels": row} for row in draw(16, 24)]
    arguments = TrainingArguments(
        output_dir=str(tmp_path), max_steps=40, learning_rate=1e-2, use_cpu=True, save_strategy="no", logging_steps=5,
        report_to="none", disable_tqdm=True, gradient_accumulation_steps=2, per_device_train_batch_size=4,
    )  # fmt: skip
    trainer = Trainer(model, arguments, train_dataset=rows, eval_dataset=rows)
    first = trainer.evaluate()["eval_loss"]
    trainer.train()
    last = trainer.evaluate()["eval_loss"]
    assert last < 0.6 * first
    assert trainer.state.log_history[1]["loss"] < first + 0.5  # divided once by the number of items, not summed
    assert [name for name, value in model.state_dict().items() if torch.equal(value, before[name])] == []


@pytest.mark.parametrize("position_embedding", POSITIONS)
@pytest.mark.parametrize("qk_norm", [True, False])
@pytest.mark.parametrize("tie", [True, False])
def test_every_parameter_receives_a_gradient(position_embedding, qk_norm, tie) -> None:
    model = make(position_embedding=position_embedding, qk_norm=qk_norm, tie_word_embeddings=tie).train()
    ids = draw(2, 64)
    model(ids, labels=ids).loss.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_zero_init_output_makes_each_layer_the_identity() -> None:
    model = make(zero_init_output=True)
    ids = draw(1, 9)
    assert_close(model.model(ids).last_hidden_state, model.model.norm(model.model.embed_tokens(ids)))
    zero = {name.split(".")[-2] for name, weight in model.named_parameters() if not weight.any()}
    assert zero == {"o_proj", "down_proj"}


def test_zero_init_output_does_not_touch_loaded_weights(tmp_path) -> None:
    model = make(zero_init_output=True)
    for layer in model.model.layers:
        torch.nn.init.normal_(layer.mlp.down_proj.weight)
    model.save_pretrained(tmp_path)
    loaded = ArithForCausalLM.from_pretrained(tmp_path)
    assert all(torch.equal(loaded.state_dict()[name], value) for name, value in model.state_dict().items())


def test_floating_point_ops_are_those_of_the_matrices_and_of_attention() -> None:
    model, inputs = make(tie_word_embeddings=False), {"input_ids": draw(2, 20)}
    matrices = sum(p.numel() for name, p in model.named_parameters() if p.dim() == 2 and "embed" not in name)
    attention = 12 * 2 * 32  # of 2 layers and 32 channels, for each pair of tokens
    assert model.floating_point_ops(inputs) == 40 * (6 * matrices + attention * 20)
    windowed = make(tie_word_embeddings=False, sliding_window=6)
    assert windowed.floating_point_ops(inputs) == 40 * (6 * matrices + attention * 6)


# However it is called


@pytest.mark.parametrize("position_embedding", POSITIONS)
def test_save_and_load_give_equal_logits(position_embedding, tmp_path) -> None:
    model, ids = make(position_embedding=position_embedding), draw(2, 20)
    model.save_pretrained(tmp_path)
    assert {"modeling_arith.py", "configuration_arith.py", "lines_arith.py"} <= {
        path.name for path in tmp_path.iterdir()
    }
    assert torch.equal(ArithForCausalLM.from_pretrained(tmp_path)(ids).logits, model(ids).logits)


@pytest.mark.parametrize("position_embedding", POSITIONS)
def test_eager_equals_sdpa(position_embedding) -> None:
    model, ids = make(position_embedding=position_embedding), draw(2, 20)
    mask = torch.ones_like(ids)
    mask[0, :7] = 0
    sdpa = model(ids, attention_mask=mask).logits
    model.set_attn_implementation("eager")
    assert_close(model(ids, attention_mask=mask).logits[mask.bool()], sdpa[mask.bool()])


@pytest.mark.parametrize("position_embedding", POSITIONS)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_cached_equals_uncached(position_embedding, attention) -> None:
    model, ids = make(position_embedding=position_embedding, attn_implementation=attention), draw(2, 20)
    whole, lines = model(ids, use_cache=False).logits, model.config.line_stride is not None
    placed = lines_arith.line_positions(model.config, ids, torch.arange(20)[None]) if lines else ids
    cache, steps = None, []
    for part in (slice(8), slice(8, 15), *(slice(place, place + 1) for place in range(15, 20))):
        given = {"rotary_position_ids": placed[:, : part.stop]} if lines else {}
        out = model(ids[:, part], past_key_values=cache, use_cache=True, **given)
        cache = out.past_key_values
        steps.append(out.logits)
    assert_close(torch.cat(steps, dim=1), whole)


@pytest.mark.parametrize("position_embedding", POSITIONS)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_left_padding_changes_nothing(position_embedding, attention) -> None:
    model = make(position_embedding=position_embedding, attn_implementation=attention)
    rows = [draw(length, seed=length) for length in (3, 9, 14)]
    ids = torch.stack([torch.cat((torch.full((14 - len(row),), PAD), row)) for row in rows])
    mask = (ids != PAD).long()
    together = model(ids, attention_mask=mask).logits
    written = model.generate(ids, attention_mask=mask, max_new_tokens=20, do_sample=False, eos_token_id=None)
    for index, row in enumerate(rows):
        assert_close(together[index, 14 - len(row) :], model(row[None]).logits[0])
        alone = model.generate(row[None], max_new_tokens=20, do_sample=False, eos_token_id=None)
        assert torch.equal(written[index, 14:], alone[0, len(row) :])


@pytest.mark.parametrize("cache", ["dynamic", "static", "none"])
@pytest.mark.parametrize("position_embedding", POSITIONS)
def test_every_cache_writes_the_same_text(position_embedding, cache) -> None:
    model, ids = make(position_embedding=position_embedding), draw(2, 8)
    expected = ids
    for _ in range(12):
        expected = torch.cat((expected, model(expected).logits[:, -1:].argmax(-1)), dim=1)
    how = {"use_cache": False} if cache == "none" else {"cache_implementation": cache}
    if cache == "dynamic":
        how = {}
    written = model.generate(ids, max_new_tokens=12, do_sample=False, eos_token_id=None, disable_compile=True, **how)
    assert torch.equal(written, expected)


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("position_embedding", POSITIONS)
def test_packed_documents_do_not_see_each_other(position_embedding, attention, use_cache) -> None:
    model = make(position_embedding=position_embedding, attn_implementation=attention)
    lengths = (5, 1, 9, 5)
    ids = draw(2, sum(lengths))
    position_ids = torch.cat([torch.arange(length) for length in lengths]).expand(2, -1)
    packed = model(ids, position_ids=position_ids, use_cache=use_cache).logits
    for part, alone in zip(packed.split(lengths, dim=1), ids.split(lengths, dim=1), strict=True):
        assert_close(part, model(alone).logits)


def test_packed_documents_do_not_reach_each_other_by_gradient() -> None:
    model = make()
    x = torch.randn(1, 10, 32, requires_grad=True)
    position_ids = torch.arange(10)[None] % 5
    model(inputs_embeds=x, position_ids=position_ids).logits[:, 5:].sum().backward()
    assert x.grad is not None
    assert x.grad[:, :5].abs().sum() == 0
    assert x.grad[:, 5:].abs().sum() > 0


@pytest.mark.parametrize("hidden_dropout", [0.0, 0.2])
def test_activation_checkpointing_gives_the_same_gradients(hidden_dropout) -> None:
    plain = make(hidden_dropout=hidden_dropout, attention_dropout=hidden_dropout).train()
    frugal = copy.deepcopy(plain)
    frugal.gradient_checkpointing_enable()  # the name that transformers 5.17 has too
    ids = draw(2, 20)
    for model in (plain, frugal):
        torch.manual_seed(5)
        model(ids, labels=ids).loss.backward()
    for one, other in zip(plain.parameters(), frugal.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)


def test_dropout_is_for_training_alone() -> None:
    model, ids = make(hidden_dropout=0.5, attention_dropout=0.5), draw(1, 9)
    assert torch.equal(model(ids).logits, model(ids).logits)
    model.train()
    assert not torch.equal(model(ids).logits, model(ids).logits)


def test_logits_to_keep() -> None:
    model, ids = make(), draw(2, 10)
    whole = model(ids).logits
    assert_close(model(ids, logits_to_keep=3).logits, whole[:, -3:])
    assert_close(model(ids, logits_to_keep=torch.tensor([1, 4])).logits, whole[:, [1, 4]])


def test_embeddings_in_place_of_ids() -> None:
    model, ids = make(), draw(2, 10)
    assert torch.equal(model(inputs_embeds=model.get_input_embeddings()(ids)).logits, model(ids).logits)
    with pytest.raises(ValueError, match="exactly one of"):
        model()


def test_hidden_states_and_attentions_are_returned_when_asked_for() -> None:
    model, ids = make(attn_implementation="eager"), draw(2, 10)
    out = model(ids, output_hidden_states=True, output_attentions=True)
    assert [state.shape for state in out.hidden_states] == [(2, 10, 32)] * 3
    assert [weights.shape for weights in out.attentions] == [(2, 2, 10, 10)] * 2
    assert_close(out.attentions[0].sum(-1), torch.ones(2, 2, 10))
    assert isinstance(model(ids, return_dict=False), tuple)


@pytest.mark.parametrize("qk_norm", [True, False])
@pytest.mark.parametrize("position_embedding", POSITIONS)
def test_bf16(position_embedding, qk_norm) -> None:
    model, ids = make(position_embedding=position_embedding, qk_norm=qk_norm, initializer_range=0.05), draw(2, 20)
    exact = model(ids, labels=ids).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model.train()(ids, labels=ids).loss
    loss.backward()
    assert abs(loss - exact) < 0.02
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    half = model.to(torch.bfloat16).eval()
    assert half(ids).logits.dtype == torch.bfloat16
    assert half.generate(ids, max_new_tokens=3).shape[0] == 2


def test_more_tokens_than_learned_positions_is_an_error() -> None:
    model = make(position_embedding="learned", max_position_embeddings=16)
    assert model(draw(1, 16)).logits.shape == (1, 16, VOCABULARY)
    with pytest.raises(ValueError, match="max_position_embeddings = 16 tokens, got 17"):
        model(draw(1, 17))
    with pytest.raises(ValueError, match="max_position_embeddings = 16"):
        model.generate(draw(1, 10), max_new_tokens=10, eos_token_id=None)


def test_padding_does_not_use_learned_positions_up() -> None:
    model = make(position_embedding="learned", max_position_embeddings=16)
    ids, mask = draw(1, 20), torch.ones(1, 20).long()
    mask[:, :4] = 0
    assert_close(model(ids, attention_mask=mask).logits[:, 4:], model(ids[:, 4:]).logits)


def test_rotary_takes_more_tokens_than_it_was_made_for() -> None:
    assert make(max_position_embeddings=8)(draw(1, 30)).logits.isfinite().all()
