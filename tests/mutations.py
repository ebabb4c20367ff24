#!/usr/bin/env python3
"""mutations.py BUILD [--number 100] [--seed 1] [--least 85] [--jobs 1] [--only TEXT]: how many small faults the fast
tests find.

One operator or number of a parser, of the checkpoints' code or of a schedule is changed at a time, in a copy of the
tree.  The file alone is compiled; the tests that know this code are linked with it before the library, and run until one
fails.  Prints what was not found, and fails below --least of a hundred.  A change that does not compile, that gives the
same code, or that is known to change nothing (EQUIVALENT) is drawn again."""
import argparse
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time

p = argparse.ArgumentParser()
p.add_argument("build")
p.add_argument("--number", type=int, default=100)
p.add_argument("--seed", type=int, default=1)
p.add_argument("--least", type=float, default=85)
p.add_argument("--jobs", type=int, default=1)
p.add_argument("--only", default="", help="places whose file and line have this text: src/io/zip.c:12")
p.add_argument("--minutes", type=float, default=600, help="after which no other change is tried")
o = p.parse_args()

# Files, and the programs that know them, the quickest first.
GROUPS = [
    ("io/json_text.c io/json_tree.c io/safetensors.c io/tensors.c io/input.c", "json tensors io formats catalogue:tensors,model,config,checkpoint"),
    ("io/pickle.c io/pickle_machine.c io/pickle_opcodes.c io/pickle_symbols.c io/zip_directory.c io/torch.c io/torch_data.c io/torch_zip.c "
     "io/torch_legacy.c io/torch_modules.c", "pickle pickle_symbols zip_directory torch_views torch_files formats zip checkpoint catalogue:tensors,model,checkpoint"),
    ("io/edm_pickle.c io/edm_network.c", "edm_notes torch_files snapshots snapshot_damage catalogue:tensors,model,checkpoint"),
    ("io/msgpack.c io/flax.c io/flax_tree.c", "msgpack flax_rules flax catalogue:tensors,model,checkpoint"),
    ("io/picture.c io/orient.c io/jpeg.c io/png.c", "picture_parts pictures catalogue:picture"),
    ("io/npy.c io/npz.c io/zip.c io/gunzip.c", "npy packed metric_files data catalogue:statistics,dataset"),
    ("data/tar.c data/idx.c data/cifar.c data/zipset.c data/npzset.c data/label_json.c data/folder.c", "tar raw_sets listed data sets folders catalogue:dataset"),
    ("train/state_save.c train/state_resume.c train/state_parts.c train/state_compare.c", "state_basics state_files group trainer_calls train_state"),
    ("train/curriculum.c train/ema.c train/phema.c train/axis.c", "schedules train_options edm2 two_times golden"),
    ("diffusion/schedule.c diffusion/times.c diffusion/levels.c diffusion/option_checks.c", "schedules levels method_options sampler_options sampler golden"),
]
CHANGES = [(r"<=", ["<", ">="]), (r">=", [">", "<="]), (r"==", ["!="]), (r"!=", ["=="]), (r"&&", ["||"]), (r"\|\|", ["&&"]),
           (r"(?<=\s)<(?=\s)", ["<=", ">"]), (r"(?<=\s)>(?=\s)", [">=", "<"]), (r"(?<=\w\s)\+(?=\s)", ["-"]), (r"(?<=[\w)]\s)-(?=\s)", ["+"]),
           (r"(?<=[\w)]\s)\*(?=\s)", ["+"]), (r"(?<=[\w)]\s)/(?=\s)", ["*"]), (r"(?<=[\s(])!(?=\w)", [""]), (r"\+\+", ["--"]), (r"(?<=\s)\+=", ["-="]),
           (r"(?<=[\s(\[])1(?=[;,)\]\s])", ["0", "2"]), (r"(?<=[\s(\[])0(?=[;,)\]\s])", ["1"]), (r"<<", [">>"]), (r"(?<=\s)&(?=\s)", ["|"])]
# Not code, or of no effect that a test could see.
SKIP = re.compile(r"^\s*(/?\*|//|#|enum\b|typedef\b)|CM_FAIL|cmi_fail|cmi_log|snprintf|\(void\)|^\s*\"|static const char|MEMORY|if \(!\w+(->\w+)?\) return|cmi_malloc|cmi_calloc")
# The changed line, and why nothing is another thing with it; "time alone", "memory alone": but for that.
EQUIVALENT = {
    "if (to->depth < item->depth + 2) to->depth = (uint8_t)(item->depth + 1);": "what is one less is set to what it is",
    "else if (metadata--)": "it counts to one in either direction",
    "for (;; at--) {": "a table that is looked through backwards by whoever writes and reads",
    "c = 0x10000 + ((c + 0xd800) << 10) + (low - 0xdc00);": "what it adds lies above the bits that become four bytes",
    "if (p->at < p->window_at || p->at - p->window_at >= p->window_size ||": "no byte lies there: the next line says the same, or none is asked for",
    "p->window_size = 1;": "reading has failed then, and nobody goes on",
    "if (to->depth <= item->depth + 1) to->depth = (uint8_t)(item->depth + 1);": "what is equal is set to what it is",
    "if (op->value <= 0) CM_TRY(cmi_pickle_pop_mark(p, &from));": "no row of the table has 0",
    "else if (p->depth - cmi_pickle_floor(p) <= step) return cmi_pickle_fail(p, CM_ERR_FORMAT, \"the stack is empty\");":
        "nothing to fill lies below then, which is said by the same words",
    "n >= p->window_size - (p->at - p->window_at)) {": "time alone: the window is read again a byte earlier",
    't->name, t->offset, at, t->offset >= at ? "a hole" : "an overlap");': "where they are equal there is neither",
    "size_t n = p->depth + from;": "only whether it is even counts",
}
# The same of whole columns of a table.
UNUSED = [
    (re.compile(r'^\[.*\] = \{"\w+", (NULL|op_(proto|frame|mark|long|float|memoize|global|stack_global|reduce|build|persistent)), 1, 0\}'),
     "these opcodes have no size"),
    (re.compile(r'^\[.*\] = \{"\w+", op_(constant|empty|tuple), 1,'), "these have no size"),
    (re.compile(r"^(if|return) .* \? -1 : 2;"), "of a comparison only the sign counts"),
    (re.compile(r"^if \(x->(\w+) != y->\1\) return x->\1 <= y->\1 "), "they are not equal there"),
    (re.compile(r'^\[.*\] = \{"\w+", op_fill, 2,'), "with a mark or without"),
]
# The same of what stands in many lines: of "io/zip.c: the changed line".
EQUIVALENT_PATTERNS = [
    (r"io/torch\.c: t->capacity = t->tensors \? n \+ ([02] : 0|1 : 1);", "no more than n are added, and the list ends where there is no memory"),
    (r"io/torch\.c: for \(int i = 1; .*\) empty \|=", "with 64 bits nothing overflows once the first dimension is 0"),
    (r"io/torch\.c: .*\|\| offset > most \|\| last >=", "the last is never below 0"),
    (r"io/torch\.c: size_t last = 1[;,]", "it is set by what follows"),
    (r"io/torch\w*\.c: .*placed = 2;", "a truth value"),
    (r"io/torch_legacy\.c: out->placed = 0;", "nobody asks where a stream of its own was listed"),
    (r"io/torch_zip\.c: return n > [01] (&&|\|\|) \(size_t\)n <=? sizeof path", "no path is cut, and none has one byte"),
    (r"io/torch_modules\.c: w->name\[[12]\] = ", "the name is empty already"),
    (r"io/(safetensors|pickle_opcodes)\.c: uint64_t (length|bits) = 1;", "eight bytes shift it out"),
    (r"io/pickle_opcodes\.c: if \(n >= 0 && n < 8 && bytes\[n - 1\]", "the byte before none is their number, 0"),
    (r"io/pickle_opcodes\.c: const char \*word = .*id->count > 1 \?", "fewer than five parts are refused by the same words"),
    (r"io/pickle_machine\.c: if \(p->at <= p->window_at \|\|", "time alone: the window is read again where it begins"),
    (r"io/zip_directory\.c: size_t most = m->size < PIECE \? m->size \+ [02]", "a byte more or less than what is read is of no use"),
    (r"io/edm_network\.c: .*\b(lacking|constructor|assumed)\[1\]", "no text of them has one byte"),
    (r"io/pickle_opcodes\.c: CM_TRY\(cmi_pickle_allocate\(p, n \+ 2,", "memory alone: a byte more of each text"),
    (r"io/(json_text|zip_directory|torch|torch_modules)\.c: .*return 2;", "a truth value"),
    (r"io/(torch|safetensors)\.c: .*> SIZE_MAX \* 2", "with 64 bits no number of a file is larger"),
    (r"io/torch\.c: if \(tensor->shape\[i\] (>= 1 && \(\(uint64_t\)strides|> 1 && \(\(uint64_t\)strides\[i\] >= SIZE_MAX / 2)",
     "with 64 bits no stride is larger, one that is equal leaves every storage, and of a dimension of 1 none counts"),
    (r"io/torch_modules\.c: modules -=", "only whether it is 0 counts"),
    (r"io/torch\.c: .*(SIZE_MAX \* |size <= SIZE_MAX)", "no file has so many bytes"),
    (r"io/torch_modules\.c: char name\[CM_TENSOR_NAME \+ 2\]", "a byte more that nobody uses"),
    (r"io/msgpack\.c: return 2;", "a truth value"),
    (r"io/flax_tree\.c: w\.listing = 2;", "a truth value"),
    (r"io/flax_tree\.c: .*a\.at \+ w->in->held_from|io/flax\.c: .*\.at \+ in->held_from", "the whole file is held, from byte 0 on"),
    (r"io/flax_tree\.c: for \(int i = 1; i < t->rank; i\+\+\) empty", "with 64 bits nothing overflows once the first dimension is 0"),
    (r"io/flax_tree\.c: t->capacity = t->tensors \? w\.tensors \+ ([02] : 0|1 : 1);", "no more are added, and the list ends where there is no memory"),
    (r"io/flax_tree\.c: char \*name = memcpy\(s->names \+ .*\+ [02]\);", "the names were zeros, and one ends where the next begins"),
    (r"io/flax_tree\.c: return \*out <= n", "what is not below n was compared as 0"),
    (r"io/flax_tree\.c: for \(int i = 0; text\[i\].*<= n; i", "a number that is n already becomes no smaller"),
    (r"io/msgpack\.c: return x->hash (<= y->hash \? -1|< y->hash \? -1 : x->hash >=)", "equal ones stand side by side in either order"),
    (r"io/zip\.c: .*zip_(get_num_entries|fopen_index|stat_index|file_get_external_attributes)\(z->archive,( index,)? 1", "a flag for names that are looked up"),
    (r"io/zip\.c: .*(st\.valid \| ZIP_STAT|ZIP_STAT_SIZE\) &&)", "libzip knows both sizes of every entry of an archive that is open"),
    (r"io/zip\.c: if \(z->at (<=|>) z->begin", "time alone: what could be there is read again"),
    (r"io/zip\.c: case ZIP_SOURCE_OPEN: z->at = 0; return 1;", "libzip asks whether it is below 0"),
    (r"io/zip\.c: for \(; f && \*got <= n", "nothing comes of a read of no bytes"),
    (r"io/zip\.c: status = n (<= 0|< 1) \? failed.*longer", "it is not 0"),
    (r"io/zip\.c: return 1;", "libzip asks whether it is below 0"),
    (r"io/zip\.c: if \(st\.size > .* >= SIZE_MAX", "no claim within that ratio is so large"),
    (r"io/zip\.c: if .*n >= z->held - begin", "time alone: what is there is read again"),
    (r"io/gunzip\.c: if \(g->z\.avail_in <= 2\)", "time alone: a refill that was not needed yet"),
    (r"io/npz\.c: if \(claimed >= sizeof head\)", "what is judged whole is judged once before"),
    (r"io/npz\.c: char text\[HEADER [-+] 16\]", "room that no header needs"),
    (r"io/gunzip\.c: const unsigned room = \(unsigned\)\(left <= MOST", "the smaller of two that are the same"),
    (r"data/folder\.c: while \(fd >= 1", "no file is opened as 0 to 2"),
    (r"data/idx\.c: else if \(strlen\(path\) <= MAX_PATH\)", "the system knows no path of that length"),
    (r"data/idx\.c: if \(!same && rank <= c->rank\)", "it is the first, or better"),
    (r"data/idx\.c: uint64_t bytes = 1;", "it is set before it is used"),
    (r"data/tar\.c: if \(v >> 60\)", "a field has no digits for so much"),
    (r"data/tar\.c: while \(i <= n && p\[i\] == ' '\)", "nothing is left of the field either way"),
    (r"data/idx\.c: if \(n >= 3 && strcmp", "-gz alone is no name of a set"),
    (r"data/tar\.c: size_t end = st->file\.size - at >= LOOK_BEHIND", "both are the same then"),
    (r"io/orient\.c: if \(at > size \|\| size - at <= 2\)", "two bytes are a directory without entries"),
    (r"io/orient\.c: for \(size_t at = 8; at < size", "nothing is left at the end itself"),
    (r"io/orient\.c: return whole && value >= 2", "1 is what is said else"),
    (r"io/orient\.c: for \(size_t at = 2; size - at > 4", "four bytes have no room for an orientation"),
    (r"io/png\.c: png_longjmp\(png, 0\);", "which is 1 then"),
    (r"io/png\.c: int has_alpha = .*&& png", "libpng adds no second alpha"),
    (r"io/jpeg\.c: if \(level (<= 0|< 1)", "what is told besides has other codes"),
    (r"io/(jpeg|png)\.c: (png_)?longjmp\(.*, 2\);", "it is not 0"),
    (r"io/png\.c: if \(n >=? sizeof s->text", "libpng's messages are shorter"),
    (r"io/flax\.c: size_t n = in->weights \? 2", "time alone: one name is looked for twice"),
    (r"train/phema\.c: for \(int i = (0; i <= 200; i\+\+|0; i < 200; i--|1; i < 200; i\+\+)", "Newton's steps end by themselves, after 14 at most"),
    (r"train/phema\.c: if \(fabs\(next (- s\) <|\+ s\) <=) 1e-15", "steps after the last change the last digits of a double, some 1e-15 of it"),
    (r"train/phema\.c: .* a <= b \? gb", "one to either power"),
    (r"train/phema\.c: for \(size_t i = k \+ 0; i < n; i\+\+\)$", "a pivot beside itself; the upper half, which nobody reads"),
    (r"train/phema\.c: for \(size_t i = 1; i < r;", "the first pivot is one, as far as long double can say"),
    (r"train/phema\.c: if .*>= (a\[best \* n \+ best\]\) best|noise\)\) return)", "of two that are the same either will do; at the noise itself a pivot may count or not"),
    (r"train/curriculum\.c: if \(c->warmup > 1\)", "a factor of 1"),
    (r"train/curriculum\.c: .*stage <= last", "the smaller of two that are the same"),
    (r"diffusion/schedule\.c: for \(int j = 0; j <= M;", "a level beside itself"),
    (r"diffusion/levels\.c: for \(int j = 0; j < M;", "the last level is 0, which no range has"),
    (r"diffusion/levels\.c: for \(int32_t i = 0; i < \*n && flow;", "the first is what it is"),
    (r"diffusion/levels\.c: r->smax, r->smax >= 1\.6", "half of 1.6"),
    (r"diffusion/levels\.c: for \(int(32_t)? i = [01]; i <= (?!n && status)", "a level behind the last one, for which there is room and which nobody reads"),
    (r"diffusion/option_checks\.c: for \(int32_t step = [02]; step <= s->n;", "no step is of order 0, and the first is of order 1"),
    (r"train/state_save\.c: .*(cmi_checkpoint_write\(t->context, path, [02]|cmi_file_create\(t->context, path, 2|cmi_settings_json\(&t->o, 2)", "a truth value; nothing stands there yet"),
    (r"train/state_save\.c: for \(size_t i = 1; .*steps \+= ", "LATEST stands before the first of them"),
    (r"train/state_save\.c: .*\(keep <= 2 \? 2", "both say 2"),
    (r"train/state_resume\.c: if .* \(i (> 1|< 0) && strcmp\(name, latest\)", "time alone: a checkpoint that was bad is bad again"),
    (r"train/state_compare\.c: json_t \*.*cmi_settings_json\(&\S+, 2\)", "a truth value"),
    (r"train/state_parts\.c: for \(size_t at = 0; at <= r->size;", "a read of no bytes"),
    (r"train/state_resume\.c: (size_t n = 1;|const int is_whole = n (>= 1|> 0|> 2) )", "no name is so short"),
    (r"train/state_resume\.c: name\[(is_whole \? n - 1 : )?1\] = ", "a letter is no name of a checkpoint"),
    (r"train/state_resume\.c: for \(size_t i = 1; i < names->count;", "LATEST stands before the first of them"),
    (r"train/state_resume\.c: if .* reason\[1\]\)", "no reason has one letter"),
    (r"train/state_resume\.c: size_t size = 1;", "it is set before it is read"),
    (r"diffusion/times\.c: for \(int i = 0; i <= s->n; i\+\+\) \{", "the level behind the last is 0, which nothing raises"),
]


def is_equivalent(f, changed):
    return changed in EQUIVALENT or any(pattern.search(changed) for pattern, _ in UNUSED) or \
        any(re.search(pattern, f + ": " + changed) for pattern, _ in EQUIVALENT_PATTERNS)


def places(path):
    found, comment = [], False
    for n, line in enumerate(open(path).read().split("\n")):
        code = line
        if comment:
            comment = "*/" not in line
            continue
        if re.match(r"\s*/\*", line):
            comment = "*/" not in line
            continue
        if SKIP.search(line):
            continue
        code = re.sub(r"/\*.*", "", code)
        quoted = [m.span() for m in re.finditer(r"\"(\\.|[^\"\\])*\"|'(\\.|[^'\\])*'", code)]
        for pattern, others in CHANGES:
            for m in re.finditer(pattern, code):
                if not any(a <= m.start() < b for a, b in quoted):
                    found += [(n, m.start(), m.end(), other) for other in others]
    return found


def sh(command, folder, seconds=3600, cpu=0):
    def bounds():
        if cpu:
            resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
            resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    return subprocess.run(command, shell=isinstance(command, str), cwd=folder, capture_output=True, text=True, errors="replace", timeout=seconds,
                          preexec_fn=bounds)


def set_up():
    """A copy of the tree with its objects; returns its folder, the line that compiles and those that link each program."""
    top = tempfile.mkdtemp(prefix="cm-mutations-")
    for f in sh(["git", "ls-files"], ".").stdout.split("\n")[:-1]:
        os.makedirs(os.path.dirname(os.path.join(top, f)), exist_ok=True)
        shutil.copy(f, os.path.join(top, f))
    names = sorted({n.split(":")[0] for _, tests in GROUPS for n in tests.split()} - {"catalogue", "golden"})
    objects = ["tests/check_%s.o" % n for n in names] + ["tests/support/%s.o" % s for s in ("suite", "fill", "memory", "probe", "keys", "ranks")]
    objects += ["tests/ref/naive.o", "tests/catalogue_program.o"]
    r = sh(["make", "-s", "-j2", "BUILD=" + o.build, *[o.build + "/" + x for x in ["obj/libconsistency-internal.a", "tests/golden/golden", *objects]]], ".", 7200)
    if r.returncode:
        raise SystemExit("mutations: the tree cannot be built: " + r.stderr[-500:])
    os.makedirs(top + "/build/tests")
    os.makedirs(top + "/build/obj")
    shutil.copy(o.build + "/obj/libconsistency-internal.a", top + "/build/obj/")
    for d in ("golden", "support", "ref"):
        shutil.copytree("%s/tests/%s" % (o.build, d), "%s/build/tests/%s" % (top, d))
    for x in objects:
        shutil.copy(o.build + "/" + x, top + "/build/" + x)
    objects = ["build/" + x for x in objects]
    libs = sh("make -s -f - print <<'E'\ninclude Makefile\nprint:\n\t@echo $(ALL_LIBS) $(CHECK_LIBS)\nE", top).stdout.strip()
    compile_line = next(line for line in sh("make -n -B build/obj/io/npy.o", top).stdout.split("\n") if "-c -o" in line)
    support = [x for x in objects if "/support/" in x]
    golden = sorted("build/tests/golden/" + f for f in os.listdir(top + "/build/tests/golden") if f.endswith(".o"))
    parts = {n: ["build/tests/check_%s.o" % n, "build/tests/ref/naive.o", *support] for n in names}
    parts["catalogue"] = ["build/tests/catalogue_program.o", "build/tests/support/memory.o"]
    parts["golden"] = golden + [x for x in support if "suite" not in x]
    links = {n: "gcc -fopenmp -o BIN/%s %s OBJECT build/obj/libconsistency-internal.a %s" %
             ("tests/catalogue_program" if n == "catalogue" else n, " ".join(x), libs) for n, x in parts.items()}
    return top, compile_line + " -w -g0", links


class Tester:
    """Of one worker: programs in a folder of its own."""

    def __init__(self, top, compile_line, links, worker):
        self.top, self.compile_line, self.links = top, compile_line, links
        self.bin = "build/worker%d" % worker
        os.makedirs("%s/%s/tests" % (top, self.bin))
        self.object = self.bin + "/changed.o"

    def compile(self, f, text):
        """The code of that file with this text, or None."""
        source = self.bin + "/changed.c"
        with open(os.path.join(self.top, source), "w") as out:
            out.write(text)
        line = self.compile_line.replace("src/io/npy.c", source).replace("build/obj/io/npy.o", self.object)
        if sh(line, self.top).returncode:
            return None
        return open(os.path.join(self.top, self.object), "rb").read()

    def fails(self, test, cpu):
        name, _, ways = test.partition(":")
        if sh(self.links[name].replace("BIN", self.bin).replace("OBJECT", self.object if cpu else ""), self.top).returncode:
            raise SystemExit("mutations: %s does not link" % name)
        command = {"catalogue": [sys.executable, "tests/catalogue.py", self.bin, "--ways", ways],
                   "golden": [self.bin + "/golden", "tests/data/golden"]}.get(name, [self.bin + "/" + name])
        try:
            return sh(command, self.top, 600, cpu).returncode != 0
        except subprocess.TimeoutExpired:
            return True


def main():
    random.seed(o.seed)
    start = time.monotonic()
    top, compile_line, links = set_up()
    lock = threading.Lock()
    caught, missed, tried = [], [], [0]
    try:
        sites = [(f, tests.split(), place) for files, tests in GROUPS for f in files.split() for place in places("src/" + f)
                 if o.only in "src/%s:%d" % (f, place[0] + 1)]
        random.shuffle(sites)
        first = Tester(top, compile_line, links, 0)
        takes, unchanged = {}, {}
        print("mutations: %d places" % len(sites), flush=True)

        def bound(tester, test):
            """Seconds of a processor after which it goes on for ever; without a change it has to pass."""
            if test not in takes:
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                if tester.fails(test, 0):
                    print("mutations: %s fails without a change" % test, flush=True)
                    os._exit(2)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)  # with those of other workers: no less than it takes
                takes[test] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            return int(3 + 4 * takes[test])

        def work(tester):
            while True:
                with lock:
                    if tried[0] == o.number or not sites or time.monotonic() - start > 60 * o.minutes:
                        return
                    f, tests, (n, begin, end, other) = sites.pop(0)
                    tried[0] += 1
                text = open(os.path.join(top, "src", f)).read()
                lines = text.split("\n")
                lines[n] = lines[n][:begin] + other + lines[n][end:]
                if f not in unchanged:
                    unchanged[f] = tester.compile(f, text)
                changed = lines[n].strip()
                code = None if is_equivalent(f, changed) else tester.compile(f, "\n".join(lines))
                if code is None or code == unchanged[f]:
                    with lock:
                        tried[0] -= 1
                    continue
                by = next((t for t in tests if bound(tester, t) and tester.fails(t, bound(tester, t))), None)
                with lock:
                    (caught if by else missed).append("src/%s:%d: %s" % (f, n + 1, lines[n].strip()))
                    print("%3d %-24s line %-4d %s %s" % (len(caught) + len(missed), f, n + 1, lines[n].strip(), "found by " + by if by else "NOT FOUND"),
                          flush=True)

        workers = [threading.Thread(target=work, args=(first if k == 0 else Tester(top, compile_line, links, k),)) for k in range(o.jobs)]
        for w in workers:
            w.start()
        for w in workers:
            w.join()
    finally:
        shutil.rmtree(top, ignore_errors=True)
    for m in missed:
        print("not found:", m)
    done = len(caught) + len(missed)
    print("mutations: %d of %d found, %.0f %% (seed %d)" % (len(caught), done, 100 * len(caught) / max(done, 1), o.seed))
    return done < o.number or 100 * len(caught) < o.least * done


if __name__ == "__main__":
    sys.exit(main())
