"""The embedding of protostructures: what it must not see, and what the distance made of it must see."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from atomsym.core import ArtifactError, InputError
from atomsym.metrics import frechet_distance
from atomsym.metrics.embedding import (
    FILE,
    EmbeddingConfig,
    ProtostructureEmbedding,
    embedding_bytes,
    orbit_tokens,
    read_embedding,
    shipped_embedding,
)
from atomsym.symmetry.wyckoff import Protostructure
from atomsym.symmetry.wyckoff.relabelling import relabelled

SALT = Protostructure(225, ((11, "a"), (17, "b")))
COMMON = (8, 9, 16, 17, 3, 11, 12, 19, 20, 22, 25, 26, 29, 30, 38, 40, 56)


def prototypes() -> list[Protostructure]:
    """Well-known ones, with a few hundred choices of elements: enough for a covariance."""
    generator = np.random.default_rng(0)
    kinds = [
        (225, "ab"), (221, "ab"), (216, "ac"), (225, "ac"), (221, "abc"), (227, "de"), (136, "af"), (166, "ac"),
        (194, "acf"), (62, "cccc"), (139, "ae"), (14, "ee"), (12, "ii"), (186, "bb"), (123, "ade"),
    ]  # fmt: skip
    found = []
    for group, letters in kinds * 30:
        metals, anion = generator.choice(COMMON[4:], len(letters) - 1, replace=False), generator.choice(COMMON[:4])
        found.append(Protostructure(group, tuple(zip([*metals.tolist(), int(anion)], letters, strict=True))))
    return found


def test_equivalent_descriptions_have_the_same_point() -> None:
    embedding = shipped_embedding()
    for structure in (
        SALT,
        Protostructure(62, ((20, "a"), (22, "c"), (8, "d"))),
        Protostructure(47, ((3, "i"), (8, "m"))),
    ):
        others = relabelled(structure)
        points = embedding.embed(others)
        assert len(others) > 1
        np.testing.assert_array_equal(points, np.broadcast_to(points[0], points.shape))


def test_without_canonical_forms_equivalent_descriptions_would_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug: tokens of the form as given."""
    monkeypatch.setattr("atomsym.metrics.embedding.canonical", lambda structure: structure)
    others = relabelled(Protostructure(47, ((3, "i"), (8, "m"))))
    points = shipped_embedding().embed(others)
    assert np.abs(points - points[0]).max() > 1e-3


def test_points_do_not_depend_on_the_batch_nor_on_its_order() -> None:
    structures = prototypes()[:40]
    embedding = shipped_embedding()
    together = embedding.embed(structures)
    alone = np.concatenate([embedding.embed([s]) for s in structures])
    backwards = embedding.embed(structures[::-1])[::-1]
    np.testing.assert_allclose(alone, together, atol=2e-6)
    np.testing.assert_allclose(backwards, together, atol=2e-6)


def test_elements_groups_and_sites_move_the_point() -> None:
    others = (
        Protostructure(225, ((11, "a"), (35, "b"))), Protostructure(225, ((11, "a"), (17, "c"))),
        Protostructure(221, ((11, "a"), (17, "b"))),
    )  # fmt: skip
    points = shipped_embedding().embed([SALT, *others])
    assert np.linalg.norm(points[1:] - points[0], axis=1).min() > 0.02


def test_distance_to_itself_vanishes_and_grows_as_elements_are_shuffled() -> None:
    structures, embedding = prototypes(), shipped_embedding()
    points = embedding.embed(structures)
    assert frechet_distance(points, points) < 1e-8
    distances = [frechet_distance(points, embedding.embed(shuffled(structures, share))) for share in (0, 0.1, 0.2, 0.5)]
    assert all(later > 1.5 * earlier + 1e-6 for earlier, later in pairwise(distances))


def shuffled(structures: list[Protostructure], share: float) -> list[Protostructure]:
    """A share of the orbits gets elements drawn from all the orbits."""
    generator = np.random.default_rng(3)
    all_elements = [z for s in structures for z in s.elements]
    draws = generator.permutation(all_elements).tolist()
    found = []
    for structure in structures:
        orbits = []
        for z, letter in structure.orbits:
            new = draws.pop()
            orbits.append((new if generator.random() < share else z, letter))
        found.append(Protostructure(structure.space_group, tuple(orbits)))
    return found


def test_formation_energies_of_well_known_crystals() -> None:
    """Materials Project: NaCl -2.1, MgO -3.0, CsCl -2.2 eV/atom."""
    crystals = [SALT, Protostructure(225, ((12, "a"), (8, "b"))), Protostructure(221, ((55, "a"), (17, "b")))]
    embedding = shipped_embedding()
    assert embedding.property == "formation_energy_per_atom"
    np.testing.assert_allclose(embedding.predict(crystals), [-2.1, -3.0, -2.2], atol=0.3)
    with pytest.raises(ArtifactError, match="mean and deviation"):
        replace(embedding, description={}).predict(crystals)


def test_the_shipped_file_is_small_and_names_its_data() -> None:
    embedding = shipped_embedding()
    assert FILE.stat().st_size < 1_000_000
    assert len(embedding.content_hash) == 64
    assert "mp_20" in embedding.description["training_data"]
    assert "CC BY" in embedding.description["licence"]


def test_files_are_written_and_read_back_and_damage_is_noticed(tmp_path: object) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path))
    torch.manual_seed(0)
    network = ProtostructureEmbedding(EmbeddingConfig(channels=16, hidden=16, heads=2, layers=1, dimension=4)).eval()
    content = embedding_bytes(network, {"training_data": "none"})
    assert content == embedding_bytes(network, {"training_data": "none"})
    path = folder / "small.safetensors"
    path.write_bytes(content)
    found = read_embedding(path)
    with torch.inference_mode():
        np.testing.assert_allclose(found.embed([SALT]), network.points(orbit_tokens([SALT])).numpy(), atol=1e-7)
    damaged = bytearray(content)
    damaged[-3] ^= 1
    path.write_bytes(bytes(damaged))
    with pytest.raises(ArtifactError, match="hash"):
        read_embedding(path)
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_embedding(folder / f"missing{os.sep}file")


def test_no_protostructures_are_refused() -> None:
    with pytest.raises(InputError, match="no protostructures"):
        shipped_embedding().embed([])
