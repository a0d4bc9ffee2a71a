"""The table over seeds reads what the evaluations left."""

import json

from arith_hf import files
from benchmarks import results


def block(exact: float, **more) -> dict:
    return {"n": 100, "exact_match": exact, "steps_match": exact - 0.01, "called_error": 0.0, "by_kind": {}, **more}


def test_means_and_intervals_over_seeds(tmp_path, capsys):
    folders = []
    for seed, exact in enumerate((0.98, 0.99, 1.0)):
        folder = tmp_path / f"seed-{seed}"
        malformed = {"invalid": {"n": 50, "exact_match": 0.9, "called_error": None}}
        protocols = {"nontrivial": block(exact, by_kind=malformed), "chains": block(0.5, called_error=None)}
        protocols |= {"depth8": block(0.1)} if seed == 0 else {}  # not measured for every seed: left out
        files.write_json(folder / "evaluate.json", {"protocols": protocols})
        files.write_json(folder / "metrics.json", {"cpu_seconds": 600 + 60 * seed})
        folders.append(str(folder))
    results.main(folders)
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith(
        "| nontrivial | 100 | 99.00 (96.5 to 100.0) | 98.00, 99.00, 100.00 | 98.00 (95.5 to 100.0) |"
    )
    assert lines[3].startswith("| chains | 100 | 50.00 (50.0 to 50.0) |")
    assert lines[4].startswith("| nontrivial: malformed | 50 | 90.00")
    last = json.loads(lines[-1])
    assert last["core_minutes"] == [10.0, 11.0, 12.0]
    assert round(last["mean_interval"]["nontrivial"][0], 4) == 0.99
