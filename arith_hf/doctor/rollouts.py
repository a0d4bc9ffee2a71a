"""What the rollouts of a run say: of its groups, its reward, its ends and its workings.

May not know the curves. Where none were recorded it judges by what was logged of them, or says what it could not see.
"""

from collections.abc import Sequence
from statistics import fmean

from arith_hf import notation
from arith_hf.doctor.history import ERRORS, MIN_POINTS, History, Row, counting_error, figure, share, thirds
from arith_hf.doctor.verdict import Finding, Unseen, Verdict, too_short, unrecorded

# Chosen on the runs of tests/test_doctor_runs.py: 26 000 parameters, sums of two digits, 40 updates of 64 rollouts.
MIN_GROUPS = 20  # or rollouts: a share of so many is known to +-0.2
EQUAL = (
    0.8  # share of groups that teach nothing: the others cost five times their rollouts. A run that is well: 0.0-0.3
)
MOSTLY = 0.8  # of these groups are all right, or all wrong: the prompts are too easy, or too hard; else uneven
SIDED = 0.75  # share of mixed groups that pay right ones more: an exact reward 1.00, a coin 0.5
UNFINISHED = 0.1  # share of rollouts that were cut off; a run that is well: 0.00
UNFAITHFUL = 0.1  # rise of the share of right answers that come by a wrong working


# Groups


def equal_groups(history: History) -> tuple[float, float, str] | Unseen:
    """Shares of the groups of the first third that are all right, and all wrong, and paid alike; and what these are of.

    Groups that were cut off are not counted as wrong: however easy the prompt, they have no answer. The log alone does
    not tell them from those that `stop_at_fault` ended.
    """
    if history.groups:
        some = thirds(history.groups)[0]
        if len(some) < MIN_GROUPS:
            return Unseen(f"{len(some)} groups in a third of the run are too few to judge: need {MIN_GROUPS}")
        right, wrong = share(map(all_right, some)), share(all_wrong(history, group) for group in some)
        return right, wrong, f"the {len(some)} groups of the first third"
    keys = ["groups/all_right", "groups/all_wrong", "completions/clipped_ratio", "frac_reward_zero_std"]
    curves = [history.curve(key) for key in keys]
    if min(map(len, curves[:3])) < MIN_POINTS:
        return unrecorded("how many groups are all right or all wrong")
    right, wrong, cut, equal = (fmean(thirds(curve)[0]) if curve else 1.0 for curve in curves)
    ended = bool(history.recipe.get("stop_at_fault")) or cut < 0.5
    return min(right, equal), min(wrong, equal) if ended else 0.0, "the groups of the first third"


def alike(group: list[Row]) -> bool:
    paid = [row["reward"] or 0.0 for row in group]
    return max(paid) - min(paid) < 1e-6  # the rounding of 32 bits


def all_right(group: list[Row]) -> bool:
    return alike(group) and all(row["right"] for row in group)


def all_wrong(history: History, group: list[Row]) -> bool:
    ended = len(cut_off(history, group)) < 0.5 * len(group)
    return alike(group) and ended and not any(row["right"] for row in group)


def too_easy(history: History) -> Verdict:
    found = equal_groups(history)
    if isinstance(found, Unseen):
        return found
    right, wrong, groups = found
    if right + wrong < EQUAL or right < MOSTLY * (right + wrong):
        return None
    return Finding(
        f"{right:.0%} of {groups} were all right: nothing is learned from them",
        "harder prompts: raise max_depth or num_range (max_digits) in corpus.yaml, or sample_by: level (steps), which "
        "draws more of the prompts that are right now and then",
    )


def too_hard(history: History) -> Verdict:
    """All wrong at the start, and at the end; not where the policy learned since, nor where it was lost since."""
    found = equal_groups(history)
    if isinstance(found, Unseen):
        return found
    right, wrong, groups = found
    last = share(all_wrong(history, group) for group in thirds(history.groups)[2]) if history.groups else wrong
    if right + wrong < EQUAL or min(wrong, last) < MOSTLY * (right + wrong):
        return None
    if any(one.fell for one in history.accuracies):
        return None
    return Finding(
        f"{wrong:.0%} of {groups} were all wrong: nothing is learned from them",
        "easier prompts, or sample_by: level (steps); a parent that is right now and then (more sft); more tries: "
        f"raise {history.key('num_generations', 8)}; reward_funcs: [arith_hf.rewards.exact_answer, "
        "arith_hf.rewards.right_steps] pays the way there too",
    )


def uneven(history: History) -> Verdict:
    found = equal_groups(history)
    if isinstance(found, Unseen):
        return found
    right, wrong, groups = found
    if right + wrong < EQUAL or max(right, wrong) >= MOSTLY * (right + wrong):
        return None
    return Finding(
        f"of {groups} {right:.0%} were all right and {wrong:.0%} all wrong: {1 - right - wrong:.0%} teach anything",
        "sample_by: level (steps), which draws prompts between the two; or a corpus without the easiest and hardest",
    )


# The reward


def blind_reward(history: History) -> Verdict:
    """Right completions are paid no more than wrong ones beside them."""
    if not history.rollouts:
        return unrecorded("whether right completions are paid more than wrong ones")
    mixed = [group for group in history.groups if 0 < sum(row["right"] for row in group) < len(group)]
    if len(mixed) < MIN_GROUPS:
        return Unseen(f"{len(mixed)} groups with right and wrong rollouts are too few: need {MIN_GROUPS}")
    sided = share(pay(group, True) > pay(group, False) + 1e-6 for group in mixed)
    if sided >= SIDED:
        return None
    right, wrong = (figure(fmean(pay(group, side) for group in mixed)) for side in (True, False))
    return Finding(
        f"of {len(mixed)} groups with right and wrong rollouts {sided:.0%} paid the right ones more (a right one got "
        f"{right}, a wrong one {wrong})",
        f"`arith-hf audit-reward {history.paid_by}` tells what it pays wrongly; reward_funcs: "
        "[arith_hf.rewards.exact_answer] pays right answers alone",
    )


def pay(group: list[Row], right: bool) -> float:
    return fmean(row["reward"] or 0.0 for row in group if row["right"] is right)


# Ends


def unfinished(history: History) -> tuple[float, float] | None:
    """The shares of rollouts that were cut off, of the parent and in the last third; None where nothing says."""
    if history.rollouts:
        first = [row for row in history.rollouts if row["step"] == history.rollouts[0]["step"]]
        before, after = (len(cut_off(history, some)) / len(some) for some in (first, thirds(history.rollouts)[2]))
        return before, after
    if history.recipe.get("stop_at_fault"):  # then TRL's ratio counts every wrong one
        return None
    cut = history.curve("completions/clipped_ratio")
    return (cut[0], fmean(thirds(cut)[2])) if cut else None


def cut_off(history: History, rollouts: Sequence[Row]) -> list[Row]:
    """Those that did not end, but for the ones that were meant to stop at their fault."""
    stopped = history.recipe.get("stop_at_fault")
    return [row for row in rollouts if not row["finished"] and (row["truncated"] or not stopped)]


def went_on(row: Row) -> bool:
    """Whether a beginning of a completion, or all of it, reads as an answered one."""
    form, text = notation.of(row["task"]), row["completion"]
    return any(form.read_answer(text[:size]) is not None for size in range(len(text), 0, -1))


def no_end_token(history: History) -> Verdict:
    """Completions that have said their answer, and go on."""
    if (cut := unfinished(history)) is None:
        return unrecorded("whether completions end")
    before, after = cut
    if after < UNFINISHED:
        return None
    if not history.rollouts:
        return unrecorded(f"why {after:.0%} of the completions did not end")
    answered = share(map(went_on, cut_off(history, thirds(history.rollouts)[2])))
    if answered <= 0.5:
        return None
    return Finding(
        f"{after:.0%} of the rollouts of the last third did not end, {before:.0%} of the first ones; {answered:.0%} of "
        "them went on behind an answer",
        unlearned(history)
        if before < UNFINISHED
        else "teach the end in sft: rows that end with the end token, eos_token and pad_token two different ones, no "
        "max_length that cuts rows; a longer max_completion_length would only take longer",
    )


def unlearned(history: History) -> str:
    return (
        f"the parent ended: that was lost in this run; a third of {history.key('learning_rate', 1e-6)}, and a reward "
        f"that does not pay for length (`arith-hf audit-reward {history.paid_by}`)"
    )


def truncation(history: History) -> Verdict:
    """Completions that were cut off before an answer."""
    if (cut := unfinished(history)) is None:
        return unrecorded("whether completions end")
    before, after = cut
    if after < UNFINISHED:
        return None
    longer = f"raise {history.key('max_completion_length', 256)}"
    if not history.rollouts:
        return Finding(
            f"{after:.0%} of the completions of the last third did not end, {before:.0%} of the first ones",
            f"{longer}; record_rollouts: true tells whether they were on the way to an answer or go on for ever",
        )
    some = cut_off(history, thirds(history.rollouts)[2])
    if share(map(went_on, some)) > 0.5:
        return None
    good, tokens = share(row["fault"] == "cut" for row in some), max(row["num_tokens"] for row in some)
    lost = "most were wrong before they were cut: more sft, or a lower temperature"
    return Finding(
        f"{after:.0%} of the rollouts of the last third were cut off at {tokens} tokens, before an answer, "
        f"{before:.0%} of the first ones; {good:.0%} of them were right as far as they went",
        unlearned(history)
        if before < UNFINISHED
        else f"{longer}, twice as much to begin with"
        if good > 0.5
        else f"{longer} if workings are meant to be so long; {lost}",
    )


# Workings


def unfaithful(history: History) -> Verdict:
    """Right answers come more and more by wrong workings."""
    if unseen := too_short(history):
        return unseen
    if not history.rollouts:
        return unrecorded("whether right answers come by right steps")
    first, _, last = ([row["fault"] is not None for row in part if row["right"]] for part in thirds(history.rollouts))
    if min(len(first), len(last)) < MIN_GROUPS:
        return Unseen(f"{min(len(first), len(last))} right answers in a third are too few to judge: need {MIN_GROUPS}")
    before, after = share(first), share(last)
    error = counting_error(before, len(first), after, len(last))
    if after - before < max(UNFAITHFUL, ERRORS * error):
        return None
    return Finding(
        f"of the right answers of the first third {before:.0%} came by a wrong working, of the last third {after:.0%}",
        "pay the working too: reward_funcs: [arith_hf.rewards.exact_answer, arith_hf.rewards.right_steps], and nothing "
        "that pays for brevity",
    )
