"""PNGs of made-up pictures, for tests in Python."""
import struct
import zlib

KINDS = {1: 0, 3: 2, 4: 6}  # gray, colours, with transparency


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def encode(lines, channels):
    """Lines of bytes, from the top, all of one length."""
    width = len(lines[0]) // channels
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, len(lines), 8, KINDS[channels], 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(b"".join(b"\0" + line for line in lines))) + chunk(b"IEND", b""))
