"""The bytes of a model file: a safetensors file whose every byte is covered by a sha256 in its own header.

Layout (https://github.com/huggingface/safetensors): eight bytes with the length of the header, the header (JSON, padded
with spaces), the tensors one after the other. The header's ``__metadata__`` maps text to text. Ours has an entry
``content_hash``: the sha256 of the whole file with these 64 digits set to zeros. The order of keys and tensors is
fixed, so the same model gives the same bytes. Reading never executes anything and never allocates more than a few
times the size of the file.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import BinaryIO

import safetensors
import torch
from safetensors.torch import load as load_tensors
from torch import Tensor

from atomsym.core import ArtifactError, ConfigError
from atomsym.core.configs import read_json_object

HASH_KEY = "content_hash"
MAX_HEADER_BYTES = 16 * 1024 * 1024

_LENGTH = struct.Struct("<Q")
_NO_HASH = "0" * 64
_HEX = frozenset("0123456789abcdef")
_DTYPE_NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
_CHUNK = 1 << 22


@dataclass(frozen=True)
class Header:
    """What stands before the tensors.

    Attributes:
        metadata: the text entries, ``content_hash`` among them.
        n_values: number of values in all tensors.
        raw: the length field and the header as they are in the file.
    """

    metadata: dict[str, str]
    n_values: int
    raw: bytes

    @property
    def content_hash(self) -> str:
        return self.metadata[HASH_KEY]


def encode(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """The file of these tensors and metadata; the same arguments give the same bytes.

    Args:
        tensors: by name, any of the common dtypes.
        metadata: text by key, without ``content_hash``, which is added.

    Raises:
        ArtifactError: if a tensor's dtype cannot be stored.
    """
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))  # keeps each tensor aligned
    entries: dict[str, object] = {"__metadata__": dict(sorted({**metadata, HASH_KEY: _NO_HASH}.items()))}
    blocks, start = [], 0
    for name in order:
        tensor = tensors[name].detach().cpu().contiguous()
        if tensor.dtype not in _DTYPE_NAMES:
            raise ArtifactError(f"tensor '{name}' is {tensor.dtype}, which a model file cannot hold")
        block = tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
        entries[name] = {
            "dtype": _DTYPE_NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, start + len(block)],
        }
        blocks.append(block)
        start += len(block)
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER_BYTES:
        raise ArtifactError(f"the header would take {len(text)} bytes; at most {MAX_HEADER_BYTES} are allowed")
    head = _LENGTH.pack(len(text)) + text
    digest = _digest([head, *blocks])
    return b"".join([head.replace(_hash_entry(_NO_HASH), _hash_entry(digest)), *blocks])


def read_header(file: BinaryIO, where: str) -> Header:
    """Read and check what stands before the tensors; the file is left at the first tensor.

    Args:
        file: opened for reading in binary, at its beginning.
        where: name of the file for messages.

    Raises:
        ArtifactError: if this is not the header of a model file.
    """
    start = file.read(_LENGTH.size)
    _refuse_executable(start, where)
    if len(start) < _LENGTH.size:
        raise ArtifactError(f"{where}: the file ends after {len(start)} bytes; a model file has at least a header")
    (length,) = _LENGTH.unpack(start)
    if not 2 <= length <= MAX_HEADER_BYTES:
        raise ArtifactError(
            f"{where}: not a model file: its header would be {length} bytes, allowed are 2 to {MAX_HEADER_BYTES}"
        )
    text = file.read(length)
    if len(text) < length:
        raise ArtifactError(f"{where}: truncated: the header has {len(text)} of {length} bytes")
    try:
        entries = read_json_object(text.decode("utf-8"))
    except (ConfigError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{where}: the header is damaged: {error}") from error
    metadata = entries.pop("__metadata__", None)
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ArtifactError(
            f"{where}: the file has no description of a model; it may hold bare weights of another program"
        )
    stated = metadata.get(HASH_KEY, "")
    if len(stated) != len(_NO_HASH) or not set(stated) <= _HEX:
        raise ArtifactError(f"{where}: the file has no content hash; it was not written by atomsym")
    return Header(metadata, _count_values(entries, where), start + text)


def read_tensors(header: Header, data: bytes, where: str) -> dict[str, Tensor]:
    """Check the content hash and return the tensors on the CPU.

    Args:
        header: of the same file.
        data: everything after the header.
        where: name of the file for messages.

    Raises:
        ArtifactError: if any byte of the file differs from what was written, or the tensors do not fit the header.
    """
    check_content(header, [data], where)
    try:
        return dict(load_tensors(header.raw + data))
    except (safetensors.SafetensorError, KeyError, ValueError, RuntimeError, TypeError) as error:
        raise ArtifactError(f"{where}: the tensors cannot be read: {error}") from error


def check_content(header: Header, chunks: Iterable[bytes], where: str) -> None:
    """Check the content hash against everything after the header.

    Raises:
        ArtifactError: if any byte of the file differs from what was written.
    """
    entry = _hash_entry(header.content_hash)
    if header.raw.count(entry) != 1:
        raise ArtifactError(f"{where}: the header is damaged: the content hash is not where it belongs")
    found = _digest(chain([header.raw.replace(entry, _hash_entry(_NO_HASH))], chunks))
    if found != header.content_hash:
        raise ArtifactError(
            f"{where}: the content does not fit its hash ({found[:12]}… found, {header.content_hash[:12]}… expected): "
            "the file is damaged, truncated or was changed after it was written. Get it again from its source"
        )


def chunks_of(file: BinaryIO) -> Iterable[bytes]:
    """The rest of a file in pieces, so that a check needs little memory."""
    while chunk := file.read(_CHUNK):
        yield chunk


def _hash_entry(digest: str) -> bytes:
    return f'"{HASH_KEY}":"{digest}"'.encode()


def _digest(chunks: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def _refuse_executable(start: bytes, where: str) -> None:
    """Say plainly why a pickle is not read; the length field of a real file never looks like one."""
    kind = ""
    if start[:4] == b"PK\x03\x04":
        kind = "a zip archive (such as torch.save writes)"
    elif start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05") and start[2:8] != bytes(6):
        kind = "a pickle"
    if kind:
        raise ArtifactError(
            f"{where}: this is {kind}, which can execute code when loaded, so it is never loaded; "
            "convert the checkpoint once with: atomsym convert"
        )


def _count_values(entries: Mapping[str, object], where: str) -> int:
    total = 0
    for name, entry in entries.items():
        shape = entry.get("shape") if isinstance(entry, dict) else None
        if not isinstance(shape, list) or not all(type(size) is int and 0 <= size < 1 << 48 for size in shape):
            raise ArtifactError(f"{where}: the header is damaged: tensor '{name}' has no valid shape")
        total += math.prod(shape[:8]) if len(shape) <= 8 else 0  # safetensors itself refuses what does not fit the data
    return total
