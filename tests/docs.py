#!/usr/bin/env python3
"""docs.py [BUILD]: the documents beside the tree.

What a document names has to exist: files and folders, functions and macros (cm_*, CM_*), make targets and variables,
programs with their options, tasks, methods, objectives and presets, test programs and their cases, and what relative
links lead to.  Lists in the README, docs and CONTRIBUTING have to be complete against the tables of the source.  The
README's C program is tests/install/draw.c, which tests/install.sh builds; with BUILD its Python
program and those of docs/training.md, docs/python.md and docs/derivatives.md (where there is numpy) are run, the commands that draw, edit and
inspect, those of docs/objectives, for a step, and all of docs/tutorials.

Entries of docs/notebook tell what was: of them only links are checked.  Before the documents it reads a page of
mistakes, one of each kind, and fails unless it finds all of them."""
import fnmatch
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Files of other projects that documents cite, and that users have.
FOREIGN = {"train.py", "launch.sh", "scripts/launch.sh", "run_ecm.sh", "run_ecm_1hour.sh"}
SOURCE = re.compile(r"\.(?:c|h|cc|py|sh|mk|md|map|in|txt|supp|abi)$")


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def tree():
    try:
        listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True,
                                text=True, check=True).stdout.split("\n")
        files = [f for f in sorted(set(listed)) if f and os.path.exists(os.path.join(ROOT, f))]
        if files:
            return files
    except (OSError, subprocess.CalledProcessError):
        pass  # an unpacked archive
    return [os.path.relpath(os.path.join(d, f), ROOT) for d, below, names in os.walk(ROOT) for f in names
            if not os.path.relpath(d, ROOT).split(os.sep)[0] in ("build", ".git")]


class Facts:
    """What there is."""

    def __init__(self):
        self.files = tree()
        self.folders = {f[:i] for f in self.files for i, c in enumerate(f) if c == "/"}
        self.names = {os.path.basename(f) for f in self.files}
        self.top = {f.split("/")[0] for f in self.files}
        self.src = sorted({f.split("/")[1] for f in self.files if f.startswith("src/") and f.count("/") > 1})
        code = [f for f in self.files if re.search(r"\.(c|h|cc|py|map|sh|mk)$", f) or f == "Makefile"]
        self.words = set()
        for f in code:
            if f != "tests/docs.py":
                self.words.update(re.findall(r"\b(?:cmi?|CM)_\w+", read(f)))
        mk = [read(f) for f in ("Makefile", "tests/tests.mk", "tests/trust/trust.mk", "tests/trust/matrix.mk")]
        self.make = re.sub(r"\\\n\s*", " ", "".join(mk))  # a list goes over lines
        self.programs = re.search(r"^PROGRAMS\s*:=(.*)$", self.make, re.M).group(1).split()
        self.units = re.search(r"^UNITS\s*:=(.*)$", self.make, re.M).group(1).split()
        self.targets = set(re.findall(r"^([\w-]+(?: [\w-]+)*)\s*:(?!=)", self.make, re.M))
        self.targets = {t for line in self.targets for t in line.split()} | {"run-" + u for u in self.units}
        self.targets |= {"trust-r%d" % k for k in range(1, 15)} | {"trust-faults"}
        self.variables = set(re.findall(r"^(\w+)\s*[?:+]?=", self.make, re.M)) | {"DESTDIR", "DNNL_PREFIX", "LDFLAGS",
                                                                                  "CPPFLAGS", "BENCH_JSON"}
        self.options, self.letters = {}, {}
        for p in self.programs:
            rows = re.findall(r'^\s*\{"([a-z0-9-]+)", (0|\'.\'), (?:NULL|")', read("examples/%s.c" % p[3:]), re.M)
            if len(rows) < 4:
                raise SystemExit("FAIL docs: no table of options in examples/%s.c" % p[3:])
            self.options[p] = {name for name, letter in rows} | {"help", "version", "completion"}
            self.letters[p] = {letter[1] for name, letter in rows if letter != "0"}
        self.cases = {u: set(re.findall(r"^START_TEST\((\w+)\)", read("tests/%s.c" % u), re.M)) for u in self.units}
        self.groups = {g for u in self.units for g in re.findall(r'tcase_create\("(\w+)"\)', read("tests/%s.c" % u))}
        self.methods = self.enum("sampler", "cm_method") - {"default"}
        self.objectives = self.enum("trainer", "cm_train_objective")
        self.tasks = set(re.search(r"tasks\[\] = \{(.*?)\}", read("examples/editing.c"), re.S).group(1)
                         .replace('"', "").replace("NULL", "").replace(",", " ").split())
        self.presets = set(re.findall(r'^\s*\{"([a-z0-9.-]+)"', read("src/train/presets.c"), re.M))
        train = "".join(read(f) for f in self.files if f.startswith("src/train/") and f.endswith(".c"))
        self.optimisers = self.rows_of("train/optim.c", r'\{"(\w+)"')
        self.distances = self.rows_of("train/distance.c", r'\.name = "([^"]+)"') - {"default"}
        self.averages = self.names_of(train, "ema_form")
        self.settings = self.rows_of("train/option_rows.c", r"^    [A-Z]+\((\w+),")

    @staticmethod
    def enum(header, name):
        block = re.search(r"typedef enum %s \{(.*?)\} %s;" % (name, name), read("include/consistency/%s.h" % header), re.S)
        members = re.findall(r"\bCM_\w+", re.sub(r"/\*.*?\*/", "", block.group(1), flags=re.S)) if block else []
        if len(members) < 3:
            raise SystemExit("FAIL docs: no enum %s in include/consistency/%s.h" % (name, header))
        prefix = os.path.commonprefix(members)
        prefix = prefix[:prefix.rindex("_") + 1]
        return {m[len(prefix):].lower() for m in members}

    @staticmethod
    def rows_of(path, pattern):
        """Names in the table rows[] of a source file."""
        table = re.search(r"\brows\[\] = \{(.*?)^\};", read("src/" + path), re.S | re.M)
        names = set(re.findall(pattern, table.group(1), re.M)) if table else set()
        if len(names) < 3:
            raise SystemExit("FAIL docs: no table rows[] in src/%s" % path)
        return names

    @staticmethod
    def names_of(text, name):
        table = re.search(r"(?:%s)_names\[\] = \{([^}]*)\}" % name, text)
        if not table:
            raise SystemExit("FAIL docs: no table *%s_names[] in src/train" % name)
        return set(re.findall(r'"([^"]+)"', table.group(1)))

    def has_path(self, path):
        path = path.rstrip("/")
        for whole in (path, "src/" + path, "tests/" + path, "docs/" + path, "include/" + path,
                      "tests/data/pictures/" + path):
            if "*" in whole:
                if fnmatch.filter(self.files, whole):
                    return True
            elif whole in self.folders or whole in self.top or os.path.exists(os.path.join(ROOT, whole)):
                return True
        return False


class Document:
    def __init__(self, facts, path, text):
        self.facts, self.path, self.faults = facts, path, []
        # <!-- example: ... --> at its head: what the document makes up to show how to make it.
        example = re.search(r"<!-- example: (.*?) -->", text)
        self.example = set(example.group(1).split()) if example else set()
        self.text = text.replace(example.group(0), "") if example else text

    def fail(self, what):
        line = "%s: %s" % (self.path, what)
        if line not in self.faults:
            self.faults.append(line)

    def commands(self):
        """Indented and fenced lines, those that go on joined; then the code within sentences."""
        joined = re.sub(r"\\\n\s*", " ", self.text)
        blocks = re.findall(r"^    (\S.*)$", joined, re.M)
        for fence in re.findall(r"^\s*```(\w*)\n(.*?)^\s*```", joined, re.M | re.S):
            blocks += fence[1].split("\n") if fence[0] in ("", "sh") else []
        return blocks

    def spans(self):
        prose = re.sub(r"^\s*```.*?^\s*```", "", self.text, flags=re.M | re.S)
        prose = "\n".join(x for x in prose.split("\n") if not x.startswith("    "))
        return [re.sub(r"\s+", " ", s) for s in re.findall(r"`([^`]+)`", prose)]

    def links(self):
        outside = re.sub(r"^\s*```.*?^\s*```", "", self.text, flags=re.M | re.S)
        for target in re.findall(r"\]\(([^)\s]+)\)", outside):
            if re.match(r"[a-z]+:", target):
                continue
            path = target.split("#")[0]
            where = os.path.join(ROOT, os.path.dirname(self.path), path)
            if path and not os.path.exists(where):
                self.fail("the link %s leads nowhere" % target)

    def identifiers(self):
        for word in sorted(set(re.findall(r"(?<![\w-])(?:cmi?|CM)_\w*\*?", self.text))):
            stem = word.rstrip("*")
            if stem.endswith("_") or word.endswith("*"):
                if not any(w.startswith(stem) for w in self.facts.words):
                    self.fail("nothing begins with %s" % stem)
            elif word not in self.facts.words and word not in self.example:
                self.fail("there is no %s" % word)

    def paths(self, spans):
        for span in spans:
            for word in re.findall(r"[\w.*/-]+", span):
                word = word.strip(".,")
                if word in FOREIGN | self.example or "NAME" in word or not re.search(r"\w", word) or word.startswith(("/", "--")):
                    continue
                first = word.split("/")[0]
                named = "/" in word and (first in self.facts.top or first in self.facts.src or SOURCE.search(word))
                if named and not first.startswith("..") and first != "build":
                    if not self.facts.has_path(word):
                        self.fail("there is no file or folder %s" % word)
                elif "/" not in word and SOURCE.search(word) and not word.startswith("."):
                    if not fnmatch.filter(self.facts.names, word):
                        self.fail("no file is called %s" % word)

    def program(self, name, rest):
        facts = self.facts
        for option in re.findall(r"(?<![\w-])--([a-z][\w-]*)", rest):
            if option not in facts.options[name]:
                self.fail("%s has no option --%s" % (name, option))
        for letter in re.findall(r"(?<=\s)-([a-zA-Z])(?=\s|$)", rest):
            if letter not in facts.letters[name]:
                self.fail("%s has no option -%s" % (name, letter))
        for option, known in (("method", facts.methods), ("objective", facts.objectives), ("preset", facts.presets | {"auto"})):
            for value in re.findall(r"--%s ([\w.-]+)" % option, rest):
                if value not in known and not value.isupper():
                    self.fail("there is no %s %s" % (option, value))
        for key in re.findall(r"--set (\w+)=", rest):
            if key not in facts.settings | {"key"}:
                self.fail("there is no training option %s" % key)
        task = re.match(r"\s+([a-z][a-z-]+)", rest)
        if name == "cm-edit" and task and task.group(1) not in facts.tasks:
            self.fail("cm-edit has no task %s" % task.group(1))

    def run_lines(self, lines):
        facts = self.facts
        for line in lines:
            line = line.split(" #")[0]
            for part in re.split(r"&&|;|\|", line):
                found = re.search(r"(?:^|[\s/])(cm-[a-z]+)(?=\s|$)(.*)", part)
                if found:
                    if found.group(1) not in facts.programs:
                        self.fail("there is no program %s" % found.group(1))
                    else:
                        self.program(found.group(1), found.group(2))
                script = re.search(r"(?:^|[\s/])(tests/\w+\.py)(.*)", part)
                if script and os.path.exists(os.path.join(ROOT, script.group(1))):
                    text = read(script.group(1))
                    for option in re.findall(r"(?<![\w-])(--[a-z][\w-]*)", script.group(2)):
                        if not re.search(r"""["'\s\[]%s["'\s\]]""" % option, text):
                            self.fail("%s has no option %s" % (script.group(1), option))
                made = re.match(r"\s*make\s+(.*)", part)
                if made:
                    for word in re.sub(r'"[^"]*"', "", made.group(1)).split():
                        if "=" in word:
                            if word.split("=")[0] not in facts.variables:
                                self.fail("make has no variable %s" % word.split("=")[0])
                        elif re.match(r"[a-z]", word) and word not in facts.targets:
                            self.fail("make has no target %s" % word)
                for group in re.findall(r"CK_RUN_CASE=(\w+)", part):
                    if group not in facts.groups and group != "name":
                        self.fail("no test has a group %s" % group)

    def lone(self, spans):
        """Options, programs, targets and tests that a sentence names by themselves."""
        facts = self.facts
        options = set().union(*facts.options.values())
        for span in spans:
            option = re.match(r"--([a-z][\w-]*)(?:[ =].*)?$", span)
            if option and option.group(1) not in options and not any(
                    "--" + option.group(1) in read(f) for f in facts.files if re.match(r"tests/\w+\.py$", f)
                    and f != "tests/docs.py"):
                self.fail("no program has an option --%s" % option.group(1))
            if re.match(r"check-[\w-]+$", span) and span not in facts.targets:
                self.fail("make has no target %s" % span)
            if re.match(r"check_\w+$", span) and span not in facts.units:
                self.fail("there is no test program %s" % span)
        for name in re.findall(r"(?<![\w/.-])(cm-[a-z]+)\b(?![\w/.])", self.text):
            if name not in facts.programs:
                self.fail("there is no program %s" % name)
        for unit, cases in re.findall(r"`(?:tests/)?(check_\w+)(?:\.c)?`\s*\(([^)]*)\)", self.text):
            for case in re.split(r",\s*", cases):
                if case not in facts.cases.get(unit, ()):
                    self.fail("%s has no case %s" % (unit, case))

    def check(self, links_only=False):
        self.links()
        if not links_only:
            spans = self.spans()
            self.identifiers()
            self.paths(spans + [w for line in self.commands() for w in line.split() if w.startswith(("tests/", "src/"))])
            self.run_lines(self.commands() + spans)
            self.lone(spans)
        return self.faults


MISTAKES = """
[a link](docs/nowhere.md) and `cm_no_such_function`, `cmi_no_such_function`, `CM_NO_SUCH_MACRO`, `src/nofolder/x.c`, `tests/nofile.py`, `nofile.h`,
`make no-such-target`, `make check NOVARIABLE=1`, `check-nothing`, `check_nothing`, `check_ops` (no_such_case), `--no-such-option`,
`cm-nothing`, `CK_RUN_CASE=nogroup build/tests/check_ops`

    cm-sample MODEL --no-such-flag -Z --method nomethod
    cm-edit notask MODEL
    cm-train --objective noobjective --preset nopreset --set nosetting=1
    tests/fd_digits.py DATA --no-such-argument
"""
FOUND = ["docs/nowhere.md", "cm_no_such_function", "cmi_no_such_function", "CM_NO_SUCH_MACRO", "src/nofolder/x.c", "tests/nofile.py", "nofile.h",
         "no-such-target", "NOVARIABLE", "check-nothing", "check_nothing", "no_such_case", "--no-such-option", "cm-nothing",
         "nogroup", "--no-such-flag", "-Z", "nomethod", "notask", "noobjective", "nopreset", "nosetting",
         "--no-such-argument"]


def row_of(text, name):
    row = re.search(r"^\| %s \|(.*)\|$" % name, text, re.M)
    return set(re.findall(r"`([^`]+)`", row.group(1))) if row else None


def complete(facts, faults):
    readme, recipes, tour = read("README.md"), read("docs/recipes.md"), read("docs/architecture.md")

    def same(where, what, named, there):
        if named is None:
            faults.append("%s: has no list of %s" % (where, what))
            return
        for name in sorted(there - named):
            faults.append("%s: the list of %s lacks %s" % (where, what, name))
        for name in sorted(named - there):
            faults.append("%s: the list of %s has %s, which does not exist" % (where, what, name))

    for what, there in (("methods", facts.methods), ("objectives", facts.objectives), ("editing", facts.tasks),
                        ("optimisers", facts.optimisers), ("distances", facts.distances),
                        ("averages", facts.averages)):
        same("README.md", what, row_of(readme, what), there)
    same("README.md", "programs", set(re.findall(r"^    (cm-[a-z]+)", readme, re.M)), set(facts.programs))
    same("README.md", "preconditioning", row_of(readme, "preconditioning"),
         set(re.findall(r'\.name = "([\w-]+)"', read("src/diffusion/precond.c"))))
    families = {m.group(1): m.group(0) for f in facts.files if re.match(r"src/nets/\w+\.c$", f)
                for m in re.finditer(r"const cm_net_family cmi_net_\w+ = \{\s*\.name = \"(\w+)\"", read(f))}
    same("README.md", "networks", row_of(readme, "networks"), set(families))
    for file, row in (("adm.c", "`adm`"), ("edm_config.h", "`songunet`, `dhariwal`"), ("songunet.c", "`songunet` also")):
        listed = re.search(r"^\| %s \|(.*)\|$" % row, read("docs/model-file.md"), re.M)
        fields = set(re.findall(r'(?:CM_(?:INT|BOOL|NUMBER|CHOICE)_FIELD\(|\{)"(\w+)", CM_(?:NET_AT|FIELD)', read("src/nets/" + file)))
        same("docs/model-file.md", "arguments of " + row, set(re.findall(r"\w+_\w+|dropout|conditions", listed.group(1)))
             - {"per_head"} if listed else None, fields - {"dims", "model_type"})  # repeat what is known
    same("src/nets/net.c", "networks", set(re.findall(r"&cmi_net_(\w+)", read("src/nets/net.c"))), set(families))
    formats = {m for f in facts.files if re.match(r"src/io/\w+\.c$", f)
               for m in re.findall(r"const cm_tensor_format cmi_format_\w+ = \{\s*(?:\.name = )?\"(\w+)\"", read(f))}
    files = re.search(r"^\| files \|(.*)\|$", readme, re.M)
    same("README.md", "formats of model files", formats & set(re.findall(r"\w+", files.group(1))) if files and formats else None, formats)
    switches = {w for f in facts.files if re.match(r"tests/.*\.c$", f) for w in re.findall(r'getenv\("(CHECK_\w+)"\)', read(f))} - {"CHECK_SKIPS"}  # make's own
    same("CONTRIBUTING.md", "switches of the tests", set(re.findall(r"^\| `(CHECK_\w+)` \|", read("CONTRIBUTING.md"), re.M)), switches)
    same("docs/architecture.md", "folders", set(re.findall(r"^\| `(\w+)` \|", tour, re.M)), set(facts.src))
    same("src/README.md", "folders", set(re.findall(r"^    (\w+) ", read("src/README.md"), re.M)), set(facts.src))
    same("docs/recipes.md", "presets", {s for s in re.findall(r"`([^`]+)`", recipes[recipes.index("## The presets"):])
                                        if s in facts.presets}, facts.presets)
    documents = {f for f in facts.files if re.match(r"docs/[\w-]+\.md$", f)} | {"docs/objectives/README.md", "docs/tutorials/README.md"}
    same("README.md", "documents", set(re.findall(r"\]\((docs/(?:objectives/|tutorials/)?[\w-]+\.md)\)", readme)), documents)
    pages = {os.path.basename(f) for f in facts.files if re.match(r"docs/objectives/[a-z][\w-]*\.md$", f)}
    same("docs/objectives/README.md", "pages", set(re.findall(r"\]\(([\w-]+\.md)\)", read("docs/objectives/README.md"))), pages)
    tutorials = {os.path.basename(f) for f in facts.files if re.match(r"docs/tutorials/[a-z][\w-]*\.md$", f)}
    same("docs/tutorials/README.md", "pages", set(re.findall(r"\]\(([\w-]+\.md)\)", read("docs/tutorials/README.md"))), tutorials)
    same("docs/training.md", "pages", set(re.findall(r"\]\(objectives/([a-z][\w-]*\.md)\)", read("docs/training.md"))), pages)
    notebook = {os.path.basename(f) for f in facts.files if re.match(r"docs/notebook/\d.*\.md$", f)}
    same("docs/notebook/README.md", "entries", set(re.findall(r"\]\((\d[^)]*)\)", read("docs/notebook/README.md"))),
         notebook)
    same("CONTRIBUTING.md", "checks", set(re.findall(r"`(?:make )?(check-[\w-]+)(?: [^`]*)?`", read("CONTRIBUTING.md"))),
         {t for t in facts.targets if t.startswith("check-") and t not in
          ("check-units", "check-data", "check-scripts", "check-corpus", "check-fast")})
    c = re.search(r"```c\n(.*?)```", readme, re.S)
    if not c or c.group(1) != read("tests/install/draw.c"):
        faults.append("README.md: its C program is not tests/install/draw.c")
    c = re.search(r"```c\n(.*?)```", read("docs/training.md"), re.S)
    if not c or c.group(1) != read("tests/install/train.c"):
        faults.append("docs/training.md: its C program is not tests/install/train.c")


def runs_here(line):
    """Commands of the README and docs/editing.md that run() runs."""
    return re.match(r"cm-(sample|edit|info|convert) ", line) and " M P " not in line and "mine/" not in line


def long_ones(facts, faults):
    """A command that is not run here says in its section how long it takes, or that a test runs it."""
    for path in facts.files:
        if not re.match(r"(README|docs/(objectives/)?[\w-]+)\.md$", path):
            continue
        for section in re.split(r"^(?=#+ )", read(path), flags=re.M):
            for line in Document(facts, path, section).commands():
                if re.match(r"(cm-\w+|make|\./bootstrap|tests/\w+\.py|for) ", line) and not (
                        runs_here(line) and path in ("README.md", "docs/editing.md")) and not re.search(
                            r"\b(hours?|minutes?|seconds?|tests/\w+\.\w+)\b", section.replace(line, "")):
                    faults.append("%s: nothing says how long `%s` takes" % (path, line[:60]))


# What stands in the commands for a reader's own files, and what they are run with here.
STANDS_FOR = (("MODEL.safetensors", "models/digits.safetensors"), ("photo.png", "digit-2.png -l 2"),
              ("edm-cifar10-32x32-uncond-vp.pkl", os.path.join(ROOT, "tests/fuzz/corpus/edm/edm.pkl")),
              ("hole.png", "lower-half.png"), ("small.png", "small.png -l 2"), ("cat,dog", "3,7"))
SMALL = """import consistency as cm
cm.write_page('small.png', [[[[-1.0 + (i ^ j) / 8 for i in range(8)] for j in range(8)]]], margin=0)
cm.Model.create({'network': {'type': 'adm', 'image_size': 64, 'in_channels': 3, 'out_channels': 3, 'model_channels': 32,
                             'num_res_blocks': 1, 'channel_mult': [1, 1], 'attention_resolutions': [], 'num_head_channels': 32,
                             'num_classes': 1000}, 'precond': {'type': 'cm'}}).save('cd_imagenet64_l2.pt')"""


def numpy_python():
    """A Python that has numpy, or None."""
    for python in (sys.executable, "/usr/bin/python3"):
        if os.path.exists(python) and subprocess.run([python, "-c", "import numpy"], capture_output=True).returncode == 0:
            return python
    return None


def run_objectives(folder, environment, faults):
    """The commands of docs/objectives that need no file of others, in order: runs are of one step."""
    os.mkdir(os.path.join(folder, "mnist"))
    for name in "ab":
        subprocess.run(["cm-sample", "models/digits.safetensors", "-n", "10", "-l", "0,1,2,3,4,5,6,7,8,9", "-q",
                        "--seed", str(ord(name)), "--images", "mnist/%d_" + name + ".png"], cwd=folder, env=environment)
    done = []
    for page in sorted(f for f in os.listdir(os.path.join(ROOT, "docs/objectives")) if f != "README.md"):
        path = "docs/objectives/" + page
        for line in Document(None, path, read(path)).commands():
            if not re.match(r"cm-(train --data mnist|sample) ", line):
                continue
            command = re.sub(r"step-\d+", "step-000000001", line)
            if line.startswith("cm-train"):
                command += " --steps 1 --batch 16 --no-estimate --sample-every 0 --set anneal_begin=0 -q"
            result = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, env=environment)
            if result.returncode:
                faults.append("%s: the command `%s` fails: %s" % (path, line, result.stderr.strip()[-300:]))
            done.append(line)
    if len(done) < 10:
        faults.append("docs/objectives: only %d commands to run" % len(done))
    return done


# Pages whose Python programs are run one by one, each alone; those that import what is absent are named as skipped.
PYTHON_PAGES = ("docs/python.md",)


def run_python_pages(folder, environment, faults):
    python = numpy_python() or sys.executable
    for page in PYTHON_PAGES:
        for program in re.findall(r"```python\n(.*?)```", read(page), re.S):
            absent = [m for m in ("numpy", "PIL") if re.search(r"^(?:import|from) %s\b" % m, program, re.M)
                      and subprocess.run([python, "-c", "import " + m], capture_output=True).returncode]
            if absent:
                with open(os.environ.get("CHECK_SKIPS", os.devnull), "a", encoding="utf-8") as skips:
                    skips.write("docs: a program of %s was not run, %s is absent\n" % (page, absent[0]))
                continue
            done = subprocess.run([python, "-c", program], cwd=folder, capture_output=True, text=True, env=environment)
            if done.returncode:
                faults.append("a Python program of %s fails: %s" % (page, done.stderr.strip()[-300:]))


def run_tutorials(build, faults):
    """The blocks of docs/tutorials from top to bottom, in a folder of each page: sh and python are run, C is written to the file that its
    first line names.  The library is installed where a tutorial's reader has it."""
    pages, count = [f for f in tree() if re.match(r"docs/tutorials/[a-z][\w-]*\.md$", f)], 0
    with tempfile.TemporaryDirectory() as folder:
        opt = os.path.join(folder, "opt")
        made = subprocess.run([os.environ.get("MAKE", "make"), "-s", "install", "BUILD=" + build, "PREFIX=" + opt], cwd=ROOT, capture_output=True, text=True)
        if made.returncode:
            faults.append("docs/tutorials: make install fails: " + made.stderr.strip()[-300:])
        environment = dict(os.environ, PATH=opt + "/bin:" + os.environ["PATH"], LD_LIBRARY_PATH=opt + "/lib", PKG_CONFIG_PATH=opt + "/lib/pkgconfig",
                           PYTHONPATH=os.path.join(ROOT, "bindings", "python"), CONSISTENCY_LIBRARY=opt + "/lib/libconsistency.so.0")
        for page in pages:
            where = os.path.join(folder, os.path.basename(page)[:-3])
            os.mkdir(where)
            os.symlink(os.path.join(ROOT, "models"), os.path.join(where, "models"))
            for kind, block in re.findall(r"^```(\w+)\n(.*?)^```", read(page), re.M | re.S):
                if kind == "c":
                    with open(os.path.join(where, re.match(r"/\* (\w+\.c)\b", block).group(1)), "w", encoding="utf-8") as f:
                        f.write(block)
                    continue
                done = subprocess.run(["sh", "-ec", block] if kind == "sh" else [sys.executable, "-c", block], cwd=where, capture_output=True, text=True,
                                      env=environment, timeout=300)
                count += 1
                if done.returncode:
                    faults.append("%s: a block of %s fails: %s: %s" % (page, kind, block.strip().split("\n")[-1][:80], done.stderr.strip()[-300:]))
    if count < 5 * len(pages) / 2:
        faults.append("docs/tutorials: only %d blocks to run" % count)
    return count


def run(build, faults):
    """The Python of README and docs/training.md, and the commands of README and docs/editing.md for models that are here.  cm-train's are
    long: docs/recipes.md says how long; tests/programs.sh trains for a few steps."""
    python = re.search(r"```python\n(.*?)```", read("README.md"), re.S).group(1)
    training = re.search(r"```python\n(.*?)```", read("docs/training.md"), re.S).group(1).replace("steps=100", "steps=3")
    training += ("\nimport os\nos.mkdir('some')\nfor d in (2, 4, 5, 7): os.symlink('../digit-%d.png' % d, 'some/%d.png' % d)\n"
                 "train('some', 'run')\n")
    lines = [c.split(" #")[0] for d in ("README.md", "docs/editing.md") for c in Document(None, d, read(d)).commands()
             if runs_here(c)]
    if len(lines) < 10:
        faults.append("README.md, docs/editing.md: only %d commands to run" % len(lines))
    with tempfile.TemporaryDirectory() as folder:
        os.symlink(os.path.join(ROOT, "models"), os.path.join(folder, "models"))
        for picture in os.listdir(os.path.join(ROOT, "tests/data/pictures")):
            os.symlink(os.path.join(ROOT, "tests/data/pictures", picture), os.path.join(folder, picture))
        os.mkdir(os.path.join(folder, "out"))
        environment = dict(os.environ, PYTHONPATH=os.path.join(ROOT, "bindings", "python"),
                           CONSISTENCY_BUILD=os.path.join(ROOT, build),
                           PATH=os.path.join(ROOT, build, "bin") + ":" + os.environ["PATH"])
        for argument, made in ((python, "digits.png"), (SMALL, "small.png"), (training, "mine.safetensors")):
            done = subprocess.run([sys.executable, "-c", argument], cwd=folder, capture_output=True, text=True,
                                  env=environment)
            if done.returncode or not os.path.exists(os.path.join(folder, made)):
                faults.append("a Python program of README.md or docs/training.md, which makes %s, fails: %s" % (made, done.stderr.strip()[-300:]))
        run_python_pages(folder, environment, faults)
        if numpy_python():
            checked = re.search(r"```python\n(.*?)```", read("docs/derivatives.md"), re.S).group(1)
            done = subprocess.run([numpy_python(), "-c", checked], cwd=folder, capture_output=True, text=True, env=environment)
            if done.returncode or not 0 < float(done.stdout or 1) < 0.001:
                faults.append("the Python program of docs/derivatives.md gives %s%s" % (done.stdout, done.stderr.strip()[-300:]))
        trained = run_objectives(folder, environment, faults)
        for line in lines:
            command = line
            for word, what in STANDS_FOR:
                command = command.replace(word, what)
            if re.match(r"cm-(sample|edit)", command) and "--bench" not in command and "--images" not in command:
                command += " --force"
            done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, env=environment)
            if done.returncode:
                faults.append("the command `%s` fails: %s" % (line, done.stderr.strip()[-300:]))
    return len(lines) + len(trained) + run_tutorials(build, faults)


def main():
    facts = Facts()
    found = Document(facts, "mistakes", MISTAKES).check()
    missed = [f for f in FOUND if not any(re.search(r"(?<![\w-])%s(?![\w-])" % re.escape(f), line) for line in found)]
    if missed or len(found) != len(FOUND):
        print("FAIL docs: of the page of mistakes these were not found: %s\nfound: %s" % (missed, "\n".join(found)))
        return 1
    documents = sorted(f for f in facts.files if f.endswith(".md") and not f.startswith("tests/data"))
    faults = []
    for path in documents:
        faults += Document(facts, path, read(path)).check(links_only=re.match(r"docs/notebook/\d", path))
    complete(facts, faults)
    long_ones(facts, faults)
    runs = run(sys.argv[1], faults) if len(sys.argv) > 1 else 0
    for fault in faults:
        print("FAIL " + fault)
    if not faults:
        print("docs: %d documents name what exists, lists are complete, %d commands run, %d kinds of mistakes are found" %
              (len(documents), runs, len(FOUND)))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
