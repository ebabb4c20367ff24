#!/usr/bin/env python3
"""filter.py HEADER: the header as doxygen reads it, on the standard output.

The headers are written for people who read them.  Here a comment in front of a declaration becomes its description, one
behind a member that of the member, and the one at the head that of the file.  Indented lines stay as they are; elsewhere
no character means anything to doxygen.  Comments that divide a header or speak to tools are left out."""
import re
import sys

COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)


def plain(line):
    return re.sub(r"([\\@<>&#%\"|$])", r"\\\1", line).replace("*", "&lowast;")


def described(text):
    """Lines of text, without the stars; those that are indented as one block."""
    lines, block = [], []

    def end():
        while block and not block[-1].strip():
            block.pop()
        if block:
            lines.extend(["@verbatim"] + block + ["@endverbatim"])
        block.clear()

    for line in text:
        if re.match(r" {2,}\S", line) or (block and not line.strip()):
            block.append(line)
            continue
        end()
        lines.append(plain(line))
    end()
    return lines


def replaced(match, source):
    comment = match.group(0)
    before = source[source.rfind("\n", 0, match.start()) + 1:match.start()]
    inner = comment[2:-2] if comment.startswith("/*") else comment[2:]
    if not comment.startswith("/*") or re.match(r"\s*(-{3,}|clang-format)", inner):
        return re.sub(r"[^\n]", "", comment)
    text = [re.sub(r"^\s*\* ?", "", line) if i else line.strip() for i, line in enumerate(inner.split("\n"))]
    if before.strip():  # behind something
        return "/**< %s */" % plain(" ".join(line.strip() for line in inner.split("\n")).strip())
    head = ["@file"] if match.start() == 0 else []
    return "\n".join(["/**"] + head + described(text)) + "\n*/"


with open(sys.argv[1], encoding="utf-8") as f:
    source = f.read()
sys.stdout.write(COMMENT.sub(lambda m: replaced(m, source), source))
