"""Runs many command lines, each in a process of its own forked from one that has the libraries imported.

Reads a JSON list of argument lists, prints a JSON list of [status, stdout, stderr]. A fresh process takes seconds to
import torch and TRL; what is tested is what the command does after that.
"""

import json
import os
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"

import arith_hf.corpus
import arith_hf.evaluate
import arith_hf.solve
import arith_hf.train.grpo
import arith_hf.train.pretrain
import arith_hf.train.sft  # noqa: F401
from arith_hf.__main__ import main


def run(arguments: list[str]) -> tuple[int, str, str]:
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        if (child := os.fork()) == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            status = main(arguments)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0)
        err.seek(0)
        return status, out.read(), err.read()


print(json.dumps([run(arguments) for arguments in json.load(sys.stdin)]))
