"""matrix.py DIRECTORY: the tables that `wellbehaved --json` wrote there, NAME.json each, side by side as Markdown."""

import json
import pathlib
import sys

MARKS = {"pass": "✓", "fail": "✗", "not-applicable": "–"}

directory = pathlib.Path(sys.argv[1])
names = (directory / "names").read_text().split("\n")[:-1]
columns = {}
for line in names:
    name, shown = line.split("\t")
    columns[shown] = {row["key"]: row for row in json.loads((directory / f"{name}.json").read_text())["rows"]}

questions = next(iter(columns.values()))
print("| | " + " | ".join(["looked at from outside", *columns]) + " |")
print("| --- | --- |" + " :---: |" * len(columns))
for key, row in questions.items():
    cells = [MARKS[column[key]["verdict"]] for column in columns.values()]
    print(f"| {key} | {row['question']} | " + " | ".join(cells) + " |")
for words, verdict in [("pass", "pass"), ("fail", "fail"), ("not applicable", "not-applicable")]:
    counts = [sum(row["verdict"] == verdict for row in column.values()) for column in columns.values()]
    print(f"| | **{words}** | " + " | ".join(map(str, counts)) + " |")
