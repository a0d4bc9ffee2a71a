"""The task files for lm-eval-harness ask what `arith-hf evaluate` asks, cut as it cuts with a stride of the context.

The harness itself is not installed: what it does is written down in its documentation, and here.
"""

from pathlib import Path

import jinja2
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from arith_hf.language import yesno
from arith_hf.language.perplexity import windows

TASKS = Path(__file__).parents[2] / "recipes/text/lm_eval"


def task(name):
    return yaml.safe_load((TASKS / f"{name}.yaml").read_text())


def rendered(template, row):
    return jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(template).render(row)


@pytest.mark.parametrize("question", ["is ice cold", "is ice cold?"])
@pytest.mark.parametrize("answer", [True, False])
def test_a_question_is_posed_in_the_same_words(question, answer):
    row, found = {"passage": "Ice is cold.", "question": question, "answer": answer}, task("yesno")
    assert rendered(found["doc_to_text"], row) == yesno.prompt(row)
    assert tuple(f" {choice}" for choice in found["doc_to_choice"]) == yesno.CHOICES
    assert yesno.CHOICES[int(rendered(found["doc_to_target"], row))].strip() == ("yes" if answer else "no")
    assert found["output_type"] == "multiple_choice"


def test_a_document_is_scored_whole():
    found = task("perplexity")
    assert rendered(found["doc_to_target"], {"text": "One\n two "}) == "One\n two "
    assert (found["doc_to_text"], found["output_type"]) == ("", "loglikelihood_rolling")
    assert found["metric_list"][0]["metric"] == "bits_per_byte"


def test_both_read_local_files_alone():
    for path in TASKS.glob("*.yaml"):
        found = yaml.safe_load(path.read_text())
        assert found["dataset_path"] == "json"
        (name,) = found["dataset_kwargs"]["data_files"].values()
        assert name.startswith("data/text-small/test/")
        assert (
            f"`{found['task']}`" in (TASKS / "README.md").read_text()
            or f" {found['task']} " in (TASKS / "README.md").read_text()
        )


@given(length=st.integers(1, 80), context=st.integers(1, 20))
def test_a_stride_of_the_context_cuts_as_the_harness_does(length, context):
    """Its rule: so many at a time, each window filled up from the left with what stands before, one token at least."""
    ids = list(range(1, length + 1))
    due = [([0, *ids[: context - 1]][:length], ids[:context])]
    for done in range(context, length, context):
        end = min(done + context, length)
        due.append((ids[end - context - 1 : end - 1], ids[done:end]))
    found = list(windows(ids, 0, context, context))
    assert [(list(one.ids[:-1]), list(one.ids[-one.scored :])) for one in found] == due
