"""The Markdown report: results.md.in filled with the figures of one run.

In the template
    {{machine}} {{verdicts}} {{problems}} {{commands}}   blocks
    {{table NAME...}}          a table of those of these measures that exist
    {{micro}}                  all single functions
    {{plot NAME}}              a picture, if the run has that series
    {{value NAME}} {{against NAME}} {{ratio NAME}}   one figure; a line or an item is left out
                               when the run does not have a figure of it
"""
import re
from pathlib import Path

import measure
import plot

TEMPLATE = Path(__file__).with_name("results.md.in")


def number(value):
    if value is None:
        return ""
    size = abs(value)
    if size >= 10_000:
        digits = max(0, len(str(int(size))) - 3)
        return f"{int(round(value, -digits)):,}".replace(",", "\u202f")
    if size >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 0.1 else f"{value:.2g}"


def figure(value, unit):
    if value is None:
        return ""
    if unit == "share":
        return f"{100 * value:.1f} %"
    return number(value) + {"1/s": "/s"}.get(unit, " " + unit)


def table(data, names):
    rows, notes = ["| | | against | ratio | n | spread |", "|---|---|---|---|---|---|"], {}
    for name in names:
        if name not in data["measures"]:
            continue
        row, about = data["measures"][name], measure.MEASURES[name]
        against = f"{figure(row['against'], row['unit'])}, {about.rival}" if about.rival and \
            row["against"] is not None else ""
        ratio = number(row["ratio"]) if row["ratio"] is not None else ""
        spread = f"{100 * row['spread']:.0f} %" if row["spread"] is not None else ""
        rows.append(f"| {about.title} (`{name}`) | {figure(row['value'], row['unit'])} | {against} "
                    f"| {ratio} | {row['n']} | {spread} |")
        if row["note"]:
            notes.setdefault(row["note"], []).append(f"`{name}`")
    told = [f"- {', '.join(of)}: {note}." for note, of in notes.items()]
    return "\n".join([*rows, "", *told]).rstrip() if len(rows) > 2 else ""


def reading(name, row):
    about = measure.MEASURES[name]
    text = f"{about.title}: {figure(row['value'], row['unit'])}"
    if row["ratio"] is not None:
        text += f" against {figure(row['against'], row['unit'])}, {about.rival}: " \
                f"{number(row['ratio'])} times"
    if row["note"]:
        text += f" ({row['note']})"
    return text + "."


def verdicts(data):
    """Losses, missed aims and draws; then the number of wins."""
    by = {"loss": [], "within": [], "missed": [], "draw": [], "win": []}
    for name, row in data["measures"].items():
        if name not in measure.MEASURES:
            continue
        result = measure.outcome(name, row)
        met = measure.aim_met(name, row)
        if met is False:
            result = "missed"
        elif met and result == "loss":
            result = "within"
        if result:
            by[result].append((name, row))
    lines = []
    for key, title in (("missed", "Short of the target"), ("loss", "Behind the rival"),
                       ("within", "Behind the rival, within the target"),
                       ("draw", "A draw, within 5 %")):
        if by[key]:
            lines.append(f"{title}:\n")
            for name, row in by[key]:
                aim = f" Target: {measure.MEASURES[name].aim}." if key == "missed" else ""
                lines.append(f"- {reading(name, row)}{aim}")
            lines.append("")
    lines.append(f"The other {len(by['win'])} comparisons are wins, or meet their target.")
    return "\n".join(lines)


def machine(data):
    about = data["machine"]
    text = (f"{about['cpus']} cores of {about['cpu']}"
            f"{' (virtual)' if about.get('hypervisor') == 'yes' else ''}, "
            f"{about['memory_gib']:.0f} GiB, governor {about['governor']}, Linux "
            f"{about['kernel']}, {about.get('distribution', '')}; {about['build']}; "
            f"commit {about['commit']}; "
            f"{about['date']}, mode {about['mode']}")
    if about.get("wireguard"):
        text += f"; {about['wireguard']}"
    if about.get("load_at_start", 0) > 0.5:
        text += f". The machine was not idle (load {about['load_at_start']} at the start)"
    return text + "."


def micro(data):
    tables = data.get("tables", {})
    rows = []
    for name, took in tables.get("micro", {}).items():
        time = figure(took, "ns") if took < 1e4 else figure(took / 1e3, "us")
        cycles, allocations = (tables.get(table, {}).get(name) for table in ("cycles", "allocations"))
        rows.append(f"| `{name}` | {time} | {'' if cycles is None else number(cycles)} "
                    f"| {'' if allocations is None else f'{allocations:g}'} |")
    return "\n".join(["| function | | cycles | allocations |", "|---|---|---|---|"] + rows) \
        if rows else ""


def problems(data):
    texts = data["machine"].get("problems", [])
    return "\n".join(["What went wrong in this run:\n", *(f"- {text}" for text in texts)]
                     if texts else [])


def fill(template, data, pictures, commands, folder="plots"):
    """Returns: the report."""
    def block(match):
        words = match[1].split()
        if words[0] == "table":
            return table(data, words[1:])
        if words[0] == "plot":
            name = words[1]
            return f"![{data['series'][name]['title']}]({folder}/{pictures[name]})" \
                if name in pictures else ""
        return {"machine": machine, "verdicts": verdicts, "problems": problems, "micro": micro,
                "commands": lambda _: commands}[words[0]](data)

    def one(match):
        field, name = match[1], match[2]
        row = data["measures"][name]
        return number(row["ratio"]) if field == "ratio" else figure(row[field], row["unit"])

    wanted = re.compile(r"\{\{(value|against|ratio) (\w+)\}\}")
    lines = []
    for paragraph in re.split(r"\n(?=- |\n)", template):
        if all(data["measures"].get(name, {}).get(field) is not None
               for field, name in wanted.findall(paragraph)):
            lines.append(wanted.sub(one, paragraph))
    text = "\n".join(lines)
    figures = re.compile(r"\{\{((?:table|plot|micro)[^}]*)\}\}")
    sections = re.split(r"\n(?=## )", text)
    text = "\n".join(section for section in sections if not figures.search(section) or
                     any(block(match) for match in figures.finditer(section)))
    text = re.sub(r"\{\{([^}]+)\}\}", block, text)
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


def write(data, out, commands, file="report.md", pictures_folder="plots"):
    """Writes the report and its pictures. Returns: its path."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    pictures = plot.draw(data["series"], out / pictures_folder)
    path = out / file
    path.write_text(fill(TEMPLATE.read_text(encoding="utf-8"), data, pictures, commands,
                         pictures_folder), encoding="utf-8")
    return path
