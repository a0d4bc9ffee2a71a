"""The verb `evaluate` on a corpus of natural text: its files, its line, and what it refuses."""

import doctest
import json
import shutil

import pytest
import torch
import yaml
from accelerate import Accelerator
from prose import CONTEXT, SENTENCES

from arith_hf import checkpoint, files, hub, preferences
from arith_hf.__main__ import main
from arith_hf.language import evaluation, perplexity, summary, written, yesno

KEYS = {"sample_prompts": ["The", "El"], "sample_tokens": 12, "batch_size": 16}


def arguments(root, *more, stage="pretrain", **keys):
    folder = root / "recipes/prose"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evaluate.yaml").write_text(yaml.safe_dump(KEYS | keys))
    where = ["--checkpoint", str(root / "checkpoints/prose" / stage)]
    return ["--config", str(folder / "evaluate.yaml"), *where, *more]


@pytest.mark.parametrize("room", [perplexity, summary, yesno])
def test_examples(room):
    assert doctest.testmod(room).failed == 0


@pytest.fixture
def mine(corpus, tmp_path):
    """A copy that a test may change."""
    shutil.copytree(corpus, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture(scope="module")
def report(corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    evaluation.main(arguments(corpus, "--output_dir", str(out)))
    return out, files.read_json(out / "evaluate.json")


def test_the_model_that_read_the_language_beats_chance_and_frequencies(report):
    _, found = report
    scores = found["perplexity"]
    assert list(scores) == ["en", "es", "all sources"]
    for name, block in scores.items():
        said = [block[kind]["perplexity"] for kind in ("trained", "unigram", "untrained")]
        assert said == sorted(said), name
        assert block["untrained"]["perplexity"] == pytest.approx(found["vocab_size"], rel=0.2)
        assert block["unknown"] == 0
    for key in ("n", "tokens", "bytes"):
        assert scores["all sources"][key] == scores["en"][key] + scores["es"][key]
    nats = sum(scores[name]["trained"]["nats"] for name in SENTENCES)
    assert scores["all sources"]["trained"]["nats"] == pytest.approx(nats, abs=0.01)


def test_the_report_says_of_what_it_is(corpus, report):
    out, found = report
    assert found["task"] == "text"
    assert (found["context_length"], found["stride"]) == (CONTEXT, CONTEXT // 2)
    folder = corpus / "checkpoints/prose/pretrain"
    assert found["weights"] == {"model.safetensors": files.sha256(folder / "model.safetensors")}
    assert found["data"]["sha256"] == files.sha256(corpus / "data/prose/manifest.json")
    assert found["perplexity"]["es"]["sha256"] == files.sha256(corpus / "data/prose/test/es.jsonl")
    text = (out / "evaluate.txt").read_text()
    assert f"{found['perplexity']['en']['trained']['perplexity']:.2f}" in text
    assert "token frequencies" in text
    assert f"by byte of the answer {found['yesno']['accuracy_per_byte']:.2%};" in text


def test_the_card_of_a_pushed_checkpoint_tells_the_same(report):
    out, found = report
    assert hub.measured(found).startswith(f"```text\n{(out / 'evaluate.txt').read_text().strip()}\n```")
    assert list(hub.results(found)) == []


def test_samples_hold_what_was_asked_and_the_parts_add_up(report):
    out, found = report
    rows = list(files.read_jsonl(out / "samples.jsonl"))
    wrote = [row for row in rows if row["protocol"] == "samples"]
    assert [(row["prompt"], row["temperature"]) for row in wrote] == [
        (one, heat) for one in ("The", "El") for heat in (0, 0.8)
    ]
    assert all(0 < row["num_tokens"] <= 12 and not row["chat"] for row in wrote)
    assert [{key: row[key] for key in row if key != "protocol"} for row in wrote] == found["samples"]
    for name in SENTENCES:
        nats = sum(row["trained"] for row in rows if row["protocol"] == "perplexity" and row["source"] == name)
        assert nats == pytest.approx(found["perplexity"][name]["trained"]["nats"], abs=0.01)
    asked = [row for row in rows if row["protocol"] == "yesno"]
    right = sum(row["prediction"] == row["answer"] for row in asked)
    assert found["yesno"]["accuracy"] == pytest.approx(right / 3, abs=1e-4)
    assert (found["yesno"]["n"], found["yesno"]["majority"], found["yesno"]["chance"]) == (3, 0.6667, 0.5)


def test_pairs_of_the_corpus_are_weighed(report):
    out, found = report
    block = found["preferences"]["preferences"]
    assert block["n"] == 3
    assert block["perplexity_chosen"] < block["perplexity_rejected"], "what the model read is the likelier"
    assert "chosen likelier" in (out / "evaluate.txt").read_text()


def test_the_same_again_is_the_same(corpus, report, tmp_path, capsys):
    assert main(["evaluate", *arguments(corpus, "--output_dir", str(tmp_path))]) == 0
    _, before = report
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["perplexity"]["en"]["trained"] == before["perplexity"]["en"]["trained"]["perplexity"]
    after = files.read_json(tmp_path / "evaluate.json")
    assert [after[key] for key in ("perplexity", "yesno", "samples")] == [
        before[key] for key in ("perplexity", "yesno", "samples")
    ]


def test_it_is_measured_at_the_length_that_it_was_trained_with(mine):
    folder = mine / "checkpoints/prose/pretrain"
    made = files.read_json(folder / "provenance.json")
    files.write_json(folder / "provenance.json", made | {"max_length": CONTEXT // 2})
    evaluation.main(arguments(mine))
    assert files.read_json(folder / "evaluate.json")["context_length"] == CONTEXT // 2
    text = (folder / "evaluate.txt").read_text()
    assert f"{CONTEXT // 2} tokens are seen (the max_length of its training), windows" in text


def test_any_file_can_be_measured_without_a_corpus(corpus, tmp_path, capsys):
    rows = [{"text": "The cat sat on the hill."}, {"text": " "}, {"text": "A dog ran over the mat."}]
    files.write_jsonl(tmp_path / "own.jsonl", rows)
    folder = str(corpus / "checkpoints/prose/pretrain")
    more = ["--output_dir", str(tmp_path), "--context_length", "8", "--untrained", "false"]
    status = main(["evaluate", "--checkpoint", folder, "--perplexity_files", str(tmp_path / "own.jsonl"), *more])
    assert status == 0, capsys.readouterr().err
    found = files.read_json(tmp_path / "evaluate.json")
    (block,) = found["perplexity"].values()
    assert block["n"] == 2
    assert block["bytes"] == sum(len(rows[at]["text"]) for at in (0, 2))
    assert {"untrained", "unigram"}.isdisjoint(block)
    assert (found["context_length"], found["stride"], found["data"]) == (8, 4, None)


def test_sets_are_named_as_sources_of_a_corpus_and_lines_may_be_one_document(corpus, tmp_path):
    files.write_jsonl(tmp_path / "set/some.jsonl", [{"text": "The cat sat."}, {"text": ""}, {"text": "A dog ran."}])
    folder = str(corpus / "checkpoints/prose/pretrain")
    name = str(tmp_path / "set")
    for joined, n, size in (("false", 2, 22), ("true", 1, 24)):
        evaluation.main(
            ["--checkpoint", folder, "--perplexity_files", name, "--joined", joined, "--output_dir", str(tmp_path)]
        )
        block = files.read_json(tmp_path / "evaluate.json")["perplexity"][name]
        assert (block["n"], block["bytes"]) == (n, size)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--perplexity_files", "absent.jsonl"], "no file or folder absent.jsonl"),
        (["--perplexity_files", "no/such-set"], "no/such-set is no file or folder, and no dataset of the Hub"),
        (["--context_length", "25"], "context_length of at most 24"),
        (["--stride", "25"], "stride <= context_length, got 25 and 24"),
        (["--batch_size", "0"], "batch_size >= 1"),
        (["--sample_temperature", "0"], "sample_temperature above 0"),
        (["--sampel_prompts", "x"], "did you mean `sample_prompts`"),
        (["--protocol", "seed"], "unknown key `protocol`"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(corpus, tmp_path, capsys, more, said):
    assert main(["evaluate", *arguments(corpus, "--output_dir", str(tmp_path), *more)]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "evaluate.json").exists()


def test_of_a_model_that_diverged_nothing_is_told(mine):
    """NaN is no perplexity, and neither likelier nor less likely than NaN: that would be an accuracy of chance."""
    folder, data, broken = mine / "checkpoints/prose/pretrain", mine / "data/prose", mine / "broken"
    model, own = checkpoint.load(folder)
    torch.nn.init.constant_(model.lm_head.weight, torch.nan)
    model.save_pretrained(broken)
    own.save_pretrained(broken)
    asked, pairs = (
        yesno.read(data / evaluation.YESNO, None),
        {"preferences": preferences.read(data, "preferences", None)},
    )
    for measure in (
        lambda: evaluation.main(arguments(mine, "--checkpoint", str(broken))),
        lambda: yesno.measure(model, own, asked, own.bos_token_id, CONTEXT, 8, Accelerator()),
        lambda: preferences.examine(model, own, Accelerator(), broken, data, pairs),
    ):
        with pytest.raises(ValueError, match="are no finite numbers: the training of this model diverged; train it"):
            measure()
    assert not (broken / "evaluate.json").exists()


def test_an_edited_test_set_is_refused(mine, capsys):
    with (mine / "data/prose/test/en.jsonl").open("a") as stream:
        stream.write('{"text": "One more.", "source": "en"}\n')
    assert main(["evaluate", *arguments(mine)]) == 2
    assert "is not the file that the corpus was finished with" in capsys.readouterr().err


def test_the_recipe_tells_text_from_problems_before_there_is_a_corpus(mine, capsys):
    argv = arguments(mine)
    shutil.rmtree(mine / "data")
    (mine / "recipes/prose/corpus.yaml").write_text("task: text\n")
    assert evaluation.is_asked(argv)
    assert main(["evaluate", *argv]) == 2
    assert "run make corpus MODEL=prose" in capsys.readouterr().err
    (mine / "recipes/prose/corpus.yaml").write_text("max_depth: 2\n")
    assert not evaluation.is_asked(argv)


# Yes or no


def test_the_passage_is_cut_from_the_left_and_only_the_choice_is_scored(corpus):
    known = checkpoint.load_tokenizer(corpus / "checkpoints/prose/pretrain")
    rows = yesno.read(corpus / "data/prose/test/yesno.jsonl", None)
    short = [{"passage": "", "question": "a", "answer": True}]
    (whole,) = yesno.pose(known, short, known.bos_token_id, 64)
    assert whole.cut == 0
    assert [known.decode(one.ids) for one in whole.windows] == [
        f"<bos>\nQuestion: a?\nAnswer: {x}" for x in ("no", "yes")
    ]
    for question, row in zip(yesno.pose(known, rows, known.bos_token_id, CONTEXT), rows, strict=True):
        assert question.cut > 0
        for one, choice in zip(question.windows, yesno.CHOICES, strict=True):
            assert len(one.ids) <= CONTEXT + 1
            assert one.ids[0] == known.bos_token_id
            assert known.decode(one.ids[-one.scored :]) == choice
            assert (yesno.prompt(row) + choice).endswith(known.decode(one.ids[1:]))


def test_accuracy_is_of_the_likelier_choice():
    rows = [
        {"answer": True, "prediction": True, "loglikelihood_yes": -4.0, "loglikelihood_no": -5.0, "cut": 0},
        {"answer": False, "prediction": True, "loglikelihood_yes": -4.0, "loglikelihood_no": -5.0, "cut": 2},
        {"answer": True, "prediction": False, "loglikelihood_yes": -4.0, "loglikelihood_no": -3.6, "cut": 0},
        {"answer": True, "prediction": True, "loglikelihood_yes": -1.0, "loglikelihood_no": -3.6, "cut": 0},
    ]
    found = yesno.score(rows)
    assert (found["accuracy"], found["majority"], found["said_yes"], found["cut"]) == (0.5, 0.75, 0.75, 1)
    assert found["accuracy_per_byte"] == 0.75, "yes is longer: -4 of 3 bytes is more than -3.6 of 2"
    assert found["accuracy_interval"][0] < 0.5 < found["accuracy_interval"][1]


@pytest.mark.parametrize(
    "row", [{"question": "q", "passage": "p"}, {"question": "q", "passage": "p", "answer": "yes"}, {"answer": True}]
)
def test_rows_that_are_no_questions_are_named(tmp_path, row):
    files.write_jsonl(tmp_path / "yesno.jsonl", [{"question": "q", "passage": "p", "answer": True}, row])
    with pytest.raises(ValueError, match="row 2: need `"):
        yesno.read(tmp_path / "yesno.jsonl", None)


# Samples


def test_conversation_models_are_asked_in_their_template(corpus):
    folder = corpus / "checkpoints/prose/pretrain"
    model, known = checkpoint.load(folder)
    assert not written.in_chat(known, folder, None), "pretrained on plain text"
    assert not written.in_chat(known, folder / "checkpoint-60", None), "a step that it saved"
    assert written.in_chat(known, folder, True)
    assert written.in_chat(known, folder.with_name("sft"), None)
    assert written.chatted(known, "Hello") == "<bos>user: Hello\nassistant:"
    plain, chatted = (
        written.write(model, known, ["The"], chat=chat, temperature=0.5, most=8, seed=0) for chat in (False, True)
    )
    assert plain[0]["completion"] != chatted[0]["completion"]
    known.chat_template = None
    with pytest.raises(ValueError, match="chat template"):
        written.in_chat(known, folder, True)


def test_each_prompt_is_drawn_with_noise_of_its_own(corpus):
    """At so high a temperature nothing but the noise decides: shared, it would write the same behind both."""
    model, known = checkpoint.load(corpus / "checkpoints/prose/pretrain")
    asked = ["The", "El"]
    (_, one, _, other), again = (
        written.write(model, known, some, chat=False, temperature=1e6, most=8, seed=0) for some in (asked, asked[1:])
    )
    assert one["completion"] != other["completion"]
    assert other == again[1], "whatever is asked before it"


def test_the_checkpoint_s_own_end_tokens_end_a_sample(corpus):
    model, known = checkpoint.load(corpus / "checkpoints/prose/pretrain")
    (first, _) = written.write(model, known, ["The"], chat=False, temperature=0.5, most=8, seed=0)
    end = known(first["completion"])["input_ids"][3]
    model.generation_config.eos_token_id = [known.eos_token_id, end]
    (again, _) = written.write(model, known, ["The"], chat=False, temperature=0.5, most=8, seed=0)
    assert again["finished"]
    assert again["num_tokens"] < first["num_tokens"]
    assert first["completion"].startswith(again["completion"])


def test_a_prompt_s_samples_do_not_depend_on_the_others(corpus):
    model, known = checkpoint.load(corpus / "checkpoints/prose/pretrain")
    alone = written.write(model, known, ["El"], chat=False, temperature=1.0, most=8, seed=3)
    assert written.write(model, known, ["The", "El"], chat=False, temperature=1.0, most=8, seed=3)[2:] == alone
    assert written.write(model, known, ["El"], chat=False, temperature=1.0, most=8, seed=4)[1] != alone[1]
