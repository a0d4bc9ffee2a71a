"""The keys of a corpus recipe, refused before any work."""

import pytest

from arith_hf import tasks
from arith_hf.corpus import build
from arith_hf.corpus.expression import Arguments as CorpusArguments


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"task": "multiplication"}, "unknown task 'multiplication': need one of expression"),
        ({"sampler": "even"}, "unknown sampler 'even': need one of seed, stratified"),
        ({"num_sft": -1}, "need num_sft >= 0, got -1"),
        ({"num_pretrain": 0, "num_sft": 0, "num_prompts": 0}, "need rows to make"),
        ({"num_proc": 0}, "need num_proc >= 1, got 0"),
        ({"segment_steps": 0}, "need segment_steps >= 1, got 0"),
        ({"depth_weights": [1, 2, 3]}, "need 4 depth_weights, from min_depth to max_depth"),
        ({"depth_weights": [1, 2, 3, -4]}, "need 4 depth_weights"),
        ({"drill_range": 0}, "need drill_range >= 1, got 0"),
        ({"invalid_rate": 1.5}, "need invalid_rate, typed_rate and single_rate of at least 0 and together at most 1"),
        ({"invalid_rate": -0.1}, r"together at most 1, got \[-0.1"),
        (
            {"segment_rate": 0.6, "drill_rate": 0.6},
            r"need segment_rate, excerpt_rate, verdict_rate and drill_rate of .* at most 1",
        ),
        ({"max_depth": 0}, "need 0 <= min_depth <= max_depth <= 12, got 1 and 0"),
        ({"max_depth": 0, "min_depth": 0}, "need max_depth >= 1, got 0"),
        ({"min_depth": 3, "max_depth": 2}, "need 0 <= min_depth <= max_depth <= 12, got 3 and 2"),
        ({"max_depth": 13}, "need 0 <= min_depth <= max_depth <= 12, got 1 and 13"),
        ({"prompts_min_depth": 5, "prompts_max_depth": 4}, "prompts_min_depth <= prompts_max_depth"),
        ({"harder": ["depth5", "depth7"]}, "need harder among depth5, .*, operators, hints, got depth7"),
        ({"num_range": [20, 1]}, "need num_range to be two integers, the least first, got \\[20, 1\\]"),
        ({"num_range": [20]}, "need num_range to be two integers"),
        ({"num_range": []}, "need num_range to be two integers"),
        ({"prompts_num_range": [1, 2, 3]}, "need prompts_num_range to be two integers"),
    ],
)
def test_impossible_keys_are_refused(keys, message):
    with pytest.raises(ValueError, match=message) as refusal:
        CorpusArguments(**keys)
    assert "\n" not in str(refusal.value)


def test_a_place_is_needed():
    with pytest.raises(ValueError, match="need output_dir"):
        build(CorpusArguments())


def test_keys_that_follow_from_others():
    keys = CorpusArguments(max_depth=3, num_range=[1, 9], prompts_min_depth=4)
    assert (keys.min_depth, CorpusArguments(sampler="seed").min_depth) == (1, 0)
    assert (keys.prompts_min_depth, keys.prompts_max_depth, keys.prompts_num_range) == (4, 4, [1, 9])
    assert keys.harder == [*tasks.get("expression").HARDER, "hints"]
