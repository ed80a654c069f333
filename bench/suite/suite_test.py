#!/usr/bin/python3
"""The suite's own arithmetic, against naive computations; and --compare on two synthetic runs."""
import itertools
import json
import math
import random
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(1, str(Path(__file__).resolve().parents[1]))
import compare  # noqa: E402
import counts  # noqa: E402
import measure  # noqa: E402
import plot  # noqa: E402
import report  # noqa: E402
import stats  # noqa: E402

MACHINE = {"date": "2026-01-01", "commit": "abc", "kernel": "6.1", "cpu": "a cpu", "cpus": 2,
           "flags": ["avx2"], "governor": "none", "memory_gib": 1, "build": "Release",
           "mode": "quick"}


def naive_u(one, two):
    return sum((x > y) + 0.5 * (x == y) for x in one for y in two)


def naive_u_and_p(a, b):
    """U by counting pairs; p by trying every way to deal out the values."""
    joined, n = a + b, len(a)
    middle = n * len(b) / 2
    away = abs(naive_u(a, b) - middle)
    every = list(itertools.combinations(range(len(joined)), n))
    extreme = 0
    for picked in every:
        one = [joined[i] for i in picked]
        two = [joined[i] for i in range(len(joined)) if i not in picked]
        extreme += abs(naive_u(one, two) - middle) >= away - 1e-9
    return naive_u(a, b), extreme / len(every)


def made_up(seed, factor=1.0, rounds=9):
    """Synthetic results with two measures, of which the first is `factor` times slower."""
    noise = random.Random(seed)
    results = measure.Results(dict(MACHINE))
    for name, scale in (("handshake_p50", factor), ("create_p50", 1.0)):
        results.add(name, [scale * noise.gauss(2, 0.05) for _ in range(rounds)],
                    [noise.gauss(1, 0.02) for _ in range(rounds)])
    results.add_line("start_by_peers", "Wicket", [[1000, 0.02], [10000, 0.03]])
    return results


class Stats(unittest.TestCase):
    def test_quantiles_are_the_nearest_rank(self):
        noise = random.Random(1)
        for n in (1, 2, 3, 10, 99, 100, 101, 1000):
            values = [noise.random() for _ in range(n)]
            for q in (0, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1):
                naive = min(v for v in values if sum(w <= v for w in values) >= q * n - 1e-9)
                self.assertEqual(stats.quantile(values, q), naive, (n, q))

    def test_u_and_p_agree_with_all_permutations(self):
        noise = random.Random(2)
        for n, m in ((1, 1), (2, 3), (3, 3), (4, 5), (5, 5), (6, 4)):
            for shift in (0, 0.3, 2):
                a = [noise.random() for _ in range(n)]
                b = [noise.random() + shift for _ in range(m)]
                u, p = stats.mann_whitney(a, b)
                by_hand, naive_p = naive_u_and_p(a, b)
                self.assertAlmostEqual(u, by_hand)
                self.assertAlmostEqual(p, naive_p, places=9, msg=f"{n} {m} {shift}")

    def test_ties_are_counted_out_too(self):
        a, b = [1, 2, 2, 3, 4, 4, 5, 6], [2, 4, 5, 6, 6, 7, 7, 8]
        u, p = stats.mann_whitney(a, b)
        by_hand, naive_p = naive_u_and_p(a, b)
        self.assertEqual(u, by_hand)
        self.assertAlmostEqual(p, naive_p, delta=0.01)  # p is the normal approximation
        # Over all ways to deal out these values.
        every = [naive_u([(a + b)[i] for i in picked],
                         [(a + b)[i] for i in range(16) if i not in picked])
                 for picked in itertools.combinations(range(16), 8)]
        self.assertAlmostEqual(p, sum(abs(x - 32) >= abs(u - 32) for x in every) / len(every))
        # Apart, with two alike: that tells as much as without a tie.
        apart = stats.mann_whitney([1, 2, 2, 3, 4], [5, 6, 7, 8, 9])[1]
        self.assertAlmostEqual(apart, stats.least_p(5, 5))
        self.assertEqual(stats.mann_whitney([1, 1, 1], [1, 1, 1])[1], 1.0)

    def test_large_samples_agree_with_counting(self):
        noise = random.Random(3)
        a = [noise.random() for _ in range(20)]
        b = [noise.random() + 0.2 for _ in range(20)]
        exact = stats.mann_whitney(a, b)[1]
        normal = stats.mann_whitney(a + a[:1], b)[1]  # a tie: the other way
        self.assertAlmostEqual(exact, normal, delta=0.02)

    def test_false_alarms_are_as_rare_as_promised(self):
        noise = random.Random(4)
        alarms = sum(stats.mann_whitney([noise.random() for _ in range(7)],
                                        [noise.random() for _ in range(7)])[1] <= 0.05
                     for _ in range(2000))
        self.assertLess(alarms, 0.06 * 2000)
        self.assertGreater(alarms, 0.02 * 2000)

    def test_hdr_points_are_quantiles(self):
        values = [float(n) for n in range(1, 1001)]
        for x, y in stats.hdr_points(values):
            self.assertAlmostEqual(y, 1000 * (1 - 1 / x), delta=1.01)


class Compare(unittest.TestCase):
    def verdicts(self, a, b, ratios=False):
        return {row[0]: row[5] for row in compare.compare(a.data, b.data, ratios)}

    def test_a_change_is_told_from_noise(self):
        same = self.verdicts(made_up(1), made_up(2))
        self.assertEqual(same, {"handshake_p50": "same", "create_p50": "same"})
        slower = self.verdicts(made_up(1), made_up(2, 1.2))
        self.assertEqual(slower, {"handshake_p50": "worse", "create_p50": "same"})
        faster = self.verdicts(made_up(1, 1.2), made_up(2))
        self.assertEqual(faster["handshake_p50"], "better")
        self.assertEqual(self.verdicts(made_up(1), made_up(2, 1.2), ratios=True)["handshake_p50"],
                         "worse")

    def test_higher_may_be_better(self):
        a, b = measure.Results(dict(MACHINE)), measure.Results(dict(MACHINE))
        a.add("import_per_s", [1, 2, 3, 4, 5, 6])
        b.add("import_per_s", [11, 12, 13, 14, 15, 16])
        self.assertEqual(self.verdicts(a, b), {"import_per_s": "better"})

    def test_too_few_samples_are_said_to_be_so(self):
        few = self.verdicts(made_up(1, rounds=3), made_up(2, 5, rounds=3))
        self.assertEqual(few["handshake_p50"], "few")

    def test_the_table_names_what_changed(self):
        text = compare.table(made_up(1).data, made_up(2, 1.2).data)
        self.assertRegex(text, r"handshake_p50 .* 1\.\d+ .*WORSE")
        self.assertIn("1 of 2 changed", text)


class ResultsFile(unittest.TestCase):
    def test_written_and_read_back(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.json"
            results = made_up(1)
            results.write(path)
            self.assertEqual(measure.read(path), results.data)

    def test_what_does_not_fit_the_schema_is_refused(self):
        for spoil in (lambda d: d["measures"]["create_p50"].pop("unit"),
                      lambda d: d["measures"]["create_p50"].update(value="fast"),
                      lambda d: d["machine"].update(hostname="x"),
                      lambda d: d["series"]["start_by_peers"]["lines"].clear(),
                      lambda d: d.pop("samples")):
            data = json.loads(json.dumps(made_up(1).data))
            self.assertIsNone(measure.schema_problem(data))
            spoil(data)
            self.assertIsNotNone(measure.schema_problem(data))

    def test_value_is_the_median_and_ratio_its_quotient(self):
        results = measure.Results(dict(MACHINE))
        results.add("create_p50", [3, 1, 2], [5, 4, 6])
        row = results.data["measures"]["create_p50"]
        self.assertEqual((row["value"], row["against"], row["ratio"], row["n"], row["spread"]),
                         (2, 5, 0.4, 3, 1))


class Report(unittest.TestCase):
    def test_losses_and_draws_come_first(self):
        results = measure.Results(dict(MACHINE))
        results.add("data_plane", [90], [100])          # a loss: higher is better
        results.add("proofs_per_core", [100], [100])    # short of its aim
        results.add("import_per_s", [102], [100])       # a draw
        results.add("group_commit", [1000], [100])      # a win
        results.add("handshake_p50", [1.3], [1])        # a loss that was allowed
        text = report.verdicts(results.data)
        short, behind, within, draw = (text.index(word) for word in (
            "Short of", "Behind the rival:", "Behind the rival, within", "A draw"))
        self.assertLess(short, behind)
        self.assertLess(behind, within)
        self.assertLess(within, draw)
        self.assertIn("first packet", text[within:draw])
        self.assertNotIn("Durable creates", text[:draw])
        self.assertIn("The other 1 ", text)

    def test_what_wins_depends_on_the_measure(self):
        for name, value, rival, expected in (
                ("handshake_vs_all_installed_p50", 2, 1, "loss"),
                ("handshake_vs_all_installed_p50", 1, 2, "win"),
                ("group_commit", 2, 1, "win"), ("group_commit", 1, 2, "loss"),
                ("group_commit", 1, 1.02, "draw"), ("xdp_pass_ns", 1, 2, None)):
            results = measure.Results(dict(MACHINE))
            results.add(name, [value], [rival])
            self.assertEqual(measure.outcome(name, results.data["measures"][name]), expected)

    def test_a_sentence_without_its_figure_is_left_out(self):
        data = made_up(1).data
        text = report.fill("- {{ratio handshake_p50}} times\n- {{value data_plane}} here\n\n"
                           "## Empty\n\nWords.\n\n{{table data_plane}}\n\n## Full\n\n{{table create_p50}}\n",
                           data, {}, "")
        self.assertNotIn("here", text)
        self.assertNotIn("Empty", text)
        self.assertIn("times", text)
        self.assertIn("`create_p50`", text)

    def test_every_name_in_the_template_exists(self):
        import re
        text = report.TEMPLATE.read_text()
        for words in re.findall(r"\{\{(?:table|value|against|ratio) ([^}]+)\}\}", text):
            for name in words.split():
                self.assertIn(name, measure.MEASURES)
        shown = set(" ".join(re.findall(r"\{\{table ([^}]+)\}\}", text)).split())
        self.assertEqual(set(measure.MEASURES) - shown, set(), "measures in no table")
        self.assertEqual(set(re.findall(r"\{\{plot (\w+)\}\}", text)), set(measure.SERIES))

    def test_every_series_can_be_drawn(self):
        results = measure.Results(dict(MACHINE))
        for name in measure.SERIES:
            results.add_line(name, "Wicket, it's", [[1000, 1], [2000, 5.5]])
            results.add_line(name, "another", [[1000, 2]])
        with tempfile.TemporaryDirectory() as folder:
            drawn = plot.draw(results.data["series"], folder)
            for file in drawn.values():
                self.assertIn("</svg>", (Path(folder) / file).read_text())


class Counts(unittest.TestCase):
    def test_a_tenth_more_fails_and_less_does_not(self):
        self.assertTrue(counts.judge({"f": 1000}, {"f": 1100})[1])
        self.assertFalse(counts.judge({"f": 1000}, {"f": 1101})[1])
        self.assertTrue(counts.judge({"f": 1000}, {"f": 500})[1])
        self.assertFalse(counts.judge({"f": 1000}, {"g": 1000})[1])


if __name__ == "__main__":
    unittest.main()
