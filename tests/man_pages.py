#!/usr/bin/env python3
"""man_pages.py BUILD [--write]: the pages of man/ beside the programs.

There is a page for each program, and libconsistency(3) and consistency-checkpoint(5).  Its options are those of --help, name, letter, value and meaning, between two marks;
--write makes them anew, and the functions of libconsistency(3) from the headers.  Exit codes, synopsis and files that it names are compared as well, `man --warnings` finds nothing
in any page, and every page that another one refers to exists."""
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BEGIN, END = '.\\" options of --help\n', '.\\" end of the options\n'
OPTION = re.compile(r"^  (?:-(.)| {2}) --([\w-]+)(?: ([^a-z\s]\S*|[A-Z]+))?\s+(\S.*)$")


def help_of(build, program):
    return subprocess.run([os.path.join(build, "bin", program), "--help"], capture_output=True, text=True, check=True).stdout


def options_of(text):
    """(letter, name, value, meaning) of each line of --help that has an option."""
    found = []
    for line in text.splitlines():
        match = OPTION.match(line)
        if match:
            found.append(match.groups())
        elif re.match(r"^ {2,5}-", line):
            sys.exit("FAIL man pages: not understood: " + line)
    return found


def escaped(text):
    """A line of text of roff: hyphens that are typed stay hyphens, and nothing at its beginning is a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-") if "--" in text else text.replace("\\", "\\e")
    text = re.sub(r"(?<=\w)\\-(?=\w)", "-", text)
    return "\\&" + text if text[:1] in ".'" else text


def section(options):
    lines = [".Bl -tag -width Ds"]
    for letter, name, value, meaning in options:
        argument = " Ar " + value if value else ""
        item = ".It Fl %s%s , " % (letter, argument) if letter else ".It "
        lines += [item + "Fl \\-%s%s" % (name.replace("-", "\\-"), argument), escaped(meaning)]
    return "\n".join(lines + [".El"]) + "\n"


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as f:
        return f.read()


def functions():
    """The lists of libconsistency(3): each header with what it is about and its functions."""
    lines = []
    order = re.findall(r'include "consistency/(\w+\.h)"|include <consistency/(\w+\.h)>', read("include", "consistency.h"))
    for header in [a or b for a, b in order]:
        text = read("include", "consistency", header)
        about = re.sub(r"\s*\n \*\s*", " ", re.match(r"/\* %s - (.*?)[.:](?:\s)" % re.escape(header), text, re.S).group(1))
        names = re.findall(r"^CM_API[^;]*?\b(cm_\w+)\(", text, re.M)
        lines += [".Ss <consistency/%s>" % header, about[0].upper() + about[1:] + ":"]
        lines += [".Fn %s%s" % (name, " ." if name == names[-1] else " ,") for name in names]
    return "\n".join(lines) + "\n"


def library_faults(man, write):
    """libconsistency(3) has every function of the headers, and consistency-checkpoint(5) the networks and the parts of a checkpoint."""
    path, begin, end = os.path.join(man, "libconsistency.3"), '.\\" functions of the headers\n', '.\\" end of the functions\n'
    head, rest = read(path).split(begin)
    old, tail = rest.split(end)
    if write and old != functions():
        with open(path, "w", encoding="utf-8") as f:
            f.write(head + begin + functions() + end + tail)
        old = functions()
    faults = [] if old == functions() else ["%s: the functions are not those of the headers; tests/man_pages.py BUILD --write mends it" % path]
    known = set(re.findall(r"\bcm_\w+", "".join(read("include", "consistency", h) for h in os.listdir(os.path.join(ROOT, "include", "consistency")))))
    faults += ["%s: there is no %s" % (path, name) for name in sorted(set(re.findall(r"\bcm_\w*[a-z]\b", head + tail)) - known)]
    path = os.path.join(man, "consistency-checkpoint.5")
    text = read(path)
    sources = read("src", "train", "state_parts.c") + read("src", "train", "split.c")
    names = re.findall(r'"([\w%-]+\.safetensors)"', sources)
    parts = {"state.json"} | {n.replace("%s", "NAME").replace("part-%04zu-of-%04zu", "part-RRRR-of-NNNN") for n in names}
    told = set(re.findall(r"^\.It Pa (\S+)$", text.split('.\\" parts')[1].split('.\\" end of')[0], re.M))
    if parts != told:
        faults.append("%s: the parts of a checkpoint are %s, state_parts.c and split.c have %s" % (path, sorted(told), sorted(parts)))
    networks = set(re.findall(r"consistency\.network` \| `\{\"type\": (.*?), \.\.\.", read("docs", "model-file.md"))[0].replace('"', "").split(" \\| "))
    told = set(re.findall(r"^\.Cm (\w+)", text.split('.\\" networks')[1].split('.\\" end of')[0], re.M))
    if networks != told:
        faults.append("%s: the networks are %s, docs/model-file.md has %s" % (path, sorted(told), sorted(networks)))
    keys = set(re.findall(r"^\| `(consistency\.\w+)`", read("docs", "model-file.md"), re.M))
    if keys != set(re.findall(r"^\.It Cm (consistency\.\w+)", text, re.M)):
        faults.append("%s: its keys are not those of docs/model-file.md" % path)
    return faults


def page_faults(build, program, path, write):
    if not os.path.exists(path):
        return ["there is no page " + path]
    with open(path, encoding="utf-8") as f:
        page = f.read()
    if BEGIN not in page or END not in page:
        return ["%s: the marks of the options are missing" % path]
    text = help_of(build, program)
    head, rest = page.split(BEGIN)
    old, tail = rest.split(END)
    new = section(options_of(text))
    if write and old != new:
        with open(path, "w", encoding="utf-8") as f:
            f.write(head + BEGIN + new + END + tail)
        old = new
    faults = [] if old == new else ["%s: the options are not those of --help; tests/man_pages.py BUILD --write mends it" % path]
    if ".Nm %s\n" % program not in head:
        faults.append("%s: NAME is missing" % path)
    codes = set(re.findall(r"(?:^|, )(\d+) ", text[text.index("exit codes:") + 12:])) | {"0", "1", "2"}
    told = set(re.findall(r"^\.It (\d+)$", tail, re.M))
    if codes != told:
        faults.append("%s: the exit codes are %s, --help has %s" % (path, sorted(told), sorted(codes)))
    names = {"--" + o[1] for o in options_of(text)} | {"--name"}  # which stands for any
    words = (head + tail).replace("\\-", "-")
    for word in re.findall(r"(?<![\w-])--[a-z][\w-]*", re.sub(r"\bFl -", "--", words)):
        if word not in names:
            faults.append("%s: %s is no option of %s" % (path, word, program))
    return faults


def main():
    build, write = sys.argv[1], "--write" in sys.argv
    with open(os.path.join(ROOT, "Makefile"), encoding="utf-8") as f:
        programs = re.search(r"^PROGRAMS\s*:=(.*)$", f.read(), re.M).group(1).split()
    man = os.path.join(ROOT, "man")
    faults = []
    for program in programs:
        faults += page_faults(build, program, os.path.join(man, program + ".1"), write)
    faults += library_faults(man, write)
    pages = sorted(os.listdir(man))
    for page in pages:
        with open(os.path.join(man, page), encoding="utf-8") as f:
            text = f.read()
        for name, number in re.findall(r"^\.Xr (\S+) (\d)", text, re.M):
            if (name.startswith("cm-") or "consistency" in name) and "%s.%s" % (name, number) not in pages:
                faults.append("%s refers to %s(%s), which does not exist" % (page, name, number))
    tried = 0
    try:
        for page in pages:
            run = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", os.path.join(man, page)], capture_output=True, text=True,
                                 env=dict(os.environ, LC_ALL="C.UTF-8", MANROFFSEQ=""))
            faults += ["%s: %s" % (page, line) for line in run.stderr.splitlines()]
            faults += ["%s: man fails" % page] if run.returncode else []
            tried += 1
    except FileNotFoundError:
        note = "man pages: man --warnings was not run, man-db is absent"
        print(note)
        with open(os.environ.get("CHECK_SKIPS", os.devnull), "a", encoding="utf-8") as f:
            f.write(note + "\n")
    for fault in faults:
        print("FAIL man pages: " + fault)
    if not faults:
        print("man pages: %d pages, %d of them without a warning of man; options, exit codes and references are those of the programs" % (len(pages), tried))
    sys.exit(1 if faults else 0)


main()
