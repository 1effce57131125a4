"""What an offline run of W&B holds, read back from its transaction log (LevelDB's log format around protobuf)."""

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from wandb.proto.wandb_internal_pb2 import Record

IDENTITY, BLOCK, HEAD = 7, 32768, 7


def records(path: Path) -> list[Record]:
    """Every record of a ``.wandb`` file: chunks of LevelDB's log, which never cross a boundary of 32 KiB, joined."""
    data = path.read_bytes()
    assert data.startswith(b":W&B")
    return [Record.FromString(payload) for payload in _payloads(data)]


def of_kind(path: Path, kind: str) -> list:
    """The records of one kind: ``run``, ``history``, ``metric``, ``summary``, ``stats``, ``artifact``, ``exit``..."""
    return [getattr(record, kind) for record in records(path) if record.WhichOneof("record_type") == kind]


def ended(path: Path) -> list:
    """The ``exit`` records. W&B's service closes the file a moment after the run's ``finish`` has returned."""
    for _ in range(100):
        if exits := of_kind(path, "exit"):
            return exits
        time.sleep(0.1)
    return []


def items(updates) -> dict:
    """Keys and values of a history row, a summary's or a configuration's update."""
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in updates}


def _payloads(data: bytes) -> Iterator[bytes]:
    place, joined = IDENTITY, b""
    while place + HEAD <= len(data):
        if BLOCK - place % BLOCK < HEAD:  # the end of a block is too short for a chunk's head
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        joined += data[place + HEAD : place + HEAD + length]
        place += HEAD + length
        if kind in (1, 4):  # whole, or the last part
            yield joined
            joined = b""
