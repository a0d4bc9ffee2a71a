"""The command `arith-hf`: a verb and its arguments, sent to the module that does the work.

May not import a framework: the module of a verb is imported when the verb is used, so `arith-hf --help` is instant.
Exit status: 0 done, 2 the user's mistake, 1 a failure or an interrupt; one line says what to do (`--debug`: traceback).
"""

import importlib
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Sequence
from types import FrameType

VERBS = {  # verb -> (module, function, what it does)
    "fetch": (
        "arith_hf.fetch",
        "main",
        "bring texts of others to data/raw: Debian's manuals, and questions about them",
    ),
    "corpus": ("arith_hf.corpus", "main", "write the problems of a recipe: pretrain, sft, prompts, test, harder"),
    "tokenizer": ("arith_hf.tokenizer", "main", "make the tokenizer and sign the corpus with its fingerprint"),
    "tokens": ("arith_hf.token_tables", "tokens", "print a tokenizer's table (table, csv, json)"),
    "lengths": (
        "arith_hf.token_tables",
        "lengths",
        "print how many tokens the problems take, and the max_length they need",
    ),
    "pretrain": ("arith_hf.train.pretrain", "main", "train a new model on packed text"),
    "gumbel": ("arith_hf.train.gumbel", "main", "tune on answers alone, the model writing its own workings"),
    "sft": ("arith_hf.train.sft", "main", "tune on prompt and completion, in full or with LoRA (use_peft)"),
    "dpo": ("arith_hf.train.dpo", "main", "tune on pairs of a better and a worse completion, in full or with LoRA"),
    "grpo": ("arith_hf.train.grpo", "main", "reinforce right answers"),
    "sweep": ("arith_hf.sweep", "main", "run a stage with each of several values of some keys, and compare"),
    "audit-reward": ("arith_hf.audit", "main", "find out whether a reward function can be cheated"),
    "doctor": ("arith_hf.doctor", "main", "say what is wrong with a run of grpo, and what to try"),
    "evaluate": ("arith_hf.evaluate", "main", "measure a checkpoint on the saved test sets"),
    "lineage": ("arith_hf.lineage", "main", "print where a checkpoint comes from, and compare every hash on the way"),
    "solve": ("arith_hf.solve", "main", "answer problems, or go on with text: interactive, one, or a JSONL file"),
    "merge": ("arith_hf.copies", "merge_main", "fold a LoRA adapter into a full checkpoint"),
    "export": ("arith_hf.copies", "export_main", "write the stock Llama or Qwen3 form of a checkpoint"),
    "push": ("arith_hf.hub", "push_main", "publish a checkpoint on the Hub"),
    "pull": ("arith_hf.hub", "pull_main", "fetch a checkpoint from the Hub"),
    "report": ("arith_hf.report", "main", "print the results table of a model"),
}


# Warnings of libraries about their own keys, which TRL's defaults set, and about a device that is not there.
NOISE = (".*gradient_checkpointing.*", ".*pin_memory.*")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(overview())
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        from arith_hf import __version__

        print(f"arith-hf {__version__}")
        return 0
    if arguments[0] not in VERBS:
        print(f"arith-hf: unknown verb `{arguments[0]}`: one of {', '.join(VERBS)}", file=sys.stderr)
        return 2
    return run(arguments[0], arguments[1:], debug)


def run(verb: str, arguments: list[str], debug: bool) -> int:
    """Call the verb's function; turn what it raises into one line and an exit status."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by make's launcher, not here
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # TRL reports usage to a server unless told not to
    # Threads that wait by spinning make a step 10 times slower as soon as another program takes a core (measured).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # it warns at every fork of a data worker
    for noise in NOISE:
        warnings.filterwarnings("ignore", message=noise)
    module, function, _ = VERBS[verb]
    try:
        return getattr(importlib.import_module(module), function)(arguments) or 0
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        if isinstance(error, SystemExit) and raised_by(error).f_globals.get("__name__") == "argparse":
            raise  # --help
        if debug:
            traceback.print_exception(error)
        problem, status = explain(error)
        print(f"arith-hf {verb}: {' '.join(problem.split())}", file=sys.stderr)
        return status


def explain(error: BaseException) -> tuple[str, int]:
    """One line for the user, and the exit status."""
    if isinstance(error, SystemExit):
        place = raised_by(error)
        where = f"{place.f_code.co_filename}, line {place.f_lineno}"
        return f"{where} called sys.exit({error.code!r}) before the work was done: raise an error there, or return", 1
    if isinstance(error, KeyboardInterrupt):
        return str(error) or "interrupted", 1
    if isinstance(error, (ValueError, FileNotFoundError, NotADirectoryError, IsADirectoryError, FileExistsError)):
        return str(error), 2
    if isinstance(error, BrokenPipeError):
        return "the reader of the output went away", 1
    if isinstance(error, ModuleNotFoundError):
        return f"{error}: install what is missing with `pip install -e .`", 1
    if isinstance(error, OSError):
        return f"{error}; what was finished before is kept: mend the cause and run the same command again", 1
    return f"{type(error).__name__}: {error}", 1


def raised_by(error: BaseException) -> FrameType:
    """The innermost frame that an error came through."""
    return [frame for frame, _ in traceback.walk_tb(error.__traceback__)][-1]


def overview() -> str:
    """The text of `arith-hf --help`."""
    lines = [f"  {verb:<12} {what}" for verb, (_, _, what) in VERBS.items()]
    return "\n".join(
        [
            "usage: arith-hf VERB [--config recipes/<model>/<verb>.yaml] [--key value ...] [--debug]",
            "",
            "The life of a small language model that calculates; `make pipeline` runs all of it.",
            "",
            *lines,
            "",
            "arith-hf VERB --help lists the verb's keys.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
