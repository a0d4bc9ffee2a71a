"""The inference core: one completion per prompt whatever the batch, cut off or finished, and no surprise settings."""

import json
import math
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import PROBLEMS
from peft import LoraConfig, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel

from arith_hf import checkpoint, solver, tasks
from arith_hf.model import ArithConfig, ArithForCausalLM
from arith_hf.notation import expression as notation

PROMPTS = [notation.ask(one) for one in PROBLEMS]
RIGHT = [tasks.get("expression").work(one).answer for one in PROBLEMS]


@pytest.fixture(scope="module")
def loaded(pupil: Path) -> tuple:
    return checkpoint.load(pupil)


def wild(vocab_size: int, **fields: object) -> ArithForCausalLM:
    """A model that was never trained and is far from uniform, so that it writes on and on, each prompt differently."""
    torch.manual_seed(1)
    return ArithForCausalLM(
        ArithConfig.from_size("tiny", vocab_size=vocab_size, pad_token_id=0, initializer_range=0.5, **fields)
    ).eval()


def test_three_lines_of_python(pupil: Path) -> None:
    """The promise of the README."""
    (row,) = solver.Solver.from_pretrained(pupil).solve("5+(10-3)")
    assert (row["problem"], row["answer"], row["finished"]) == ("5+(10-3)", 12, True)
    assert row["completion"].startswith("<think>\nStep 1: 10 - 3 = 7\n")


@pytest.mark.parametrize("batch_size", [1, 2, 3, 64])
def test_any_batch_size_gives_the_same_answers(loaded: tuple, batch_size: int) -> None:
    """Prompts of mixed lengths: were padding counted or seen, the short ones would change."""
    done = solver.generate(*loaded, PROMPTS, batch_size=batch_size, max_new_tokens=200)
    assert [one.answer for one in done] == RIGHT
    assert [one.text for one in done] == [notation.completion(tasks.get("expression").work(one)) for one in PROBLEMS]


@pytest.mark.parametrize("position_embedding", ["rotary", "learned", "none"])
@pytest.mark.parametrize("limit", [48, 2048])
def test_the_same_for_a_wild_model_and_caps_of_many_sizes(loaded: tuple, position_embedding: str, limit: int) -> None:
    model = wild(len(loaded[1]), position_embedding=position_embedding, max_position_embeddings=limit)
    caps = [5 + 7 * index for index in range(len(PROMPTS))]
    alone = solver.generate(model, loaded[1], PROMPTS, batch_size=1, max_new_tokens=caps)
    assert solver.generate(model, loaded[1], PROMPTS, batch_size=64, max_new_tokens=caps) == alone
    lengths = [len(ids) for ids in loaded[1](PROMPTS)["input_ids"]]
    room = [
        limit - length if position_embedding == "learned" else cap for cap, length in zip(caps, lengths, strict=True)
    ]
    most = map(min, caps, room)
    assert all(one.num_tokens == cap for one, cap in zip(alone, most, strict=True) if not one.finished)
    assert any(not one.finished for one in alone)


# Drafts: completions begun from guesses


WORKINGS = [notation.completion(tasks.get("expression").work(one)) for one in PROBLEMS]
DRAFTS = {
    "right": WORKINGS,
    "empty": [""] * len(PROBLEMS),
    "of other problems": [*WORKINGS[1:], WORKINGS[0]],
    "ending early": [text[: 7 + 11 * index] for index, text in enumerate(WORKINGS)],
    "going on": [text + "7" for text in WORKINGS],
    "wrong in the middle": [text.replace("1", "2") for text in WORKINGS],
    "with an end token inside": [f"{text[:20]}{notation.EOS}{text[20:]}" for text in WORKINGS],
    "ended, then more": [f"{text}{notation.EOS}{text}" for text in WORKINGS],
    "some of each": [WORKINGS[0], "", WORKINGS[2][:9], "Evaluate: 3", WORKINGS[4] * 2, WORKINGS[5], WORKINGS[5]],
}


@pytest.mark.parametrize("drafts", DRAFTS.values(), ids=DRAFTS)
def test_a_draft_never_changes_what_is_written(loaded: tuple, drafts: list[str]) -> None:
    """Not for whole completions, and not for caps that cut them anywhere, the end token included."""
    needed = [one.num_tokens for one in solver.generate(*loaded, PROMPTS, max_new_tokens=200)]
    for caps in ([200] * len(PROMPTS), needed, [n - 1 for n in needed], [1 + 9 * n for n in range(len(needed))]):
        plain = solver.generate(*loaded, PROMPTS, max_new_tokens=caps)
        assert solver.generate(*loaded, PROMPTS, max_new_tokens=caps, batch_size=3, drafts=drafts) == plain


@pytest.mark.parametrize("position_embedding", ["rotary", "learned", "none"])
def test_a_draft_changes_nothing_for_a_wild_model(
    loaded: tuple, position_embedding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random beginnings of its own completions, in batches of drafts that hold one, a few and all."""
    model = wild(len(loaded[1]), position_embedding=position_embedding, max_position_embeddings=48)
    prompts, chance = PROMPTS * 4, random.Random(position_embedding)
    caps = [chance.randint(1, 60) for _ in prompts]
    plain = solver.generate(model, loaded[1], prompts, max_new_tokens=caps)
    assert any(one.num_tokens == cap for one, cap in zip(plain, caps, strict=True))
    for tokens in (1, 200, 9999):
        monkeypatch.setattr("arith_hf.drafts.VERIFIED", tokens)
        drafts = [one.text[: chance.randint(0, 2 * len(one.text))] + chance.choice(("", "12")) for one in plain]
        assert solver.generate(model, loaded[1], prompts, max_new_tokens=caps, drafts=drafts) == plain


def test_right_drafts_cost_one_forward_pass(loaded: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaded[0], "generate", None)
    done = solver.generate(*loaded, PROMPTS, max_new_tokens=200, drafts=WORKINGS)
    assert [(one.text, one.answer, one.finished) for one in done] == [
        (text, answer, True) for text, answer in zip(WORKINGS, RIGHT, strict=True)
    ]


@pytest.mark.parametrize("resume", [lambda text: text + "12", str.swapcase, lambda text: text[:5], notation.posed])
def test_whatever_resumes_a_greedy_completion_never_changes_it(loaded: tuple, resume: Callable[[str], str]) -> None:
    """Also what does not begin with what was written."""
    model = wild(len(loaded[1]))
    for one in (model, loaded[0]):
        plain = solver.generate(one, loaded[1], PROMPTS, max_new_tokens=90)
        for drafts in ("of other problems", "wrong in the middle"):
            done = solver.generate(one, loaded[1], PROMPTS, max_new_tokens=90, drafts=DRAFTS[drafts], resume=resume)
            assert done == plain


def test_a_guess_that_helps_is_followed_by_another(loaded: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where each guess is right for long enough, no token is written one by one."""
    monkeypatch.setattr(loaded[0], "generate", None)
    whole = dict(zip(PROMPTS, WORKINGS, strict=True))
    prompts, spoilt = PROMPTS[1:3], [text.replace("now: 5 + 7", "now: 5 + 8") for text in WORKINGS[1:3]]
    asked = []

    def resume(text: str) -> str:
        asked.append(text)
        return next(prompt + right for prompt, right in whole.items() if text.startswith(prompt))

    done = solver.generate(*loaded, prompts, max_new_tokens=200, drafts=spoilt, resume=resume)
    assert [one.text for one in done] == WORKINGS[1:3]
    (begun,) = asked
    assert begun == PROMPTS[1] + WORKINGS[1][: len(begun) - len(PROMPTS[1])], (
        "with the token in place of the refused one"
    )
    assert [one.agreed == 1 for one in done] == [False, True], "the share of the first guess"


def test_confidence_is_the_probability_of_what_was_written(loaded: tuple) -> None:
    """The same whether a draft tells it, or a forward pass over what was written."""
    model, known = loaded
    drafts = [*WORKINGS[:3], *WORKINGS[2:6]]
    runs = [
        solver.generate(model, known, PROMPTS, max_new_tokens=200, drafts=drafts, weigh_at=[1.0]),
        solver.generate(model, known, PROMPTS, max_new_tokens=200),
    ]
    sure = [[one.confidence for one in solver.with_confidence(model, known, PROMPTS, done)] for done in runs]
    assert sure[0] == pytest.approx(sure[1], rel=1e-4)
    for prompt, done, confidence in zip(PROMPTS, runs[1], sure[1], strict=True):
        begun = known(prompt)["input_ids"]
        ids = torch.tensor([[*begun, *done.token_ids[: done.num_tokens]]])
        with torch.no_grad():
            shares = model(ids[:, :-1], use_cache=False).logits.softmax(-1).gather(-1, ids[:, 1:, None])
        assert confidence == pytest.approx(float(shares[0, len(begun) - 1 :].prod()), rel=1e-4)


def test_right_samples_are_as_frequent_as_the_right_working_is_likely(loaded: tuple) -> None:
    """So pass@k of right workings needs no samples: its chance is enough."""
    count, heat = 600, 1.4
    for prompt, draft in list(zip(PROMPTS, WORKINGS, strict=True))[:3]:
        options = {"max_new_tokens": 60, "temperature": heat, "drafts": [draft] * count, "weigh_at": [heat]}
        done = solver.generate(*loaded, [prompt] * count, **options)
        chance = math.exp(done[0].logprobs[heat])
        right = sum(one.text == draft for one in done)
        assert 0.05 < chance < 0.99
        assert abs(right - count * chance) < 4 * (count * chance * (1 - chance)) ** 0.5


class Letters:
    """A tokenizer of three letters and an end, small enough for every completion to be listed."""

    eos_token_id, pad_token_id, letters = 1, 0, "-$abc"

    def __call__(self, texts: list[str], add_special_tokens: bool = True) -> dict:
        return {"input_ids": [[self.letters.index(letter) for letter in text] for text in texts]}

    def decode(self, ids: list[int], **_: object) -> str:
        return "".join(self.letters[index] for index in ids if index > 1)


def likelihoods(model: GPT2LMHeadModel, prompt: list[int], longest: int, temperature: float) -> dict[tuple, float]:
    """The probability of every completion of at most so many tokens, those cut off included."""
    ended, ahead = {}, {(): 1.0}
    for _ in range(longest):
        with torch.no_grad():
            logits = model(torch.tensor([[*prompt, *ids] for ids in ahead])).logits[:, -1]
        shares = (logits.double() / temperature).softmax(-1).tolist()
        longer = {
            (*ids, token): chance * share
            for (ids, chance), row in zip(ahead.items(), shares, strict=True)
            for token, share in enumerate(row)
        }
        ended |= {ids: chance for ids, chance in longer.items() if ids[-1] == 1}
        ahead = {ids: chance for ids, chance in longer.items() if ids[-1] != 1}
    return ended | ahead


SAMPLES = 20_000
GUESSES = {
    "none": {},
    "right": {"drafts": "abca"},
    "empty": {"drafts": ""},
    "resumed": {"drafts": "aaaa", "resume": lambda text: f"{text}b"},
    "resumed otherwise": {"drafts": "cab", "resume": lambda text: text + text[-1] * 4},
}


@pytest.mark.parametrize("temperature", [0.7, 1.0])
@pytest.mark.parametrize("how", GUESSES.values(), ids=GUESSES)
def test_samples_are_distributed_as_the_model_says_whatever_is_guessed(how: dict, temperature: float) -> None:
    """Chi-square against the probabilities of all completions: plain sampling passes, and so do all guesses."""
    torch.manual_seed(3)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=5, n_embd=8, n_layer=1, n_head=1, n_positions=16)).eval()
    with torch.no_grad():
        model.transformer.wte.weight.mul_(15)
    model.generation_config.eos_token_id = None
    due = likelihoods(model, [2, 3], 5, temperature)
    assert sum(due.values()) == pytest.approx(1, abs=1e-5)
    how = {**how, **({"drafts": [how["drafts"]] * SAMPLES} if "drafts" in how else {})}
    options = {"max_new_tokens": 5, "temperature": temperature, "batch_size": SAMPLES, "seed": 5}
    done = solver.generate(model, Letters(), ["ab"] * SAMPLES, **options, **how)
    found = Counter(one.token_ids[: one.num_tokens] for one in done)
    assert len(found) > 50
    often = {ids for ids, chance in due.items() if chance * SAMPLES >= 5}
    cells = [(found[ids], due[ids] * SAMPLES) for ids in often]
    rest = (SAMPLES - sum(count for count, _ in cells), SAMPLES - sum(wanted for _, wanted in cells))
    distance = sum((count - wanted) ** 2 / wanted for count, wanted in [*cells, rest])
    freedom = len(cells)
    assert abs(distance - freedom) < 4 * (2 * freedom) ** 0.5, "four standard deviations, and not suspiciously near"


def test_samples_of_one_prompt_share_its_forward_pass(loaded: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    """Greedy and sampled ones alike; each temperature has its own logprobs."""
    model, known = loaded
    rows = []
    hook = model.register_forward_pre_hook(
        lambda _, __, options: rows.append(len(options["input_ids"])) if not options["use_cache"] else None,
        with_kwargs=True,
    )
    prompts, drafts = ([text for text in texts[:3] for _ in range(5)] for texts in (PROMPTS, WORKINGS))
    heats = [0, 0.5, 1, 1, 1] * 3
    done = solver.generate(
        model, known, prompts, max_new_tokens=200, temperature=heats, drafts=drafts, weigh_at=[1.0, 2.0]
    )
    hook.remove()
    assert sum(rows) == 3
    assert [one.text for one in done[::5]] == WORKINGS[:3]
    assert [one.agreed is None for one in done] == [heat > 0 for heat in heats]
    for one in done:
        assert one.logprobs[2.0] < one.logprobs[1.0] < 0
        assert one.logprobs == done[0 if one is done[0] else done.index(one) // 5 * 5].logprobs
    for prompt, draft, one in zip(PROMPTS, WORKINGS, done[::5], strict=False):
        begun, ids = known(prompt)["input_ids"], known(draft, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logits = model(torch.tensor([[*begun, *ids]]), use_cache=False).logits[0, len(begun) - 1 :]
        due = logits.log_softmax(-1).gather(-1, torch.tensor([*ids, known.eos_token_id])[:, None]).sum()
        assert one.logprobs[1.0] == pytest.approx(float(due), abs=1e-4)


def test_sampling_a_sure_model_writes_nothing_token_by_token(loaded: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaded[0], "generate", None)
    prompts, drafts = PROMPTS[:1] * 16, WORKINGS[:1] * 16
    done = solver.generate(*loaded, prompts, max_new_tokens=200, temperature=0.05, drafts=drafts)
    assert {one.text for one in done} == {WORKINGS[0]}


def test_a_completion_may_stop_where_it_parts_from_its_draft(loaded: tuple) -> None:
    drafts = [WORKINGS[0], WORKINGS[1].replace("10 - 3 = 7", "10 - 3 = 9"), *WORKINGS[2:]]
    done = solver.generate(*loaded, PROMPTS, max_new_tokens=200, drafts=drafts, go_on=False)
    assert [one.answer for one in done] == [RIGHT[0], None, *RIGHT[2:]]
    assert (done[1].text, done[1].finished) == ("<think>\nStep 1: 10 - 3 = 7", False), "with what it wrote instead"
    with pytest.raises(ValueError, match="need drafts"):
        solver.generate(*loaded, PROMPTS, max_new_tokens=200, go_on=False)


def test_drafts_that_cannot_be_are_refused(loaded: tuple) -> None:
    assert solver.generate(*loaded, [], max_new_tokens=5, drafts=[]) == []
    with pytest.raises(ValueError, match="need one draft for each prompt, got 6 drafts and 7 prompts"):
        solver.generate(*loaded, PROMPTS, max_new_tokens=9, drafts=WORKINGS[1:])
    for wrong in ({"resume": str.upper}, {"weigh_at": [1.0]}, {"go_on": False}):
        with pytest.raises(ValueError, match="need drafts for resume and weigh_at"):
            solver.generate(*loaded, PROMPTS, max_new_tokens=9, **wrong)


def test_order_is_kept_and_nothing_is_a_list_of_nothing(loaded: tuple) -> None:
    turned = solver.generate(*loaded, PROMPTS[::-1], batch_size=3, max_new_tokens=200)
    assert [one.answer for one in turned] == RIGHT[::-1]
    assert solver.generate(*loaded, [], max_new_tokens=5) == []


def test_what_is_cut_off_has_no_answer(loaded: tuple) -> None:
    whole = solver.generate(*loaded, PROMPTS[:1], max_new_tokens=200)[0]
    assert (whole.finished, whole.answer) == (True, 3)
    (exact,) = solver.generate(*loaded, PROMPTS[:1], max_new_tokens=whole.num_tokens)
    assert exact == whole, "num_tokens counts the end token, and that is enough room"
    (cut,) = solver.generate(*loaded, PROMPTS[:1], max_new_tokens=whole.num_tokens - 1)
    assert (cut.text, cut.num_tokens, cut.finished) == (whole.text, whole.num_tokens - 1, False)
    assert cut.answer is None, "the text reads 3, but who knows whether a digit was to follow"


def test_sampling_follows_its_seed_and_leaves_the_global_state(loaded: tuple) -> None:
    model = wild(len(loaded[1]))
    state = torch.get_rng_state()
    first, again, other = (
        solver.generate(model, loaded[1], PROMPTS, max_new_tokens=20, temperature=1.0, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again != other
    assert torch.equal(torch.get_rng_state(), state)


def test_nothing_is_taken_from_generation_config(loaded: tuple) -> None:
    """transformers fills what is not said from the checkpoint's generation_config.json, and top_k 50 when sampling."""
    model, known = loaded
    greedy = solver.generate(model, known, PROMPTS, max_new_tokens=200)
    before = model.generation_config
    model.generation_config = type(before)(
        max_length=3, repetition_penalty=9.0, min_new_tokens=150, num_beams=2, suppress_tokens=list(range(4, 40))
    )
    try:
        assert solver.generate(model, known, PROMPTS, max_new_tokens=200) == greedy
        assert model.generation_config.repetition_penalty == 9.0, "the model's own is put back"
    finally:
        model.generation_config = before


def test_sampling_reaches_the_whole_vocabulary() -> None:
    """With transformers' default of top_k 50 no more than 50 different tokens could come."""
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=300, n_embd=8, n_layer=1, n_head=1, n_positions=64, eos_token_id=1))
    torch.nn.init.zeros_(model.transformer.wte.weight)  # every token as likely as any other
    rows = [[5]] * 400
    seen: set[str] = set()

    class Plain:
        eos_token_id, pad_token_id = 1, 0

        def __call__(self, texts: list[str]) -> dict:
            return {"input_ids": rows[: len(texts)]}

        def decode(self, ids: list[int], **_: object) -> str:
            seen.update(map(str, ids))
            return ""

    solver.generate(model, Plain(), ["x"] * 400, max_new_tokens=4, temperature=0.8)
    assert len(seen) > 200


def test_the_mode_of_the_model_is_kept(loaded: tuple) -> None:
    model = wild(len(loaded[1]), hidden_dropout=0.5)
    model.train()
    runs = [solver.generate(model, loaded[1], PROMPTS[:2], max_new_tokens=9) for _ in range(2)]
    assert runs[0] == runs[1], "no dropout while generating"
    assert model.training


def test_an_adapter_generates_as_its_merged_model(loaded: tuple) -> None:
    model = wild(len(loaded[1]))
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)).eval()
    adapted.get_base_model().generation_config.min_new_tokens = 30
    mine = solver.generate(adapted, loaded[1], PROMPTS, max_new_tokens=20)
    assert adapted.get_base_model().generation_config.min_new_tokens == 30
    assert solver.generate(adapted.merge_and_unload(), loaded[1], PROMPTS, max_new_tokens=20) == mine


def test_end_tokens_of_the_checkpoint_count_too(loaded: tuple) -> None:
    model, known = loaded
    before = model.generation_config.eos_token_id
    model.generation_config.eos_token_id = [known.convert_tokens_to_ids("</think>"), known.eos_token_id]
    try:
        assert solver.end_tokens(model, known) == [known.eos_token_id, known.convert_tokens_to_ids("</think>")]
    finally:
        model.generation_config.eos_token_id = before


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"max_new_tokens": 0}, {"temperature": -1.0}])
def test_impossible_settings_are_refused(loaded: tuple, wrong: dict) -> None:
    with pytest.raises(ValueError, match="need batch_size >= 1, max_new_tokens >= 1 and temperature >= 0"):
        solver.generate(*loaded, PROMPTS, **{"max_new_tokens": 5, **wrong})


@pytest.mark.parametrize(
    ("problem", "said"),
    [("", "got nothing"), (" \n", "got nothing"), ("5 * 3", "'\\*'"), ("1 + " * 2000, "at most 4000 characters")],
)
def test_what_cannot_be_asked_is_said_in_one_line(loaded: tuple, problem: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        solver.Solver(*loaded).solve(problem)


def test_a_problem_longer_than_the_positions_is_an_error(loaded: tuple) -> None:
    model = wild(len(loaded[1]), position_embedding="learned", max_position_embeddings=16)
    with pytest.raises(ValueError, match="fewer than 16 tokens"):
        solver.Solver(model, loaded[1]).solve("1 + 2 + 3 + 4 + 5 + 6 + 7 + 8 + 9")
    for drafts in (None, [WORKINGS[5]]):
        done = solver.generate(model, loaded[1], [PROMPTS[5] * 2], max_new_tokens=9, drafts=drafts)
        assert done == [solver.Completion("", 0, False)]


def test_there_is_room_for_any_right_working(loaded: tuple) -> None:
    """`room` knows no answer, only the prompt, and must hold a working in any tokenizer: characters bound tokens."""
    expressions = [*PROBLEMS, " + ".join(["99"] * 40), " - ".join(["(1000 + 1000)"] * 20), "-1 - -1", "(" * 50 + "7"]
    for expression in expressions:
        text = notation.completion(tasks.get("expression").work(expression))
        assert len(text) < notation.room(notation.ask(expression)), expression


def test_seeds_of_parts_are_far_apart() -> None:
    assert solver.to_seed("evaluate", "seed", 1) == solver.to_seed("evaluate", "seed", 1)
    assert abs(solver.to_seed("solve", 1) - solver.to_seed("solve", 2)) > 2**32
    torch.manual_seed(solver.to_seed("x"))  # fits


def test_a_row_is_json(loaded: tuple) -> None:
    rows = solver.Solver(*loaded).solve(list(PROBLEMS))
    assert [json.loads(json.dumps(row))["answer"] for row in rows] == RIGHT
