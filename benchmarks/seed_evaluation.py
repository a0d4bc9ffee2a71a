"""Row `seed_evaluation`: core-seconds to answer a problem, our solver beside the seed's way, at the seed's size.

The models are not trained, so both arms are made to write exactly as many tokens as the right working has, which is
what models that are right would write. README.md says how the seed's loop is measured without waiting for all of it.
"""

import random
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch

from arith_hf import checkpoint, files, solver, tasks
from arith_hf.model import ArithConfig, ArithForCausalLM
from arith_hf.notation import expression as notation
from benchmarks import material, seed_program
from benchmarks.measure import Row, core_seconds, rounded
from benchmarks.seed_training import overrides

LENGTHS = (8, 32, 64, 128, 192, 256, 320, 384, 448, 512)  # prefixes whose cost is measured; between them it is straight
BATCH = 64  # problems that the solver answers at once
WHOLE, WRONG = 1000, 10  # problems of the evaluation that is stood for, and those of them that a draft does not help


def run(folder: Path, quick: bool) -> list[Row]:
    repeats, drawn, batches = (1, 16, (0,)) if quick else (2, 8 * BATCH, (1, 5))
    torch.manual_seed(0)
    places = material.make("expression-seed", folder, 200 if quick else 3000, num_test=2 * drawn)
    exam = Exam(places, drawn, batches)
    ours = model("tiny" if quick else "medium", exam.tokenizer, {} if quick else overrides())
    shape = seed_program.TINY if quick else seed_program.SHAPE
    theirs = seed_program.SeedModel(len(exam.tokenizer), exam.tokenizer.pad_token_id, **shape).eval()
    plain, drafted, loops, count = [], [], [], len(exam.problems)
    exam.answer(ours, exam.problems[:2])  # warms up
    for _ in range(repeats):
        costs = prefix_costs(theirs)
        loops.append(sum(loop(costs, problem) for problem in exam.problems) / count)
        plain.append(core_seconds(lambda: exam.answer(ours, exam.problems)) / count)
        anew = core_seconds(lambda: exam.answer(ours, exam.problems[:WRONG])) / WHOLE
        with agreeing(ours, exam.tokenizer.eos_token_id):
            drafted.append(core_seconds(lambda: exam.answer(ours, exam.problems, drafts=True)) / count + anew)
    middle = sorted(exam.problems, key=lambda problem: len(problem.right))[count // 2]
    walked = core_seconds(lambda: seed_program.write(theirs, middle.asked, middle.right))
    tokens = sum(len(problem.right) for problem in exam.problems)
    facts = {
        "problems": count,
        "tokens": tokens,
        "tokens_a_problem": rounded(tokens / count),
        "loop_measured_by_estimated": rounded(walked / loop(costs, middle)),
    }
    shared: dict[str, Any] = {
        "unit": "core-s / problem",
        "other": loops,
        "less_is_better": True,
        "wanted": ">= 50, reach 200",
    }
    return [
        Row(
            "seed_evaluation",
            "solver / the seed's way",
            ours=plain,
            facts=facts,
            **shared,
        ),
        Row(
            "seed_evaluation_drafts",
            f"solver, drafts {100 - 100 * WRONG / WHOLE:.0f} % right / the seed's way",
            ours=drafted,
            facts=facts,
            **shared,
        ),
    ]


@dataclass(frozen=True, slots=True)
class Problem:
    """A prompt and its right working, as text and as ids; the last id of `right` is the end token."""

    prompt: str
    working: str
    asked: list[int]
    right: list[int]


class Exam:
    """Some of the batches that the solver makes of the first `drawn` problems that fit in the seed's 512 tokens.

    It puts problems of like length together, so a few problems in one batch would wait for the longest more than those
    of a whole test set do: `batches` picks some from the batches of a larger set, the longest problems first.
    """

    def __init__(self, places: dict[str, str], drawn: int, batches: Sequence[int]) -> None:
        self.tokenizer = checkpoint.load_tokenizer(places["tokenizer_name_or_path"])
        rows = map(self.read, files.read_jsonl(Path(places["dataset_name"], "test/nontrivial.jsonl")))
        fitting = (row for row in rows if len(row.asked) + len(row.right) <= seed_program.LONGEST)
        order = sorted(islice(fitting, drawn), key=lambda problem: -len(problem.right))
        self.problems = [problem for batch in batches for problem in order[batch * BATCH : (batch + 1) * BATCH]]
        random.Random("benchmarks/exam").shuffle(self.problems)

    def read(self, row: dict[str, Any]) -> Problem:
        prompt = notation.prompt(row["problem"])
        working = notation.completion(tasks.get("expression").work(row["problem"].removeprefix(notation.HEAD)))
        right = self.tokenizer(working, add_special_tokens=False)["input_ids"]
        return Problem(prompt, working, self.tokenizer(prompt)["input_ids"], [*right, self.tokenizer.eos_token_id])

    def answer(self, ours: Any, problems: Sequence[Problem], drafts: bool = False) -> None:
        """Our arm: the caps are the right lengths, as if the model ended there."""
        solver.generate(
            ours,
            self.tokenizer,
            [problem.prompt for problem in problems],
            batch_size=BATCH,
            max_new_tokens=[len(problem.right) for problem in problems],
            drafts=[problem.working for problem in problems] if drafts else None,
        )


def model(size: str, model_tokenizer: Any, fields: dict[str, Any]) -> ArithForCausalLM:
    """Untrained, and unable to end: the rows of the end token are zero, so it is never the greatest logit."""
    special = {f"{name}_token_id": getattr(model_tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    made = ArithForCausalLM(ArithConfig.from_size(size, vocab_size=len(model_tokenizer), **special, **fields)).eval()
    with torch.no_grad():
        made.get_output_embeddings().weight[model_tokenizer.eos_token_id] = 0.0
    return made


def agreeing(ours: Any, end: int) -> Any:
    """While this is open, a pass without a cache agrees with whatever it is shown, having computed what it costs.

    So a draft is taken whole, as a model takes one that is right.
    """

    def agree(_: Any, arguments: Any, options: dict[str, Any], output: Any) -> None:
        if options.get("use_cache") is False:
            ids = options["input_ids"]
            following = torch.cat((ids[:, 1:], torch.full_like(ids[:, :1], end)), dim=1)
            output.logits.scatter_(-1, following[..., None], 1e9)

    return ours.register_forward_hook(agree, with_kwargs=True)


@torch.no_grad()
def prefix_costs(theirs: seed_program.SeedModel, times: int = 3) -> list[float]:
    """Core-seconds of one forward pass over a prefix of each of `LENGTHS`."""
    ids = torch.randint(1, theirs.tokens.num_embeddings, (1, seed_program.LONGEST))

    def cost(length: int) -> float:
        return median(core_seconds(lambda: int(theirs(ids[:, :length])[0, -1].argmax())) for _ in range(times))

    return [cost(length) for length in LENGTHS]


def between(costs: list[float], length: int) -> float:
    """The cost of a prefix of `length` tokens on the straight line between two measured ones."""
    place = min(max(bisect_left(LENGTHS, length), 1), len(LENGTHS) - 1)
    (low, high), (cheap, dear) = list(pairwise(LENGTHS))[place - 1], list(pairwise(costs))[place - 1]
    return cheap + (dear - cheap) * (length - low) / (high - low)


def loop(costs: list[float], problem: Problem) -> float:
    """Seconds of the seed's loop over one problem: the sum over the prefixes that it computes."""
    first = len(problem.asked)
    return sum(between(costs, length) for length in range(first, first + len(problem.right)))
