"""What a model sees at once is what it was trained with, wherever that is recorded, and never beyond its positions."""

import pytest
from prose import CONTEXT, make_model, make_tokenizer

from arith_hf import files
from arith_hf.language.context import context_of


@pytest.fixture(scope="module")
def config():
    return make_model(make_tokenizer(300, ["a"])).config


@pytest.mark.parametrize(
    ("left", "found"),
    [
        ({}, (CONTEXT, "its positions, as no max_length of its training is recorded")),
        ({"provenance.json": {"max_length": 16}}, (16, "the max_length of its training")),
        ({"training.json": {"configuration": {"max_length": 12}}}, (12, "the max_length of its training")),
        ({"provenance.json": {"max_length": CONTEXT + 1}}, (CONTEXT, "the max_length of its training")),
        (
            {"provenance.json": {"max_length": None, "ancestors": [{"max_length": 8}, {"max_length": 9}, {}]}},
            (9, "the max_length of its training"),
        ),
    ],
)
def test_the_last_length_that_is_recorded(config, tmp_path, left, found):
    for name, content in left.items():
        files.write_json(tmp_path / name, content)
    assert context_of(config, tmp_path) == found
    assert context_of(config, tmp_path, 7) == (7, "as asked for")


def test_a_context_beyond_the_positions_is_refused(config, tmp_path):
    with pytest.raises(ValueError, match=f"context_length of at most {CONTEXT}"):
        context_of(config, tmp_path, CONTEXT + 1)
