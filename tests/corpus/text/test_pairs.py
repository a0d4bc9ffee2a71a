"""Conversations, preferences and questions of yes or no: what is fit, and on which side it stands."""

import doctest
import math
from pathlib import Path

import pytest
from datasets import disable_progress_bars, enable_progress_bars

from arith_hf import chat, files, vocabulary
from arith_hf.corpus.text import Arguments, arguments, card, pairs, sources, tables, tallies


@pytest.fixture(scope="module", autouse=True)
def _quiet():
    disable_progress_bars()
    yield
    enable_progress_bars()


def test_examples():
    for module in (arguments, card, pairs, sources, tables, tallies):
        assert doctest.testmod(module).failed == 0


def turns(*said: str, first: str = "user") -> list[dict]:
    roles = ["user", "assistant"] if first == "user" else ["assistant", "user"]
    return [{"role": roles[place % 2], "content": one} for place, one in enumerate(said)]


def write(tmp_path: Path, **rows: list[dict]) -> tuple[dict[str, list[dict]], dict]:
    """What is written, by file, and the tallies."""
    paths = {}
    for what, listed in rows.items():
        files.write_jsonl(tmp_path / f"{what}.jsonl", listed)
        paths[what] = [str(tmp_path / f"{what}.jsonl")]
    arguments = Arguments(
        sources=["a"], source_paths=["x"], validation_share=0.2, test_share=0.2, max_turn_characters=100, **paths
    )
    names, found = pairs.write(tmp_path / "m", arguments)
    assert not list((tmp_path / "m").rglob("*.part"))
    if told := tallies.fault(found):
        raise ValueError(told)
    return {name: list(files.read_jsonl(tmp_path / "m" / name)) for name in names}, tallies.told(found)


def plain(count: int = 60) -> list[dict]:
    return [{"messages": turns(f"Question {number}?", f"Answer {number}.")} for number in range(count)]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"messages": turns("Hi", "Hello")}, ["Hi", "Hello"]),
        ({"prompt": "Hi", "completion": "Hello"}, ["Hi", "Hello"]),
        ({"instruction": "Add", "input": "1, 2", "output": "3"}, ["Add\n\n1, 2", "3"]),
        ({"instruction": "Sing", "input": "", "output": "La"}, ["Sing", "La"]),
        ({"instruction": "Sing", "input": " \n", "output": "La"}, ["Sing", "La"]),
        ({"instruction": "Sing", "input": math.nan, "output": "La"}, ["Sing", "La"]),
        ({"prompt": "Code?", "completion": "def f():\r\n\treturn 1 \n"}, ["Code?", "def f():\n\treturn 1"]),
        ({"messages": [{**turns("Add")[0], "input": "1, 2"}, *turns("Add", "3")[1:]]}, ["Add\n\n1, 2", "3"]),
        ({"messages": turns("Hi\u200b ", "Hello", "More", "Yes")}, ["Hi", "Hello", "More", "Yes"]),
    ],
)
def test_conversations_of_every_form_become_messages(row, expected):
    made, prompt = pairs.conversation(row, Arguments(sources=["a"], source_paths=["x"]), "here")
    assert [chat.whole(message) for message in made["messages"]] == expected
    assert [message["role"] for message in made["messages"]] == ["user", "assistant"] * (len(expected) // 2)
    assert prompt == expected[0]


def test_an_input_stays_beside_its_instruction_for_the_template_that_writes_it(tmp_path):
    """Where one message of a corpus has one all have it, so that `datasets` reads the first rows as the last."""
    asked = [{"instruction": "Add", "input": f"1, {number}", "output": str(1 + number)} for number in range(60)]
    written, _ = write(tmp_path, conversations=[*plain(), *asked])
    found = [one for name in written for row in written[name] for one in row["messages"]]
    assert all(set(one) == {"role", "content", "input"} for one in found)
    assert {one["input"] for one in found if one["content"] == "Add"} >= {"1, 0", "1, 59"}
    assert {one["input"] for one in found if one["content"] != "Add"} == {""}
    sides = [{row["messages"][0]["input"] for row in written[name]} - {""} for name in sorted(written)]
    assert all(sides), "one instruction with many inputs stands on both sides"
    long = {"instruction": "x" * 60, "input": "y" * 60, "output": "z"}
    _, tallies = write(tmp_path, conversations=[*plain(), long])
    assert tallies["conversations"]["removed"]["max_turn_characters"] == 1


def test_a_system_message_stands_first_only():
    system = {"role": "system", "content": "Be kind."}
    arguments = Arguments(sources=["a"], source_paths=["x"])
    made, prompt = pairs.conversation({"messages": [system, *turns("Hi", "Hello")]}, arguments, "here")
    assert (made["messages"][0], prompt) == (system, "Hi")
    for odd in (
        turns("Hi", "Hello", "?"),
        turns("Hi", "Hello", first="assistant"),
        [*turns("Hi", "Hello"), system],
        [],
    ):
        with pytest.raises(pairs.Unfit, match="roles"):
            pairs.conversation({"messages": odd}, arguments, "here")


def test_what_is_unfit_is_left_out_and_counted(tmp_path):
    odd = [
        {"messages": turns("Question 1?", "Answer 1.")},
        {"messages": turns("x" * 101, "y")},
        {"messages": turns("x", " ")},
        {"messages": turns("alone")},
        {"messages": turns("What is <eos>?", "A token.")},
        {"messages": turns("And this?", "Hm.<|im_end|>")},
    ]
    written, tallies = write(tmp_path, conversations=plain() + odd)
    removed = {"exact_duplicates": 1, "max_turn_characters": 1, "empty": 1, "roles": 1, "special_tokens": 2}
    assert tallies["conversations"]["removed"] == removed
    assert len(written["sft/train.jsonl"]) + len(written["sft/validation.jsonl"]) == 60
    assert tallies["conversations"]["read"] == 66


def test_conversations_of_the_tests_share_train_nobody_where_something_is_asked(tmp_path):
    """Where nothing is, they would be thrown away for no test; the others stay where they are."""
    asked = [{"question": "Is it?", "passage": "It is.", "answer": True}]
    all_of_it, _ = write(tmp_path, conversations=plain())
    less, tallies = write(tmp_path, conversations=plain(), yesno=asked)
    held = tallies["conversations"]["removed"]
    assert 0 < held["held_for_test"] == len(all_of_it["sft/train.jsonl"]) - len(less["sft/train.jsonl"])
    assert all_of_it["sft/validation.jsonl"] == less["sft/validation.jsonl"]
    assert all(row in all_of_it["sft/train.jsonl"] for row in less["sft/train.jsonl"])


def test_what_became_of_each_source_is_told_and_none_of_them_vanishes(tmp_path):
    """Rows that do not say their language are all left out where one is asked for."""
    paths = [str(tmp_path / f"{name}.jsonl") for name in ("alpaca", "oasst")]
    for path, more in zip(paths, ({}, {"language": "en"}), strict=True):
        files.write_jsonl(path, [{**row, **more, "topic": f"{path} {n}"} for n, row in enumerate(plain(90))])
    keys = {"sources": ["a"], "source_paths": ["x"], "validation_share": 0.2, "conversations": paths}
    _, found = pairs.write(tmp_path / "m", Arguments(**keys, conversation_languages=["en", "en"]))
    told = tallies.told(found)["conversations"]
    assert told["sources"]["alpaca"] == {"read": 90, "removed": {"conversation_languages": 90}, "kept": {}}
    assert told["sources"]["oasst"]["removed"] == {}
    assert sum(told["sources"]["oasst"]["kept"].values()) == sum(told["kept"].values()) == 90
    assert tallies.fault(found) == (
        "nothing to train on is left of alpaca, of `conversations`: 90 read, removed: conversation_languages 90: "
        "say `any` where rows do not tell their language, or leave it out"
    )
    _, found = pairs.write(tmp_path / "m", Arguments(**keys, conversation_languages=["any", "en"]))
    assert "alpaca" not in str(tallies.fault(found))


def test_too_few_conversations_to_validate_say_what_to_do(tmp_path):
    with pytest.raises(
        ValueError, match=r"sft/validation\.jsonl: 2 read, removed: none: raise validation_share, or name"
    ):
        write(tmp_path, conversations=plain(4)[2:])


def test_a_conversation_says_what_source_it_is_of(tmp_path):
    """Of the file, where the recipe has no name for it; the same one in two is of the first."""
    paths = [str(tmp_path / name) for name in ("my-talks.jsonl", "more.jsonl")]
    for path, rows in zip(paths, (plain(60), plain(90)), strict=True):
        files.write_jsonl(path, rows)
    keys = {"sources": ["a"], "source_paths": ["x"], "validation_share": 0.2, "conversations": paths}
    for names, said in ((("my_talks", "more"), {}), (("b", "c"), {"conversation_sources": ["b", "c"]})):
        pairs.write(tmp_path / "m", Arguments(**keys, **said))
        found = [row for name in ("train", "validation") for row in files.read_jsonl(tmp_path / f"m/sft/{name}.jsonl")]
        assert {tuple(row) for row in found} == {("messages", "source")}
        for row in found:
            number = int(row["messages"][0]["content"][9:-1])
            assert row["source"] == names[number >= 60]
        assert {row["source"] for row in found} == set(names)


@pytest.mark.parametrize(
    ("paths", "names", "problem"),
    [
        (["a/talks.jsonl", "b/talks.jsonl"], [], "conversation_sources with names of their own, .* got talks, talks"),
        (["x"], ["a b"], "of letters, digits and _, got a b"),
        (["x", "y"], ["a"], "need 2 conversation_sources, one for each of conversations, got 1"),
        (["*.jsonl"], [], "need conversation_sources with names of their own"),
    ],
)
def test_sources_of_conversations_have_names_of_their_own(paths, names, problem):
    with pytest.raises(ValueError, match=problem):
        Arguments(sources=["a"], source_paths=["x"], conversations=paths, conversation_sources=names)


def test_the_tokens_that_fine_tuning_refuses_are_those_left_out():
    """Else one row in a hundred thousand ends a run when the model is already pretrained."""
    for name in chat.NAMES:
        tokenizer = vocabulary.train("bpe", ["ab"], 300, task="text", chat_template=name)
        assert set(tokenizer.all_special_tokens) <= set(pairs.MARKS)


def test_preferences_are_validated_and_split_by_prompt(tmp_path):
    good = [{"prompt": f"Which {n}?", "chosen": f"Right {n}.", "rejected": f"Wrong {n}."} for n in range(60)]
    odd = [
        {"prompt": "Which?", "chosen": "Same.", "rejected": " Same. "},
        {"prompt": "", "chosen": "a", "rejected": "b"},
        {"prompt": "Which?", "chosen": None, "rejected": "b"},
        {"prompt": "Which?", "chosen": "a", "rejected": "b" * 101},
    ]
    talk = [{"prompt": "Talk?", "chosen": turns("Talk?", "Good."), "rejected": turns("Talk?", "Bad.")}]
    written, tallies = write(tmp_path, preferences=good + odd)
    assert tallies["preferences"]["removed"] == {"empty": 2, "equal": 1, "max_turn_characters": 1}
    found = {name: {row["prompt"] for row in part} for name, part in written.items()}
    assert sum(map(len, found.values())) == 60
    assert set(found) == {"preferences/train.jsonl", "preferences/validation.jsonl", "test/preferences.jsonl"}
    assert all(set(row) == {"prompt", "chosen", "rejected"} for part in written.values() for row in part)
    made, _ = pairs.preference(talk[0], Arguments(sources=["a"], source_paths=["x"]), "here")
    assert made == {"prompt": "Talk?", "chosen": "Good.", "rejected": "Bad."}
    told, _ = pairs.preference(talk[0] | {"kind": "rude"}, Arguments(sources=["a"], source_paths=["x"]), "here")
    assert told == made | {"kind": "rude"}, "what is wrong with the rejected is kept"


@pytest.mark.parametrize("row", [{"instruction": 5, "output": "x"}, {"instruction": "x", "input": 5, "output": "x"}])
def test_what_is_no_text_is_no_instruction(row):
    with pytest.raises(pairs.Unfit, match="empty"):
        pairs.conversation(row, Arguments(sources=["a"], source_paths=["x"]), "here")


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": turns("France?", "Paris.", "Its river?"), "chosen": "Seine.", "rejected": "Rhine."},
        {
            "prompt": "Hi",
            "chosen": turns("Hi", "Hello", "2 + 2?", "4"),
            "rejected": turns("Hi", "Hello", "2 + 2?", "5"),
        },
        {"prompt": "Hi", "chosen": turns("Hi", "Hello"), "rejected": turns("Hi")},
    ],
)
def test_an_answer_to_what_a_pair_cannot_hold_is_no_preference(row):
    """Else it would be learned as an answer to another question."""
    with pytest.raises(pairs.Unfit, match="turns"):
        pairs.preference(row, Arguments(sources=["a"], source_paths=["x"]), "here")


def test_all_rows_of_a_topic_stand_on_one_side(tmp_path):
    """Another wording of a question that is tested is not trained on, nor its page's questions of yes or no."""
    topics = [f"topic {number}" for number in range(50)]
    talks = [
        {"messages": turns(f"{word} {topic}?", f"It is {topic}."), "topic": topic}
        for topic in topics
        for word in ("What is", "Explain")
    ]
    better = [
        {"prompt": f"And what about {topic}?", "chosen": topic, "rejected": "?", "topic": topic} for topic in topics
    ]
    asked = [
        {"question": f"Is it {topic}?", "passage": f"All about {topic}.", "answer": True, "topic": topic}
        for topic in topics
    ]
    written, _ = write(tmp_path, conversations=talks, preferences=better, yesno=asked)

    def topics_of(name: str) -> set[str]:
        return {topic for topic in topics for row in written[name] if f"{topic}?" in str(row)}

    measured = topics_of("test/preferences.jsonl") | topics_of("test/yesno.jsonl")
    trained = topics_of("sft/train.jsonl") | topics_of("preferences/train.jsonl")
    chosen_by = topics_of("sft/validation.jsonl") | topics_of("preferences/validation.jsonl")
    assert measured
    assert not measured & trained
    assert not measured & chosen_by
    assert not trained & chosen_by
    assert topics_of("test/preferences.jsonl") == topics_of("test/yesno.jsonl"), "all that is asked of a tested topic"


def test_a_prompt_that_two_topics_share_stands_on_one_side(tmp_path):
    talks = [{"messages": turns("The same?", f"It is {number}."), "topic": str(number)} for number in range(60)]
    written, tallies = write(tmp_path, conversations=talks + plain())
    sides = [name for name, part in written.items() for row in part if row["messages"][0]["content"] == "The same?"]
    assert len(set(sides)) == 1
    assert tallies["conversations"]["removed"]["prompt_of_another_split"] > 0


def test_questions_of_yes_or_no_that_are_nobodys_are_all_measured(tmp_path):
    asked = [{"question": f"Is {n} even?", "passage": f"About {n}.", "answer": n % 2 == 0} for n in range(20)]
    written, tallies = write(tmp_path, yesno=[*asked, {"question": "?", "passage": "x", "answer": None}])
    assert written["test/yesno.jsonl"] == asked
    assert tallies["yesno"]["removed"] == {"answer": 1}


@pytest.mark.parametrize(
    ("what", "row", "problem"),
    [
        ("conversations", {"text": "x"}, "row 1: need the columns messages, prompt and completion, instruction"),
        ("conversations", {"messages": [{"from": "x"}]}, "need messages of role and content"),
        ("preferences", {"prompt": "x", "chosen": "y"}, "need the columns prompt, chosen, rejected"),
        ("yesno", {"question": "x"}, "need the columns question, passage, answer"),
        ("yesno", {"question": "x", "passage": "y", "answer": None}, "nothing is left of `yesno`"),
    ],
)
def test_files_of_another_form_are_named(what, row, problem, tmp_path):
    with pytest.raises(ValueError, match=problem):
        write(tmp_path, **{what: [row]})
