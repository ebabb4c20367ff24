#!/usr/bin/env python3
"""option_tables.py [--write]: the tables of docs/training.md are those of the library; --write makes them anew.
The library is that of CONSISTENCY_BUILD or CONSISTENCY_LIBRARY."""
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "bindings", "python"))
from consistency import _lib, training  # noqa: E402

PAGE = os.path.join(ROOT, "docs", "training.md")
BEGIN, END = "<!-- tables of tests/option_tables.py -->\n", "<!-- end of the tables -->\n"


def values(o):
    if o["choices"]:
        return ", ".join("`%s`" % name for name in o["choices"])
    if o["kind"] == "text":
        return "text"
    if o["kind"] == "flag":
        return "0 or 1"
    largest = " up" if o["maximum"] >= 1e15 else " to %.12g" % o["maximum"]  # as in trainer.h
    return "%s%.12g%s%s" % ("above " if o["above_minimum"] else "", o["minimum"], largest, " or `auto`" if o["auto"] else "")


def defaults(o):
    """One where all objectives have it, else those of each."""
    found = o["defaults"]
    if o["choices"] == list(found):  # the option objective itself
        return "`%s`" % o["choices"][0]
    texts = sorted(set(found.values()), key=list(found.values()).index)
    if len(texts) == 1:
        return "`%s`" % texts[0] if texts[0] else "empty"
    return ", ".join("`%s` (%s)" % (t, ", ".join(n for n in found if found[n] == t)) for t in texts)


def tables():
    options, names = training.train_options(), _lib.choices("objectives")
    nameless = [name for name, o in options.items() if o["kind"] == "choice" and not o["choices"]]
    if nameless:
        sys.exit("FAIL option tables: a list of choices is missing in src/api/choices.c, that of " + ", ".join(nameless))
    lines = ["| objective | what it is |", "|---|---|"]
    lines += ["| `%s` | %s |" % (n, _lib.lib.cm_choice_about(b"objectives", i).decode()) for i, n in enumerate(names)]
    lines += ["", "| option | what it is | values | default | read by |", "|---|---|---|---|---|"]
    for name, o in options.items():
        read = "all" if len(o["defaults"]) == len(names) else ", ".join(o["defaults"])
        lines.append("| `%s` | %s | %s | %s | %s |" % (name, o["about"].replace("|", "\\|"), values(o), defaults(o), read))
    return "\n".join(lines) + "\n"


with open(PAGE, encoding="utf-8") as f:
    page = f.read()
before, there, after = page[:page.index(BEGIN)], page[page.index(BEGIN) + len(BEGIN):page.index(END)], page[page.index(END):]
if "--write" in sys.argv[1:]:
    with open(PAGE, "w", encoding="utf-8") as f:
        f.write(before + BEGIN + tables() + after)
elif there != tables():
    sys.exit("FAIL option tables: docs/training.md is not what the library has: tests/option_tables.py --write")
print("option tables: %d options" % len(training.train_options()))
