"""Series as SVG, drawn by gnuplot."""
import subprocess
from pathlib import Path

from measure import SERIES

# Distinct for colour-blind readers and on paper: Okabe and Ito's palette, and dashes.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
TERMINALS = {"svg": "svg size 900,400 dynamic enhanced font 'Helvetica,13' background '#ffffff'",
             "png": "pngcairo size 900,400 font 'Helvetica,11'"}
PERCENTILES = ((1, "0"), (2, "50 %%"), (10, "90 %%"), (100, "99 %%"), (1000, "99.9 %%"),
               (10000, "99.99 %%"))


def quote(text):
    return "'" + text.replace("'", "''") + "'"


def script(series, output, kind):
    """Returns: the input of gnuplot."""
    lines = [f"set terminal {TERMINALS[kind]}", f"set output {quote(str(output))}",
             f"set title {quote(series['title'])} noenhanced",
             f"set xlabel {quote(series['x'])} noenhanced",
             f"set ylabel {quote(series['y'])} noenhanced",
             "set key outside right top vertical Left reverse noenhanced samplen 2 spacing 1.3",
             "set grid linecolor '#dddddd'", "set border 3", "set tics nomirror"]
    if series["log"] in ("x", "xy"):
        lines += ["set logscale x 10", "set format x '10^{%L}'"]
    if series["log"] in ("y", "xy"):
        lines += ["set logscale y 10", "set format y '%g'"]
    else:
        lines += ["set yrange [0:105]" if "%" in series["y"] else "set yrange [0:*]"]
    if series["log"] == "hdr":
        ticks = ", ".join(f"'{label}' {x}" for x, label in PERCENTILES)
        lines += ["set logscale x 10", f"set xtics ({ticks})", "set logscale y 10",
                  "set yrange [*:*]", "set format y '%g'", "set mytics 10",
                  "set grid mytics linecolor '#eeeeee'"]
    xs = [point[0] for line in series["lines"] for point in line["points"]]
    if series["log"] in ("x", "xy") or min(xs) == max(xs):
        lines.append(f"set xrange [{0.7 * min(xs)}:{1.4 * max(xs)}]")
    ordered = sorted(series["lines"], key=lambda line: "wicket" not in line["label"].lower())
    for number, line in enumerate(ordered):
        lines.append(f"$line{number} << END")
        lines += [f"{x:.9g} {y:.9g}" for x, y in line["points"]]
        lines.append("END")
    style = "lines" if series["log"] == "hdr" else "linespoints pointtype {n} pointsize 0.7"
    drawn = [f"$line{n} using 1:2 with {style.format(n=n + 4)} linewidth 2 dashtype {n % 4 + 1} "
             f"linecolor rgb {quote(COLOURS[n % len(COLOURS)])} title {quote(line['label'])}"
             for n, line in enumerate(ordered)]
    lines.append("plot " + ", ".join(drawn))
    return "\n".join(lines) + "\n"


def draw(series, folder, kind="svg"):
    """Draws every series into the folder. Returns {name: file name}.
    Errors: RuntimeError with gnuplot's message."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in set(SERIES) - set(series):  # left over from an earlier run
        (folder / f"{name}.{kind}").unlink(missing_ok=True)
    drawn = {}
    for name, one in series.items():
        drawn[name] = f"{name}.{kind}"
        try:
            result = subprocess.run(["gnuplot"], input=script(one, folder / drawn[name], kind),
                                    capture_output=True, text=True)
        except FileNotFoundError as error:
            raise RuntimeError("gnuplot is not installed: run scripts/setup") from error
        if result.returncode != 0:
            raise RuntimeError(f"gnuplot, {name}: {result.stderr.strip()}")
    return drawn
