"""Several processes: `mpirun -n 4 python3 learn.py`, where learn.py says

    import consistency as cm
    from consistency import mpi

    with mpi.Group() as group:
        trainer = cm.Trainer(model, preset="smoke", group=group, micro_shards=4)
        trainer.run(data, until=100, progress=group.rank == 0)
        if group.rank == 0:
            trainer.model().save("mine.safetensors")

Every process makes the same trainers and calls them alike.  The plugin libconsistency-mpi.so.0 lies beside the library;
CONSISTENCY_MPI names another file.  docs/cluster.md has the rest."""

import ctypes as C
import os
import weakref
from types import TracebackType
from typing import Any, Optional, Type

from . import _values
from ._handle import Error, Handle
from ._lib import Group as Table
from ._lib import lib


class _Options(C.Structure):
    """cm_mpi_options of consistency_mpi.h."""

    _fields_ = [("struct_size", C.c_uint32), ("has_communicator", C.c_int32), ("communicator", C.c_int32),
                ("reserved", C.c_int32), ("seconds", C.c_double)]


def _plugin() -> Any:
    path = os.environ.get("CONSISTENCY_MPI") or os.path.join(os.path.dirname(lib._name), "libconsistency-mpi.so.0")
    try:
        plugin = C.CDLL(path, mode=C.RTLD_GLOBAL)  # as Open MPI asks for
    except OSError as error:
        raise Error("CM_ERR_UNSUPPORTED", "several processes need the plugin for MPI: %s" % error) from None
    plugin.cm_mpi_open.argtypes = [C.POINTER(_Options), C.POINTER(Table), C.c_char_p, C.c_size_t]
    plugin.cm_mpi_close.argtypes, plugin.cm_mpi_close.restype = [C.POINTER(Table), C.c_int32], None
    return plugin


class Group:
    """The processes that mpirun or srun has started; one alone, where nobody has.  Once a process.

    .rank and .size say which one of how many this is, .engine what carries the messages.  seconds: after which a message
    that does not come is a failure (0: 600).  communicator: a communicator of mpi4py instead of MPI.COMM_WORLD; MPI has
    then to be initialised with MPI_THREAD_MULTIPLE, which is mpi4py's way."""

    def __init__(self, seconds: float = 0, communicator: Any = None) -> None:
        self._plugin, self._table = _plugin(), Table()
        handle = communicator.py2f() if communicator is not None else 0
        options = _Options(C.sizeof(_Options), communicator is not None, handle, 0,
                           _values.number(seconds, "seconds"))
        words = C.create_string_buffer(600)
        status = self._plugin.cm_mpi_open(C.byref(options), C.byref(self._table), words, len(words))
        if status:
            raise Error(lib.cm_status_name(status).decode(), words.value.decode("utf-8", "replace"))
        self._users: "weakref.WeakSet[Handle]" = weakref.WeakSet()
        self.rank: int = self._table.rank
        self.size: int = self._table.size
        self.engine: str = self._table.engine.decode("utf-8", "replace")

    def _pointer(self, user: Handle) -> Any:
        """The table, for a trainer or run that is closed before the group is."""
        if not self._table.user:
            raise ValueError("the group is closed")
        self._users.add(user)
        return C.pointer(self._table)

    def close(self, well: bool = True) -> None:
        """Closes the trainers and runs of the group, and then the group.  well: nothing has failed; the processes then
        wait for each other.  False: this process ends soon, and mpirun ends the others."""
        if self._table.user:
            for user in list(self._users):
                user.close()
            self._plugin.cm_mpi_close(C.byref(self._table), 1 if well else 0)

    def __enter__(self) -> "Group":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], _: Optional[BaseException],
                 __: Optional[TracebackType]) -> None:
        self.close(kind is None)
