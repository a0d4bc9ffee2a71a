"""The clock of a training run, which stands still while the model is examined; and the examination.

May not know what is compared. Core-seconds are CPU time of this process and of children it has waited for (a compiler),
all threads. On the clock is all of the stage's `run`: optimizer, compilation, batches, steps, logs. Off it are imports,
the preparation of the data and the model (given apart), the examinations and the saving at the end.
"""

import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import datasets
import torch
from accelerate import Accelerator
from transformers import Trainer, TrainerCallback

from arith_hf import answering, protocols, scoring
from arith_hf.train import pretrain, stage
from benchmarks.material import ALONE, said
from benchmarks.measure import context, flops_per_token

FIRST, WORTH = 100, 0.7  # a model that solves 90 % solves fewer than 70 of 100 once in ten million times
SAMPLE = 2000  # blocks over which the mean context is taken

Look = Callable[[Trainer, bool], dict[str, Any]]  # (the run so far, whether it has ended) -> what was seen


def spent() -> tuple[float, float]:
    """(core-seconds, wall seconds) so far; only differences mean anything."""
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses), time.perf_counter()


class Clock(TrainerCallback):
    """Notes cost and whatever `look` sees at the steps that `at` gives of the number of all steps, and at the last."""

    def __init__(self, trainer: Trainer, at: Callable[[int], Iterable[int]], look: Look) -> None:
        self.trainer, self.at, self.look = trainer, at, look
        self.core = self.wall = 0.0
        self.curve: list[dict[str, Any]] = []
        model: Any = trainer.model
        self.parameters: int = sum(weight.numel() for weight in model.parameters())
        self.flops = flops_per_token(model, mean_context(trainer))
        trainer.add_callback(self)

    def start(self) -> None:
        self.since = spent()

    def stop(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        core, wall = spent()
        self.core, self.wall = self.core + core - self.since[0], self.wall + wall - self.since[1]

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.points = {*self.at(state.max_steps), state.max_steps}

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step not in self.points:
            return
        self.stop()
        tokens = state.num_input_tokens_seen
        point = {"step": state.global_step, "tokens": tokens, "flops": float(f"{tokens * self.flops:.4g}")}
        point |= {"core_seconds": round(self.core, 2), "wall_seconds": round(self.wall, 2)}
        self.curve.append(point | self.look(self.trainer, state.global_step == state.max_steps))
        self.start()


def mean_context(trainer: Trainer) -> float:
    """Tokens of its document within the window, itself among them, that a token attends to on average."""
    data: Any = trainer.train_dataset
    model: Any = trainer.model
    rows, config = data[: min(SAMPLE, len(data))], model.config
    seen = context(config, rows["input_ids"], rows["position_ids"])
    return float(seen[rows["input_ids"] != config.pad_token_id].float().mean())


def prepare(argv: Sequence[str], fresh: bool = True, **more: Any) -> tuple[Trainer, stage.Run, dict[str, float]]:
    """The pretraining stage, ready and alone, and what its preparation took.

    `fresh`: tokenized rows of an earlier run are not found again, so that preparing costs what it costs.
    """
    core, wall = spent()
    with redirect_stdout(sys.stderr), uncached() if fresh else nullcontext():
        trainer, run = pretrain.prepare([*argv, *said(**ALONE, **more)])
    trainer.args.include_num_input_tokens_seen = "non_padding"  # the command line of transformers takes true or false
    now = spent()
    return trainer, run, {"core_seconds": round(now[0] - core, 2), "wall_seconds": round(now[1] - wall, 2)}


@contextmanager
def uncached() -> Iterator[None]:
    was = datasets.is_caching_enabled()
    datasets.disable_caching()
    try:
        yield
    finally:
        if was:
            datasets.enable_caching()


def train(trainer: Trainer, run: stage.Run, at: Callable[[int], Iterable[int]], look: Look) -> Clock:
    """The stage's own `run`, on the clock; its log goes to stderr."""
    clock = Clock(trainer, at, look)
    torch._dynamo.reset()  # every run pays for its own compilation, and none is refused it for being the ninth
    torch.compiler.config.force_disable_caches = True
    with redirect_stdout(sys.stderr):
        clock.start()
        stage.run(trainer, run)
    return clock


class Exam:
    """The problems of `heldout/validation.jsonl`, answered greedily and judged as `arith-hf evaluate` does.

    Where fewer than WORTH of the first FIRST are right the rest is not asked, unless the run has ended: `n` says so.
    """

    def __init__(self, data: str | Path, num_samples: int | None = None) -> None:
        valid = replace(protocols.PROTOCOLS["validation"], aside=None)
        rows = protocols.read_problems(Path(data), valid, num_samples)
        first = protocols.choose(rows, FIRST)
        self.halves = [first, [row for row in rows if row not in first]]
        self.n = len(rows)
        self.own = protocols.EvaluateArguments(checkpoint="-", dataset_name=str(data), protocol=["validation"])

    def __call__(self, trainer: Trainer, ended: bool) -> dict[str, Any]:
        judged = self.sit(trainer, self.halves[0])
        if ended or sum(row["right"] for row in judged) >= WORTH * len(judged):
            judged += self.sit(trainer, self.halves[1])
        right, steps = (sum(row[key] for row in judged) for key in ("right", "steps_right"))
        result = {"n": len(judged), "right": right, "exact_match": round(right / len(judged), 4)}
        print(f"  {right} of {len(judged)} right at step {trainer.state.global_step}", file=sys.stderr, flush=True)
        return result | {"steps_match": round(steps / len(judged), 4)}

    def sit(self, trainer: Trainer, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if not rows:
            return []
        model: Any = trainer.accelerator.unwrap_model(trainer.model)
        tokenizer: Any = trainer.processing_class
        with redirect_stderr(StringIO()):  # its progress bar
            resume = scoring.form_of(rows[0]).resumed
            examiner = answering.Examiner(model, tokenizer, Accelerator(), resume, self.own)
            asked = answering.answer("validation", rows, examiner).asked
        return [scoring.judge(row, done) for row, (_, (done,)) in zip(rows, asked, strict=True)]
