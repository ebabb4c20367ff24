#!/usr/bin/env python3
"""bad_arguments.py: writes what tests/bad_arguments.c calls, read from the public headers: each function with its
parameters, each public struct with its fields.  A function that is new is called without a change here."""
import glob
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import header_parser  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NUMBERS = {"int32_t": "I32", "uint32_t": "U32", "int64_t": "I64", "uint64_t": "U64", "size_t": "SIZE", "double": "F64",
           "float": "F32", "uint8_t": "U8", "cm_status": "I32"}
MEMBER = {"I32": "i32", "U32": "u32", "I64": "i64", "U64": "u64", "SIZE": "size", "F64": "f64", "F32": "f32", "U8": "u8",
          "PROGRESS": "progress"}


def kind(interface, t):
    """(kind, name of the type it leads to)"""
    if t.kind == "array":
        return kind(interface, t.to)
    if t.kind == "name":
        if t.name in NUMBERS:
            return NUMBERS[t.name], ""
        if t.name in interface.enums:
            return "I32", ""
        return "CALLBACK", t.name
    if t.kind != "pointer" or t.to.kind == "function":
        return "CALLBACK", ""
    to = t.to
    if to.kind == "pointer":
        inner = to.to
        if inner.kind == "name" and inner.name in interface.opaque:
            return "OUT_HANDLE", inner.name
        if inner.kind == "name" and inner.name == "uint8_t":
            return "OUT_BYTES", ""
        return ("NAMES" if to.const else "OUT"), ""
    if to.kind == "name":
        if to.name in interface.opaque:
            return "HANDLE", to.name
        if to.name in interface.structs:
            return "STRUCT", to.name
        if to.name == "char":
            return ("TEXT" if to.const else "OUT"), ""
        return ("ARRAY" if to.const else "OUT"), to.name
    return "OUT", ""


def main():
    interface = header_parser.read(sorted(glob.glob(ROOT + "/include/consistency/*.h")))
    structs = list(interface.structs)
    print("/* Written by tests/bad_arguments.py. */")
    for s in structs:
        print("static const field fields_%s[] = {" % s)
        for f in interface.structs[s]:
            k, to = kind(interface, f.type)
            print('    {"%s", %s, "%s", offsetof(%s, %s), sizeof(((%s *)0)->%s)},' % (f.name, k, to, s, f.name, s, f.name))
        print("};")
    for s in structs:
        if s + "_init" in interface.functions:
            print("static void init_%s(void *to, size_t size)\n{\n    %s_init(to, size);\n}" % (s, s))
    print("static const type types[] = {")
    for s in structs:
        init = s + "_init" in interface.functions
        print('    {"%s", sizeof(%s), fields_%s, sizeof fields_%s / sizeof(field), %s},' %
              (s, s, s, s, "init_" + s if init else "NULL"))
    print("};")
    for i, (name, d) in enumerate(interface.functions.items()):
        arguments = []
        for k, p in enumerate(d.type.parameters):
            what, to = kind(interface, p.type)
            if what in MEMBER:
                c = p.type.c()
                arguments.append("(%s)a[%d].%s" % (c, k, MEMBER[what]))
            elif what == "CALLBACK":
                arguments.append("(%s)a[%d].call" % (p.type.c(), k))
            else:
                arguments.append("(void *)a[%d].p" % k)
        returns = d.type.to.c()
        call = "%s(%s)" % (name, ", ".join(arguments))
        print("static int call_%d(const value *a)\n{\n    (void)a;" % i)
        print("    return (int)%s;\n}" % call if returns == "cm_status" else "    (void)%s;\n    return 0;\n}" % call)
    for i, (name, d) in enumerate(interface.functions.items()):
        print("static const parameter parameters_%d[] = {" % i)
        for p in d.type.parameters:
            what, to = kind(interface, p.type)
            print('    {"%s", %s, "%s"},' % (p.name, what, to))
        print("    {NULL, I32, NULL}};")
    print("static const function functions[] = {")
    for i, (name, d) in enumerate(interface.functions.items()):
        print('    {"%s", call_%d, parameters_%d, %d, %d},' %
              (name, i, i, len(d.type.parameters), d.type.to.c() == "cm_status"))
    print("};")
    print("static void free_handle(const char *of, void *handle)\n{")
    for h in interface.opaque:
        if h + "_free" in interface.functions:
            print('    if (strcmp(of, "%s") == 0) %s_free(handle);' % (h, h))
    print("}")


if __name__ == "__main__":
    main()
