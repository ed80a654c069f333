"""Quantiles, and the Mann-Whitney U test of whether two samples differ beyond noise."""
import math
from collections import Counter

EXACT_MAX = 400  # n * m up to which the distribution of U is enumerated


def quantile(values, q):
    """The smallest value that at least a share q of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered) - 1e-9) - 1)]


def median(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def spread(values):
    """The range of the values, as a share of the median; None for fewer than two."""
    if len(values) < 2 or median(values) == 0:
        return None
    return (max(values) - min(values)) / abs(median(values))


def hdr_points(values):
    """(1 / (1 - percentile), value): five points for each halving of the rest."""
    points, left = [], 1.0
    while left * len(values) >= 0.999:
        points.append([1 / left, quantile(values, 1 - left)])
        left *= 0.870550563
    points.append([float(len(values)), max(values)])
    return points


def _sums(ranks, n):
    """Returns {sum: the number of ways in which n of the ranks have it}."""
    ways = [Counter() for _ in range(n + 1)]
    ways[0][0] = 1
    for rank in ranks:
        for picked in range(n, 0, -1):
            for total, count in ways[picked - 1].items():
                ways[picked][total + rank] += count
    return ways[n]


def mann_whitney(a, b):
    """Returns (U of a, two-sided p). Exact for small samples, else normal with the correction
    for ties and for continuity."""
    n, m = len(a), len(b)
    if not n or not m:
        raise ValueError("a sample is empty")
    joined = sorted([(value, 0) for value in a] + [(value, 1) for value in b])
    rank_sum, ties, i, ranks = 0.0, 0, 0, []
    while i < n + m:
        j = i
        while j < n + m and joined[j][0] == joined[i][0]:
            j += 1
        rank = (i + j + 1) / 2
        rank_sum += rank * sum(1 for k in range(i, j) if joined[k][1] == 0)
        ties += (j - i) ** 3 - (j - i)
        ranks += [i + j + 1] * (j - i)  # twice the rank, which may be a half
        i = j
    u = rank_sum - n * (n + 1) / 2
    if n * m <= EXACT_MAX:
        middle = n * (n + m + 1)  # of the doubled sums
        as_far = sum(count for total, count in _sums(ranks, n).items()
                     if abs(total - middle) >= abs(2 * rank_sum - middle))
        return u, as_far / math.comb(n + m, n)
    total = n + m
    variance = n * m / 12 * (total + 1 - ties / (total * (total - 1)))
    if variance <= 0:
        return u, 1.0
    z = max(0.0, abs(u - n * m / 2) - 0.5) / math.sqrt(variance)
    return u, math.erfc(z / math.sqrt(2))


def least_p(n, m):
    """The smallest p that samples of these sizes can reach."""
    return min(1.0, 2 / math.comb(n + m, n))
