"""Row `stage`: our pretraining stage beside a bare loop of plain PyTorch on the same model, batches and optimizer.

May not know how the stage is made; it knows a `Trainer`. Also the share of the core's matrix rate that the stage
reaches at the size of record.
"""

import copy
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback, get_scheduler

from benchmarks import material
from benchmarks.measure import Roof, Row, context, core_seconds, flops_per_token, rounded

Batch = dict[str, Tensor]


def run(folder: Path, quick: bool, config: str | None = None) -> list[Row]:
    turns, steps, rows = (2, 2, 400) if quick else (12, 25, 6000)
    places = material.make("expression", folder, rows)
    more: dict[str, Any] = material.TINY if quick else {}
    trainer = material.stage(config or material.recipe("expression", "pretrain"), places, **more)
    turn = Turns(trainer, turns, steps)
    trainer.train()
    return [turn.row(), share("share", "size of record", trainer.model, turn.seen, turn.seconds, turn.roof)]


class Bare:
    """Plain PyTorch: forward, backward, clip, step, schedule, on a copy of the trainer's model and optimizer.

    The batches come ready from memory, so that whatever the stage spends to make one counts against it.
    """

    def __init__(self, trainer: Any) -> None:
        args = trainer.args
        trainer.create_optimizer()
        self.model, self.optimizer = copy.deepcopy((trainer.model, trainer.optimizer))  # together: the same tensors
        self.model.train()
        self.scheduler = get_scheduler(
            args.lr_scheduler_type,
            self.optimizer,
            num_warmup_steps=args.get_warmup_steps(args.max_steps),
            num_training_steps=args.max_steps,
            scheduler_specific_kwargs=args.lr_scheduler_kwargs,
        )
        self.clip = args.max_grad_norm
        self.forward = torch.compile(self.model) if args.torch_compile else self.model

    def steps(self, batches: list[Batch]) -> None:
        for batch in batches:
            self.forward(**batch, use_cache=False).loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
            self.optimizer.step()
            self.scheduler.step()
            self.optimizer.zero_grad()


class Turns(TrainerCallback):
    """Halts the stage after every `steps` steps, lets the bare loop do the same batches, and notes both times.

    The first turn warms both arms up and is not counted.
    """

    def __init__(self, trainer: Any, turns: int, steps: int) -> None:
        self.turns, self.length = turns, steps
        self.trainer, self.bare, self.roof = trainer, Bare(trainer), Roof()
        self.collate, trainer.data_collator = trainer.data_collator, self.note
        self.batches: list[Batch] = []
        self.seen: list[list[Batch]] = []
        self.started = process_time()
        self.seconds: list[float] = []
        self.bare_seconds: list[float] = []
        trainer.add_callback(self)

    def note(self, rows: list[Any]) -> Batch:
        batch = self.collate(rows)
        self.batches.append(dict(batch))
        return batch

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step % self.length:
            return
        turn = state.global_step // self.length
        # The loader may have made batches ahead.
        mine, self.batches = self.batches[: self.length], self.batches[self.length :]
        if turn > 1:
            self.seconds.append(process_time() - self.started)
            self.seen.append(mine)
        seconds = core_seconds(lambda: self.bare.steps(mine))
        if turn > 1:
            self.bare_seconds.append(seconds)
        self.roof.probe()
        control.should_training_stop = turn > self.turns
        self.started = process_time()

    def row(self) -> Row:
        tokens = [useful(batches, self.trainer) for batches in self.seen]
        return Row(
            "stage",
            "Trainer stage / bare loop",
            "tokens / core-s",
            ours=[count / seconds for count, seconds in zip(tokens, self.seconds, strict=True)],
            other=[count / seconds for count, seconds in zip(tokens, self.bare_seconds, strict=True)],
            wanted=">= 0.95, reach 1.0",
            facts={
                "steps": self.length * len(self.seen),
                "tokens": sum(tokens),
                "milliseconds_a_step": round(1000 * sum(self.seconds) / self.length / len(self.seen), 2),
                "bare_milliseconds_a_step": round(1000 * sum(self.bare_seconds) / self.length / len(self.seen), 2),
                "weights_differ_by": self.difference(),
            },
        )

    def difference(self) -> float:
        """The largest difference between a weight of one arm and of the other: near 0 proves the same work."""
        pairs = zip(self.trainer.model.parameters(), self.bare.model.parameters(), strict=True)
        return max(float((one - other).detach().abs().max()) for one, other in pairs)


def useful(batches: list[Batch], trainer: Any) -> int:
    """Tokens that are not padding."""
    pad = trainer.model.config.pad_token_id
    return sum(int((batch["input_ids"] != pad).sum()) for batch in batches)


def share(name: str, where: str, model: Any, turns: list[list[Batch]], seconds: list[float], roof: Roof) -> Row:
    """The share of the core's matrix rate reached in training: of all that is computed, and of what is of use.

    Computed: all positions of a block, each with every key that the attention kernel computes a score for, masked ones
    too, as the PaLM convention has it. Of use: tokens that are no padding, each with the tokens of its document up to
    itself (within the window, if any).
    """
    whole, needed = [], []
    computed = scored(model, turns[0][0])
    for batches, spent in zip(turns, seconds, strict=True):
        places = sum(batch["input_ids"].numel() for batch in batches)
        seen = torch.cat([attended(model.config, batch) for batch in batches])
        whole.append(100 * places * flops_per_token(model, computed) / spent / roof.best)
        needed.append(100 * len(seen) * flops_per_token(model, float(seen.mean())) / spent / roof.best)
    facts = {
        "of_use": rounded(median(needed)),
        "context": rounded(computed),
        "context_of_use": rounded(float(seen.mean())),
        "block": turns[0][0]["input_ids"].shape[1],
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "matmul_gflops": rounded(roof.best / 1e9),
    }
    what = f"of the core's matrix rate, {where}"
    return Row(name, what, "%", whole, wanted=">= 45, reach 65", facts=facts)


def attended(config: Any, batch: Batch) -> Tensor:
    """For each token that is no padding, how many it attends to."""
    return context(config, batch["input_ids"], batch["position_ids"])[batch["input_ids"] != config.pad_token_id].float()


def scored(model: Any, batch: Batch) -> float:
    """Keys that attention computes a score for, on average over queries: counted in one forward pass, under SDPA."""
    kernel, counts = torch.nn.functional.scaled_dot_product_attention, [0, 0]

    def count(query: Tensor, key: Tensor, *rest: Any, **options: Any) -> Tensor:
        queries = query.shape[0] * query.shape[-2]
        counts[0] += queries
        counts[1] += queries * key.shape[-2]
        return kernel(query, key, *rest, **options)

    torch.nn.functional.scaled_dot_product_attention = count
    try:
        with torch.no_grad():
            model(**batch, use_cache=False)
    finally:
        torch.nn.functional.scaled_dot_product_attention = kernel
    return counts[1] / counts[0] if counts[0] else float(batch["input_ids"].shape[1])
