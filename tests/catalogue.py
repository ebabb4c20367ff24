#!/usr/bin/env python3
"""catalogue.py BUILD [--list] [--ways LIST]: hostile, damaged and odd files (reliability R8, and faults of data sets and pictures).

Each row: how the file is opened (tests/catalogue_program.c), its name, its maker, the status that has to come, and
words that the message has to have (or, for OK, what was read).  A message of a failure also has to name the file.  What
is refused may take 16 times the file and 16 MiB, and no row more than ten seconds."""
import io
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
import zlib

BUILD = sys.argv[1] if len(sys.argv) > 1 else "build"
TOP = os.getcwd()
ROWS = []
WAYS = sys.argv[sys.argv.index("--ways") + 1].split(",") if "--ways" in sys.argv else None  # of tests/catalogue_program.c
BOUND, SECONDS = 16 << 20, 10


def row(way, name, made, status, *words, **more):
    """made: bytes, a text, or a function of the path."""
    if WAYS is None or way in WAYS:
        ROWS.append((way, name, made, status, words, more))


# --- safetensors -----------------------------------------------------------------------------

def st(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else (header if isinstance(header, str) else json.dumps(header)).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def one(dtype="F32", shape=(2,), offsets=(0, 8), data=b"\0" * 8, **more):
    entry = {"dtype": dtype, "shape": list(shape) if isinstance(shape, tuple) else shape, "data_offsets": list(offsets)}
    entry.update(more)
    return st({"w": entry}, data)


row("tensors", "empty.safetensors", b"", "FORMAT", "empty")
row("tensors", "one-byte.safetensors", b"\1", "FORMAT")
row("tensors", "seven.safetensors", b"\7\0\0\0\0\0\0", "FORMAT")
row("tensors", "good.safetensors", one(), "OK", "1 tensors")
row("tensors", "zero-size.safetensors", one(shape=(0,), offsets=(0, 0), data=b""), "OK", "1 tensors")
row("tensors", "zero-size-2.safetensors", one(shape=(3, 0, 7), offsets=(0, 0), data=b""), "OK", "1 tensors")
row("tensors", "scalar.safetensors", one(shape=(), offsets=(0, 4), data=b"\0" * 4), "OK", "1 tensors")
row("tensors", "nothing.safetensors", st("{}"), "OK", "0 tensors")
row("tensors", "spaces.safetensors", st('{"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}   ', b"\0" * 4), "OK")
for kind, size in (("F64", 8), ("F16", 2), ("BF16", 2), ("I64", 8), ("I32", 4), ("I16", 2), ("I8", 1), ("U8", 1), ("BOOL", 1),
                   ("U16", 2), ("U32", 4), ("U64", 8)):
    row("tensors", "of-%s.safetensors" % kind, one(kind, (3,), (0, 3 * size), b"\0" * 3 * size), "OK", "1 tensors")
row("tensors", "nan.safetensors", one(shape=(2,), data=struct.pack("<2f", float("nan"), float("inf"))), "OK", "2 not finite")
for name, length in (("past-end", 4096), ("2p63", 1 << 63), ("2p64", (1 << 64) - 1), ("zero", 0), ("over-limit", 101 << 20)):
    row("tensors", "length-%s.safetensors" % name, st("{}", length=length), "FORMAT|LIMIT")
row("tensors", "no-utf8.safetensors", st(b'{"\xff\xfe": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}', b"\0" * 4), "FORMAT")
row("tensors", "list.safetensors", st("[]"), "FORMAT")
row("tensors", "number.safetensors", st("7       "), "FORMAT")
row("tensors", "deep.safetensors", st('{"a":' * 100000 + "1" + "}" * 100000), "FORMAT|LIMIT")
row("tensors", "deep-list.safetensors", st('{"a": ' + "[" * 100000 + "]" * 100000 + "}"), "FORMAT|LIMIT")
row("tensors", "million-keys.safetensors", st("{" + ",".join('"k%d":0' % i for i in range(1000000)) + "}"), "FORMAT|LIMIT")
row("tensors", "many-tensors.safetensors", st("{" + ",".join('"k%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}' % i for i in range(70000)) + "}"), "LIMIT", "65536")
row("tensors", "twice.safetensors", st('{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"w":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}', b"ab"), "FORMAT", "'w'")
row("tensors", "unknown-type.safetensors", one("F8_E4M3", (8,), (0, 8)), "UNSUPPORTED|FORMAT", "F8_E4M3")
row("tensors", "type-number.safetensors", one(7), "FORMAT")
for name, shape in (("negative", [-2]), ("fraction", [1.5]), ("exponent", "X"), ("text", ["2"]), ("nested", [[2]]), ("null", None),
                    ("wraps-to-0", [1 << 32, 1 << 32]), ("wraps-to-2", [(1 << 63) + 1, 2]), ("2p31", [(1 << 31) + 1, 0]),
                    ("rank-9", [1] * 9), ("too-large", [3]), ("too-small", [1])):
    body = one(shape=shape)
    if shape == "X":
        body = st('{"w": {"dtype": "F32", "shape": [1e300], "data_offsets": [0, 8]}}', b"\0" * 8)
    row("tensors", "shape-%s.safetensors" % name, body, "FORMAT|LIMIT")
for name, offsets in (("reversed", (8, 0)), ("past-end", (0, 16)), ("hole", (4, 12)), ("negative", (-8, 0)), ("three", (0, 4, 8)), ("one", (8,)),
                      ("huge", (0, 1 << 63)), ("fraction", (0, 8.5)), ("text", ("0", "8"))):
    row("tensors", "offsets-%s.safetensors" % name, one(offsets=offsets, data=b"\0" * (12 if name == "hole" else 8)), "FORMAT")
row("tensors", "tail.safetensors", one(data=b"\0" * 9), "FORMAT")
row("tensors", "overlap.safetensors", st({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}, "b": {"dtype": "U8", "shape": [4], "data_offsets": [2, 6]}}, b"123456"), "FORMAT")
row("tensors", "no-type.safetensors", st({"w": {"shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4), "FORMAT")
row("tensors", "no-shape.safetensors", st({"w": {"dtype": "F32", "data_offsets": [0, 4]}}, b"\0" * 4), "FORMAT")
row("tensors", "no-offsets.safetensors", st({"w": {"dtype": "F32", "shape": [1]}}, b"\0" * 4), "FORMAT")
row("tensors", "other-member.safetensors", one(stride=[1]), "FORMAT", "stride")
row("tensors", "long-name.safetensors", st({"n" * 5000: {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}, b"1"), "FORMAT|LIMIT")
row("tensors", "empty-name.safetensors", st({"": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}, b"1"), "OK", "1 tensors")
row("tensors", "nul-name.safetensors", st('{"a\\u0000b": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}', b"1"), "FORMAT")
row("tensors", "metadata.safetensors", st({"__metadata__": {"a": "b"}, "w": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}, b"1"), "OK")
row("tensors", "metadata-number.safetensors", st({"__metadata__": {"a": 1}}), "FORMAT")
row("tensors", "metadata-list.safetensors", st({"__metadata__": []}), "FORMAT")
row("tensors", "cut-json.safetensors", st('{"w": {"dtype": "F32", "sha'), "FORMAT")
row("tensors", "comma.safetensors", st('{"w": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},}', b"1"), "FORMAT")
row("tensors", "comment.safetensors", st('{/* */}'), "FORMAT")
row("tensors", "pair.safetensors", st('{"\\ud83d\\ude00": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}', b"1"), "OK", "1 tensors")
row("tensors", "escapes.safetensors", st('{"\\u0041\\n\\t\\/\\"": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}', b"1"), "OK", "1 tensors")
row("tensors", "pair-cut.safetensors", st('{"\\ud83d\\u'), "FORMAT")
row("tensors", "pair-low.safetensors", st('{"\\ude00": 1}'), "FORMAT")
row("tensors", "pair-twice-high.safetensors", st('{"\\ud83d\\ud83d": 1}'), "FORMAT")
row("tensors", "surrogate.safetensors", st('{"\\ud800": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}', b"1"), "FORMAT")


# --- pickles and PyTorch's archives ------------------------------------------------------------

def archive(members, method=zipfile.ZIP_STORED, comment=b""):
    f = io.BytesIO()
    with zipfile.ZipFile(f, "w", method) as z:
        for n, d in members:
            z.writestr(zipfile.ZipInfo(n, (2020, 1, 1, 0, 0, 0)), d, method)
        z.comment = comment
    return f.getvalue()


def text(s):
    b = s.encode()
    return b"X" + struct.pack("<I", len(b)) + b


def number(n):
    return b"J" + struct.pack("<i", n)


def tensor(cls=b"torch\nFloatStorage\n", key="0", count=6, offset=0, shape=(2, 3), stride=(3, 1), function=b"torch._utils\n_rebuild_tensor_v2\n"):
    t = lambda v: b"(" + b"".join(number(x) for x in v) + b"t"
    return (b"c" + function + b"((" + text("storage") + b"c" + cls + text(key) + text("cpu") + number(count) + b"tQ" +
            number(offset) + t(shape) + t(stride) + b"\x89ccollections\nOrderedDict\n)RtR")


def torch(value=None, storage=b"\0" * 24, more=(), pickle=None, key="0"):
    body = pickle if pickle is not None else b"\x80\x02}" + text("w") + (value if value is not None else tensor()) + b"s."
    members = [("a/data.pkl", body)] + ([("a/data/" + key, storage)] if storage is not None else []) + list(more) + [("a/version", b"3\n")]
    return archive(members)


row("tensors", "good.pt", torch(), "OK", "1 tensors")
row("tensors", "half.pt", torch(tensor(b"torch\nHalfStorage\n"), b"\0" * 12), "OK")
row("tensors", "bfloat.pt", torch(tensor(b"torch\nBFloat16Storage\n"), b"\0" * 12), "OK")
row("tensors", "long.pt", torch(tensor(b"torch\nLongStorage\n"), b"\0" * 48), "OK")
row("tensors", "transposed.pt", torch(tensor(shape=(3, 2), stride=(1, 3))), "OK")
row("tensors", "scalar.pt", torch(tensor(count=1, shape=(), stride=()), b"\0" * 4), "OK")
row("tensors", "zero-size.pt", torch(tensor(count=0, shape=(0,), stride=(1,)), b""), "OK")
row("tensors", "little.pt", torch(more=[("a/byteorder", b"little")]), "OK")
row("tensors", "big.pt", torch(more=[("a/byteorder", b"big")]), "OK")
row("tensors", "byteorder.pt", torch(more=[("a/byteorder", b"middle")]), "FORMAT|UNSUPPORTED", "byteorder")
row("tensors", "no-storage.pt", torch(storage=None), "FORMAT", "0")
row("tensors", "short-storage.pt", torch(storage=b"\0" * 20), "FORMAT")
row("tensors", "no-pickle.pt", archive([("a/version", b"3\n")]), "FORMAT")
row("tensors", "code.pt", archive([("a/code/x.py", b"x"), ("a/data.pkl", b"\x80\x02N."), ("a/constants.pkl", b"\x80\x02)."), ("a/version", b"3\n")]), "FORMAT|UNSUPPORTED")
for name, value in (("offset-negative", tensor(offset=-1)), ("offset-past", tensor(offset=1)), ("stride-negative", tensor(stride=(3, -1))),
                    ("stride-past", tensor(stride=(4, 1))), ("stride-huge", tensor(stride=(1 << 30, 1))), ("shape-negative", tensor(shape=(-2, 3))),
                    ("shape-huge", tensor(shape=(1 << 30, 1 << 30))), ("ranks", tensor(stride=(1,))), ("count-large", tensor(count=7)),
                    ("rank-9", tensor(shape=(1,) * 9, stride=(1,) * 9)), ("storage-class", tensor(b"torch\nQInt8Storage\n")),
                    ("storage-os", tensor(b"os\nsystem\n")), ("function", tensor(function=b"torch._utils\n_rebuild_sparse_tensor\n")),
                    ("expanded", tensor(count=1, shape=(1 << 15, 1 << 15), stride=(0, 0)))):
    row("tensors", "tensor-%s.pt" % name, torch(value, b"\0" * 4 if name == "expanded" else b"\0" * 24), "FORMAT|UNSUPPORTED|LIMIT")
for name, pickle, words in (
        ("os-system", b"cos\nsystem\n(" + text("true") + b"tR.", ("os", "system")),
        ("eval", b"cbuiltins\neval\n(" + text("1") + b"tR.", ("builtins",)),
        ("posix", b"cposix\nsystem\n(" + text("true") + b"tR.", ("posix",)),
        ("subprocess", b"csubprocess\nPopen\n(" + text("true") + b"tR.", ("subprocess",)),
        ("getattr", b"c__builtin__\ngetattr\n(ctorch\nload\n" + text("x") + b"tR.", ("getattr",)),
        ("inst", b"(ios\nsystem\n.", ()),
        ("obj", b"(cos\nsystem\no.", ()),
        ("newobj", b"cos\nsystem\n)\x81.", ()),
        ("extension", b"\x82\x01.", ()),
        ("stack-global", b"\x80\x04\x8c\x02os\x8c\x06system\x93.", ("os",)),
        ("persistent", b"P0\n.", ()),
        ("memo-miss", b"h\x09.", ()),
        ("memo-huge", b"}r" + struct.pack("<I", (1 << 31)) + b".", ()),
        ("underflow", b"\x80\x02s.", ()),
        ("underflow-reduce", b"\x80\x02R.", ()),
        ("no-mark", b"\x80\x02t.", ()),
        ("no-stop", b"\x80\x02}", ()),
        ("only-stop", b".", ()),
        ("empty", b"", ()),
        ("protocol-6", b"\x80\x06}.", ("6",)),
        ("protocol-255", b"\x80\xff}.", ()),
        ("unknown", b"\x80\x02\xf7.", ()),
        ("text-past", b"\x80\x02X\xff\xff\xff\x7f.", ()),
        ("text-2p63", b"\x80\x04\x8d" + struct.pack("<Q", 1 << 63) + b".", ()),
        ("bytes-past", b"\x80\x03B\xff\xff\xff\xff.", ()),
        ("long-huge", b"\x80\x02\x8b\xff\xff\xff\x7f.", ()),
        ("long-negative", b"\x80\x02\x8b\xff\xff\xff\xff.", ()),
        ("frame-past", b"\x80\x04\x95" + struct.pack("<Q", 1 << 62) + b"}.", ()),
        ("itself", b"\x80\x02}q\0" + text("w") + b"h\0s.", ()),
        ("deep", b"\x80\x02" + b"(" * 100000 + b"t" * 100000 + b".", ()),
        ("deep-lists", b"\x80\x02" + b"]" * 100000 + b"a" * 99999 + b".", ()),
        ("key-number", b"\x80\x02}" + number(1) + tensor() + b"s.", ()),
        ("key-twice", b"\x80\x02}(" + text("w") + tensor() + text("w") + tensor() + b"u.", ("w",)),
        ("list", b"\x80\x02].", ()),
        ("none", b"\x80\x02N.", ()),
        ("odd-items", b"\x80\x02}(" + text("w") + b"u.", ()),
        ("after-stop", b"\x80\x02}.trailing", ()),
        ("bad-utf8", b"\x80\x02}X\2\0\0\0\xff\xfe" + tensor() + b"s.", ()),
        ("text-opcode", b"S'x'\n.", ()),
        ("float-text", b"F1.5\n.", ()),
        ("build", b"\x80\x02}}b.", ()),
        ("dup-bomb", b"\x80\x02" + b"](" + b"2" * 200 + b"e.", ())):
    row("tensors", "pickle-%s.pt" % name, torch(pickle=pickle), "FORMAT|UNSUPPORTED|LIMIT", *words)
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}."
row("tensors", "legacy-cut.pt", LEGACY, "FORMAT")
row("tensors", "legacy-magic.pt", LEGACY.replace(b"\xfc", b"\xfd"), "FORMAT|UNSUPPORTED")
row("tensors", "legacy-good.pt", lambda p: shutil.copy(TOP + "/tests/data/golden/checkpoints/odd_views_legacy.pt", p), "OK")


def old_tar(p):
    with tarfile.open(p, "w") as t:
        for n in ("sys_info", "storages", "tensors", "pickle"):
            i = tarfile.TarInfo(n)
            i.size = 3
            t.addfile(i, io.BytesIO(b"abc"))


row("tensors", "torch-0.1.pt", old_tar, "FORMAT|UNSUPPORTED", "old")


# --- zip archives --------------------------------------------------------------------------------

def changed(data, find, put, last=True):
    at = data.rfind(find) if last else data.find(find)
    assert at >= 0
    return data[:at] + put + data[at + len(put):]


PT = torch()
EOCD = PT.rfind(b"PK\5\6")
CENTRAL = PT.find(b"PK\1\2")
row("tensors", "zip-no-end.pt", PT[:EOCD], "FORMAT")
row("tensors", "zip-two-ends.pt", PT + PT[EOCD:], "FORMAT")
row("tensors", "zip-after-end.pt", PT + b"tail", "FORMAT")
row("tensors", "zip-comment.pt", PT[:-2] + b"\5\0hello", "OK", "1 tensors")
row("tensors", "zip-comment-end.pt", PT[:-2] + struct.pack("<H", len(PT) - EOCD) + PT[EOCD:], "FORMAT")
row("tensors", "zip-comment-past.pt", PT[:-2] + b"\6\0hello", "FORMAT")
row("tensors", "zip-directory-past.pt", PT[:EOCD + 16] + struct.pack("<I", 1 << 30) + PT[EOCD + 20:], "FORMAT")
row("tensors", "zip-directory-size.pt", PT[:EOCD + 12] + struct.pack("<I", 0xfffffff0) + PT[EOCD + 16:], "FORMAT")
row("tensors", "zip-count.pt", PT[:EOCD + 8] + struct.pack("<HH", 900, 900) + PT[EOCD + 12:], "FORMAT")
row("tensors", "zip-disks.pt", PT[:EOCD + 4] + struct.pack("<HH", 1, 1) + PT[EOCD + 8:], "FORMAT|UNSUPPORTED")
row("tensors", "zip-offset.pt", PT[:CENTRAL + 42] + struct.pack("<I", 1 << 31) + PT[CENTRAL + 46:], "FORMAT")
row("tensors", "zip-into-another.pt", PT[:CENTRAL + 42] + struct.pack("<I", 4) + PT[CENTRAL + 46:], "FORMAT")
row("tensors", "zip-size.pt", PT[:CENTRAL + 20] + struct.pack("<II", 1 << 30, 1 << 30) + PT[CENTRAL + 28:], "FORMAT")
row("tensors", "zip-sizes-differ.pt", PT[:CENTRAL + 24] + struct.pack("<I", 5) + PT[CENTRAL + 28:], "FORMAT")
row("tensors", "zip-encrypted.pt", PT[:CENTRAL + 8] + struct.pack("<H", 1) + PT[CENTRAL + 10:], "UNSUPPORTED|FORMAT")
row("tensors", "zip-zip64.pt", PT[:CENTRAL + 20] + b"\xff" * 8 + PT[CENTRAL + 28:], "FORMAT")
row("tensors", "zip-nul-name.pt", changed(PT, b"a/data.pkl", b"a/dat\0.pkl"), "FORMAT")
row("tensors", "zip-names-differ.pt", changed(PT, b"a/data.pkl", b"a/dota.pkl", last=False), "FORMAT")
row("tensors", "zip-deflated.pt", archive([("a/data.pkl", b"\x80\x02}." + b"0" * 500), ("a/version", b"3\n")], zipfile.ZIP_DEFLATED), "UNSUPPORTED|FORMAT")
row("tensors", "zip-crc.pt", torch(storage=struct.pack("<6f", 1, 2, 3, 4, 5, 6)).replace(struct.pack("<f", 3), struct.pack("<f", 7)), "FORMAT")
row("tensors", "zip-absolute.pt", archive([("/etc/x", b"1"), ("a/data.pkl", b"\x80\x02}."), ("a/version", b"3\n")]), "FORMAT")
row("tensors", "zip-up.pt", archive([("a/../../x", b"1"), ("a/data.pkl", b"\x80\x02}."), ("a/version", b"3\n")]), "FORMAT")
row("tensors", "zip-backslash.pt", archive([("a\\x", b"1"), ("a/data.pkl", b"\x80\x02}."), ("a/version", b"3\n")]), "FORMAT")
with_warning = []


def twice(p):
    import warnings
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with open(p, "wb") as f:
            f.write(torch(more=[("a/data/0", b"\0" * 24)]))


row("tensors", "zip-twice.pt", twice, "FORMAT", "data/0")


# --- msgpack (flax) --------------------------------------------------------------------------------

def mp(s):
    b = s.encode()
    return bytes([0xa0 + len(b)]) + b if len(b) < 32 else b"\xd9" + bytes([len(b)]) + b


def nd(shape=(2,), dtype="float32", data=b"\0" * 8):
    body = bytes([0x93, 0x90 + len(shape)]) + b"".join(b"\xd2" + struct.pack(">i", s) for s in shape) + mp(dtype) + b"\xc4" + bytes([len(data)]) + data
    return b"\xc7" + bytes([len(body)]) + b"\1" + body


def state(value, name="kernel"):
    return b"\x81" + mp("params") + b"\x81" + mp(name) + value


row("tensors", "good.msgpack", state(nd()), "OK", "1 tensors")
row("tensors", "zero-size.msgpack", state(nd((0,), data=b"")), "OK")
for name, body in (("empty", b""), ("nil", b"\xc0"), ("list", b"\x90"), ("reserved", state(b"\xc1")), ("trailing", state(nd()) + b"\0"),
                   ("cut", state(nd())[:-3]), ("map-huge", b"\xdf\xff\xff\xff\xff"), ("list-huge", state(b"\xdd\xff\xff\xff\xff")),
                   ("text-past", b"\x81\xdb\xff\xff\xff\xff"), ("bin-past", state(b"\xc6\xff\xff\xff\xff")), ("ext-past", state(b"\xc9\xff\xff\xff\xff\1")),
                   ("key-number", b"\x81\1" + nd()), ("key-twice", b"\x81" + mp("params") + b"\x82" + mp("k") + nd() + mp("k") + nd()),
                   ("key-slash", state(nd(), "a/b")), ("deep", b"\x81\xa1a" * 100000 + b"\xc0"), ("deep-lists", b"\x81\xa1a" + b"\x91" * 100000 + b"\xc0"),
                   ("ext-unknown", state(b"\xc7\1\x55\0")), ("shape-negative", state(nd((-2,)))), ("shape-wraps", state(nd((1 << 30, 1 << 30, 1 << 30)))),
                   ("shape-large", state(nd((3,)))), ("shape-small", state(nd((1,)))), ("dtype-object", state(nd(dtype="object"))),
                   ("dtype-empty", state(nd(dtype=""))), ("no-params", b"\x81" + mp("step") + b"\1"), ("rank-9", state(nd((1,) * 9, data=b"\0" * 4)))):
    row("tensors", "%s.msgpack" % name, body, "FORMAT|UNSUPPORTED|LIMIT")


# --- NumPy -------------------------------------------------------------------------------------------

def npy(descr="<f8", shape="(2,)", data=struct.pack("<2d", 1, 2), fortran="False", version=1, header=None, end="\n"):
    h = header if header is not None else "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }" % (descr, fortran, shape)
    n = 10 if version == 1 else 12
    h += " " * ((64 - (n + len(h) + 1) % 64) % 64) + end
    return b"\x93NUMPY" + bytes([version, 0]) + (struct.pack("<H", len(h)) if version == 1 else struct.pack("<I", len(h))) + h.encode() + data


SIGMA = npy(shape="(2, 2)", data=struct.pack("<4d", 1, .5, .5, 2))


def npz(mu=npy(), sigma=SIGMA, more=(), method=zipfile.ZIP_STORED):
    return archive([(n, d) for n, d in (("mu.npy", mu), ("sigma.npy", sigma)) if d is not None] + list(more), method)


row("statistics", "good.npz", npz(), "OK", "dimension 2")
row("statistics", "deflated.npz", npz(method=zipfile.ZIP_DEFLATED), "OK")
row("statistics", "float32.npz", npz(npy("<f4", data=struct.pack("<2f", 1, 2))), "OK")
row("statistics", "big-endian.npz", npz(npy(">f8", data=struct.pack(">2d", 1, 2))), "OK")
row("statistics", "fortran.npz", npz(sigma=npy(shape="(2, 2)", data=struct.pack("<4d", 1, .5, .5, 2), fortran="True")), "OK")
row("statistics", "version-2.npz", npz(npy(version=2)), "OK")
row("statistics", "count.npz", npz(more=[("count.npy", npy("<i8", "()", struct.pack("<q", 50)))]), "OK", "of 50")
for name, body, words in (
        ("object", npz(npy("|O")), ("mu",)), ("version-9", npz(npy(version=9)), ("version",)), ("no-newline", npz(npy(end=" ")), ()),
        ("header-empty", npz(npy(header="")), ()), ("header-list", npz(npy(header="[]")), ()), ("no-shape", npz(npy(header="{'descr': '<f8', 'fortran_order': False}")), ("shape",)),
        ("shape-negative", npz(npy(shape="(-2,)")), ("shape",)), ("shape-huge", npz(npy(shape="(99999999999999999999,)")), ("shape",)),
        ("shape-wraps", npz(npy(shape="(4294967296, 4294967296)")), ()), ("too-short", npz(npy(data=b"\0" * 15)), ()), ("too-long", npz(npy(data=b"\0" * 17)), ()),
        ("fortran-maybe", npz(npy(fortran="Maybe")), ("fortran",)), ("magic", npz(b"NUMPY" + npy()[5:]), ()), ("empty-member", npz(b""), ()),
        ("complex", npz(npy("<c16", data=b"\0" * 32)), ()), ("text", npz(npy("<U4", data=b"\0" * 32)), ()),
        ("mu-matrix", npz(npy(shape="(1, 2)")), ("mu",)), ("sigma-vector", npz(sigma=npy()), ("sigma",)),
        ("sizes", npz(npy(shape="(1,)", data=struct.pack("<d", 1))), ()), ("no-mu", npz(None), ("mu",)), ("no-sigma", npz(sigma=None), ("sigma",)),
        ("of-images", archive([("arr_0.npy", npy("|u1", "(1, 2, 2, 3)", b"\0" * 12))]), ("images",)),
        ("count-negative", npz(more=[("count.npy", npy("<i8", "()", struct.pack("<q", -1)))]), ("count",)),
        ("count-many", npz(more=[("count.npy", npy("<i8", "(2,)", struct.pack("<2q", 1, 1)))]), ("count",)),
        ("is-npy", npy(), ()), ("is-text", b"hello world, this is text", ())):
    row("statistics", "%s.npz" % name, body, "FORMAT|UNSUPPORTED|LIMIT", *words)
row("statistics", "nan.npz", npz(npy(data=struct.pack("<2d", 1, float("nan")))), "NUMERIC")
row("statistics", "inf.npz", npz(sigma=npy(shape="(2, 2)", data=struct.pack("<4d", 1, float("inf"), float("inf"), 2))), "NUMERIC")
row("statistics", "bomb.npz", npz(npy(shape="(2,)", data=b"\0" * (64 << 20)), method=zipfile.ZIP_DEFLATED), "FORMAT|LIMIT")


# --- pictures ------------------------------------------------------------------------------------------

def chunk(kind, data, crc=None):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) if crc is None else crc)


SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png(w=2, h=2, depth=8, kind=2, rows=None, before=(), interlace=0, header=None, compression=0, filtering=0):
    if rows is None:
        rows = (b"\0" + bytes(range(10, 10 + 3 * w))) * h
    ihdr = struct.pack(">IIBBBBB", w, h, depth, kind, compression, filtering, interlace) if header is None else header
    return SIGNATURE + chunk(b"IHDR", ihdr) + b"".join(chunk(*c) for c in before) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


PLTE = (b"PLTE", bytes(range(12)))


def exif(orientation):
    return b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0" + bytes([orientation]) + b"\0\0\0\0\0\0\0"


row("picture", "good.png", png(), "OK", "3 x 2 x 2 first 10 11 12")
row("picture", "gray.png", png(kind=0, rows=b"\0ab\0cd"), "OK", "1 x 2 x 2")
row("picture", "alpha.png", png(kind=6, rows=(b"\0" + bytes(range(8))) * 2), "OK", "3 x 2 x 2")
row("picture", "gray-alpha.png", png(kind=4, rows=(b"\0" + bytes(range(4))) * 2), "OK", "1 x 2 x 2")
row("picture", "deep.png", png(depth=16, rows=(b"\0" + bytes(range(12))) * 2), "OK", "3 x 2 x 2 first 0 2 4")
row("picture", "palette.png", png(depth=8, kind=3, rows=b"\0\1\2\0\3\0", before=[PLTE]), "OK", "3 x 2 x 2 first 3 4 5")
row("picture", "palette-1bit.png", png(depth=1, kind=3, rows=b"\0\x80\0\x40", before=[PLTE]), "OK", "3 x 2 x 2 first 3 4 5")
row("picture", "palette-alpha.png", png(depth=8, kind=3, rows=b"\0\1\2\0\3\0", before=[PLTE, (b"tRNS", b"\0\x80")]), "OK", "3 x 2 x 2")
row("picture", "palette-past.png", png(depth=8, kind=3, rows=b"\0\1\2\0\xff\0", before=[PLTE]), "OK|FORMAT")
row("picture", "palette-none.png", png(depth=8, kind=3, rows=b"\0\1\2\0\3\0"), "FORMAT")
row("picture", "one-bit.png", png(depth=1, kind=0, rows=b"\0\x80\0\x40"), "OK", "1 x 2 x 2 first 255")
row("picture", "interlaced.png", png(1, 1, rows=b"\0\1\2\3", interlace=1), "OK", "3 x 1 x 1 first 1 2 3")
row("picture", "animated.png", png(before=[(b"acTL", struct.pack(">II", 2, 0)), (b"fcTL", struct.pack(">IIIIIHHBB", 0, 2, 2, 0, 0, 1, 10, 0, 0))]), "OK", "3 x 2 x 2")
row("picture", "turned.png", png(2, 1, rows=b"\0" + bytes(range(6)), before=[(b"eXIf", exif(6))]), "OK", "3 x 2 x 1")
row("picture", "turned-9.png", png(2, 1, rows=b"\0" + bytes(range(6)), before=[(b"eXIf", exif(9))]), "OK", "3 x 1 x 2")
row("picture", "text-many.png", png(before=[(b"tEXt", b"k\0v")] * 20000), "OK", "3 x 2 x 2 first 10 11 12")
row("picture", "text-bomb.png", png(before=[(b"zTXt", b"k\0\0" + zlib.compress(b"\0" * (32 << 20)))]), "OK", "3 x 2 x 2 first 10 11 12")
row("picture", "profile.png", png(before=[(b"iCCP", b"x\0\0" + zlib.compress(b"no profile"))]), "OK")
row("picture", "wrong-ending.jpg", png(), "OK", "3 x 2 x 2")
for name, body, status in (
        ("huge", png(header=struct.pack(">IIBBBBB", 1 << 31, 1 << 31, 8, 2, 0, 0, 0)), "FORMAT|LIMIT"),
        ("large", png(header=struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)), "LIMIT"),
        ("claims", png(header=struct.pack(">IIBBBBB", 10000, 10000, 8, 2, 0, 0, 0)), "FORMAT"),
        ("zero-wide", png(header=struct.pack(">IIBBBBB", 0, 2, 8, 2, 0, 0, 0)), "FORMAT|LIMIT"),
        ("depth-3", png(header=struct.pack(">IIBBBBB", 2, 2, 3, 2, 0, 0, 0)), "FORMAT"),
        ("kind-5", png(header=struct.pack(">IIBBBBB", 2, 2, 8, 5, 0, 0, 0)), "FORMAT"),
        ("interlace-2", png(header=struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 2)), "FORMAT"),
        ("compression-1", png(compression=1), "FORMAT"),
        ("header-short", png(header=b"\0" * 5), "FORMAT"),
        ("header-crc", SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0), 7) + png()[33:], "FORMAT"),
        ("data-crc", SIGNATURE + png()[8:33] + chunk(b"IDAT", zlib.compress(b"\0" * 14), 7) + chunk(b"IEND", b""), "FORMAT"),
        ("data-none", SIGNATURE + png()[8:33] + chunk(b"IEND", b""), "FORMAT"),
        ("data-empty", SIGNATURE + png()[8:33] + chunk(b"IDAT", b"") + chunk(b"IEND", b""), "FORMAT"),
        ("data-short", SIGNATURE + png()[8:33] + chunk(b"IDAT", zlib.compress(b"\0" * 3)) + chunk(b"IEND", b""), "FORMAT"),
        ("filter-9", png(rows=b"\x09" + b"\0" * 6 + b"\0" * 7), "FORMAT"),
        ("no-end", png()[:-12], "FORMAT"),
        ("signature", SIGNATURE, "FORMAT"),
        ("chunk-past", SIGNATURE + png()[8:33] + struct.pack(">I", 1 << 30) + b"IDAT", "FORMAT"),
        ("critical", png(before=[(b"ABCD", b"1")]), "FORMAT"),
        ("two-headers", png(before=[(b"IHDR", struct.pack(">IIBBBBB", 9, 9, 8, 2, 0, 0, 0))]), "FORMAT"),
        ("empty", b"", "FORMAT"), ("one-byte", b"\x89", "FORMAT"), ("is-text", b"no picture at all", "FORMAT")):
    row("picture", "png-%s.png" % name, body, status)
JPG = open("tests/fuzz/corpus/picture/rgb.jpg", "rb").read()
GRAY = open("tests/fuzz/corpus/picture/gray.jpg", "rb").read()
SOF = JPG.find(b"\xff\xc0")
CMYK = JPG[:SOF + 2] + struct.pack(">H", 20) + JPG[SOF + 4:SOF + 9] + b"\4" + JPG[SOF + 10:SOF + 19] + b"\4\x11\0" + JPG[SOF + 19:]
row("picture", "good.jpg", JPG, "OK", "3 x")
row("picture", "gray.jpg", GRAY, "OK", "1 x")
row("picture", "exif.jpg", open("tests/fuzz/corpus/picture/exif.jpg", "rb").read(), "OK")
for name, body, status in (
        ("huge", JPG[:SOF + 5] + struct.pack(">HH", 65500, 65500) + JPG[SOF + 9:], "LIMIT"),
        ("claims", JPG[:SOF + 5] + struct.pack(">HH", 9000, 9000) + JPG[SOF + 9:], "FORMAT"),
        ("zero-high", JPG[:SOF + 5] + struct.pack(">HH", 0, 8) + JPG[SOF + 9:], "FORMAT|UNSUPPORTED"),
        ("zero-wide", JPG[:SOF + 5] + struct.pack(">HH", 8, 0) + JPG[SOF + 9:], "FORMAT"),
        ("no-components", JPG[:SOF + 9] + b"\0" + JPG[SOF + 10:], "FORMAT"),
        ("precision-12", JPG[:SOF + 4] + b"\x0c" + JPG[SOF + 5:], "FORMAT|UNSUPPORTED"),
        ("arithmetic", JPG[:SOF + 1] + b"\xc9" + JPG[SOF + 2:], "OK|FORMAT|UNSUPPORTED"),
        ("lossless", JPG[:SOF + 1] + b"\xc3" + JPG[SOF + 2:], "FORMAT|UNSUPPORTED"),
        ("no-tables", JPG[:2] + JPG[SOF:], "FORMAT"), ("cmyk", CMYK, "UNSUPPORTED"),
        ("huffman", JPG.replace(b"\xff\xc4\x00\x1f\x00\x00", b"\xff\xc4\x00\x1f\x00\xff", 1), "FORMAT"),
        ("cut", JPG[:len(JPG) // 2], "FORMAT"), ("start", JPG[:2], "FORMAT"), ("no-scan", JPG[:SOF], "FORMAT"),
        ("twice-start", JPG[:2] + JPG, "FORMAT"), ("segment-past", JPG[:2] + b"\xff\xe1\xff\xff" + JPG[2:], "FORMAT")):
    row("picture", "jpeg-%s.jpg" % name, body, status)


# --- folders, archives and files of pictures -------------------------------------------------------------

def folder(*files, **links):
    def make(p):
        os.makedirs(p)
        for n, d in files:
            path = os.path.join(os.fsencode(p), n if isinstance(n, bytes) else n.encode())
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as f:
                f.write(d)
        if "then" in links:
            links["then"](p)
    return make


def made_socket(p):
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(p)


P = png()
row("dataset", "set-good", folder(("a.png", P), ("b.jpg", JPG)), "OK", "folder of 2 images", "0 bad")
row("dataset", "set-classes", folder(("x/a.png", P), ("y/b.png", P)), "OK", "2 classes")
row("dataset", "set-empty", folder(), "ARGUMENT", "no picture")
row("dataset", "set-texts", folder(("a.txt", b"1")), "ARGUMENT", "no picture")
row("dataset", "set-zero-bytes", folder(("a.png", b""), ("b.png", P)), "OK", "1 bad")
row("dataset", "set-all-bad", folder(("a.png", b""), ("b.png", b"1")), "FORMAT", "no picture")
row("dataset", "set-wrong-ending", folder(("a.jpg", P), ("b.png", JPG)), "OK", "0 bad")
row("dataset", "set-cut", folder(("a.png", P), ("b.png", P[:40])), "OK", "1 bad")
row("dataset", "set-turned", folder(("a.png", png(before=[(b"eXIf", exif(6))]))), "OK", "0 bad", "first 10 10")  # upright it is 10 13
row("dataset", "set-depths", folder(("a.png", png(depth=16, rows=(b"\0" + bytes(12)) * 2)), ("b.png", png(depth=8, kind=3, rows=b"\0\1\2\0\3\0", before=[PLTE])),
                                   ("c.png", png(kind=0, rows=b"\0ab\0cd")), ("d.png", png(kind=6, rows=(b"\0" + bytes(8)) * 2))), "OK", "4 images", "0 bad")
row("dataset", "set-animated", folder(("a.png", png(before=[(b"acTL", struct.pack(">II", 2, 0))]))), "OK", "0 bad")
row("dataset", "set-huge", folder(("a.png", P), ("b.png", png(header=struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)))), "OK", "1 bad")
row("dataset", "set-names", folder((b"\xff\xfe.png", P), ("new\nline.png", P), ("blank .png", P), ("ü.png", P), ("-rf.png", P), ("a;b$(c).png", P)), "OK", "6 images")
row("dataset", "set-long-name", folder(("n" * 250 + ".png", P)), "OK", "1 images")
row("dataset", "set-upper", folder(("A.PNG", P), ("B.JPEG", JPG)), "OK", "2 images")
row("dataset", "set-hidden", folder((".a.png", P), ("b.png", P), ("._b.png", b"x"), ("__MACOSX/b.png", b"x"), ("Thumbs.db", b"x")), "OK", "0 bad")
row("dataset", "set-cmyk", folder(("a.jpg", CMYK), ("b.png", P)), "OK", "2 images", "1 bad")
row("dataset", "set-socket", folder(("b.png", P), then=lambda p: made_socket(p + "/a.png")), "OK", "1 images", "0 bad")
row("dataset", "set-fifo", folder(("b.png", P), then=lambda p: os.mkfifo(p + "/a.png")), "OK", "1 images")
row("dataset", "set-loop", folder(("b.png", P), then=lambda p: os.symlink(".", p + "/loop")), "OK", "1 images")
row("dataset", "set-loop-up", folder(("in/b.png", P), then=lambda p: os.symlink("..", p + "/in/up")), "OK", "1 images")
row("dataset", "set-link-self", folder(("b.png", P), then=lambda p: os.symlink("a.png", p + "/a.png")), "OK", "1 images", "0 bad")
row("dataset", "set-link-dangling", folder(("b.png", P), then=lambda p: os.symlink("/nowhere/x.png", p + "/a.png")), "OK", "1 images", "0 bad")
row("dataset", "set-link-device", folder(("b.png", P), then=lambda p: os.symlink("/dev/zero", p + "/a.png")), "OK", "1 images")
row("dataset", "set-link-good", folder(("b.png", P), then=lambda p: os.symlink("b.png", p + "/c.png")), "OK")
row("dataset", "set-deep", folder(("/".join("d" * 70) + "/b.png", P)), "LIMIT", "64", named=True)
row("dataset", "set-folder-called.png", folder(("x.png/b.png", P)), "OK", "1 images")
row("dataset", "set-unreadable", folder(("b.png", P), ("a.png", P), then=lambda p: os.chmod(p + "/a.png", 0)), "IO", "a.png", nobody=True)
row("dataset", "set-closed", folder(("b.png", P), then=lambda p: os.chmod(p, 0)), "IO", nobody=True)
row("dataset", "set-closed-inner", folder(("b.png", P), ("in/a.png", P), then=lambda p: os.chmod(p + "/in", 0)), "IO", nobody=True, named=True)
for name, body, words in (
        ("not-json", b"{", ("dataset.json",)), ("crossed", b'{"x": [1, {"y": 2]}, "labels": null}', ("dataset.json",)),
        ("no-name", b'{"x": {"y": 1, 2}, "labels": null}', ("dataset.json",)), ("no-value", b'{"x": {"y"}, "labels": null}', ("dataset.json",)), ("literal", b'{"x": trux, "labels": null}', ("dataset.json",)), ("literal-cut", b'{"x": tru', ("dataset.json",)),
        ("literal-long", b'{"x": nullx, "labels": null}', ("dataset.json",)), ("labels-number", b'{"labels": 7}', ("labels",)),
        ("entry", b'{"labels": [7]}', ("entry",)), ("negative", b'{"labels": [["a.png", -1]]}', ("-1",)),
        ("fraction", b'{"labels": [["a.png", 1.5]]}', ("a.png",)), ("large", b'{"labels": [["a.png", 99999999999]]}', ("a.png",)),
        ("twice", b'{"labels": [["a.png", 1], ["a.png", 2]]}', ("a.png",)), ("labels-twice", b'{"labels": null, "labels": null}', ("twice",)),
        ("vector", b'{"labels": [["a.png", [1, 0]]]}', ("a.png",)), ("text", b'{"labels": [["a.png", "1"]]}', ("a.png",)),
        ("deep", b'{"x": ' + b"[" * 100000 + b"]" * 100000 + b"}", ("dataset.json",)), ("utf8", b'{"labels": [["\xff.png", 1]]}', ("dataset.json",))):
    row("dataset", "json-%s" % name, folder(("a.png", P), ("dataset.json", body)), "FORMAT|UNSUPPORTED|LIMIT", *words)
row("dataset", "json-empty", folder(("a.png", P), ("dataset.json", b"")), "FORMAT", "dataset.json")
row("dataset", "json-missing", folder(("a.png", P), ("dataset.json", b'{"labels": [["other.png", 1]]}')), "FORMAT", "a.png")
row("dataset", "json-nested", folder(("a.png", P), ("dataset.json", b'{"x": [1, {"y": [[], {}], "z": {"w": [2, 3]}}, "a"], "labels": null}')), "OK", "0 classes")
row("dataset", "json-null", folder(("a.png", P), ("dataset.json", b'{"labels": null}')), "OK", "0 classes")
row("dataset", "json-good", folder(("a.png", P), ("b.png", P), ("dataset.json", b'{"labels": [["a.png", 0], ["b.png", 1]]}')), "OK", "2 classes")

row("dataset", "good.zip", archive([("a.png", P), ("b.png", P)]), "OK", "zip of 2")
row("dataset", "deflated.zip", archive([("a.png", P)], zipfile.ZIP_DEFLATED), "OK", "1 images")
row("dataset", "none.zip", archive([("a.txt", b"1")]), "ARGUMENT", "no picture")
row("dataset", "empty.zip", archive([]), "ARGUMENT|FORMAT")
row("dataset", "up.zip", archive([("../a.png", P)]), "FORMAT", "leaves")
row("dataset", "absolute.zip", archive([("/a.png", P)]), "FORMAT", "absolute")
row("dataset", "bomb.zip", archive([("a.png", b"\0" * (64 << 20)), ("b.png", P)], zipfile.ZIP_DEFLATED), "OK", "1 bad")
row("dataset", "cut.zip", archive([("a.png", P)])[:-10], "FORMAT")
row("dataset", "crc.zip", archive([("a.png", P), ("b.png", P)]).replace(P, P[:50] + b"\xee" + P[51:], 1), "OK", "1 bad")
ZIP = archive([("a.png", P)])
row("dataset", "encrypted.zip", changed(ZIP, b"PK\1\2" + ZIP[ZIP.find(b"PK\1\2") + 4:][:4], b"PK\1\2" + ZIP[ZIP.find(b"PK\1\2") + 4:][:4] + b"\1"), "FORMAT|UNSUPPORTED")


def tar(*files, **more):
    def make(p):
        with tarfile.open(p, "w", format=more.get("format", tarfile.USTAR_FORMAT)) as t:
            for n, d in files:
                i = tarfile.TarInfo(n)
                i.size = len(d)
                if "link" in more:
                    i.type, i.linkname, i.size = tarfile.SYMTYPE, more["link"], 0
                t.addfile(i, io.BytesIO(d))
        with open(p, "r+b") as f:
            b = more["change"](f.read()) if "change" in more else None
            if b is not None:
                f.seek(0)
                f.write(b)
                f.truncate()
    return make


row("dataset", "good.tar", tar(("a.png", P), ("b.png", P)), "OK", "tar of 2")
row("dataset", "pax.tar", tar(("n" * 200 + "/a.png", P), format=tarfile.PAX_FORMAT), "OK", "1 images")
row("dataset", "gnu.tar", tar(("n" * 200 + "/a.png", P), format=tarfile.GNU_FORMAT), "OK", "1 images")
row("dataset", "none.tar", tar(("a.txt", P)), "ARGUMENT", "no picture")
row("dataset", "up.tar", tar(("../a.png", P)), "FORMAT", "leaves")
row("dataset", "absolute.tar", tar(("/a.png", P)), "FORMAT", "absolute")
row("dataset", "link.tar", tar(("a.png", P), link="/etc/passwd"), "ARGUMENT", "no picture")
row("dataset", "cut.tar", tar(("a.png", P), change=lambda b: b[:700]), "FORMAT", "truncated")
row("dataset", "sum.tar", tar(("a.png", P), ("b.png", P), change=lambda b: b[:150] + b"9" + b[151:]), "FORMAT")
row("dataset", "size.tar", tar(("a.png", P), ("b.png", P), change=lambda b: b[:124] + b"77777777777\0" + b[136:]), "FORMAT")
row("dataset", "zeros.tar", bytes(10240), "ARGUMENT|FORMAT")

IMAGES = struct.pack(">IIII", 0x803, 3, 2, 2) + bytes(range(12))
LABELS = struct.pack(">II", 0x801, 3) + bytes([0, 1, 2])
I, L = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
row("dataset", "idx-good", folder((I, IMAGES), (L, LABELS)), "OK", "idx of 3", "3 classes")
row("dataset", "idx-alone", folder((I, IMAGES)), "OK", "idx of 3", "0 classes")
row("dataset", "idx-cut", folder((I, IMAGES[:-1]), (L, LABELS)), "FORMAT", I, named=False)
row("dataset", "idx-long", folder((I, IMAGES + b"1"), (L, LABELS)), "FORMAT", I, named=False)
row("dataset", "idx-many", folder((I, struct.pack(">IIII", 0x803, 1 << 31, 2, 2) + bytes(12)), (L, LABELS)), "FORMAT|LIMIT", I, named=False)
row("dataset", "idx-wraps", folder((I, struct.pack(">IIII", 0x803, 1 << 31, 1 << 31, 4) + bytes(12)), (L, LABELS)), "FORMAT|LIMIT", I, named=False)
row("dataset", "idx-none", folder((I, struct.pack(">IIII", 0x803, 0, 2, 2)), (L, struct.pack(">II", 0x801, 0))), "FORMAT|ARGUMENT", named=False)
row("dataset", "idx-zero-side", folder((I, struct.pack(">IIII", 0x803, 3, 0, 2)), (L, LABELS)), "FORMAT|LIMIT", I, named=False)
row("dataset", "idx-floats", folder((I, struct.pack(">IIII", 0xd03, 3, 2, 2) + bytes(48)), (L, LABELS)), "FORMAT|UNSUPPORTED", I, named=False)
row("dataset", "idx-labels-few", folder((I, IMAGES), (L, struct.pack(">II", 0x801, 2) + bytes(2))), "FORMAT", "2 labels", named=False)
row("dataset", "idx-labels-cut", folder((I, IMAGES), (L, LABELS[:-1])), "FORMAT", L, named=False)
row("dataset", "idx-labels-empty", folder((I, IMAGES), (L, b"")), "FORMAT", L, named=False)
row("dataset", "idx-swapped", folder((I, LABELS), (L, IMAGES)), "FORMAT", named=False)
RECORD = bytes([3]) + bytes(i % 251 for i in range(3072))
row("dataset", "cifar.bin", RECORD * 3, "OK", "cifar", "3 images")
row("dataset", "cifar-cut.bin", RECORD[:-1], "FORMAT")
row("dataset", "cifar-empty.bin", b"", "FORMAT")
row("dataset", "cifar-label.bin", bytes([10]) + RECORD[1:], "FORMAT", "label 10")
row("dataset", "cifar-folder", folder(("data_batch_1.bin", RECORD), ("data_batch_2.bin", RECORD)), "OK", "2 images")
row("dataset", "cifar-folder-cut", folder(("data_batch_1.bin", RECORD), ("data_batch_2.bin", RECORD[:100])), "FORMAT", "data_batch_2", named=False)


def images(descr="|u1", shape="(2, 2, 2, 3)", data=bytes(24), labels=None, **more):
    return archive([("arr_0.npy", npy(descr, shape, data, **more))] + ([("arr_1.npy", labels)] if labels else []))


row("dataset", "set-images.npz", images(), "OK", "npz of 2")
row("dataset", "images-labels.npz", images(labels=npy("<i8", "(2,)", struct.pack("<2q", 0, 1))), "OK", "2 classes")
row("dataset", "images-gray.npz", images(shape="(2, 2, 2)", data=bytes(range(8))), "OK", "npz of 2 images 3 x 2 x 2", "first 4 5")  # of the second, which the order of this set gives first
row("dataset", "images-channel.npz", images(shape="(2, 2, 2, 1)", data=bytes(range(5, 13))), "OK", "npz of 2 images 3 x 2 x 2", "first 9 10")
row("dataset", "images-colour.npz", images(data=bytes(range(24))), "OK", "npz of 2 images 3 x 2 x 2", "first 12 15")
for name, body in (("floats", images("<f4", data=bytes(96))), ("rank", images(shape="(2, 12)")), ("channels", images(shape="(2, 2, 3, 2)")),
                   ("fortran", images(fortran="True")), ("cut", images(data=bytes(23))), ("none", images(shape="(0, 2, 2, 3)", data=b"")),
                   ("labels-few", images(labels=npy("<i8", "(1,)", struct.pack("<q", 0)))), ("labels-negative", images(labels=npy("<i8", "(2,)", struct.pack("<2q", 0, -2)))),
                   ("labels-float", images(labels=npy("<f8", "(2,)", struct.pack("<2d", 0, .5))))):
    row("dataset", "images-%s.npz" % name, body, "FORMAT|UNSUPPORTED|LIMIT|ARGUMENT")


# --- what is no file ---------------------------------------------------------------------------------------

for way in ("tensors", "model", "picture", "dataset", "statistics"):
    row(way, "%s-missing" % way, lambda p: None, "IO")
    row(way, "%s-fifo" % way, os.mkfifo, "IO")
    row(way, "%s-socket" % way, made_socket, "IO")
    row(way, "%s-loop" % way, lambda p: os.symlink(os.path.basename(p), p), "IO")
    row(way, "%s-dangling" % way, lambda p: os.symlink("/nowhere/at/all", p), "IO")
    row(way, "%s-zero" % way, lambda p: os.symlink("/dev/zero", p), "IO")
    row(way, "%s-text.txt" % way, b"This is a text and nothing else.\n", "FORMAT")
    row(way, "%s-unreadable" % way, lambda p: (open(p, "wb").write(b"x" * 100), os.chmod(p, 0)), "IO", nobody=True)
    if way != "dataset":
        row(way, "%s-folder" % way, os.makedirs, "IO|FORMAT")
row("tensors", "n" * 4090, lambda p: None, "IO", named=False)
row("tensors", b"\xff\xfe-name".decode("utf-8", "surrogateescape"), one(), "OK")


# --- right format, another network ----------------------------------------------------------------------------

def variant(change):
    def make(p):
        with open(TOP + "/tests/data/models/digits_consistency.safetensors", "rb") as f:
            b = f.read()
        n = struct.unpack("<Q", b[:8])[0]
        header, data = json.loads(b[8:8 + n]), b[8 + n:]
        tensors = {k: (v, data[v["data_offsets"][0]:v["data_offsets"][1]]) for k, v in header.items() if k != "__metadata__"}
        meta = dict(header.get("__metadata__", {}))
        change(tensors, meta)
        out, at, body = {"__metadata__": meta}, 0, b""
        parts = []
        for k, (v, d) in tensors.items():
            out[k] = dict(v, data_offsets=[at, at + len(d)])
            at += len(d)
            parts.append(d)
        with open(p, "wb") as f:
            f.write(st(out, b"".join(parts)))
    return make


def drop(name):
    return lambda t, m: t.pop(name)


def reshape(t, m):
    v, d = t["map_layer0.weight"]
    t["map_layer0.weight"] = (dict(v, shape=v["shape"][::-1] + [1]), d)


def half(t, m):
    for k in sorted(t)[::2]:
        t.pop(k)


def setmeta(key, value):
    def change(t, m):
        m[key] = value
    return change


def nans(t, m):
    v, d = t["map_layer0.bias"]
    t["map_layer0.bias"] = (v, struct.pack("<f", float("nan")) + d[4:])


row("model", "as-is.safetensors", variant(lambda t, m: None), "OK")
row("model", "missing.safetensors", variant(drop("map_layer0.bias")), "SHAPE", "map_layer0.bias")
row("model", "extra.safetensors", variant(lambda t, m: t.update(surplus=({"dtype": "F32", "shape": [1]}, b"\0" * 4))), "SHAPE", "surplus")
row("model", "transposed.safetensors", variant(reshape), "SHAPE", "map_layer0.weight")
row("model", "half-the-layers.safetensors", variant(half), "SHAPE", "missing")
row("model", "nan-weight.safetensors", variant(nans), "NUMERIC", "map_layer0.bias")
for key, value, status in (("consistency.network", "{", "FORMAT"), ("consistency.network", "[]", "FORMAT"), ("consistency.network", '{"type": "unet9"}', "FORMAT|UNSUPPORTED"),
                           ("consistency.precond", '{"type": "flow9"}', "FORMAT|UNSUPPORTED"), ("consistency.precond", "7", "FORMAT"), ("consistency.format", "99", "UNSUPPORTED"),
                           ("consistency.image", '{"channels": 0, "height": 32, "width": 32}', "FORMAT"), ("consistency.image", '{"channels": 1, "height": -1, "width": 32}', "FORMAT")):
    row("model", "%s-%d.safetensors" % (key, len(ROWS)), variant(setmeta(key, value)), status, key.split(".")[1])
row("model", "no-network.safetensors", one(), "FORMAT|SHAPE|UNSUPPORTED")
row("model", "optimizer.msgpack", lambda p: shutil.copy(TOP + "/tests/fuzz/corpus/flax/optimizer", p), "FORMAT|UNSUPPORTED|SHAPE")
SONG = {"type": "songunet", "img_resolution": 8, "img_channels": 1, "model_channels": 4, "channel_mult": [1], "num_blocks": 1, "attn_resolutions": []}
for name, change, word in (("unknown", {"colour": 1}, "colour"), ("zero", {"model_channels": 0}, "model_channels"), ("negative", {"num_blocks": -1}, "num_blocks"),
                           ("huge", {"model_channels": 1 << 40}, "model_channels"), ("fraction", {"num_blocks": 1.5}, "num_blocks"), ("text", {"num_blocks": "1"}, "num_blocks"),
                           ("list", {"channel_mult": 1}, "channel_mult"), ("empty-list", {"channel_mult": []}, "channel_mult"), ("list-huge", {"channel_mult": [1] * 5000}, "channel_mult"),
                           ("side", {"img_resolution": 1 << 30}, "img_resolution"), ("dropout", {"dropout": 2}, "dropout"), ("type", {"type": 7}, "type")):
    row("config", "config-%s.json" % name, json.dumps({"network": dict(SONG, **change), "precond": {"type": "edm"}}), "FORMAT|UNSUPPORTED|LIMIT|ARGUMENT", word, named=False)
row("config", "config-good.json", json.dumps({"network": SONG, "precond": {"type": "edm"}}), "OK", "parameters")
for name, body, word in (("not-json", "{", ""), ("empty", "", ""), ("null", "null", ""), ("no-network", "{}", "network"), ("twice", '{"network": 1, "network": 2}', "network"),
                         ("sigma", json.dumps({"network": SONG, "precond": {"type": "edm", "sigma_data": -1}}), "sigma_data"),
                         ("range", json.dumps({"network": SONG, "precond": {"type": "edm", "sigma_min": 80, "sigma_max": 1}}), "sigma")):
    row("config", "config-%s.json" % name, body, "FORMAT|UNSUPPORTED|ARGUMENT", word, named=False)
for name, body, word in (("unknown", {"lrr": 1}, "lrr"), ("negative", {"lr": -1}, "lr"), ("text", {"steps": "many"}, "steps"), ("choice", {"objective": "gan"}, "gan"),
                         ("batch", {"batch": 0}, "batch"), ("huge", {"batch": 1 << 60}, "batch"), ("ema", {"ema": "2"}, "ema"), ("list", {"lr": [1]}, "lr")):
    row("options", "options-%s.json" % name, json.dumps(body), "ARGUMENT|FORMAT", word, named=False)
row("options", "options-not-json.json", "{", "FORMAT", named=False)
row("options", "options-good.json", json.dumps({"objective": "edm", "lr": 0.001}), "OK")

# Cut at every 64th byte.
for way, source in (("tensors", "small.pt"), ("tensors", "odd_views_legacy.pt"), ("tensors", "flax_ok_small.msgpack"), ("tensors", "st_ok.safetensors")):
    whole = open("tests/data/golden/checkpoints/" + source, "rb").read()
    for n in range(0, len(whole) - 1, 64):
        row(way, "cut-%04d-%s" % (n, source), whole[:n], "FORMAT|LIMIT|UNSUPPORTED")
for source in ("edm/tiny.pkl",):
    whole = open("tests/fuzz/corpus/" + source, "rb").read()
    for n in range(0, len(whole) - 1, 128):
        row("tensors", "cut-%04d-%s" % (n, os.path.basename(source)), whole[:n], "FORMAT|LIMIT|UNSUPPORTED")
for n in range(0, len(JPG) - 1, 64):
    row("picture", "cut-%04d.jpg" % n, JPG[:n], "FORMAT")


# --- at each limit, and one beyond it ------------------------------------------------------------------------------

def at_limit(way, name, make, most, *words, **more):
    """make(n) is fine up to n = most; one more is a LIMIT (or more["then"]) with these words."""
    stem, ending = os.path.splitext(name)
    row(way, "limit-%s-%d%s" % (stem, most, ending), make(most), "OK", *more.get("good", ()))
    row(way, "limit-%s-%d%s" % (stem, most + 1, ending), make(most + 1), more.get("then", "LIMIT"), *words)


def nested(n):
    """A tensor beside n lists within each other."""
    return torch(pickle=b"\x80\x02}(" + text("w") + tensor() + text("x") + b"]" * n + b"a" * (n - 1) + b"u.")


def maps(n):
    """A tensor below n maps."""
    return b"\x81" + mp("params") + (b"\x81" + mp("m")) * (n - 2) + b"\x81" + mp("k") + nd()


def shaped(n):
    return (1,) * n


def long_key(n):
    return b"\xda" + struct.pack(">H", n) + b"k" * n


at_limit("tensors", "depth.pt", nested, 64, "64")
at_limit("tensors", "depth.msgpack", maps, 64, "64")
at_limit("tensors", "rank.pt", lambda n: torch(tensor(count=1, shape=shaped(n), stride=shaped(n)), b"\0" * 4), 8, "rank")
at_limit("tensors", "rank.safetensors", lambda n: one(shape=shaped(n), offsets=(0, 4), data=b"\0" * 4), 8, "rank")
at_limit("tensors", "rank.msgpack", lambda n: state(nd(shaped(n), data=b"\0" * 4)), 8, "rank")
at_limit("tensors", "name.safetensors", lambda n: st({"n" * n: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4), 4096, "4096")
at_limit("tensors", "name.pt", lambda n: torch(pickle=b"\x80\x02}" + text("n" * n) + tensor() + b"s."), 4096, "4096", then="FORMAT")
at_limit("tensors", "key.msgpack", lambda n: b"\x82" + mp("params") + b"\x81" + mp("k") + nd() + long_key(n) + b"\xc0", 4096, "4096")
at_limit("tensors", "names.msgpack", lambda n: b"\x82" + mp("params") + b"\x81" + long_key(2000) + b"\x81" + long_key(n) + nd() + mp("pad") + b"\xc5\x40\0" + bytes(1 << 14), 2095, "4096")
at_limit("tensors", "count.safetensors", lambda n: st("{" + ",".join('"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}' % i for i in range(n)) + "}"), 65536, "65536")
at_limit("picture", "wide.png", lambda n: png(n, 1, rows=bytes(1 + 3 * n)), 65535, "65535")
at_limit("picture", "high.png", lambda n: png(1, n, rows=bytes(4 * n)), 65535, "65535")
at_limit("dataset", "deep-folders", lambda n: folder(("/".join("d" * n) + "/b.png", P)), 64, "64")
at_limit("dataset", "wide.npz", lambda n: images(shape="(1, 1, %d)" % n, data=bytes(n)), 65535)
at_limit("dataset", "high.npz", lambda n: images(shape="(1, %d, 1)" % n, data=bytes(n)), 65535)
at_limit("dataset", "label.npz", lambda n: images(labels=npy("<i8", "(2,)", struct.pack("<2q", 0, n))), (1 << 24) - 1, "label", then="FORMAT")
at_limit("dataset", "json-label", lambda n: folder(("a.png", P), ("dataset.json", b'{"labels": [["a.png", %d]]}' % n)), (1 << 24) - 1, "a.png", then="FORMAT")
at_limit("dataset", "cifar-class.bin", lambda n: bytes([n]) + RECORD[1:], 9, "label 10", then="FORMAT")
row("dataset", "label-none.npz", images(labels=npy("<i8", "(2,)", struct.pack("<2q", 0, -1))), "OK")


def idx(n, rows=2, columns=2, more=b""):
    return struct.pack(">4I", 0x803, n, rows, columns) + bytes(n * rows * columns) + more


def gz(data, size=0):
    """By gzip; of `size` bytes by an extra field."""
    deflate = zlib.compressobj(0, zlib.DEFLATED, -15)
    body = deflate.compress(data) + deflate.flush() + struct.pack("<II", zlib.crc32(data), len(data))
    extra = size - len(body) - 12 if size else 0
    return b"\x1f\x8b\x08\4\0\0\0\0\0\3" + struct.pack("<H", extra) + bytes(extra) + body


PIXELS = idx(70, 40, 40)
row("dataset", "parts-idx3-ubyte.gz", gz(PIXELS[:30000], 65535) + gz(PIXELS[30000:]), "OK", "idx of 70 images")  # the second begins at the end of what is read at once
row("dataset", "parts-tail-idx3-ubyte.gz", gz(PIXELS[:30000], 65536) + gz(PIXELS[30000:]) + b"tail", "OK", "idx of 70 images")
row("dataset", "parts-cut-idx3-ubyte.gz", gz(PIXELS[:30000], 65536) + gz(PIXELS[30000:])[:-100], "FORMAT", "truncated or damaged")
row("dataset", "parts-one-idx3-ubyte.gz", gz(PIXELS[:30000]), "FORMAT", "truncated or damaged after")
row("dataset", "parts-crc-idx3-ubyte.gz", gz(PIXELS)[:-8] + bytes(8), "FORMAT", "checksum")
row("dataset", "parts-no-crc-idx3-ubyte.gz", gz(PIXELS)[:-8], "FORMAT", "checksum")
row("dataset", "parts-second-crc-idx3-ubyte.gz", gz(PIXELS[:30000]) + gz(PIXELS[30000:])[:-5] + bytes(5), "FORMAT", "checksum")
at_limit("dataset", "rows-idx3-ubyte", lambda n: idx(1, n, 1), 65535, "65536")
at_limit("dataset", "columns-idx3-ubyte", lambda n: idx(1, 1, n), 65535, "65536")


# --- PyTorch's stream, part by part ----------------------------------------------------------------------------

MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
MACHINE = b"\x80\x02}(" + text("little_endian") + b"\x88" + text("protocol_version") + b"M\xe9\x03u."


def stream_tensor(view=b"N", count=6, key="0"):
    return (b"ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu") + number(count) +
            view + b"tQ" + number(0) + b"(" + number(2) + number(3) + b"t(" + number(3) + number(1) + b"t\x89ccollections\nOrderedDict\n)RtR")


def stream(version=b"M\xe9\x03", machine=MACHINE, value=None, keys=("0",), counts=(6,), data=bytes(24), listed=None):
    body = listed if listed is not None else b"\x80\x02](" + b"".join(text(k) for k in keys) + b"e."
    return (MAGIC + b"\x80\x02" + version + b"." + machine + b"\x80\x02}" + text("w") + (value or stream_tensor()) + b"s." + body +
            b"".join(struct.pack("<q", n) + data for n in counts))


row("tensors", "stream-good.pt", stream(), "OK", "1 tensors")
row("tensors", "stream-big.pt", stream(machine=MACHINE.replace(b"\x88", b"\x89", 1)), "OK", "1 tensors")
row("tensors", "stream-whole-view.pt", stream(value=stream_tensor(b"(" + text("0") + number(0) + number(6) + b"t")), "OK", "1 tensors")
for name, body, words in (
        ("version", stream(version=b"M\xe8\x03"), ("1001",)), ("version-text", stream(version=text("1001")), ("1001",)),
        ("machine-none", stream(machine=b"\x80\x02}."), ("little-endian",)),
        ("machine-number", stream(machine=b"\x80\x02}" + text("little_endian") + b"K\1s."), ("little-endian",)),
        ("keys-none", stream(listed=b"\x80\x02N."), ("list of storages",)), ("keys-number", stream(listed=b"\x80\x02]K\0a."), ("no tensor",)),
        ("key-other", stream(keys=("1",)), ("'1'",)), ("key-twice", stream(keys=("0", "0"), counts=(6, 6)), ("twice",)),
        ("key-missing", stream(keys=(), counts=()), ("'0'",)), ("count", stream(counts=(5,)), ("5",)), ("count-missing", stream(counts=()), ("'0'",)),
        ("count-cut", stream()[:-25], ("'0'",)), ("cut", stream()[:-1], ("24",)), ("behind", stream() + b"x", ("1 bytes",)),
        ("view-past", stream(value=stream_tensor(b"(" + text("0") + number(3) + number(6) + b"t")), ()),
        ("view-negative", stream(value=stream_tensor(b"(" + text("0") + number(-1) + number(6) + b"t")), ()),
        ("view-short", stream(value=stream_tensor(b"(" + text("0") + number(0) + number(5) + b"t")), ()),
        ("view-number", stream(value=stream_tensor(b"K\1")), ())):
    row("tensors", "stream-%s.pt" % name, body, "FORMAT|UNSUPPORTED|LIMIT", *words)


# --- the run -----------------------------------------------------------------------------------------------------

def size_of(path):
    if os.path.islink(path) or os.path.isfile(path):
        return os.lstat(path).st_size
    return sum(os.lstat(os.path.join(d, f)).st_size for d, _, names in os.walk(path) for f in names)


def ask(lines, *arguments):
    environment = dict(os.environ)
    if arguments:  # leaks cannot be looked for in a process that has become somebody else
        environment["ASAN_OPTIONS"] = environment.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
    done = subprocess.run([os.path.join(TOP, BUILD, "tests/catalogue_program"), *arguments], input=b"".join(lines), capture_output=True,
                          timeout=1800, env=environment)
    answers = done.stdout.split(b"\n")[:-1]
    return answers, done.returncode


def main():
    top = tempfile.mkdtemp(prefix="cm-catalogue-")
    os.chmod(top, 0o755)
    failures, lines, paths = [], {False: [], True: []}, {False: [], True: []}
    names = set()
    for r in ROWS:
        way, name, made, status, words, more = r
        assert name not in names, name
        names.add(name)
        path = os.path.join(top, name)
        if callable(made):
            made(path)
        else:
            with open(os.fsencode(path) if isinstance(path, str) else path, "wb") as f:
                f.write(made if isinstance(made, bytes) else made.encode())
        nobody = bool(more.get("nobody"))
        lines[nobody].append(way.encode() + b" " + os.fsencode(path) + b"\n")
        paths[nobody].append((r, path))
    worst = most = 0.0
    for nobody in (False, True):
        answers, code = ask(lines[nobody], *(["--nobody"] if nobody else []))
        if code != 0 or len(answers) != len(lines[nobody]):
            at = paths[nobody][min(len(answers), len(paths[nobody]) - 1)]
            failures.append("the program ended with %d at %s" % (code, at[1]))
        for ((way, name, made, status, words, more), path), answer in zip(paths[nobody], answers):
            got = answer.decode("utf-8", "replace").split("\t", 3)
            if len(got) < 4:
                failures.append("%s: %s" % (name, answer))
                continue
            code, took, peak, message = got[0].replace("CM_ERR_", "").replace("CM_OK", "OK"), float(got[1]), int(got[2]), got[3]
            if "--list" in sys.argv:
                print("%-10s %-40s %-12s %s" % (way, name[:40], code, message.replace(top + "/", "")[:200]))
            if code not in status.split("|"):
                failures.append("%s (%s): %s instead of %s: %s" % (name[:60], way, code, status, message[:300]))
                continue
            for word in words:
                if word not in message:
                    failures.append("%s: the message lacks '%s': %s" % (name[:60], word, message[:300]))
            if code != "OK" and more.get("named", True) and name not in message:
                failures.append("%s: the message does not name the file: %s" % (name[:60], message[:300]))
            size = size_of(path) if os.path.lexists(path) else 0
            if code != "OK" and peak > 16 * size + BOUND:
                failures.append("%s: %d bytes of memory for %d" % (name[:60], peak, size))
            if took > SECONDS * 1000:
                failures.append("%s: %.1f s" % (name[:60], took / 1000))
            worst, most = max(worst, took), max(most, peak if code != "OK" else 0)
    subprocess.run(["chmod", "-R", "u+rwX", top])
    shutil.rmtree(top, ignore_errors=True)
    for f in failures:
        print("FAIL catalogue:", f)
    print("catalogue: %d rows, %d faults; the slowest took %.0f ms, a refusal at most %.1f MiB" % (len(ROWS), len(failures), worst, most / 1048576))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
