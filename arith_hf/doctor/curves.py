"""What the curves of a run say: reward, accuracy, entropy, divergence, and how far the weights moved.

May not know single rollouts, but for how alike the last of them are.
"""

from math import isfinite
from statistics import fmean

from arith_hf.doctor.history import History, figure, scattered, share, thirds
from arith_hf.doctor.verdict import Finding, Unseen, Verdict, too_short, unmeasured

# Chosen on the runs of tests/test_doctor_runs.py: 26 000 parameters, sums of two digits, 40 updates of 64 rollouts.
FELL = 0.05  # of accuracy while the reward rose: less is what a few held-out problems more or less make
BROKE = 0.1  # of accuracy while nothing rose: in a run that is well it goes up and down by 0.05
SURE = 3.25  # standard errors of that fall: of 1 200 made-up runs without change 18 are called broken, at 2.0 132
SOLVED = 0.9  # accuracy from which being sure is no fault, and no gain is expected
COLLAPSED = 0.2  # of the entropy at the start; a run that is well: 0.6, as it becomes both right and sure
MOVED = 1e-3  # relative change of the weights; 0.002 left reward and accuracy where they were, 0.008 doubled accuracy
FAR = 1.0  # nats a token from the parent; 0.36 where accuracy rose from 0.5 to 1.0, 8 where the policy broke
ENOUGH = 30  # updates in which a gain should show: in the run that is well it does within 10


def not_finite(history: History) -> Verdict:
    keys = ("loss", "grad_norm", "reward")
    broken = [key for row in history.log for key in keys if not isfinite(row.get(key) or 0.0)]
    if not broken:
        return None
    return Finding(
        f"{broken[0]} was no finite number in {broken.count(broken[0])} log lines",
        f"bf16: false, or a parent in float32; a third of {history.key('learning_rate', 1e-6)}",
    )


def lying_reward(history: History) -> Verdict:
    """The reward rises while fewer answers are right."""
    if unseen := too_short(history) or unmeasured(history):
        return unseen
    fallen = [one for one in history.accuracies if one.fell >= FELL]
    if not fallen or history.reward is None or not history.reward.rose:
        return None
    return Finding(
        f"the {history.pay} rose {history.reward} while fewer answers were right: {fallen[0]}",
        f"`arith-hf audit-reward {history.paid_by}`: what is paid is not what is wanted; until it is mended, keep the "
        "best: load_best_model_at_end: true, metric_for_best_model: eval_exact_match",
    )


def learning_rate_too_high(history: History) -> Verdict:
    """Answers get worse, and the reward does not get better."""
    if unseen := too_short(history) or unmeasured(history):
        return unseen
    fallen = [one for one in history.accuracies if one.fell >= BROKE and one.errors >= SURE]
    if not fallen or history.reward is None or history.reward.rose:
        return None
    norm = max(history.curve("grad_norm"), default=0.0)
    return Finding(
        f"fewer answers were right, for no more reward: {fallen[0]}; {history.pay} {history.reward}, gradient norm "
        f"up to {figure(norm)}",
        f"a third of {history.key('learning_rate', 1e-6)}, with warmup_steps; more rollouts an update "
        "(per_device_train_batch_size); beta above 0 holds the policy near its parent",
    )


def learning_rate_too_small(history: History) -> Verdict:
    """Neither reward nor weights moved, though there was a gradient."""
    if unseen := too_short(history):
        return unseen
    if history.gained or not any(history.curve("grad_norm")):
        return None
    if history.moved is None:
        return Unseen(f"how far the weights moved: {history.unmoved}")
    if history.moved >= MOVED:
        return None
    return Finding(
        f"{history.updates} updates changed the weights by {history.moved:.1e} of their size, and the {history.pay} "
        f"went {history.reward}, which is its scatter",
        f"ten times {history.key('learning_rate', 1e-6)}, or more updates (max_steps), until the weights "
        f"move by {MOVED:.0e} of their size or more",
    )


def entropy_collapse(history: History) -> Verdict:
    """The model became sure, and not right."""
    if unseen := too_short(history):
        return unseen
    if (entropy := scattered(history.curve("entropy"))) is None:
        return Unseen("the entropy: this TRL does not log it")
    best = max((one.ends.last for one in history.accuracies), default=0.0)
    gain = max((one.ends.change for one in history.accuracies), default=0.0)
    if entropy.last > COLLAPSED * entropy.first or best >= SOLVED or gain >= BROKE:
        return None
    last = thirds(history.groups)[2] if history.groups else []
    same = share(len({row["completion"] for row in group}) == 1 for group in last)
    return Finding(
        f"the entropy fell {entropy} nats a token"
        + (f"; {same:.0%} of the last groups are one completion over and over" if last else "")
        + "".join(f"; {one.what} {one.ends}" for one in history.accuracies),
        f"a third of {history.key('learning_rate', 1e-6)}; entropy_coef: 0.01, or beta: 0.04; temperature: 1.0; and a "
        "reward that no single completion earns everywhere",
    )


def kl_runaway(history: History) -> Verdict:
    if not (kl := history.curve("kl")):
        return Unseen("how far the policy went from its parent: beta above 0 records kl")
    first, _, last = (fmean(part) if part else 0.0 for part in thirds(kl))
    if last < FAR:
        return None
    return Finding(
        f"the policy was {figure(last)} nats a token from its parent in the last third, {figure(first)} in the first",
        f"a third of {history.key('learning_rate', 1e-6)}, or ten times {history.key('beta', 0.0)}",
    )


def flat(history: History) -> Verdict:
    """Enough updates and nothing gained; to be asked where no other fault explains it."""
    if unseen := too_short(history) or unmeasured(history):
        return unseen
    if history.updates < ENOUGH:
        return Unseen(f"{history.updates} updates are too few to miss a gain: need {ENOUGH} (max_steps)")
    if history.gained or max(one.ends.last for one in history.accuracies) >= SOLVED:
        return None
    one, rate = history.accuracies[0], history.key("learning_rate", 1e-6)
    moved = "" if history.moved is None else f"; the weights moved by {history.moved:.1e} of their size"
    nearer = "" if history.recipe.get("sample_by") else "; prompts nearer to half right (sample_by: level)"
    return Finding(
        f"{history.updates} updates and no gain beyond chance: {history.pay} {history.reward}, "
        f"{one.what} {one.ends}{moved}",
        (f"three times {rate}" if (history.moved or 0) < 10 * MOVED else f"a third of {rate}: the weights moved enough")
        + f"; more rollouts an update (per_device_train_batch_size, num_generations); more updates (max_steps){nearer}",
    )
