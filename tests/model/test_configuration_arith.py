"""Shapes by name, fields by name, and what a configuration refuses."""

import re

import pytest
import torch

from arith_hf.model import SIZES, ArithConfig, ArithForCausalLM


@pytest.mark.parametrize(
    ("size", "parameters"),
    [("tiny", 25_888), ("mini", 202_560), ("small", 794_240), ("medium", 4_751_616), ("seed", 6_299_904)],
)
def test_parameters_of_each_size(size: str, parameters: int) -> None:
    config = ArithConfig.from_size(size, vocab_size=20)
    width, ff, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    assert layers * (4 * width**2 + 3 * width * ff + 2 * width) + width + 20 * width == parameters
    assert ArithForCausalLM(config).num_parameters() == parameters


@pytest.mark.parametrize(
    ("size", "width", "layers", "heads", "parameters"),
    [
        ("text-tiny", 256, 6, 4, 13_135_104),
        ("text-small", 512, 12, 8, 54_735_360),
        ("text-base", 768, 24, 12, 195_072_768),
    ],
)
def test_the_sizes_for_text_have_heads_of_64_and_as_many_parameters_as_is_said(size, width, layers, heads, parameters):
    config = ArithConfig.from_size(size, vocab_size=32_768)
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (width, layers, heads)
    assert config.head_dim == 64
    of_layer = 4 * width**2 + 3 * width * config.intermediate_size + 2 * width
    assert layers * of_layer + width + 32_768 * width == parameters
    with torch.device("meta"):
        assert ArithForCausalLM(config).num_parameters() == parameters


def test_the_bilingual_size_counts_as_its_document_does() -> None:
    """Two tables of 8 000 words, 128 learned positions, two layers; 2 327 552 with its MLP of two parts."""
    model = ArithForCausalLM(ArithConfig.from_size("bilingual", vocab_size=8000))
    positions, attention, norms = 128 * 128, 4 * 128**2, 2 * 128
    assert model.num_parameters() == 2 * 8000 * 128 + positions + 2 * (attention + 3 * 128 * 256 + norms) + 128
    assert model.num_parameters() == 2_392_704
    assert model.get_input_embeddings().weight.data_ptr() != model.get_output_embeddings().weight.data_ptr()
    with pytest.raises(ValueError, match="position"):
        model.config.to_stock()


def test_an_untied_head_costs_a_second_table() -> None:
    tied, untied = (ArithConfig.from_size("tiny", vocab_size=50, tie_word_embeddings=tie) for tie in (True, False))
    assert ArithForCausalLM(untied).num_parameters() - ArithForCausalLM(tied).num_parameters() == 50 * 32


def test_any_field_overrides_the_size() -> None:
    config = ArithConfig.from_size("small", num_hidden_layers=7, qk_norm=True, vocab_size=33)
    assert (config.num_hidden_layers, config.hidden_size, config.qk_norm) == (7, 128, True)


def test_the_seed_size_is_what_its_document_asks_for() -> None:
    assert SIZES["seed"] == {
        "hidden_size": 256,
        "intermediate_size": 1024,
        "num_hidden_layers": 6,
        "num_attention_heads": 8,
    }


@pytest.mark.parametrize(
    ("size", "fields", "message"),
    [
        ("smal", {}, "did you mean `small`"),
        ("gigantic", {}, "The sizes are tiny, mini"),
        ("small", {"hiden_size": 3}, "did you mean `hidden_size`"),
        ("small", {"position_embeddings": "rotary"}, "did you mean `position_embedding`"),
        ("small", {"position_embedding": "rotory"}, "rotory"),
        ("small", {"hidden_size": 130}, "multiple of num_attention_heads, or a head_dim, got 130 and 4"),
        ("small", {"hidden_size": "128"}, "expected int"),
        ("small", {"hidden_size": 20}, "even head_dim"),
        ("small", {"num_attention_heads": 0}, "need num_attention_heads >= 1, got 0"),
        ("small", {"vocab_size": -1}, "need vocab_size >= 1"),
        ("small", {"hidden_dropout": 1.0}, "need 0 <= hidden_dropout < 1"),
        (
            "small",
            {"window_counts": "positions", "sliding_window": 9},
            "need a line_stride, and a sliding_window greater",
        ),
        ("small", {"vocab_size": 10, "pad_token_id": 10}, "need 0 <= pad_token_id < vocab_size = 10, got 10"),
    ],
)
def test_a_wrong_name_or_value_is_one_line(size: str, fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        ArithConfig.from_size(size, **fields)
    assert "\n" not in str(caught.value)


def test_the_configuration_comes_back_from_disk(tmp_path) -> None:
    config = ArithConfig.from_size(
        "mini", position_embedding="learned", hidden_dropout=0.1, rope_theta=500, tokenizer_fingerprint="ab12"
    )
    config.save_pretrained(tmp_path)
    assert ArithConfig.from_pretrained(tmp_path).to_dict() == config.to_dict()


@pytest.mark.parametrize("kind", ["learned", "none"])
def test_no_stock_architecture_without_rotary(kind: str) -> None:
    with pytest.raises(ValueError, match=f"position_embedding: {kind}"):
        ArithConfig.from_size("tiny", position_embedding=kind).to_stock()
