"""Rollouts from drafts: completions of the policy's own distribution, of which the right working is guessed.

May not know what is rewarded. What the policy would have written anyway costs one forward pass for all completions of a
prompt; behind a wrong result the working goes on from there, and is guessed again (see `drafts.py` for why a sample is
distributed as without). TRL calls this its `rollout_func`.
"""

import os
from typing import Any

from trl import GRPOConfig, GRPOTrainer

from arith_hf import solver, tokenizer

BATCH = 256  # completions written at once; the tokens of a batch are limited by the solver
PLAIN: dict[str, tuple[Any, ...]] = {  # settings with which TRL would sample from the whole distribution, here
    "top_p": (1.0,),
    "top_k": (0, None),
    "min_p": (None, 0.0),
    "repetition_penalty": (1.0,),
    "generation_kwargs": (None, {}),
    "use_vllm": (False,),
    "use_transformers_continuous_batching": (False,),
}

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # that rollout_func may change: tests/train/test_rollouts.py


def changed(training: GRPOConfig) -> list[str]:
    """The settings under which rollouts are not drawn from the whole distribution, or elsewhere: TRL makes those."""
    return [name for name, plain in PLAIN.items() if getattr(training, name) not in plain]


def drafted(prompts: list[str], trainer: GRPOTrainer, stop_at_fault: bool = False) -> dict[str, Any]:
    """Token ids of prompts and of a completion of each, in order, at the trainer's temperature.

    With `stop_at_fault` a completion that is trained on ends with the token by which it leaves the right working. What
    would follow is worth nothing to a reward that pays right workings only, and takes most of the time.
    """
    model_tokenizer: Any = trainer.processing_class
    form, training = tokenizer.form_of(model_tokenizer), trainer.args
    right = {prompt: form.solution(prompt) for prompt in dict.fromkeys(prompts)}
    model: Any = trainer.accelerator.unwrap_model(trainer.model)
    stopped = stop_at_fault and model.training
    place = ("rollouts", training.seed, trainer.state.global_step, model.training, trainer.accelerator.process_index)
    done = solver.generate(
        model,
        model_tokenizer,
        prompts,
        batch_size=BATCH,
        max_new_tokens=trainer.max_completion_length or form.room(max(prompts, key=len)),
        temperature=trainer.temperature,
        seed=solver.to_seed(*place),
        drafts=[right[prompt] for prompt in prompts],
        resume=None if stopped else form.resumed,
        go_on=not stopped,
    )
    return {
        "prompt_ids": model_tokenizer(prompts)["input_ids"],
        "completion_ids": [list(one.token_ids[: one.num_tokens]) for one in done],
        "logprobs": None,  # on policy: TRL computes them where it needs them
    }
