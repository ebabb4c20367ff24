#!/usr/bin/env python3
"""headers.py [BUILD]: the public headers as other languages meet them.

    headers.py BUILD            all checks; BUILD has the library
    headers.py --layout         prints src/api/layout.c: the static assertions of every public struct
    headers.py --rust           prints a Rust module of all declarations, as a -sys crate has them
    headers.py --rust-test      the same with a main that compares sizes and offsets
    headers.py --options        prints the list of training options that stands in trainer.h
    headers.py --examples       prints a C file (that is C++ too) of the examples in the headers

The headers are parsed without a compiler (header_parser.py) and compared with what the compilers say:
  1. size and offset of every field of every struct, the value of every enum's member and the type of every function: C,
     the structs and prototypes of the Python binding, and the assertions in src/api/layout.c
  2. no hidden padding, bool, long, bit-field, enum as a field, variadic function
  3. every struct has cm_x_init and CM_X_INIT, which give the same bytes, and is known to cm_abi_sizeof; the macro is C99
     and C++11 without a warning
  4. every function stands below a comment or is named in one; every handle has an example in its header
  5. the list of training options in trainer.h is that of the library
  6. the share of contract lines of all lines that are not blank, at least SHARE in each header.  A line is contract when
     words of a comment stand on it: alone, or beside the member that they are about.  The licence, marks of the formatter
     and lines without a word do not count.  The second figure of the table is the share of those that stand alone.
Before all that, headers with one fault of each kind are read, and each fault has to be found."""
import ctypes
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests"))
import header_parser  # noqa: E402

SHARE = 0.60
WARN = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
FIXED = {"int8_t": 1, "int16_t": 2, "int32_t": 4, "int64_t": 8, "uint8_t": 1, "uint16_t": 2, "uint32_t": 4,
         "uint64_t": 8, "size_t": 8, "float": 4, "double": 8}


def header_paths():
    return [os.path.join(ROOT, "include/consistency.h")] + sorted(glob.glob(os.path.join(ROOT, "include/consistency/*.h")))


def where(d):
    return "%s:%d" % (os.path.relpath(d.header, ROOT), d.line)


# --- 2. what a struct and a function may hold ------------------------------------------------


def size_of(type):
    """Size and alignment on a 64-bit machine."""
    if type.kind == "pointer":
        return 8, 8
    if type.kind == "array":
        size, align = size_of(type.to)
        return size * type.count, align
    size = FIXED.get(type.name, 8)  # what is no number is the name of a pointer to a function
    return size, size


def layout(fields):
    """[(name, offset, size)], the size of the struct and the places of hidden padding."""
    at, widest, rows, holes = 0, 1, [], []
    for d in fields:
        size, align = size_of(d.type)
        if at % align:
            holes.append("%d bytes before %s" % (align - at % align, d.name))
            at += align - at % align
        rows.append((d.name, at, size))
        at, widest = at + size, max(widest, align)
    if at % widest:
        holes.append("%d bytes at the end" % (widest - at % widest))
        at += widest - at % widest
    return rows, at, holes


def innermost(type):
    while type.kind in ("pointer", "array"):
        type = type.to
    return type


def banned_type(type):
    """Why no other language should meet this type, or None."""
    inner = innermost(type)
    if inner.kind == "function":
        for part in [inner.to] + [p.type for p in inner.parameters]:
            why = banned_type(part)
            if why:
                return why
        return None
    if inner.name == "...":
        return "is variadic"
    if inner.name in ("bool", "_Bool"):
        return "has a bool, whose size and values languages see differently: use int32_t"
    if set(inner.name.split()) & {"long", "short", "unsigned", "signed"} or inner.name == "int":
        return "has %s, whose size is the machine's: use a type of fixed width" % inner.name
    return None


def check_kinds(api):
    faults = []
    for name, fields in api.structs.items():
        whole = True
        if fields[0].name != "struct_size" or fields[0].type.c() != "uint32_t":
            faults.append("%s: %s does not begin with uint32_t struct_size" % (where(fields[0]), name))
        for d in fields:
            why = banned_type(d.type)
            inner = innermost(d.type)
            if d.bits:
                why = "is a bit-field"
            elif not why and d.type.kind != "pointer" and inner.name not in FIXED and inner.name not in api.callbacks:
                why = "is of type %s: use int32_t and name the enum beside it" % inner.name
            if why:
                faults.append("%s: %s.%s %s" % (where(d), name, d.name, why))
                whole = False
        if whole:
            for hole in layout(fields)[2]:
                faults.append("%s: %s has hidden padding, %s: put a reserved member there" % (where(fields[0]), name, hole))
    for name, d in list(api.functions.items()) + list(api.inlines.items()):
        why = banned_type(d.type)
        if why:
            faults.append("%s: %s %s" % (where(d), name, why))
    for name, type in api.callbacks.items():
        why = banned_type(type)
        if why:
            faults.append("%s: %s %s" % (name, name, why))
    for name, members in api.enums.items():
        for member, value in members:
            if not -2**31 <= value < 2**31:
                faults.append("enum %s: %s is %d, beyond int32_t" % (name, member, value))
    return faults


# --- 3. init functions and macros ---------------------------------------------------------------


def macro_of(struct):
    return struct.upper() + "_INIT"


def check_names(api):
    faults = []
    for name, fields in api.structs.items():
        at = where(fields[0])
        init = api.functions.get(name + "_init")
        if not init:
            faults.append("%s: %s has no %s_init" % (at, name, name))
        elif [p.type.c() for p in init.type.parameters] != ["%s *" % name, "size_t"]:
            faults.append("%s: %s_init does not take (%s *, size_t)" % (where(init), name, name))
        macro = api.macros.get(macro_of(name))
        if not macro:
            faults.append("%s: %s has no macro %s" % (at, name, macro_of(name)))
            continue
        values = re.sub(r"\{[^{}]*\}", "0", macro[0].strip()[1:-1]).split(",")
        if len(values) != len(fields):
            faults.append("%s: %s lists %d values, %s has %d members" % (at, macro_of(name), len(values), name, len(fields)))
        if "." in re.sub(r"\d\.\d*", "", macro[0]):
            faults.append("%s: %s is not positional" % (at, macro_of(name)))
    return faults


# --- 4. contracts and examples --------------------------------------------------------------------


def check_contracts(api):
    faults = []
    said = " ".join(text for header, first, last, text in api.comments)
    behind = {(header, last) for header, first, last, text in api.comments}
    for name, d in list(api.functions.items()) + list(api.inlines.items()):
        lines, line = api.lines[d.header], d.line
        # Declarations that follow each other without a blank line share the comment above them.
        while line > 1 and lines[line - 2].strip() and (d.header, line - 1) not in behind:
            line -= 1
        covered = (d.header, line - 1) in behind
        if not covered and not re.search(r"\b%s\b" % name, said):
            faults.append("%s: no comment says what %s does" % (where(d), name))
    return faults


def examples(api):
    """[(header, line, code)]: the indented blocks of comments that are C."""
    found = []
    for header, first, last, text in api.comments:
        block, begin = [], 0
        for i, line in enumerate(text.split("\n") + ["end"]):
            if line.startswith("    ") or (block and not line.strip()):
                begin = begin if block else first + i
                block.append(line)
            elif block:
                if any(each.endswith(";") for each in block) and re.search(r"\bcm_\w+\(", "\n".join(block)):
                    found.append((header, begin, "\n".join(each for each in block if each.strip() != "...")))
                block = []
    return found


def check_examples(api):
    faults = []
    code = {}
    for header, line, text in examples(api):
        code[header] = code.get(header, "") + text
    for name, header in api.opaque.items():
        if not re.search(r"\b%s_free\(" % name, code.get(header, "")):
            faults.append("%s: no example makes and frees a %s" % (os.path.relpath(header, ROOT), name))
    return faults


def examples_c(api):
    """Each example as a function, its own static functions before it; what a fragment takes for granted are handles,
    a status, labels and floats."""
    out = ["#define _POSIX_C_SOURCE 200809L"] + ["#include <%s.h>" % name for name in (
        "consistency", "stdio", "stdlib", "string", "unistd", "fcntl")] + [""]
    given = ", ".join("cm_%s *%s" % (n[3:], n[3:]) for n in sorted(api.opaque))
    given += ", cm_status status, size_t n, float *images, uint8_t *bytes, float *x, float *noisy, float *denoised, float *slope, const float *sigma, const int32_t *labels"
    for k, (header, line, text) in enumerate(examples(api)):
        place = '#line %d "%s"' % (line, os.path.relpath(header, ROOT))
        outside = re.match(r"(?:    static .*?\n    \}\n\n?)*", text, re.S).group(0)
        out += [place, outside] if outside else []
        out += ["void example_%d(%s);" % (k, given), "void example_%d(%s)" % (k, given), "{", "    {",
                place.replace(str(line), str(line + outside.count("\n")), 1), text[len(outside):], "    }", "}", ""]
    return "\n".join(out)


# --- 5. the options of training ------------------------------------------------------------------------


def option_rows():
    """(name, default with objective edm, range, sentence) of every option, as the library describes it."""
    sys.path.insert(0, os.path.join(ROOT, "bindings/python"))
    from consistency import _lib
    for i in range(_lib.lib.cm_train_option_count()):
        info = _lib.OptionInfo(struct_size=ctypes.sizeof(_lib.OptionInfo))
        text = ctypes.create_string_buffer(256)
        if _lib.lib.cm_train_option_describe(i, ctypes.byref(info)) or _lib.lib.cm_train_option_default(i, 0, text, 256, None):
            raise SystemExit("FAIL headers: option %d is not described" % i)
        if info.choices:
            bounds = "of " + info.choices.decode()
        elif info.kind == 5:
            bounds = "text"
        elif info.kind == 4:
            bounds = "0 or 1"
        else:
            low = ("above %.12g" if info.above_minimum else "%.12g") % info.minimum
            bounds = low + (" up" if info.maximum >= 1e15 else (" to %.12g" if info.above_minimum else "..%.12g") % info.maximum)
        yield info.name.decode(), text.value.decode() or '""', bounds, info.about.decode()


def options_text():
    lines = [" *   name              default         range, meaning"]
    for name, default, bounds, about in option_rows():
        head = " *   %-17s %-15s " % (name, default)
        for line in textwrap.wrap(bounds + ".  " + about, 112 - len(head), break_long_words=False):
            lines.append(head + line)
            head = " *" + " " * 37
    return "\n".join(lines) + "\n"


def check_options(api):
    header = [h for h in api.lines if h.endswith("/trainer.h")][0]
    return [] if options_text() in "\n".join(api.lines[header]) else [
        "trainer.h does not list the options of the library: python3 tests/headers.py --options prints them"]


def check_lists(api):
    """base.h names every list of cm_choice_name."""
    with open(os.path.join(ROOT, "src/api/choices.c"), encoding="utf-8") as f:
        table = f.read()
    names, code = re.findall(r'LIST\("(\w+)"', table), ""
    for path in glob.glob(os.path.join(ROOT, "src/*/*.c")):
        with open(path, encoding="utf-8") as f:
            code += f.read()
    for list in re.findall(r"&(cmi_\w+_choices)", table):
        names += re.findall(r'\b%s(?: = \{|, )"(\w+)"' % list, code)
    contract = "\n".join(api.lines[[h for h in api.lines if h.endswith("/base.h")][0]])
    faults = ["base.h does not name the list %s of cm_choice_name" % name for name in names
              if not re.search(r"\b%s\b" % name, contract)]
    return faults if len(names) > 25 else ["src/api/choices.c: only %d lists were found" % len(names)]


# --- 6. the share of contract lines --------------------------------------------------------------------


def share(api, header):
    lines = api.lines[header]
    code = [False] * (len(lines) + 2)
    blank = re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group(0).count("\n"), "\n".join(lines), flags=re.S).split("\n")
    for i, line in enumerate(blank):
        code[i + 1] = bool(line.strip())
    contract = alone = 0
    for i, line in enumerate(lines):
        words = re.sub(r"SPDX.*|clang-format (on|off)", "", line)
        beside = code[i + 1] and blank[i].strip() != line.strip()
        words = re.sub(r".*/\*", "", words) if beside else words
        alone += not code[i + 1] and bool(re.search(r"\w", words))
        contract += (beside or not code[i + 1]) and bool(re.search(r"\w", words))
    return contract, alone, sum(bool(line.strip()) for line in lines)


def check_shares(api, table=True):
    faults = []
    for header in api.lines:
        contract, alone, all = share(api, header)
        name = os.path.relpath(header, ROOT)
        if table:
            print("  %-32s %4d of %4d lines  %3.0f %%  (%3.0f %%)"
                  % (name, contract, all, 100.0 * contract / all, 100.0 * alone / all))
        if contract < SHARE * all:
            faults.append("%s: %.0f %% of the lines are contract, expected %.0f %%" % (name, 100.0 * contract / all, 100 * SHARE))
    return faults


# --- 1. what the C compiler says -------------------------------------------------------------------


def compiler(*names):
    for name in names:
        if name and shutil.which(name.split()[0]):
            return name.split()
    return None


def run(command, text=None, suffix=".c"):
    """Compiles `text`; the compiler's words, "" where it has nothing to say."""
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "t" + suffix)
        with open(source, "w") as f:
            f.write(text)
        done = subprocess.run(command + [source], capture_output=True, text=True)
        return done.stderr + done.stdout if done.returncode or done.stderr else ""


def c_types(api):
    """Every declaration once more, from what was parsed: a difference is an error."""
    out = ["#include <consistency.h>"]
    for name, d in api.functions.items():
        out.append(d.type.c(name) + ";")
    for name, fields in api.structs.items():
        for d in fields:
            out.append("_Static_assert(__builtin_types_compatible_p(__typeof__(((%s *)0)->%s), %s), \"%s.%s is %s\");"
                       % (name, d.name, d.type.c(), name, d.name, d.type.c().replace('"', "")))
    for name, members in api.enums.items():
        for member, value in members:
            out.append('_Static_assert(%s == %d, "%s is %d");' % (member, value, member, value))
    return "\n".join(out) + "\n"


def c_numbers(api):
    """A program that prints what the compiler lays out, and compares init function and macro byte by byte."""
    out = ["#include <consistency.h>", "#include <stdio.h>", "#include <string.h>", "#include <stddef.h>",
           "int main(void)", "{"]
    for name, fields in api.structs.items():
        out.append('    printf("%s %%zu\\n", sizeof(%s));' % (name, name))
        for d in fields:
            out.append('    printf("%s.%s %%zu %%zu\\n", offsetof(%s, %s), sizeof(((%s *)0)->%s));'
                       % (name, d.name, name, d.name, name, d.name))
        if name + "_init" in api.functions and macro_of(name) in api.macros:
            out += ["    {", "        %s a, b = %s;" % (name, macro_of(name)),
                    "        memset(&a, 0x5a, sizeof a);", "        %s_init(&a, sizeof a);" % name,
                    "        for (size_t i = 0; i < sizeof a; i++)",
                    "            if (((unsigned char *)&a)[i] != ((unsigned char *)&b)[i])",
                    '                printf("FAULT %s: %s_init and %s differ in byte %%zu\\n", i);'
                    % (name, name, macro_of(name)), "    }"]
        out.append('    if (cm_abi_sizeof("%s") != sizeof(%s)) printf("FAULT cm_abi_sizeof does not know %s\\n");'
                   % (name, name, name))
    return "\n".join(out + ["    return 0;", "}", ""])


def check_compilers(api, build):
    faults = []
    flags = ["-I" + os.path.join(ROOT, "include")]
    cc = compiler(os.environ.get("CC"), "cc")
    words = run(cc + flags + ["-std=gnu11", "-Werror", "-fsyntax-only"], c_types(api))
    if words:
        faults.append("the compiler reads other types than the parser:\n" + words)
    for name, fields in api.structs.items():
        if any(d.bits or banned_type(d.type) for d in fields):
            return faults
    with tempfile.TemporaryDirectory() as folder:
        source, program = os.path.join(folder, "numbers.c"), os.path.join(folder, "numbers")
        with open(source, "w") as f:
            f.write(c_numbers(api))
        library = os.path.join(build, "lib")
        done = subprocess.run(cc + flags + ["-std=c11", "-o", program, source, "-L" + library, "-lconsistency",
                                            "-Wl,-rpath," + os.path.abspath(library)], capture_output=True, text=True)
        if done.returncode:
            return faults + ["the program of sizes does not compile:\n" + done.stderr]
        printed = subprocess.run([program], capture_output=True, text=True, check=True).stdout.split("\n")
    expected = []
    for name, fields in api.structs.items():
        rows, size, holes = layout(fields)
        expected += ["%s %d" % (name, size)] + ["%s.%s %d %d" % (name, f, at, bytes) for f, at, bytes in rows]
    faults += [line[6:] for line in printed if line.startswith("FAULT")]
    numbers = [line for line in printed if line and not line.startswith("FAULT")]
    faults += ["the compiler says '%s', the parser '%s'" % (a, b) for a, b in zip(numbers, expected) if a != b]
    if len(numbers) != len(expected):
        faults.append("the compiler knows %d structs and fields, the parser %d" % (len(numbers), len(expected)))
    return faults


def init_c(api):
    return "#include <consistency.h>\n" + "".join(
        "extern const %s t_%s;\nconst %s t_%s = %s;\n" % (s, s, s, s, macro_of(s)) for s in api.structs if macro_of(s) in api.macros)


def check_standards(api):
    """Macros and examples under every standard and compiler that is here."""
    faults, seen = [], []
    flags = ["-I" + os.path.join(ROOT, "include"), "-fsyntax-only"] + WARN
    loose = ["-Wno-unused", "-Wno-unused-parameter", "-Wno-shadow", "-Wno-uninitialized", "-Wno-unused-but-set-parameter"]
    every = ["-Weverything", "-Wno-padded", "-Wno-declaration-after-statement", "-Wno-c++98-compat",
             "-Wno-c++98-compat-pedantic", "-Wno-old-style-cast"]  # C++ that is C too casts as C does
    c, cxx = ["c99", "c11", "c17"], ["c++11", "c++14", "c++17", "c++20"]
    for name, standards, suffix in (("gcc", c, ".c"), ("clang", c, ".c"), ("g++", cxx, ".cc"), ("clang++", cxx, ".cc")):
        if not shutil.which(name):
            continue
        seen.append(name)
        for standard in standards:
            more = every if name.startswith("clang") else ["-Wmissing-field-initializers"]
            words = run([name, "-std=" + standard] + flags + more, init_c(api), suffix)
            if words:
                faults.append("%s %s: the INIT macros:\n%s" % (name, standard, words))
        words = run([name, "-std=" + standards[-1]] + flags + loose, examples_c(api), suffix)
        if words:
            faults.append("%s: the examples of the headers:\n%s" % (name, words))
    return faults, seen


# --- 1. the Python binding -------------------------------------------------------------------------------


def ctypes_like(api, type, given, result=False):
    """Whether the ctypes type `given` is the C type `type`."""
    C = ctypes
    if type.kind == "name":
        if type.name == "void":
            return given is None
        if type.name in api.enums:
            return given in (C.c_int, C.c_int32)
        exact = {"int8_t": C.c_int8, "int32_t": C.c_int32, "int64_t": C.c_int64, "uint8_t": C.c_uint8,
                 "uint32_t": C.c_uint32, "uint64_t": C.c_uint64, "size_t": C.c_size_t, "float": C.c_float, "double": C.c_double}
        if type.name in exact:
            return given is exact[type.name]
        return type.name in api.callbacks and (given is C.c_void_p or issubclass(given, C._CFuncPtr))
    if type.kind == "array":
        return issubclass(given, C.Array) and given._length_ == type.count and ctypes_like(api, type.to, given._type_)
    if given is C.c_void_p:
        return True
    if given is None:
        return False
    if type.to.kind == "function":
        return issubclass(given, C._CFuncPtr)
    if given is C.c_char_p:  # bytes: text, or memory that is only read
        return type.to.kind == "name" and (type.to.name == "char" or type.to.c() == "const void")
    if not issubclass(given, C._Pointer):
        return False
    if type.to.kind == "name" and type.to.name in api.structs:
        return getattr(given._type_, "_c_name", None) == type.to.name
    if type.to.kind == "name" and type.to.name in api.opaque:
        return False
    return ctypes_like(api, type.to, given._type_)


def check_python(api):
    sys.path.insert(0, os.path.join(ROOT, "bindings/python"))
    from consistency import _lib
    faults = []
    known = {s._c_name: s for s in _lib.STRUCTS}
    for name, fields in api.structs.items():
        struct = known.pop(name, None)
        if struct is None:
            faults.append("the Python binding has no struct %s" % name)
            continue
        rows, size, holes = layout(fields)
        if ctypes.sizeof(struct) != size:
            faults.append("%s has %d bytes in Python, %d in C" % (name, ctypes.sizeof(struct), size))
        ours = {d.name: d.type for d in fields}
        theirs = dict((f[0], f[1]) for f in struct._fields_)
        if list(ours) != list(theirs):
            faults.append("%s has the fields %s in Python, %s in C" % (name, list(theirs), list(ours)))
        for field, at, bytes in rows:
            place = getattr(struct, field, None)
            if place is None:
                continue
            if (place.offset, place.size) != (at, bytes):
                faults.append("%s.%s stands at %d with %d bytes in Python, at %d with %d in C"
                              % (name, field, place.offset, place.size, at, bytes))
            elif not ctypes_like(api, ours[field], theirs[field]):
                faults.append("%s.%s is %s in Python, %s in C" % (name, field, theirs[field].__name__, ours[field].c()))
    faults += ["no header has the struct %s of the Python binding" % name for name in known]
    for name, d in api.functions.items():
        result, arguments = _lib.PROTOTYPES.get(name, (None, None))
        if arguments is None:
            faults.append("the Python binding has no prototype of %s" % name)
            continue
        if not ctypes_like(api, d.type.to, result):
            faults.append("%s gives %s in Python, %s in C" % (name, result, d.type.to.c()))
        for p, given in zip(d.type.parameters, arguments):
            if not ctypes_like(api, p.type, given):
                faults.append("%s takes %s for %s in Python, %s in C" % (name, given.__name__, p.name, p.type.c()))
        if len(arguments) != len(d.type.parameters):
            faults.append("%s takes %d arguments in Python, %d in C" % (name, len(arguments), len(d.type.parameters)))
    return faults


# --- what is printed for others --------------------------------------------------------------------------------


def layout_c(api):
    out = ["/* layout.c - sizes and places in the public structs, which programs are compiled with.",
           " *",
           " * Printed by `python3 tests/headers.py --layout > src/api/layout.c`.  Members are only ever appended: within one",
           " * major version no line changes but sizes, and those grow. */",
           "#include <consistency.h>", "", "#include <stddef.h>", "", "#if UINTPTR_MAX > 0xffffffffu",
           "#define SIZE(type, bytes)                                                                                            \\",
           "    _Static_assert(sizeof(type) == (bytes), #type \" has another size: see the head of this file\")",
           "#define PLACE(type, member, offset)                                                                                  \\",
           "    _Static_assert(offsetof(type, member) == (offset), #type \".\" #member \" stands elsewhere: see the head\")", ""]
    for name in sorted(api.structs):
        rows, size, holes = layout(api.structs[name])
        out.append("SIZE(%s, %d);" % (name, size))
        out += ["PLACE(%s, %s, %d);" % (name, field, at) for field, at, bytes in rows] + [""]
    return "\n".join(out + ["#endif", ""])


RUST = {"int8_t": "i8", "int16_t": "i16", "int32_t": "i32", "int64_t": "i64", "uint8_t": "u8", "uint16_t": "u16",
        "uint32_t": "u32", "uint64_t": "u64", "size_t": "usize", "float": "f32", "double": "f64", "char": "c_char",
        "void": "c_void"}


def rust_type(api, type):
    if type.kind == "name":
        return RUST.get(type.name, type.name)
    if type.kind == "array":
        return "[%s; %d]" % (rust_type(api, type.to), type.count)
    if type.to.kind == "function":
        return rust_function(api, type.to)
    return "*%s %s" % ("const" if type.to.const else "mut", rust_type(api, type.to))


def rust_result(api, type):
    return "" if type.kind == "name" and type.name == "void" else " -> " + rust_type(api, type)


def rust_function(api, type):
    return "Option<unsafe extern \"C\" fn(%s)%s>" % (", ".join(rust_type(api, p.type) for p in type.parameters),
                                                     rust_result(api, type.to))


def rust_name(name):
    return name + "_" if name in ("type", "ref", "in", "match", "fn", "mod", "use", "move", "loop", "where") else name


def rust(api):
    out = ["// The declarations of libconsistency, printed by tests/headers.py --rust.",
           "#![allow(non_camel_case_types, non_upper_case_globals, dead_code)]",
           "use std::os::raw::{c_char, c_void};", ""]
    for name, members in api.enums.items():
        if name:
            out.append("pub type %s = i32;" % name)
        out += ["pub const %s: i32 = %d;" % m for m in members]
    for name in api.opaque:
        out += ["#[repr(C)]", "pub struct %s {" % name, "    _private: [u8; 0],", "}"]
    for name, type in api.callbacks.items():
        out.append("pub type %s = %s;" % (name, rust_function(api, type)))
    for name, fields in api.structs.items():
        out += ["#[repr(C)]", "#[derive(Clone, Copy)]", "pub struct %s {" % name]
        out += ["    pub %s: %s," % (rust_name(d.name), rust_type(api, d.type)) for d in fields] + ["}"]
    out.append('#[link(name = "consistency")]\nextern "C" {')
    for name, d in api.functions.items():
        out.append("    pub fn %s(%s)%s;" % (name, ", ".join("%s: %s" % (rust_name(p.name), rust_type(api, p.type))
                                                             for p in d.type.parameters), rust_result(api, d.type.to)))
    return "\n".join(out + ["}", ""])


def rust_test(api):
    """Sizes and offsets as C lays them out (which check_compilers compares with the compiler), and the library's own word."""
    out = [rust(api), "macro_rules! place {", "    ($s:ty, $f:ident) => {{",
           "        let whole = std::mem::MaybeUninit::<$s>::uninit();", "        let base = whole.as_ptr();",
           "        unsafe { (std::ptr::addr_of!((*base).$f) as usize) - (base as usize) }", "    }};", "}", "",
           "fn main() {", "    let mut compared = 0;"]
    for name, fields in api.structs.items():
        rows, size, holes = layout(fields)
        out += ["    assert_eq!(std::mem::size_of::<%s>(), %d, \"%s\");" % (name, size, name),
                "    assert_eq!(unsafe { cm_abi_sizeof(b\"%s\\0\".as_ptr() as *const c_char) }, %d, \"%s\");" % (name, size, name)]
        out += ["    assert_eq!(place!(%s, %s), %d, \"%s.%s\");" % (name, rust_name(f), at, name, f) for f, at, bytes in rows]
        out.append("    compared += %d;" % (1 + len(rows)))
    return "\n".join(out + ["    println!(\"{} sizes and offsets\", compared);", "}", ""])


# --- the checks find what they are for ----------------------------------------------------------------------------


GOOD = """/* a.h - a part.
 *
 *     cm_a *a = NULL;
 *     cm_a_free(a);
 */
typedef struct cm_a cm_a;
typedef struct cm_s {
    uint32_t struct_size;
    int32_t kind; /* cm_kind */
%s
} cm_s;
#define CM_S_INIT { sizeof(cm_s), 0 %s }
typedef enum cm_kind { CM_ONE = 1, CM_TWO } cm_kind;
/* Fills in the defaults of the struct that is given.
 * The size is that of the caller's struct. */
CM_API void cm_s_init(cm_s *s, size_t struct_size);
/* Ends the handle.
 * NULL is fine here, and nothing happens then.
 * One thread at a time may use a handle.
 * No call on it may run.
 * What it holds is given back to the context.
 * It never fails and never allocates.
 * Models that it keeps alive are given back too.
 * It may be called in any order.
 * What it writes is written before it is called.
 * It waits for nothing.
 * It may be called at the end of a program.
 * It may be left out there too.
 * No other call knows the handle afterwards. */
CM_API void cm_a_free(cm_a *a);
"""


def self_test():
    def faults(text):
        try:
            api = header_parser.read_text("a.h", text)
        except header_parser.HeaderError as error:
            return [str(error)]
        return check_kinds(api) + check_names(api) + check_contracts(api) + check_examples(api) + check_shares(api, False)

    good = GOOD % ("    void *user;", ", 0")
    rows = [("hidden padding, 4 bytes before x", GOOD % ("    int32_t y;\n    double x;", ", 0, 0")),
            ("hidden padding, 4 bytes at the end", GOOD % ("    double x;\n    int32_t y;", ", 0, 0")),
            ("has a bool", GOOD % ("    bool yes;", ", 0")), ("has long", GOOD % ("    long n;", ", 0")),
            ("has unsigned long", GOOD % ("    unsigned long n;", ", 0")),
            ("is a bit-field", GOOD % ("    uint32_t b : 3;", ", 0")),
            ("is of type cm_kind", GOOD % ("    cm_kind k;\n    int32_t reserved;", ", 0, 0")),
            ("has no macro", good.replace("CM_S_INIT", "CM_T_INIT")), ("lists 2 values", GOOD % ("    void *user;", "")),
            ("has no cm_s_init", good.replace("cm_s_init", "cm_t_init")),
            ("is variadic", good.replace("cm_a *a);", "cm_a *a, ...);")),
            ("has int, whose size", good.replace("cm_a *a);", "cm_a *a, int n);")),
            ("has a bool", good.replace("cm_a *a);", "cm_a *a, void (*f)(bool yes));")),
            ("no comment says", good + "\nCM_API void cm_b(void);\n"),
            ("no example makes and frees", good.replace("cm_a_free(a);", "cm_a_end(a);")),
            ("lines are contract", re.sub(r" \* (One|No|What|It|Models) .*[^/]\n", " *\n", good)),
            ("does not begin with", good.replace("struct_size;", "size;")),
            ("declared twice", good + "/* Again. */\nCM_API void cm_a_free(cm_a *a);\n"),
            ("is a variable", good + "/* A value. */\nCM_API int32_t cm_x;\n")]
    if faults(good):
        raise SystemExit("FAIL headers: a good header is refused: %s" % faults(good))
    for word, text in rows:
        if text == good:
            raise SystemExit("FAIL headers: the header for '%s' is the good one" % word)
        if not any(word in f for f in faults(text)):
            raise SystemExit("FAIL headers: '%s' is not found: %s" % (word, faults(text)))
    return len(rows)


def check_layout(api):
    path = os.path.join(ROOT, "src/api/layout.c")
    have = open(path, encoding="utf-8").read() if os.path.exists(path) else ""
    strip = lambda text: re.sub(r"\s+", "", text)  # noqa: E731
    return [] if strip(have) == strip(layout_c(api)) else [
        "src/api/layout.c does not have the structs of the headers: python3 tests/headers.py --layout > src/api/layout.c"]


def main():
    api = header_parser.read(header_paths())
    printers = {"--layout": layout_c, "--rust": rust, "--rust-test": rust_test, "--examples": examples_c,
                "--options": lambda api: options_text()}
    if sys.argv[1:] and sys.argv[1] in printers:
        print(printers[sys.argv[1]](api), end="")
        return 0
    build = sys.argv[1] if sys.argv[1:] else "build"
    os.environ.setdefault("CONSISTENCY_BUILD", build)
    kinds = self_test()
    faults = check_kinds(api)
    if not faults:
        faults += check_compilers(api, build) + check_python(api) + check_layout(api) + check_options(api) + check_lists(api)
    faults += check_names(api)
    more, seen = check_standards(api)
    faults += more + check_contracts(api) + check_examples(api)
    print("headers: share of contract lines (at least %.0f %% each; of those that stand alone)" % (100 * SHARE))
    faults += check_shares(api)
    for fault in faults:
        print("FAIL headers:", "\n".join(fault.split("\n")[:12]))
    print("headers: %d structs of %d fields, %d enums, %d functions, %d examples; %s; %d kinds of faults are found"
          % (len(api.structs), sum(len(f) for f in api.structs.values()), len(api.enums), len(api.functions),
             len(examples(api)), ", ".join(seen), kinds))
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
