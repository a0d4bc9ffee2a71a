"""Each part of `make bench` runs in its quick form; what is fast is for the command to say, not for a test."""

import json

import pytest

from benchmarks.__main__ import PARTS, main
from benchmarks.measure import Row, peak_memory, rounded

ROWS = {
    "stage": {"stage", "share"},
    "seed_training": {"seed_training", "seed_share"},
    "seed_evaluation": {"seed_evaluation", "seed_evaluation_drafts"},
    "corpus": {"corpus"},
    "help": {"help"},
    "memory": {"memory_pretrain", "memory_evaluate"},
}


LIGHT = [part for part in ROWS if part != "memory"]  # which starts two stages in processes of their own


@pytest.fixture(scope="module")
def report():
    return main(["--quick", "--only", *LIGHT])


def test_there_is_a_row_for_each_part(report):
    assert set(ROWS) == set(PARTS)
    assert set(report["rows"]) == set().union(*(ROWS[part] for part in LIGHT))
    assert report["quick"] is True
    assert {"processor", "cores", "threads", "versions", "commit"} <= set(report["machine"])
    assert json.loads(json.dumps(report)) == report


def test_figures_are_sound(report):
    for name, row in report["rows"].items():
        assert row["n"] >= 1, name
        for figure in ("ours", "other", "ratio"):
            if figure in row:
                low, high = row[f"{figure}_spread"]
                assert 0 < low <= row[figure] <= high, (name, figure)
    for name in ("share", "seed_share"):
        row = report["rows"][name]
        assert row["of_use"] <= row["ours"]


def test_both_arms_do_the_same_work(report):
    rows = report["rows"]
    assert rows["stage"]["weights_differ_by"] < 1e-4
    assert rows["stage"]["tokens"] > 0
    assert rows["seed_training"]["tokens"] == rows["seed_training"]["tokens_other"] > 0
    assert rows["seed_evaluation"]["tokens"] == rows["seed_evaluation_drafts"]["tokens"] > 0


@pytest.mark.slow
def test_the_memory_of_stages_is_measured():
    rows = main(["--quick", "--only", "memory"])["rows"]
    assert set(rows) == ROWS["memory"]
    assert all(row["ours"] > 100 for row in rows.values()), "MiB: PyTorch alone takes more"


def test_the_peak_of_a_process_is_its_own_and_a_failure_is_told():
    mine = bytearray(b"x") * (300 << 20)
    small, large = (peak_memory("-c", f"x = b'x' * ({size} << 20)") for size in (0, 64))
    assert len(mine) / 2**20 > large > small + 60
    with pytest.raises(RuntimeError, match="no such thing"):
        peak_memory("-c", "raise SystemExit('no such thing')")


def test_one_part_prints_a_table_and_a_json_line(capsys):
    main(["--quick", "--only", "help"])
    out = capsys.readouterr().out
    assert "arith-hf --help" in out
    assert set(json.loads(out.splitlines()[-1])["rows"]) == {"help"}


def test_a_ratio_says_how_many_times_better_ours_is():
    assert Row("a", "", "", [10.0, 30.0], [5.0, 10.0]).ratios == [2.0, 3.0]
    assert Row("a", "", "", [10.0], [5.0], less_is_better=True).ratios == [0.5]
    assert rounded(123456.0) == 123500.0


def test_packed_documents_are_taken_apart():
    import torch

    from benchmarks.seed_training import documents

    batch = {
        "input_ids": torch.tensor([[1, 5, 1, 6, 7, 0], [1, 8, 9, 9, 0, 0]]),
        "position_ids": torch.tensor([[0, 1, 0, 1, 2, 0], [0, 1, 2, 3, 0, 1]]),
    }
    assert sorted(documents([batch], pad=0)) == [[1, 5], [1, 6, 7], [1, 8, 9, 9]]


def test_the_estimate_of_the_loop_is_straight_between_measured_prefixes():
    from benchmarks.seed_evaluation import LENGTHS, between

    costs = [float(length) for length in LENGTHS]
    assert [between(costs, length) for length in (8, 20, 64, 511, 512)] == [8, 20, 64, 511, 512]


def test_a_draft_is_agreed_to_only_while_the_hook_is_open(road):
    from arith_hf import checkpoint, solver
    from arith_hf.notation import expression as notation
    from benchmarks.seed_evaluation import agreeing, model

    tokenizer = checkpoint.load_tokenizer(road / "checkpoints/tiny/tokenizer")
    untrained = model("tiny", tokenizer, {})
    prompt, right = notation.ask("1 + 2"), "<think>"

    def answer() -> solver.Completion:
        return solver.generate(untrained, tokenizer, [prompt], max_new_tokens=8, drafts=[right])[0]

    with agreeing(untrained, tokenizer.eos_token_id):
        assert answer() == solver.Completion(right, 2, True, None, 1.0)
    assert not answer().finished


def test_the_model_of_record_exists_at_the_seeds_size():
    """With the seed's tokenizer no token begins a line, so nothing that needs lines may be left in its config."""
    from arith_hf.model import ArithConfig
    from benchmarks import seed_training

    config = ArithConfig.from_size("seed", **seed_training.overrides())
    assert (config.hidden_size, config.num_hidden_layers, config.line_stride) == (256, 6, None)
