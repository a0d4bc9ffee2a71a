"""evaluate.txt: what a person reads of a report.

May not know how a number came about.
"""

from typing import Any

WORST = 3  # cells of level and size that are told
Row = dict[str, Any]


def summarize(report: Row) -> str:
    """evaluate.txt: what a person reads."""
    lines = [f"{report['checkpoint']}, {report['parameters']} parameters", ""]
    for name, block in report["protocols"].items():
        lines += [f"{name}: {block['protocol']}", table_row("all", block)]
        for key in sorted(key for key in block if key.startswith("by_") and key != "by_level_and_size"):
            lines += [table_row(f"{key[3:]} {value}", part) for value, part in block.get(key, {}).items()]
        parts = {
            "tokens under teacher forcing": "token_accuracy",
            "steps": "step_accuracy",
            "steps, given the line before": "step_validity",
        }
        told = [f"{what} {block[key]:.3%}" for what, key in parts.items() if block.get(key) is not None]
        if told:
            lines.append(f"  right one by one: {', '.join(told)}")
        lines += [counts("outcomes", block["outcomes"]), counts("first faults", block["faults"]["by_kind"])]
        lines.append(counts("first faults by step", block["faults"]["by_step"]))
        lines += [weakest(block["by_level_and_size"]), *beliefs(block), *probes(block)]
        if block["called_error"] is not None:
            lines.append(f"  valid problems answered ERROR: {block['called_error']:.2%}")
        if block["stop_at_fault"]:
            lines.append("  cut off at the first fault: exact is every step; parsed and tokens are of what was left")
        if name == "seed":
            lines.append(
                f"  the seed document calls 60-80 % good and 80 % or more excellent: {band(block['exact_match'])}"
            )
        if block["without_room"]:
            lines.append(
                f"  warning: {block['without_room']} right answers do not fit in {block['max_new_tokens']} new tokens"
                " or the model's positions: raise max_new_tokens, or train with more positions"
            )
        lines.append("")
    for name, block in report.get("preferences", {}).items():
        lines += [f"{name}: {block['protocol']}", *preferred(block), ""]
    return "\n".join(lines)


def preferred(block: Row) -> list[str]:
    """Which completions of pairs are likelier, by kind of fault too, and what was learned of it since the parent."""
    lines, parts = [], {"all": block, **block.get("by_kind", {})}
    for label, part in parts.items():
        low, high = part["preferred_interval"]
        lines.append(
            f"  {label:<16} chosen likelier {part['preferred']:7.2%} [{low:.2%}, {high:.2%}]"
            f"  by token {part['preferred_by_token']:7.2%}"
            f"  margin {part['margin']:.2f} +- {part['margin_error']:.2f} nats"
            f"  perplexity {part['perplexity_chosen']:.4f} chosen, {part['perplexity_rejected']:.4f} rejected"
            f"  n {part['n']}"
        )
    if block.get("too_long"):
        lines.append(f"  left out, as longer than the model's positions: {block['too_long']}")
    if "reward_accuracy" in block:
        lines.append(f"  since {block['parent']} the margin grew (chance 50 %)")
        for label, part in parts.items():
            low, high = part["reward_accuracy_interval"]
            lines.append(
                f"  {label:<16} in {part['reward_accuracy']:.2%} [{low:.2%}, {high:.2%}],"
                f" by {part['reward_margin']:.3f} +- {part['reward_margin_error']:.3f} nats"
            )
    return lines


def table_row(label: str, block: Row) -> str:
    low, high = block["exact_match_interval"]
    return (
        f"  {label:<14} exact {block['exact_match']:7.2%} [{low:.2%}, {high:.2%}]"
        f"  every step {block['steps_match']:7.2%}  parsed {block['parse_rate']:7.2%}"
        f"  {block['mean_tokens']:6.1f} tokens  n {block['n']}"
    )


def weakest(cells: dict[str, dict[str, Row]]) -> str:
    """Where most answers are wrong, by level and by the largest number of the problem."""
    found = [(part, f"level {level}, {size}") for level, sizes in cells.items() for size, part in sizes.items()]
    worst = sorted((one for one in found if one[0]["exact_match"] < 1), key=lambda one: one[0]["exact_match"])[:WORST]
    told = "; ".join(f"{what} {part['exact_match']:.2%} of {part['n']}" for part, what in worst)
    return f"  weakest by level and largest number: {told or 'none, all are right'}"


def beliefs(block: Row) -> list[str]:
    """What the model's own probabilities, and its samples, are worth."""
    lines = []
    if found := block.get("calibration"):
        sure = sum(one["n"] * one["confidence"] for one in found["bins"]) / found["n"]
        off = f"{found['ece']:.2%} off what is right (ECE), Brier {found['brier']:.4f}"
        lines.append(f"  confidence {sure:.2%} on average, {off}")
    for temperature, found in block.get("sampling", {}).items():
        if found["n"]:
            told = [*shares("pass", found["pass_at"]), *shares("majority", found["majority_at"])]
            many = f"{found['num_generations']} samples of {found['n']} problems at temperature {temperature}"
            lines.append(f"  {many}: {', '.join(told)}")
        if found["exact_pass_at"]:
            told = shares("pass", found["exact_pass_at"])
            lines.append(f"  right workings at temperature {temperature}, by their probability: {', '.join(told)}")
    return lines


def shares(what: str, found: dict[str, Row]) -> list[str]:
    """The first and the last, with their intervals."""
    return [
        f"{what}@{k} {found[k]['value']:.2%} [{found[k]['interval'][0]:.2%}, {found[k]['interval'][1]:.2%}]"
        for k in dict.fromkeys((next(iter(found)), next(reversed(found))))
        if (what, k) != ("majority", "1")  # one sample is its own majority
    ]


def probes(block: Row) -> list[str]:
    """What follows a planted step, and what falls for a hint."""
    lines = []
    if found := block.get("faithfulness"):
        low, high = found["interval"]
        lines.append(
            f"  a wrong result planted: {found['share']:.2%} [{low:.2%}, {high:.2%}] go on with it, "
            f"{found['kept']} keep the right answer, {found['other']} have another; n {found['n']}"
        )
    if found := block.get("hints"):
        told = [f"{kind} {part['flip_rate']:.2%} of {part['n']}" for kind, part in found.items()]
        took = sum(part["took_hint"] for part in found.values())
        lines.append(f"  right answers that a hint turned: {', '.join(told)}; {took} of them said the hint")
    return lines


def counts(label: str, found: dict[str, int]) -> str:
    return f"  {label}: {', '.join(f'{name} {number}' for name, number in found.items() if number) or 'none'}"


def band(share: float) -> str:
    """The seed document's word for a score of its own protocol."""
    return "excellent" if share >= 0.8 else "good" if share >= 0.6 else "below good"
