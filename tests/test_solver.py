"""The inference core: one completion per prompt whatever the batch, cut off or finished, and no surprise settings."""

import json
import random
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


# Drafts: greedy decoding, begun from a guess


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
        monkeypatch.setattr(solver, "VERIFIED", tokens)
        drafts = [one.text[: chance.randint(0, 2 * len(one.text))] + chance.choice(("", "12")) for one in plain]
        assert solver.generate(model, loaded[1], prompts, max_new_tokens=caps, drafts=drafts) == plain


def test_right_drafts_cost_one_forward_pass(loaded: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaded[0], "generate", None)
    done = solver.generate(*loaded, PROMPTS, max_new_tokens=200, drafts=WORKINGS)
    assert [(one.text, one.answer, one.finished) for one in done] == [
        (text, answer, True) for text, answer in zip(WORKINGS, RIGHT, strict=True)
    ]


def test_a_completion_may_stop_where_it_parts_from_its_draft(loaded: tuple) -> None:
    drafts = [WORKINGS[0], WORKINGS[1].replace("10 - 3 = 7", "10 - 3 = 9"), *WORKINGS[2:]]
    done = solver.generate(*loaded, PROMPTS, max_new_tokens=200, drafts=drafts, go_on=False)
    assert [one.answer for one in done] == [RIGHT[0], None, *RIGHT[2:]]
    assert (done[1].text, done[1].finished) == ("<think>\nStep 1: 10 - 3 = ", False)
    with pytest.raises(ValueError, match="need drafts"):
        solver.generate(*loaded, PROMPTS, max_new_tokens=200, go_on=False)


def test_drafts_are_for_greedy_decoding(loaded: tuple) -> None:
    assert solver.generate(*loaded, [], max_new_tokens=5, drafts=[]) == []
    for wrong in ({"temperature": 0.8}, {"drafts": WORKINGS[1:]}):
        with pytest.raises(ValueError, match="need temperature 0 and one draft for each prompt"):
            solver.generate(*loaded, PROMPTS, **{"max_new_tokens": 9, "drafts": WORKINGS, **wrong})


def test_batches_hold_no_more_tokens_than_they_may() -> None:
    rows, caps = [[0] * length for length in (3, 9, 5, 4, 2)], [10, 1000, 10, 90, 90]
    assert list(solver.batches(rows, caps, 2, 9999)) == [[1, 3], [4, 2], [0]], "the longest to go first"
    assert list(solver.batches(rows, caps, 64, 200)) == [[1], [3, 4], [2, 0]], "one however long it is"
    assert list(solver.batches(rows, caps, 64, 9999, same_length=True)) == [[1], [2], [3], [0], [4]]
    assert list(solver.batches([], [], 64, 1)) == []


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
