"""The model writes its own working: what is written, what its gradient is, what is refused, and that it learns."""

import math
from functools import partial

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from transformers import TrainingArguments

from arith_hf import files, notation, tokenizer
from arith_hf.model import ArithConfig, ArithForCausalLM
from arith_hf.train import gumbel

KNOWN = tokenizer.train("char")
SUMS = [(left, right) for left in range(1, 13, 3) for right in range(1, 5)]
SHAPES = [{}, {"position_embedding": "learned"}, {"qk_norm": True, "sliding_window": 5}]


def sums(working: str = "{0}{1}+", answer: str = "{2}") -> Dataset:
    """Small sums, whose prompts and answers take one digit or two."""
    style = f"{notation.THINK}{working}{notation.END_THINK}{answer}"
    return Dataset.from_list(
        [
            {"prompt": f"{left}+{right}\n", "completion": style.format(left % 10, right, left + right)}
            for left, right in SUMS
        ]
    )


def pupil_of(**fields) -> ArithForCausalLM:
    """A small model in float64, with weights large enough that what it writes differs from row to row."""
    torch.manual_seed(0)
    special = {f"{name}_token_id": getattr(KNOWN, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    shape = {"vocab_size": len(KNOWN), "initializer_range": 0.3, **special, **fields}
    return ArithForCausalLM(ArithConfig.from_size("tiny", **shape)).double()


def batch_of(rows: Dataset, *indices: int) -> dict[str, torch.Tensor]:
    return gumbel.collate([rows[index] for index in indices], KNOWN.pad_token_id)


ROWS = gumbel.tokenize(sums(), KNOWN)
BANNED = gumbel.forbidden(KNOWN, len(KNOWN))


def noise_for(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    begin, end = gumbel.places(batch)
    return gumbel.draw(0, 0, batch["input_ids"][:, :begin], (len(batch["input_ids"]), end - begin, len(KNOWN))).double()


def answer_loss(model, batch, noise, hard=False, temperature=0.7) -> torch.Tensor:
    _, logits = gumbel.write(model, batch, noise, temperature, hard, BANNED)
    return gumbel.cross_entropy(logits, batch["labels"])


def trainer_of(folder, model=None, **keys) -> gumbel.GumbelTrainer:
    own = {name: keys.pop(name) for name in list(keys) if name in gumbel.GumbelArguments.__dataclass_fields__}
    defaults = {"output_dir": str(folder), "use_cpu": True, "report_to": "none", "save_strategy": "no"}
    return gumbel.GumbelTrainer(
        gumbel.GumbelArguments(**own),
        TrainingArguments(**{**defaults, "per_device_train_batch_size": 8, "logging_steps": 1, **keys}),
        model=pupil_of(initializer_range=0.02).float() if model is None else model,
        train_dataset=ROWS,
        eval_dataset=ROWS,
        processing_class=KNOWN,
    )


# Rows


@pytest.mark.parametrize("kind", ["char", "digits"])
def test_a_row_is_what_is_given_the_working_its_end_and_the_answer(kind):
    """Of digits the line break goes with what follows it, so the end's token holds the last of the working's text."""
    known = tokenizer.train(kind)
    rows = gumbel.tokenize(sums("\n{0}{1}+\n"), known)
    for (left, right), row in zip(SUMS, rows, strict=True):
        ids, completion, begin, end = (row[name] for name in ("input_ids", "completion", "begin", "end"))
        assert ids[0] == known.bos_token_id
        assert known.decode(ids[1:completion]) == f"{left}+{right}\n"
        assert known.decode(ids[completion:begin]) == notation.THINK
        assert known.decode(ids[begin : end + 1]) == f"\n{left % 10}{right}+\n{notation.END_THINK}"
        assert known.decode(ids[end + 1 :]) == f"{left + right}{known.eos_token}"


def test_a_working_may_begin_without_a_tag():
    rows = gumbel.tokenize(
        sums().map(lambda row: {"completion": row["completion"].removeprefix(notation.THINK)}), KNOWN
    )
    assert rows["begin"] == rows["completion"]
    assert gumbel.collate(list(rows), KNOWN.pad_token_id)["written"].sum(1).tolist() == [3] * len(rows)


def test_workings_stand_one_below_the_other_and_labels_are_the_completions_without_them():
    batch = batch_of(ROWS, 0, 15)
    begin, end = gumbel.places(batch)
    for row, (left, right) in zip(range(2), (SUMS[0], SUMS[15]), strict=True):
        ids, labels, mask = (batch[name][row] for name in ("input_ids", "labels", "attention_mask"))
        assert KNOWN.decode(ids[begin:end]) == f"{left % 10}{right}+"
        assert torch.equal(labels[labels != -100], ids[labels != -100])
        rest = f"{notation.THINK}{notation.END_THINK}{left + right}{KNOWN.eos_token}"
        assert KNOWN.decode(labels[labels != -100]) == rest
        assert torch.equal(mask == 0, ids == KNOWN.pad_token_id)
    assert batch["attention_mask"][0, 0] == 0
    assert batch["attention_mask"][1].all()


def test_special_tokens_the_end_of_a_working_and_padding_of_the_vocabulary_are_not_written():
    known = tokenizer.train("digits")
    banned = gumbel.forbidden(known, len(known) + 2)
    named = {known.decode([index]) for index in banned[: len(known)].nonzero().flatten().tolist()}
    specials = {known.pad_token, known.unk_token, known.bos_token, known.eos_token}
    assert named == specials | {notation.END_THINK, f"\n{notation.END_THINK}"}
    assert banned[-2:].all()


# Writing


@pytest.mark.parametrize(
    ("step", "last", "expected"), [(0, None, 2.0), (9, None, 2.0), (0, 0.5, 2.0), (10, 0.5, 0.5), (5, 0.5, 1.0)]
)
def test_the_temperature_goes_in_equal_ratios_and_ends_at_the_last_step(step, last, expected):
    assert gumbel.temperature(step, 11, 2.0, last) == pytest.approx(expected)


def test_one_step_has_a_temperature():
    assert gumbel.temperature(0, 1, 2.0, 0.5) == 2.0


def test_noise_is_gumbels_and_comes_from_seed_step_and_batch_alone():
    given = torch.ones(2, 3, dtype=torch.long)
    state = torch.get_rng_state()
    noise = gumbel.draw(0, 1, given, (2, 50, 1000))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(noise, gumbel.draw(0, 1, given, (2, 50, 1000)))
    assert noise.mean().item() == pytest.approx(0.5772, abs=0.02)
    assert noise.var().item() == pytest.approx(math.pi**2 / 6, abs=0.05)
    for other in (gumbel.draw(1, 1, given, (2,)), gumbel.draw(0, 2, given, (2,)), gumbel.draw(0, 1, given + 1, (2,))):
        assert not torch.equal(other, noise[:, 0, 0])


def test_whole_tokens_are_exactly_one_hot_and_have_the_gradient_of_soft_ones():
    torch.manual_seed(0)
    logits, noise, slope = (torch.randn(3, 7, dtype=torch.float64) for _ in range(3))
    logits[:, 0] = -math.inf
    soft, hard = (
        gumbel.soft_tokens(start, noise, 0.5, chosen)
        for start, chosen in ((logits.clone().requires_grad_(), False), (logits.clone().requires_grad_(), True))
    )
    assert torch.equal(hard, torch.nn.functional.one_hot((logits + noise).argmax(-1), 7).double())
    assert (soft[:, 0] == 0).all()
    start = logits.clone().requires_grad_()
    gradients = [
        torch.autograd.grad((gumbel.soft_tokens(start, noise, 0.5, chosen) * slope).sum(), start)[0]
        for chosen in (False, True)
    ]
    assert torch.equal(*gradients)
    assert gradients[0].isfinite().all()


def test_soft_tokens_are_samples_of_the_softmax():
    logits = torch.tensor([0.0, 1.0, 2.0])
    noise = gumbel.draw(0, 0, torch.zeros(1, 1, dtype=torch.long), (20_000, 3))
    found = gumbel.soft_tokens(logits.expand(20_000, 3), noise, 1.0, True).mean(0)
    torch.testing.assert_close(found, logits.softmax(-1), atol=0.02, rtol=0)


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("fields", SHAPES)
def test_writing_with_a_cache_is_writing_without_one(fields, hard):
    """Without: all that stands so far is read again for each token, as embeddings."""
    model, batch = pupil_of(**fields), batch_of(ROWS, 0, 5, 15)
    ids, (begin, end), noise = batch["input_ids"], gumbel.places(batch), noise_for(batch)
    working, logits = gumbel.write(model, batch, noise, 0.7, hard, BANNED)
    table = model.get_input_embeddings().weight
    so_far, own = table[ids[:, :begin]], []
    for place in range(begin, end):
        seen = gumbel.read(model, batch, place, inputs_embeds=so_far)[:, -1].masked_fill(BANNED, -math.inf)
        own.append(gumbel.soft_tokens(seen, noise[:, place - begin], 0.7, hard))
        so_far = torch.cat((so_far, (own[-1] @ table)[:, None]), dim=1)
    whole = gumbel.read(model, batch, ids.shape[1], inputs_embeds=torch.cat((so_far, table[ids[:, end:]]), dim=1))
    real = batch["attention_mask"].bool()
    torch.testing.assert_close(working, torch.stack(own, dim=1))
    torch.testing.assert_close(logits[real], whole[real])


def test_whole_tokens_read_as_ids_give_the_same_logits():
    model, batch = pupil_of(), batch_of(ROWS, 0, 5, 15)
    begin, end = gumbel.places(batch)
    working, logits = gumbel.write(model, batch, noise_for(batch), 0.7, True, BANNED)
    ids = batch["input_ids"].clone()
    ids[:, begin:end] = working.argmax(-1)
    assert not torch.equal(ids, batch["input_ids"])
    assert len({tuple(row.tolist()) for row in working.argmax(-1)}) > 1
    whole = model(ids, attention_mask=batch["attention_mask"], use_cache=False).logits
    real = batch["attention_mask"].bool()
    torch.testing.assert_close(logits[real], whole[real])


@pytest.mark.parametrize("fields", SHAPES)
def test_the_gradient_is_that_of_finite_differences(fields, monkeypatch):
    """Of what the model reads, how it attends and what it writes; through the working, not the answer alone."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # the norms' precision, too little for differences
    model, batch = pupil_of(tie_word_embeddings=False, **fields), batch_of(ROWS, 0, 5, 15)
    noise = noise_for(batch)
    answer_loss(model, batch, noise).backward()
    layer = model.model.layers[0]
    matrices = [model.model.embed_tokens.weight, layer.self_attn.k_proj.weight, layer.self_attn.v_proj.weight]
    matrices += [model.model.layers[1].mlp.down_proj.weight, model.lm_head.weight, model.model.norm.weight]
    for matrix in matrices:
        assert matrix.grad.isfinite().all()
        flat, place = matrix.data.view(-1), int(matrix.grad.abs().argmax())
        for index in (place, place // 2):
            found = []
            for sign in (1, -1):
                flat[index] += sign * 1e-5
                with torch.no_grad():
                    found.append(answer_loss(model, batch, noise).item())
                flat[index] -= sign * 1e-5
            numeric = (found[0] - found[1]) / 2e-5
            assert matrix.grad.view(-1)[index].item() == pytest.approx(numeric, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_the_answer_reaches_each_token_of_the_working(attention):
    """The noise of each has a gradient, also where rows are padded, and whichever attention hides the padding."""
    model, batch = pupil_of().float(), batch_of(ROWS, 0, 15)
    model.set_attn_implementation(attention)
    noise = noise_for(batch).float().requires_grad_()
    answer_loss(model, batch, noise, hard=True).backward()
    assert noise.grad.isfinite().all()
    assert (noise.grad.abs().sum(-1) > 0).all()
    assert all(weight.grad.isfinite().all() for weight in model.parameters())


@pytest.mark.parametrize("fields", SHAPES)
def test_padding_changes_no_loss(fields):
    """A row alone, and with a longer prompt and a longer answer beside it."""
    model, chosen = pupil_of(**fields), (0, 5, 15)
    batch = batch_of(ROWS, *chosen)
    noise, total, count = noise_for(batch), 0.0, 0
    for place, index in enumerate(chosen):
        one = batch_of(ROWS, index)
        labels = int((one["labels"] != -100).sum())
        total += labels * answer_loss(model, one, noise[place : place + 1], hard=True).item()
        count += labels
    assert answer_loss(model, batch, noise, hard=True).item() == pytest.approx(total / count, rel=1e-9)


# Training


def test_the_right_working_is_not_looked_at_unless_it_has_a_weight(tmp_path):
    batch = batch_of(ROWS, 0, 5, 15)
    begin, end = gumbel.places(batch)
    other = {**batch, "input_ids": batch["input_ids"].clone()}
    other["input_ids"][:, begin:end] = KNOWN.convert_tokens_to_ids("7")
    for weight, blind in ((0.0, True), (0.5, False)):
        trainer = trainer_of(tmp_path, pupil_of(), working_weight=weight, max_steps=10)
        trainer.model.train()
        trainer.state.max_steps = 10
        losses = [trainer.compute_loss(trainer.model, one).item() for one in (batch, other)]
        assert (losses[0] == losses[1]) is blind
        if not blind:
            first, second = (gumbel.working_loss(trainer.model, one).item() for one in (batch, other))
            assert losses[0] - losses[1] == pytest.approx(0.5 * (first - second))


def test_a_working_that_has_a_weight_is_learned_whole_and_nothing_else():
    model, batch = pupil_of(), batch_of(ROWS, 0, 5, 15)
    begin, end = gumbel.places(batch)
    ids = batch["input_ids"]
    logits = model(ids, attention_mask=batch["attention_mask"], use_cache=False).logits[:, begin - 1 : end - 1]
    chosen = logits.log_softmax(-1).gather(-1, ids[:, begin:end, None])
    assert gumbel.working_loss(model, batch).item() == pytest.approx(-chosen.mean().item())


def test_accumulated_batches_share_the_loss(tmp_path):
    trainer = trainer_of(tmp_path, pupil_of(), gradient_accumulation_steps=2, max_steps=1)
    trainer.create_optimizer_and_scheduler(1)
    trainer.state.max_steps, trainer.current_gradient_accumulation_steps = 1, 2
    batch = batch_of(ROWS, 0, 5, 15)
    loss = trainer.compute_loss(trainer.model.train(), batch).item()
    assert trainer.training_step(trainer.model, batch, None).item() == pytest.approx(loss / 2)


def test_it_learns_to_answer_through_its_own_working(tmp_path):
    """The loss falls, the same run gives the same losses again, and temperature and match are logged."""
    keys = {
        "max_steps": 30,
        "learning_rate": 1e-2,
        "disable_tqdm": True,
        "gumbel_temperature": 2.0,
        "gumbel_temperature_end": 0.5,
    }
    runs = []
    for _ in range(2):
        trainer = trainer_of(tmp_path, **keys)
        before = {name: weight.clone() for name, weight in trainer.model.named_parameters()}
        trainer.train()
        runs.append([row for row in trainer.state.log_history if "loss" in row])
    assert [row["loss"] for row in runs[0]] == [row["loss"] for row in runs[1]]
    assert all(not torch.equal(before[name], weight) for name, weight in trainer.model.named_parameters())
    losses, temperatures = ([row[name] for row in runs[0]] for name in ("loss", "gumbel_temperature"))
    assert sum(losses[-5:]) / 5 < 0.6 * losses[0]
    assert (temperatures[0], temperatures[-1]) == (2.0, pytest.approx(0.5))
    assert all(0 <= row["working_match"] <= 1 for row in runs[0])


def test_the_right_working_is_written_where_it_has_a_weight(tmp_path):
    trainer = trainer_of(tmp_path, max_steps=60, learning_rate=2e-2, working_weight=1.0, gumbel_temperature=0.5)
    trainer.train()
    matches = [row["working_match"] for row in trainer.state.log_history if "working_match" in row]
    assert sum(matches[-5:]) / 5 > sum(matches[:5]) / 5 + 0.2


def test_an_evaluation_is_greedy(tmp_path):
    """So it says the same at every temperature, and what is written is what the model finds likeliest."""
    losses = [
        trainer_of(tmp_path, pupil_of(), gumbel_temperature=value, gumbel_hard=value > 1).evaluate()["eval_loss"]
        for value in (0.1, 5.0)
    ]
    assert losses[0] == losses[1]


# The stage


def argv(pupil, rows: Dataset, folder, *more: str) -> list[str]:
    """Of the stage, on rows of one's own."""
    files.write_jsonl(folder / "mine.jsonl", list(rows))
    paths = ("--model_name_or_path", str(pupil), "--dataset_name", str(folder / "mine.jsonl"))
    keys = ("--use_cpu", "true", "--max_steps", "2", "--eval_strategy", "steps", "--eval_steps", "2")
    return [*paths, "--output_dir", str(folder / "gumbel"), *keys, *more]


@pytest.mark.parametrize("more", [(), ("--use_peft", "--lora_r", "2", "--lora_target_modules", "all-linear")])
def test_the_stage_leaves_a_checkpoint_whose_parameters_moved(pupil, tmp_path, more):
    gumbel.main(argv(pupil, sums("\n{0}{1}\n", "\nFinal Result: {2}"), tmp_path, "--learning_rate", "0.01", *more))
    before, after = (load_file(path / "model.safetensors") for path in (pupil, tmp_path / "gumbel"))
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert len(moved) == len(before) or (more and all("_proj" in name for name in moved))
    assert moved
    metrics = files.read_json(tmp_path / "gumbel/metrics.json")
    assert {"eval_loss", "eval_exact_match"} <= set(metrics)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (partial(sums, "{2}"), "need workings of one length, got 1 to 2 tokens: set think_length in corpus.yaml"),
        (partial(sums, ""), "need completions with a working to write: in this style nothing"),
        (lambda: sums().map(lambda row: {"completion": row["prompt"]}), f"got one without {notation.END_THINK}"),
    ],
)
def test_rows_that_cannot_be_written_together_are_refused(pupil, tmp_path, rows, said):
    with pytest.raises(ValueError, match=said):
        gumbel.prepare(argv(pupil, rows(), tmp_path))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--gumbel_temperature", "0"), "need gumbel_temperature > 0, got 0.0"),
        (("--gumbel_temperature_end", "-1"), "need gumbel_temperature_end > 0, got -1.0"),
        (("--working_weight", "-1"), "need working_weight >= 0, got -1.0"),
        (("--activation_checkpointing", "true"), "activation_checkpointing: not where"),
        (("--torch_compile", "true"), "torch_compile: not where"),
        (("--max_length", "4"), "max_length 4 cannot hold"),
    ],
)
def test_keys_that_do_not_go_with_writing_are_refused(pupil, tmp_path, more, said):
    with pytest.raises(ValueError, match=said):
        gumbel.prepare(argv(pupil, sums(), tmp_path, *more))


def test_a_model_that_needs_the_ids_of_the_whole_text_is_refused(tmp_path):
    model = pupil_of(line_stride=8, line_token_ids=[5])
    model.config.tokenizer_fingerprint = tokenizer.fingerprint(KNOWN)
    model.save_pretrained(tmp_path / "parent")
    KNOWN.save_pretrained(tmp_path / "parent")
    with pytest.raises(ValueError, match="with line_stride a model needs the ids of the whole text"):
        gumbel.prepare(argv(tmp_path / "parent", sums(), tmp_path))
