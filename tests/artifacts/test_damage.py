"""R-3, R-4: a damaged, foreign or malicious file ends in ``ArtifactError``, always; nothing in it is executed."""

from __future__ import annotations

import hashlib
import json
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save as plain_save

from atomsym.artifacts import ModelCard, load_model, read_card, save_model
from atomsym.artifacts import upgrades as upgrades_module
from atomsym.artifacts.container import encode, read_header
from atomsym.artifacts.upgrades import Content
from atomsym.core import ArtifactError
from atomsym.models import LennardJones, Potential


def refused(path: Path, content: bytes) -> None:
    """Both ways of reading must end in an ArtifactError."""
    path.write_bytes(content)
    with pytest.raises(ArtifactError):
        load_model(path)
    with pytest.raises(ArtifactError):
        read_card(path)


def test_r3_every_truncation_is_refused(model_file: Path) -> None:
    content = model_file.read_bytes()
    offsets = random.Random(3).sample(range(len(content)), 100)
    for offset in [0, 1, 7, 8, 9, len(content) - 1, *offsets]:
        refused(model_file, content[:offset])


def test_r3_every_bit_flip_is_refused(model_file: Path) -> None:
    content = model_file.read_bytes()
    for bit in random.Random(4).sample(range(8 * len(content)), 300):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << (bit % 8)
        refused(model_file, bytes(damaged))


@pytest.mark.slow
def test_r3_every_single_bit_of_the_file(model_file: Path) -> None:
    content = model_file.read_bytes()
    for bit in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << (bit % 8)
        refused(model_file, bytes(damaged))


def test_r3_bytes_added_or_swapped_are_refused(model_file: Path) -> None:
    content = model_file.read_bytes()
    refused(model_file, content + b"\0")
    refused(model_file, content + content)
    refused(model_file, content[:-16] + content[-8:] + content[-16:-8])


def parts_of(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    with path.open("rb") as file:
        metadata = read_header(file, "test").metadata
    del metadata["content_hash"]
    return metadata, dict(load_model(path).state_dict())


def with_config(change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    def edit(metadata: dict[str, Any], tensors: dict[str, Any]) -> None:
        config = json.loads(metadata["config"])
        change(config)
        metadata["config"] = json.dumps(config)

    return edit


WELL_HASHED_BUT_WRONG: dict[str, tuple[Callable[[dict[str, Any], dict[str, Any]], Any], str]] = {
    "missing tensor": (lambda m, t: t.pop("sigma"), "missing: sigma"),
    "extra tensor": (lambda m, t: t.update(more=torch.zeros(1)), "unexpected: more"),
    "shape": (lambda m, t: t.update(sigma=torch.ones(2, 3, dtype=torch.float64)), "the config needs"),
    "transposed size": (lambda m, t: t.update(sigma=torch.ones(9, dtype=torch.float64)), "the config needs"),
    "dtype of one tensor": (lambda m, t: t.update(sigma=t["sigma"].float()), "the config needs"),
    "dtype of all": (lambda m, t: m.update(dtype="float32"), "the config needs"),
    "dtype unknown": (lambda m, t: m.update(dtype="float8"), "expected one of"),
    "nan": (lambda m, t: t.update(sigma=t["sigma"] * torch.nan), "not finite"),
    "config cutoff": (with_config(lambda c: c.update(cutoff=8.0)), "contradicts itself"),
    "config elements": (with_config(lambda c: c.update(elements=[10, 18, 36])), "contradicts itself"),
    "config size": (with_config(lambda c: c.update(elements=[10, 18])), "no model can be built"),
    "config key": (with_config(lambda c: c.update(sigmas=c.pop("sigma"))), "did you mean 'sigma'"),
    "config value": (with_config(lambda c: c.update(cutoff=-1.0)), "no model can be built"),
    "config is a list": (lambda m, t: m.update(config="[]"), "expected a JSON object"),
    "config nested deeply": (lambda m, t: m.update(config='{"a":' * 50_000), "nested too deeply"),
    "architecture": (lambda m, t: m.update(architecture="lenard-jones"), "did you mean 'lennard-jones'"),
    "another architecture": (lambda m, t: m.update(architecture="morse"), "no model can be built"),
    "elements": (lambda m, t: m.update(elements="[0]"), "cannot be those of a model"),
    "elements nested deeply": (lambda m, t: m.update(elements="[" * 50_000), "description of the model is wrong"),
    "cutoff": (lambda m, t: m.update(cutoff="true"), "cannot be those of a model"),
    "units": (lambda m, t: m.update(units="energy hartree, length bohr"), "the units are"),
    "name": (lambda m, t: m.update(name="../../etc/passwd"), "model name"),
    "no licence": (lambda m, t: m.pop("licence"), "lacks 'licence'"),
    "no format": (lambda m, t: m.pop("format"), "the format is None"),
    "other format": (lambda m, t: m.update(format="pt"), "the format is 'pt'"),
    "newer version": (
        lambda m, t: m.update(format_version="2", created_with="atomsym 9.0"),
        "written with atomsym 9.0",
    ),
    "version 0": (lambda m, t: m.update(format_version="0"), "not a format version"),
    "version text": (lambda m, t: m.update(format_version="one"), "not a format version"),
    "version digits": (lambda m, t: m.update(format_version="²"), "not a format version"),
    "huge version": (lambda m, t: m.update(format_version="9" * 5000), "not a format version"),
}


@pytest.mark.parametrize("case", WELL_HASHED_BUT_WRONG)
def test_r3_a_file_that_does_not_fit_itself_is_refused(model_file: Path, case: str) -> None:
    edit, message = WELL_HASHED_BUT_WRONG[case]
    metadata, tensors = parts_of(model_file)
    edit(metadata, tensors)
    model_file.write_bytes(encode(tensors, metadata))
    with pytest.raises(ArtifactError) as caught:
        load_model(model_file)
    assert message in str(caught.value)
    assert str(model_file) in str(caught.value)


def test_r3_old_versions_are_upgraded(model_file: Path, potential: Potential, monkeypatch: pytest.MonkeyPatch) -> None:
    def rename(content: Content) -> Content:
        metadata = {**content.metadata, "config": content.metadata["config"].replace("cutoff_radius", "cutoff")}
        return Content(metadata, {name.removeprefix("old."): tensor for name, tensor in content.tensors.items()})

    metadata, tensors = parts_of(model_file)
    metadata["config"] = metadata["config"].replace("cutoff", "cutoff_radius")
    model_file.write_bytes(encode({f"old.{name}": tensor for name, tensor in tensors.items()}, metadata))
    with pytest.raises(ArtifactError):
        load_model(model_file)
    monkeypatch.setattr(upgrades_module, "FORMAT_VERSION", 2)
    with pytest.raises(ArtifactError, match="format version 1 cannot be upgraded to 2"):
        load_model(model_file)
    monkeypatch.setitem(upgrades_module.UPGRADES, 1, rename)
    assert load_model(model_file).config == potential.config
    assert read_card(model_file).format_version == 1


def test_a_plain_safetensors_file_is_refused(model_file: Path) -> None:
    refused(model_file, plain_save({"a": torch.zeros(3)}))
    refused(model_file, plain_save({"a": torch.zeros(3)}, {"format": "pt"}))


def rehashed(header: bytes, data: bytes = b"") -> bytes:
    """A file with this header (which has a content hash of zeros) and a hash that fits."""
    raw = struct.pack("<Q", len(header)) + header
    digest = hashlib.sha256(raw + data).hexdigest()
    return raw.replace(b"0" * 64, digest.encode()) + data


HOSTILE_HEADERS = {
    "tensor beyond the data": '"sigma":{"dtype":"F64","shape":[1000000000],"data_offsets":[0,8000000000]}',
    "overlapping tensors": '"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},'
    '"b":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}',
    "huge shape": '"a":{"dtype":"F64","shape":[281474976710656],"data_offsets":[0,8]}',
    "overflowing shape": '"a":{"dtype":"F64","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,0]}',
    "negative shape": '"a":{"dtype":"F64","shape":[-1],"data_offsets":[0,8]}',
    "boolean shape": '"a":{"dtype":"F64","shape":[true],"data_offsets":[0,8]}',
    "no shape": '"a":{"dtype":"F64","data_offsets":[0,8]}',
    "not an entry": '"a":7',
    "unknown dtype": '"a":{"dtype":"OBJ","shape":[1],"data_offsets":[0,8]}',
    "repeated name": '"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},'
    '"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}',
}


@pytest.mark.parametrize("case", HOSTILE_HEADERS)
def test_hostile_headers_are_refused(model_file: Path, case: str) -> None:
    metadata, _ = parts_of(model_file)
    text = json.dumps({**metadata, "content_hash": "0" * 64}, separators=(",", ":"))
    header = f'{{"__metadata__":{text},{HOSTILE_HEADERS[case]}}}'.encode()
    model_file.write_bytes(rehashed(header, bytes(8)))
    with pytest.raises(ArtifactError):
        load_model(model_file)


@pytest.mark.parametrize("length", [0, 1, 2**24 + 1, 2**31, 2**63, 2**64 - 1])
def test_header_lengths_are_bounded_before_anything_is_read(model_file: Path, length: int) -> None:
    refused(model_file, struct.pack("<Q", length) + b"{" * 64)


class TouchesSentinel:
    """Unpickling this writes a file."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return (Path.touch, (self.sentinel,))


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth", ".zip", ".model", ".ckpt", ".pkl", ""])
@pytest.mark.parametrize("kind", ["protocol 0", "protocol 2", "protocol 5", "torch zip", "torch legacy", "zip"])
def test_r4_pickles_are_refused_and_never_executed(tmp_path: Path, suffix: str, kind: str) -> None:
    sentinel, path = tmp_path / "sentinel", tmp_path / f"evil{suffix}"
    payload = TouchesSentinel(sentinel)
    if kind.startswith("protocol"):
        path.write_bytes(pickle.dumps(payload, protocol=int(kind[-1])))
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("data.pkl", pickle.dumps(payload))
    else:
        torch.save({"model": payload}, path, _use_new_zipfile_serialization=kind == "torch zip")
    for read in (load_model, read_card):
        with pytest.raises(ArtifactError):
            read(path)
    assert not sentinel.exists()
    if kind == "protocol 5":
        pickle.loads(path.read_bytes())  # noqa: S301 - the payload of this test does act when it is unpickled
        assert sentinel.exists()


def test_r4_pickles_inside_a_well_formed_file_stay_bytes(tmp_path: Path, potential: Potential, card: ModelCard) -> None:
    sentinel, path = tmp_path / "sentinel", tmp_path / "evil.safetensors"
    data = torch.frombuffer(bytearray(pickle.dumps(TouchesSentinel(sentinel))), dtype=torch.uint8)
    save_model(LennardJones(potential.config), path, card)
    metadata, tensors = parts_of(path)
    path.write_bytes(encode({**tensors, "data.pkl": data}, {**metadata, "config": str(data.tolist())}))
    with pytest.raises(ArtifactError):
        load_model(path)
    assert not sentinel.exists()
