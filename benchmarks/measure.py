"""How a row is measured: core-seconds of this process, both arms by turns, medians; and what the core can do at most.

May not know what is measured. Other programs share the machine, so wall time is not to be trusted and a ratio is taken
within each repeat, between two arms that ran one after the other.
"""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = ("torch", "transformers", "trl", "accelerate", "datasets", "tokenizers")
MATMUL = 1024  # rows and columns: large enough that the rate no longer grows, small enough to stay in the cache


@dataclass
class Row:
    """One row of the table: `ours` and `other` hold one figure for each repeat, `other` none where there is one arm.

    `ratio` is how many times better ours is: ours / other, or other / ours where less is better.
    """

    name: str
    what: str
    unit: str
    ours: list[float]
    other: list[float] = field(default_factory=list)
    less_is_better: bool = False
    wanted: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def ratios(self) -> list[float]:
        """One for each repeat."""
        pairs = zip(self.ours, self.other, strict=True) if self.other else ()
        return [other / ours if self.less_is_better else ours / other for ours, other in pairs]

    def to_json(self) -> dict[str, Any]:
        """Medians, and the least and the greatest of the repeats as the spread."""
        block: dict[str, Any] = {
            "what": self.what,
            "unit": self.unit,
            "n": len(self.ours),
            **summary("ours", self.ours),
        }
        if self.other:
            block |= summary("other", self.other) | summary("ratio", self.ratios)
        return block | ({"wanted": self.wanted} if self.wanted else {}) | self.facts


def summary(name: str, values: list[float]) -> dict[str, Any]:
    return {name: rounded(median(values)), f"{name}_spread": [rounded(min(values)), rounded(max(values))]}


def rounded(value: float) -> float:
    """Four significant digits."""
    return float(f"{value:.4g}")


def core_seconds(work: Callable[[], Any]) -> float:
    """Process CPU time of `work`, all threads."""
    started = time.process_time()
    work()
    return time.process_time() - started


class Roof:
    """The best rate of a large fp32 matrix product seen so far, in FLOP per core-second."""

    def __init__(self) -> None:
        import torch

        self.a, self.b = torch.randn(MATMUL, MATMUL), torch.randn(MATMUL, MATMUL)
        self.best = 0.0

    def probe(self, times: int = 3) -> None:
        for _ in range(times):
            seconds = core_seconds(lambda: self.a @ self.b)
            self.best = max(self.best, 2 * MATMUL**3 / max(seconds, 1e-9))


def flops_per_token(model: Any, context: float) -> float:
    """Of a step of training, by the convention of the PaLM paper (appendix B): 6 N + 12 L H Q context.

    N counts the weights that are multiplied (the head, not the table of embeddings), L layers, H heads, Q the channels
    of one; `context` is how many tokens each one attends to. Optimizer, norms and softmax are not counted.
    """
    import torch

    weights = sum(module.weight.numel() for module in model.modules() if isinstance(module, torch.nn.Linear))
    config = model.config
    channels = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 6 * weights + 12 * config.num_hidden_layers * config.num_attention_heads * channels * context


def context(config: Any, input_ids: Any, position_ids: Any) -> Any:
    """How many tokens each one (B, T) attends to, itself among them: those of its document within the window."""
    import torch

    from arith_hf.model.lines_arith import line_positions

    window, lines = getattr(config, "sliding_window", None), getattr(config, "window_counts", "tokens") == "positions"
    places = line_positions(config, input_ids, position_ids) if lines else position_ids
    document = (position_ids == 0).cumsum(-1)
    counts = []
    for place, inside in zip(places, document, strict=True):  # a row at a time: T x T of it
        seen = (inside[:, None] == inside[None, :]).tril()
        if window is not None:
            seen &= place[None, :] > place[:, None] - window
        counts.append(seen.sum(-1))
    return torch.stack(counts)


def machine() -> dict[str, Any]:
    """Where and with what the figures were made."""
    names = [line.split(":")[1].strip() for line in cpuinfo() if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "keeps_buffers": "MALLOC_TRIM_THRESHOLD_" in os.environ,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in LIBRARIES},
        "commit": commit(),
    }


def cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def commit() -> str | None:
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=40"]
    done = subprocess.run(describe, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


# A process begins with the peak memory of the one that it was forked from, so a small one stands between.
LAUNCH = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.returncode)
"""


def peak_memory(*arguments: str) -> float:
    """Peak resident MiB of `python ARGUMENTS` in a process of its own; RuntimeError if it fails."""
    command = [sys.executable, "-c", LAUNCH, sys.executable, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"python {' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return int(done.stdout) / 1024


def wall_seconds(*arguments: str) -> float:
    """Of `python ARGUMENTS` in a process of its own."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started
