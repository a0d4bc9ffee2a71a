"""A checkpoint runs where our package does not exist."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from arith_hf import tokenizer
from arith_hf.model import ArithConfig, ArithForCausalLM

HIDDEN = "import sys; sys.modules['arith_hf'] = None\n"  # importing it raises, wherever it is installed
LOAD = """
import json, torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
def load(path):
    return AutoModelForCausalLM.from_pretrained(path, trust_remote_code=True).eval()
def logits(path):
    return load(path)(torch.arange(3, 12)[None]).logits.sum(-1).tolist()
"""


def run(code: str, cwd: Path) -> Any:
    """The last line that `code` prints, as JSON, from a Python that has neither our package nor our folder."""
    environment = os.environ | {"HF_MODULES_CACHE": str(cwd / "modules"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-I", "-c", HIDDEN + LOAD + code],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def write_checkpoint(path: Path, seed: int = 0) -> ArithForCausalLM:
    """A checkpoint with its tokenizer, as a stage leaves it."""
    own = tokenizer.train("digits")
    torch.manual_seed(seed)
    config = ArithConfig.from_size(
        "tiny",
        vocab_size=len(own),
        pad_token_id=own.pad_token_id,
        bos_token_id=own.bos_token_id,
        eos_token_id=own.eos_token_id,
        initializer_range=0.2,
        tokenizer_fingerprint=tokenizer.fingerprint(own),
    )
    model = ArithForCausalLM(config).eval()
    model.save_pretrained(path)
    own.save_pretrained(path)
    return model


def test_a_checkpoint_loads_and_writes_without_our_package(tmp_path) -> None:
    model = write_checkpoint(tmp_path / "model")
    found = run(
        """
model, tokenizer = load("model"), AutoTokenizer.from_pretrained("model", trust_remote_code=True)
tied = model.lm_head.weight is model.model.embed_tokens.weight
ids = tokenizer("Evaluate: 5 + -3\\n", return_tensors="pt")
written = model.generate(**ids, max_new_tokens=5, do_sample=False)
model.save_pretrained("again"); tokenizer.save_pretrained("again")
print(json.dumps({
    "first": logits("model"), "again": logits("again"), "ids": ids["input_ids"][0].tolist(), "tied": tied,
    "written": written[0].tolist(),
    "fingerprint": AutoConfig.from_pretrained("again", trust_remote_code=True).tokenizer_fingerprint,
}))
""",
        tmp_path,
    )
    own = tokenizer.train("digits")
    ids = own("Evaluate: 5 + -3\n", return_tensors="pt")
    assert found["first"] == found["again"]
    assert found["first"][0] == pytest.approx(model(torch.arange(3, 12)[None]).logits.sum(-1)[0].tolist(), abs=1e-4)
    assert found["ids"] == ids["input_ids"][0].tolist()
    assert found["written"] == model.generate(**ids, max_new_tokens=5, do_sample=False)[0].tolist()
    assert found["fingerprint"] == tokenizer.fingerprint(own)
    assert found["tied"]


@pytest.mark.slow
def test_two_checkpoints_of_one_name_keep_their_own_code(tmp_path) -> None:
    for parent in ("one", "two"):
        write_checkpoint(tmp_path / parent / "sft")
    code = tmp_path / "two" / "sft" / "modeling_arith.py"
    head = "logits = self.lm_head("
    assert head in code.read_text()
    code.write_text(code.read_text().replace(head, "logits = 0 * self.lm_head("))
    # In processes of their own, but of one cache: within a process transformers reuses the class that it registered for
    # the first, as the configuration's code is the same.
    one, two, again = (run(f'print(json.dumps(logits("{name}/sft")))', tmp_path) for name in ("one", "two", "one"))
    assert one == again != two
    assert not any(two[0])


def test_the_shipped_files_name_nothing_of_ours(tmp_path) -> None:
    write_checkpoint(tmp_path)
    for path in tmp_path.glob("*.py"):
        assert "arith_hf" not in path.read_text()
    names = ["configuration_arith.py", "lines_arith.py", "modeling_arith.py"]
    assert sorted(path.name for path in tmp_path.glob("*.py")) == names
