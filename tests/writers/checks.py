"""What every group of checks uses: our side of a file, a count of what passed and failed, tensors as bytes."""
import ctypes as C
import os
import sys
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bindings", "python"))
import consistency as cm
from consistency import _lib

DTYPES = {1: "float32", 2: "bfloat16", 3: "float16", 4: "uint8", 5: "int32", 6: "int64", 7: "float64", 8: "int8",
          9: "int16", 10: "bool", 11: "uint16", 12: "uint32", 13: "uint64"}


class Report:
    """Counts checks by group; a check is a function that raises or returns."""

    def __init__(self, only):
        self.only, self.groups, self.failed = only, {}, []

    def run(self, group, name, check):
        if self.only and not any(o in "%s: %s" % (group, name) for o in self.only):
            return
        count = self.groups.setdefault(group, [0, 0])
        try:
            check()
            count[0] += 1
        except Exception as error:
            count[1] += 1
            where = traceback.extract_tb(error.__traceback__)[-1]
            text = str(error) if isinstance(error, (AssertionError, cm.Error)) else "%s (%s:%d): %s" % (
                type(error).__name__, os.path.basename(where.filename), where.lineno, error)
            self.failed.append("%s: %s: %s" % (group, name, text))

    def finish(self):
        for line in self.failed:
            print("FAIL " + line)
        width = max(len(g) for g in self.groups) if self.groups else 0
        for group, (good, bad) in self.groups.items():
            print("%-*s  %4d passed, %d failed" % (width, group, good, bad))
        good = sum(g for g, _ in self.groups.values())
        print("check-writers: %d passed, %d failed" % (good, len(self.failed)))
        return not self.failed and good > 0


def check(condition, message, *values):
    if not condition:
        raise AssertionError(message % values if values else message)


class File:
    """Tensors of a file as this library reads them: name -> (type, shape, bytes)."""

    def __init__(self, path, weights=None):
        lib, handle = _lib.lib, C.c_void_p()
        options, info = _lib.CheckpointOptions(), _lib.CheckpointInfo()
        lib.cm_checkpoint_options_init(C.byref(options), C.sizeof(options))
        lib.cm_checkpoint_info_init(C.byref(info), C.sizeof(info))
        options.weights = weights.encode() if weights else None
        self.check(lib.cm_checkpoint_open(None, os.fsencode(path), C.byref(options), C.byref(handle)))
        try:
            self.check(lib.cm_checkpoint_info_get(handle, C.byref(info)))
            self.kind, self.format, self.weights = info.kind, info.format.decode(), info.weights
            self.network = info.network.decode() if info.network else None
            self.tensors = {}
            for i in range(info.tensors):
                name, entry = self.read(lib, handle, i)
                check(name not in self.tensors, "%s twice", name)
                self.tensors[name] = entry
        finally:
            lib.cm_checkpoint_free(handle)

    @staticmethod
    def check(status):
        if status:
            raise cm.Error(status, _lib.lib.cm_last_message().decode())

    def read(self, lib, handle, i):
        name, rank, dtype, shape = C.c_char_p(), C.c_int32(), C.c_int32(), (C.c_int64 * 8)()
        self.check(lib.cm_checkpoint_tensor(handle, i, C.byref(name), C.byref(rank), shape, C.byref(dtype)))
        word, sizes = DTYPES[dtype.value], tuple(shape[:rank.value])
        size = 1 if word in ("bool", "uint8", "int8") else int(word.strip("abcdefghijklmnopqrstuvwxyz")) // 8
        for n in sizes:
            size *= n
        data = C.create_string_buffer(max(size, 1))
        self.check(lib.cm_checkpoint_read(handle, i, size, C.cast(data, C.c_void_p)))
        return name.value.decode(), (word, sizes, data.raw[:size])


def save_as(model, path, form, dtype, shard_bytes=0):
    model.save(path, overwrite=True, format=form, dtype=dtype, shard_bytes=shard_bytes)


def of_torch(tensor):
    import torch
    t = tensor.detach().cpu().contiguous()
    return str(t.dtype)[6:], tuple(t.shape), t.reshape(-1).view(torch.uint8).numpy().tobytes() if t.numel() else b""


def same(ours, theirs):
    """Both name -> (type, shape, bytes)."""
    check(set(ours) == set(theirs), "names differ: ours alone %s, theirs alone %s", sorted(set(ours) - set(theirs))[:5],
          sorted(set(theirs) - set(ours))[:5])
    for name in theirs:
        for what, a, b in zip(("type", "shape"), ours[name], theirs[name]):
            check(a == b, "%s: %s %s, theirs %s", name, what, a, b)
        check(ours[name][2] == theirs[name][2], "%s: other bytes", name)


def expect(path, theirs, weights=None):
    same(File(path, weights).tensors, {n: of_torch(t) for n, t in theirs.items()})


def refused(path, *words):
    """Read by nothing of ours, with a message that has the words."""
    try:
        File(path)
    except cm.Error as error:
        for word in words:
            check(word in str(error), "refused, but without '%s': %s", word, error)
        return
    raise AssertionError("it was read")


def close(ours, theirs, tolerance=5e-5):
    """Outputs, relative to the largest value."""
    import numpy
    a, b = numpy.asarray(ours, numpy.float64), numpy.asarray(theirs, numpy.float64)
    check(a.shape == b.shape, "shape %s, theirs %s", a.shape, b.shape)
    check(numpy.isfinite(b).all() and numpy.abs(b).max() > 0, "their output says nothing")
    error = numpy.abs(a - b).max() / numpy.abs(b).max()
    check(error <= tolerance, "differs by %.2g of the largest value, allowed %.2g", error, tolerance)
