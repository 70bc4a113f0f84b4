"""Copy an offline W&B record without its artifacts, whose files lie elsewhere.

    python tests/measure/without_artifacts.py wandb/offline-run-…/run-….wandb COPY.wandb

`wandb sync` would leave them pending. Tables and images of the record are kept. The file is a log
in LevelDB's format: blocks of 32 KiB with records in pieces, each with checksum, length and kind.
"""

import struct
import sys
import zlib
from pathlib import Path

from wandb.proto.wandb_internal_pb2 import Record

BLOCK, HEADER = 32768, struct.Struct("<IHB")
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4
IDENT = 7  # bytes at the start of the file


def records(content):
    """Yield the records of a log as bytes."""
    position, record = IDENT, b""
    while position < len(content):
        left = BLOCK - position % BLOCK
        if left < HEADER.size:
            position += left
            continue
        _, length, kind = HEADER.unpack_from(content, position)
        position += HEADER.size
        record += content[position : position + length]
        position += length
        if kind in (FULL, LAST):
            yield record
            record = b""


def log(ident, records):
    """Return a log of records."""
    content = bytearray(ident)
    for record in records:
        start = True
        while start or record:
            left = BLOCK - len(content) % BLOCK
            if left < HEADER.size:
                content += bytes(left)
                left = BLOCK
            piece, record = record[: left - HEADER.size], record[left - HEADER.size :]
            kind = {(1, 0): FULL, (1, 1): FIRST, (0, 1): MIDDLE, (0, 0): LAST}[start, bool(record)]
            checksum = zlib.crc32(piece, zlib.crc32(bytes([kind])))
            content += HEADER.pack(checksum, len(piece), kind) + piece
            start = False
    return bytes(content)


def without_artifacts(content):
    """Return a log without the records of artifacts."""
    kinds = ("artifact", "use_artifact")
    kept = [
        r for r in records(content) if Record.FromString(r).WhichOneof("record_type") not in kinds
    ]
    return log(content[:IDENT], kept)


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(without_artifacts(Path(sys.argv[1]).read_bytes()))
