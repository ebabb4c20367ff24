"""python3 -m consistency.tensorboard RUN: the log of a cm-train run as RUN/events.out.tfevents.consistency, for TensorBoard.

All of log.jsonl is written each time, so the file is never half of an older run."""

import math
import os
import struct
from typing import Iterator, List, Sequence

from .report import Row, number, read_log, run_of_command, stages_of, write_whole


def _crc_table() -> List[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_TABLE = _crc_table()


def masked_crc32c(data: bytes) -> int:
    """CRC-32C, rotated and shifted as records of TensorFlow want it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 255]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc32c(length)) + data + struct.pack("<I", masked_crc32c(data))


def varint(n: int) -> bytes:
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(tag: int, payload: bytes) -> bytes:
    """A length-delimited field of a protocol buffer."""
    return varint(tag << 3 | 2) + varint(len(payload)) + payload


def scalar(tag: str, value: float) -> bytes:
    """Summary.Value: tag = 1, simple_value = 2.  What is too large for a float32 is infinite."""
    try:
        data = struct.pack("<f", value)
    except OverflowError:
        data = struct.pack("<f", math.copysign(math.inf, value))
    return field(1, field(1, tag.encode("utf-8", "replace")) + b"\x15" + data)


def wall(row: Row) -> bytes:
    time = number(row, "wall")
    return b"\x09" + struct.pack("<d", time if math.isfinite(time) else 0.0)


def events(rows: Sequence[Row]) -> Iterator[bytes]:
    """Event: wall_time = 1, step = 2, file_version = 3, summary = 5.  null, which the log has for what is not finite,
    becomes NaN; what is no number is left out."""
    yield wall(rows[0] if rows else {}) + field(3, b"brain.Event:2")
    for row in rows:
        tags = [tag for tag in sorted(row) if tag not in ("step", "wall")
                and (row[tag] is None or isinstance(row[tag], (int, float)))]
        values = b"".join(scalar(tag, number(row, tag)) for tag in tags)
        yield wall(row) + b"\x10" + varint(row["step"]) + field(5, values)


def main() -> None:
    given = run_of_command(__doc__)
    for run in stages_of(given) or [given]:  # of a plan each stage, which TensorBoard shows side by side
        write_whole(os.path.join(run, "events.out.tfevents.consistency"), (record(e) for e in events(read_log(run))))


if __name__ == "__main__":
    main()
