"""Any file of tensors, read as data.

    with cm.Checkpoint("ema.pt") as file:
        print(file.format, file.about)
        for name in file:
            print(name, file.dtype(name), file.shape(name))
        weights = file["time_embed.0.weight"]
"""

import ctypes as C
import json
import math
import struct
from typing import Any, Dict, Iterator, List, Optional, Tuple, Union

from . import Path, _check, _context, _finish, _values
from ._handle import Handle
from ._interrupt import Interrupt, guarded
from ._progress import Count, counting
from ._lib import (FOUND, PROGRESS, CheckpointCheckOptions, CheckpointInfo, CheckpointOptions, CheckpointReport,
                   ModelInfo, lib)
from ._source import as_bytes, pointer_to
from ._values import Array

_KINDS = ("tensors", "model", "misfit", "optimizer")
# Of each cm_dtype: its name, numpy's type and memoryview's letter.  Numpy has no bfloat16, and memoryview no halves:
# these are read as float32.
_DTYPES: Dict[int, Tuple[str, str, str]] = {
    1: ("float32", "<f4", "f"), 2: ("bfloat16", "<f4", "f"), 3: ("float16", "<f2", "e"), 4: ("uint8", "|u1", "B"),
    5: ("int32", "<i4", "i"), 6: ("int64", "<i8", "q"), 7: ("float64", "<f8", "d"), 8: ("int8", "|i1", "b"),
    9: ("int16", "<i2", "h"), 10: ("bool", "|b1", "?"), 11: ("uint16", "<u2", "H"), 12: ("uint32", "<u4", "I"),
    13: ("uint64", "<u8", "Q")}
_BF16, _F16 = 2, 3


def _text(value: Optional[bytes]) -> Optional[str]:
    return value.decode("utf-8", "replace") if value is not None else None


class Checkpoint(Handle):
    """An open file whose tensors are read by name: weights of any program, the state of an optimizer, arrays.  Threads may
    share it.  Close it, use it in a with statement, or leave it to the garbage collector.

    len(file), name in file, iteration over the names, and file[name], the values: numpy's array of the file's type, or a
    memoryview where there is no numpy; bfloat16 is widened to float32, and float16 for memoryview.

    kind: "model" (Model.load takes the file), "misfit" (the file says what network it is and does not fit that),
    "optimizer" (the state of one) or "tensors" (anything else); about: that in one sentence; problem: why it is no model,
    or None; format; bytes, of the file; values; weights: the set that is listed, or None; sets: the names that weights=
    takes; notes: what the file says besides (metadata, writer, training state); network, precond, config: of a model."""

    _what, _free = "checkpoint", lib.cm_checkpoint_free
    _kept: Any = None

    def __init__(self, source: Union[Path, Any], weights: Optional[str] = None,
                 config: Optional[Dict[str, Any]] = None) -> None:
        """source: the name of a file or of a folder, or the content of a file (bytes, bytearray, mmap), used in place.

        weights: which set of a file that holds several; None: the average where there is one.  config: as Model.load has
        it; one that does not fit is an Error."""
        options, handle = CheckpointOptions(), C.c_void_p()
        lib.cm_checkpoint_options_init(C.byref(options), C.sizeof(options))
        options.weights = _values.text(weights, "weights") if weights is not None else None
        options.config_json = json.dumps(config).encode() if config is not None else None
        data = as_bytes(source)
        with _context() as context:
            if data is None:
                status = lib.cm_checkpoint_open(context, _values.path(source), C.byref(options), C.byref(handle))
            else:
                pointer, size, self._kept = pointer_to(data)
                status = lib.cm_checkpoint_open_memory(context, pointer, size, C.byref(options), C.byref(handle))
        _check(status)
        self._handle = handle
        self._describe(handle)

    def __repr__(self) -> str:
        return f"<consistency.Checkpoint: {self.format}, {len(self._index)} tensors, {self.about}>"

    def _describe(self, handle: Any) -> None:
        info = CheckpointInfo()
        lib.cm_checkpoint_info_init(C.byref(info), C.sizeof(info))
        _check(lib.cm_checkpoint_info_get(handle, C.byref(info)))
        self.kind: str = _KINDS[info.kind]
        self.about, self.format = info.about.decode(), info.format.decode()
        self.problem, self.weights = _text(info.problem), _text(info.weights)
        self.network, self.precond = _text(info.network), _text(info.precond)
        self.bytes: int = info.bytes
        self.values: int = info.values
        self.sets: List[str] = [lib.cm_checkpoint_set_name(handle, i).decode("utf-8", "replace") for i in range(info.sets)]
        self.notes: Dict[str, str] = dict(self._note(handle, i) for i in range(info.notes))
        self._index: Dict[str, int] = {self._tensor(handle, i)[0]: i for i in range(info.tensors)}
        self.config: Optional[Dict[str, Any]] = self._config(handle)

    @staticmethod
    def _note(handle: Any, index: int) -> Tuple[str, str]:
        key, value = C.c_char_p(), C.c_char_p()
        _check(lib.cm_checkpoint_note(handle, index, C.byref(key), C.byref(value)))
        return _text(key.value) or "", _text(value.value) or ""

    @staticmethod
    def _tensor(handle: Any, index: int) -> Tuple[str, Tuple[int, ...], int]:
        name, rank, shape, dtype = C.c_char_p(), C.c_int32(), (C.c_int64 * 8)(), C.c_int32()
        _check(lib.cm_checkpoint_tensor(handle, index, C.byref(name), C.byref(rank), shape, C.byref(dtype)))
        return _text(name.value) or "", tuple(shape[:rank.value]), dtype.value

    @staticmethod
    def _config(handle: Any) -> Optional[Dict[str, Any]]:
        model, info = lib.cm_checkpoint_model(handle), ModelInfo()
        if not model:
            return None
        lib.cm_model_info_init(C.byref(info), C.sizeof(info))
        _check(lib.cm_model_info_get(model, C.byref(info)))
        config: Dict[str, Any] = json.loads(info.config_json.decode())
        return config

    def __len__(self) -> int:
        return len(self._index)

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __contains__(self, name: object) -> bool:
        return name in self._index

    def names(self) -> List[str]:
        return list(self._index)

    def _find(self, handle: Any, name: str) -> Tuple[int, Tuple[int, ...], int]:
        if name not in self._index:
            raise KeyError(name)
        return (self._index[name],) + self._tensor(handle, self._index[name])[1:]

    def shape(self, name: str) -> Tuple[int, ...]:
        with self._held() as handle:
            return self._find(handle, name)[1]

    def dtype(self, name: str) -> str:
        """The type in the file: "float32", "bfloat16", "int64", ..."""
        with self._held() as handle:
            return _DTYPES[self._find(handle, name)[2]][0]

    def shapes(self) -> Dict[str, Tuple[int, ...]]:
        return {name: self.shape(name) for name in self._index}

    def __getitem__(self, name: str) -> Array:
        with self._held() as handle:
            index, shape, dtype = self._find(handle, name)
            _, of_numpy, letter = _DTYPES[dtype]
            np = _values.numpy()
            wide = dtype == _BF16 or np is None and dtype == _F16
            letter = "f" if wide else letter
            count = math.prod(shape)
            if np is not None:
                array = np.empty(shape, of_numpy)
                self._read(handle, index, wide, count, array.nbytes, C.c_void_p(array.ctypes.data))
                return array
            size = count * struct.calcsize("=" + letter)
            block = (C.c_char * max(size, 1))()
            self._read(handle, index, wide, count, size, C.cast(block, C.c_void_p))
            view = memoryview(block).cast("B")[:size].cast(letter)
            return view if not count else view.cast("B").cast(letter, list(shape))

    @staticmethod
    def _read(handle: Any, index: int, wide: bool, count: int, size: int, pointer: Any) -> None:
        if wide:
            _check(lib.cm_checkpoint_read_f32(handle, index, count, C.cast(pointer, C.POINTER(C.c_float))))
        else:
            _check(lib.cm_checkpoint_read(handle, index, size, pointer))

    def check(self, progress: Count = None) -> Dict[str, Any]:
        """Reads everything: a dict with is_sound, what was counted (nan_values, infinite_values, checksums, ...) and
        findings, a list of sentences.  progress: True, or a function (bytes done, total) that may return a true value to stop."""
        options, report = CheckpointCheckOptions(), CheckpointReport()
        findings: List[str] = []
        failure: List[BaseException] = []
        lib.cm_checkpoint_check_options_init(C.byref(options), C.sizeof(options))
        lib.cm_checkpoint_report_init(C.byref(report), C.sizeof(report))
        show = counting(progress, "checking")

        def on_progress(_: Any, done: int, total: int) -> Any:
            return show(done, total)

        def on_found(_: Any, text: bytes) -> None:
            findings.append(text.decode("utf-8", "replace"))

        with Interrupt() as interrupt, self._held() as handle:
            options.progress = PROGRESS(guarded(failure, interrupt, on_progress))
            options.found = FOUND(on_found)
            status = lib.cm_checkpoint_check(handle, C.byref(options), C.byref(report))
        _finish(status, failure)
        result: Dict[str, Any] = {name: getattr(report, name) for name in report.names() if name != "struct_size"}
        result.update(is_sound=bool(report.is_sound), findings=findings)
        return result
