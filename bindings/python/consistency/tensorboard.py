"""python3 -m consistency.tensorboard RUN: the log of a cm-train run as RUN/events.out.tfevents.consistency, for TensorBoard.

All of log.jsonl is written each time, so the file is never half of an older run."""

import os
import struct
import sys

from .report import read_log, write_whole


def _crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_TABLE = _crc_table()


def masked_crc32c(data):
    """CRC-32C, rotated and shifted as records of TensorFlow want it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 255]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def record(data):
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc32c(length)) + data + struct.pack("<I", masked_crc32c(data))


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, payload):
    """A length-delimited field of a protocol buffer."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def scalar(tag, value):
    """Summary.Value: tag = 1, simple_value = 2."""
    return field(1, field(1, tag.encode()) + b"\x15" + struct.pack("<f", value))


def events(rows):
    """Event: wall_time = 1, step = 2, file_version = 3, summary = 5."""
    yield b"\x09" + struct.pack("<d", rows[0]["wall"] if rows else 0.0) + field(3, b"brain.Event:2")
    for row in rows:
        values = b"".join(scalar(tag, row[tag]) for tag in sorted(row) if tag not in ("step", "wall"))
        yield b"\x09" + struct.pack("<d", row["wall"]) + b"\x10" + varint(row["step"]) + field(5, values)


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        raise SystemExit(__doc__)
    path = os.path.join(sys.argv[1], "events.out.tfevents.consistency")
    write_whole(path, (record(e) for e in events(read_log(sys.argv[1]))))
    print(path)


if __name__ == "__main__":
    main()
