"""Reports what changed between two runs beyond noise."""
import measure
import stats

ALPHA = 0.01  # of seventy measures, chance marks one as changed in two of three comparisons


def samples_of(data, name, ratios):
    """One figure a round: ours, or ours over the rival's of the same round."""
    both = data["samples"].get(name, {"value": [], "against": []})
    ours, theirs = both["value"], both["against"]
    if not ratios:
        return ours
    if not theirs or not all(theirs):
        return []
    if len(theirs) != len(ours):  # not from the same rounds
        return [x / stats.median(theirs) for x in ours]
    return [x / y for x, y in zip(ours, theirs)]


def compare(a, b, ratios=False):
    """Returns rows (name, figure of a, figure of b, b over a, p, verdict) of the common measures.

    verdict: better, worse, same (p > ALPHA), or few (too few samples to tell).
    """
    rows = []
    for name in a["measures"]:
        if name not in b["measures"]:
            continue
        one, two = samples_of(a, name, ratios), samples_of(b, name, ratios)
        if not one or not two:
            continue
        field = "ratio" if ratios else "value"
        old, new = (run["measures"][name][field] for run in (a, b))
        _, p = stats.mann_whitney(one, two)
        if stats.least_p(len(one), len(two)) > ALPHA:
            verdict = "few"
        elif p > ALPHA or old == new:
            verdict = "same"
        else:
            up = stats.median(two) > stats.median(one)
            better = measure.MEASURES[name].better if name in measure.MEASURES else measure.LOWER
            verdict = "better" if up == (better == measure.HIGHER) else "worse"
        rows.append((name, old, new, new / old if old else None, p, verdict))
    return rows


def table(a, b, ratios=False):
    rows = compare(a, b, ratios)
    words = {"better": "better", "worse": "WORSE", "same": "", "few": "too few samples"}
    lines = []
    for key in ("commit", "cpu", "kernel", "build", "mode"):
        one, two = a["machine"][key], b["machine"][key]
        lines.append(f"{key:8} {one}" + (f"   ->   {two}" if one != two else ""))
    what = "ratio to rival" if ratios else "value"
    lines += ["", f"{what:32}{'A':>14}{'B':>14}{'B / A':>9}{'p':>9}"]
    order = {"worse": 0, "better": 1, "same": 2, "few": 3}
    for name, old, new, change, p, verdict in sorted(rows, key=lambda row: order[row[5]]):
        unit = "x" if ratios else a["measures"][name]["unit"]
        change = f"{change:9.3f}" if change is not None else f"{'-':>9}"
        lines.append(f"{name:32}{old:14.5g}{new:14.5g}{change}{p:9.4f}  {unit:6} {words[verdict]}"
                     .rstrip())
    for label, one, two in (("only in A", a, b), ("only in B", b, a)):
        only = sorted(set(one["measures"]) - set(two["measures"]))
        if only:
            lines.append(f"{label}: {', '.join(only)}")
    changed = sum(row[5] in ("better", "worse") for row in rows)
    telling = sum(row[5] != "few" for row in rows)
    lines += ["", f"{changed} of {telling} changed beyond noise (Mann-Whitney U test on the "
                  f"rounds' figures, p <= {ALPHA:g}); {len(rows) - telling} more have too few "
                  "rounds to tell" + ("" if telling else ": full runs have more")]
    return "\n".join(lines)
