"""Questions put to a model, on every process, and what it wrote to each, in order.

May not know what a right answer is, only how one may be begun: a question brings its draft along.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from accelerate import Accelerator
from accelerate.utils import gather_object

from arith_hf import probes, scoring, solver
from arith_hf.decoding import hard_limit
from arith_hf.protocols import PROTOCOLS, TOGETHER, EvaluateArguments, choose
from arith_hf.tasks.base import Answer

LEAST_ROOM = 256  # tokens that any problem may be answered with
SPARE = 1.25  # a right answer may be longer than ours; a runaway costs this much more than ours
Row = dict[str, Any]
Completions = list[solver.Completion]


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt, how it may be completed, in how many tokens at most, and a temperature for each answer (0: greedy).

    need: tokens of the draft with its end. fits: whether they can be written, before the cap and the last position.
    """

    prompt: str
    draft: str
    room: int
    need: int
    fits: bool
    temperatures: tuple[float, ...]


@dataclass(frozen=True)
class Examiner:
    """Who asks; `resume` makes drafts behind a first one; without `drafts` the model is shown none."""

    model: Any
    tokenizer: Any
    accelerator: Accelerator
    resume: Callable[[str], str]
    own: EvaluateArguments

    def pose(
        self, prompts: Sequence[str], drafts: Sequence[str], temperatures: Sequence[tuple[float, ...]]
    ) -> list[Question]:
        """The questions, with room for each draft and more."""
        limit = hard_limit(self.model.config)
        asked = [len(ids) for ids in self.tokenizer(list(prompts))["input_ids"]] if prompts and limit else None
        needed = self.tokenizer(list(drafts), add_special_tokens=False)["input_ids"] if drafts else []
        found = []
        for index, (prompt, draft, heats) in enumerate(zip(prompts, drafts, temperatures, strict=True)):
            need = len(needed[index]) + 1
            room = self.own.max_new_tokens or max(LEAST_ROOM, round(need * SPARE) + 1)
            most = min(room, limit - asked[index]) if limit and asked else room
            found.append(Question(prompt, draft, room, need, need <= most, heats))
        return found

    def ask(
        self, questions: Sequence[Question], name: str, weigh_at: Sequence[float] = (), go_on: bool = True
    ) -> list[Completions]:
        """The completions of each question, one for each of its temperatures; each process writes those of its share.

        With `weigh_at` the greedy ones have their confidence, but for those that may be cut off for want of `go_on`.
        """
        with self.accelerator.split_between_processes(list(questions)) as mine:
            asked = [(one, temperature) for one in mine for temperature in one.temperatures]
            prompts, heats = [one.prompt for one, _ in asked], [temperature for _, temperature in asked]
            done = solver.generate(
                self.model,
                self.tokenizer,
                prompts,
                batch_size=self.own.batch_size,
                max_new_tokens=[one.room for one, _ in asked],
                temperature=heats,
                seed=solver.to_seed("evaluate", name, self.own.seed, self.accelerator.process_index),
                progress=self.accelerator.is_main_process,
                **self.shown([one.draft for one, _ in asked], weigh_at, go_on),
            )
            if weigh_at and go_on:
                greedy = [index for index, temperature in enumerate(heats) if temperature == 0]
                some = [prompts[index] for index in greedy], [done[index] for index in greedy]
                for index, sure in zip(greedy, solver.with_confidence(self.model, self.tokenizer, *some), strict=True):
                    done[index] = sure
            ahead = iter(done)
            answers = [list(islice(ahead, len(one.temperatures))) for one in mine]
        return gather_object(answers)

    def shown(self, drafts: list[str], weigh_at: Sequence[float], go_on: bool) -> dict[str, Any]:
        """What of `solver.generate` depends on drafts."""
        if not self.own.drafts:
            return {}
        return {"drafts": drafts, "weigh_at": weigh_at, "go_on": go_on, "resume": self.resume if go_on else None}


@dataclass(frozen=True, slots=True)
class Answered:
    """What the model wrote to each question of a protocol, and the facts of the run.

    Where they were asked: `unhinted`, the same problems without their hints, and `planted`, what has a wrong result.
    """

    asked: list[tuple[Question, Completions]]
    unhinted: list[Answer | None]
    planted: list[tuple[probes.Planted, Answer | None]]
    circumstances: Row


def answer(name: str, rows: list[Row], examiner: Examiner) -> Answered:
    """All that is asked of a protocol's rows."""
    started, protocol, own = time.monotonic(), PROTOCOLS[name], examiner.own
    stopped = {one for names in own.stop_at_fault for one in TOGETHER.get(names, [names])}
    greedy = protocol.temperature == 0 and not protocol.hinted
    cut = greedy and own.drafts and name in stopped
    drafts = [scoring.form_of(row).completion(scoring.work(row)) for row in rows]
    plain = [scoring.form_of(row).prompt(row["problem"]) for row in rows]
    prompts = [probes.hinted(row) for row in rows] if protocol.hinted else plain
    heats = [(protocol.temperature, *more) for more in samples(rows, protocol.file, own, greedy and not cut)]
    questions = examiner.pose(prompts, drafts, heats)
    most = max(one.room for one in questions)
    if examiner.accelerator.is_main_process:
        print(f"{name}: {len(rows)} problems, {protocol.what}; at most {most} new tokens", file=sys.stderr)
    weigh_at = [*dict.fromkeys([1.0, *own.sampling_temperatures])] if protocol.temperature == 0 else []
    done = examiner.ask(questions, name, weigh_at, go_on=not cut)
    unhinted = examiner.ask(examiner.pose(plain, drafts, [(0.0,)] * len(rows)), name) if protocol.hinted else []
    headline = [row for row in rows if row["file"] == protocol.file]
    circumstances = {
        "temperature": protocol.temperature,
        "drafts": own.drafts,
        "stop_at_fault": cut,
        "max_new_tokens": most,
        "longest_right_completion": max(one.need for one in questions),
        "without_room": sum(not one.fits for one in questions),
    }
    return Answered(
        list(zip(questions, done, strict=True)),
        [one.answer for (one,) in unhinted],
        go_on(headline, examiner, name) if greedy and not cut and own.num_planted else [],
        circumstances | {"seconds": round(time.monotonic() - started, 1)},
    )


def samples(rows: list[Row], headline: str, own: EvaluateArguments, wanted: bool) -> list[tuple[float, ...]]:
    """The temperatures of the samples of each row; none for rows aside, nor for those that are not chosen."""
    heats = tuple(heat for heat in own.sampling_temperatures for _ in range(own.num_generations if wanted else 0))
    chosen = set(choose([index for index, row in enumerate(rows) if row["file"] == headline], own.num_sampled))
    return [heats if index in chosen else () for index in range(len(rows))]


def go_on(rows: list[Row], examiner: Examiner, name: str) -> list[tuple[probes.Planted, Answer | None]]:
    """The answers of workings with a planted result, of as many rows as are asked for and have a step to be spoilt."""
    planted = probes.plant(rows, examiner.own.num_planted)
    questions = examiner.pose(
        [one.prompt + one.begun for one in planted], [one.rest for one in planted], [(0.0,)] * len(planted)
    )
    done = examiner.ask(questions, f"{name}/planted")
    form = scoring.form_of(rows[0])
    return [
        (one, form.read_answer(one.begun + wrote.text) if wrote.finished else None)
        for one, (wrote,) in zip(planted, done, strict=True)
    ]
