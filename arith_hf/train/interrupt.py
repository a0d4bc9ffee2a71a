"""Ctrl+C while a stage trains: the step is ended and saved, by all processes the same one.

May not know what is trained, nor how a run goes on (`resume` does).
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import reduce
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils import logging

logger = logging.get_logger("arith_hf")


class Stopped(KeyboardInterrupt):
    """A run was asked to stop, and has saved the step that it stopped at."""


class Stop(TrainerCallback):
    """Saves and stops at the next step that can be gone on from exactly: a multiple of `period` updates.

    `period`: in GRPO the updates from one generation to the next; the rollouts between are not saved.
    """

    def __init__(self, period: int = 1) -> None:
        self.period, self.asked, self.agreed = period, False, False

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.global_step % self.period:
            return
        self.agreed = anywhere(self.asked)  # all stop at one step, whoever was asked first
        if self.agreed:
            control.should_save = control.should_training_stop = True
            args.save_total_limit = None  # of 1, the Trainer would end by removing a last step that is not the best


def anywhere(asked: bool) -> bool:
    """Whether one of the processes was asked; all have to ask this at the same step."""
    here = PartialState()
    if here.num_processes == 1:
        return asked
    return bool(reduce(torch.tensor([int(asked)], device=here.device), "sum").item())


@contextmanager
def stopping(trainer: Trainer, stop: Stop) -> Iterator[None]:
    """While it trains, the first Ctrl+C (or SIGTERM to this process, not its launcher) lets the step end and saves it.

    A second one stops at once. Raises Stopped behind a training that was stopped before its end.
    """

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.asked:
            raise KeyboardInterrupt("interrupted; the same command goes on from the last step that was saved")
        stop.asked = True
        logger.warning("stopping after this step, to save it; Ctrl+C again stops at once and saves nothing")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if stop.agreed and trainer.state.global_step < trainer.state.max_steps:
        saved = "which is saved; the same command goes on from there"
        if trainer.args.save_only_model:
            saved = "whose weights alone are saved (save_only_model): it cannot be gone on with"
        raise Stopped(f"stopped at step {trainer.state.global_step} of {trainer.state.max_steps}, {saved}")
