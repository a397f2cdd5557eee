"""Small pictures for tests."""

import struct
import zlib


def png(width=8, height=8, noise=0):
    """A grey PNG; `noise`: times 256 more bytes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = zlib.compress((b"\0" + b"\x7f" * 3 * width) * height)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    extra = chunk(b"teSt", bytes(range(256)) * noise) if noise else b""  # every byte there is, line breaks too
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
