"""What is saved is what is loaded, in any dtype, and the file can be read by other programs."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors
import torch

import atomsym
from atomsym.artifacts import ModelCard, find_model, load_model, read_card, register_model_folder, save_model
from atomsym.core import ArtifactError, AtomGraph, ConfigError, InputError
from atomsym.kernels.neighbors import connect
from atomsym.models import ARGON, ZBL, LennardJones, LennardJonesConfig, Potential, Sum, ZBLConfig, registry


def energies(potential: Potential, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    positions = [[0, 0, 0], [3.1, 0.2, 0], [0, 3.6, 1.0], [2.5, 2.5, 2.5]]
    graph = AtomGraph.from_arrays(positions, [18, 10, 54, 18], dtype=dtype)
    return potential(connect(graph, potential.cutoff))["energies"].detach()


def test_a_loaded_model_gives_the_same_energies(potential: Potential, model_file: Path) -> None:
    loaded = load_model(model_file)
    assert torch.equal(energies(loaded), energies(potential))
    assert loaded.config == potential.config
    assert not loaded.training


def test_weights_that_were_changed_after_construction_are_kept(
    potential: Potential, tmp_path: Path, card: ModelCard
) -> None:
    changed = LennardJones(potential.config)
    with torch.no_grad():
        changed.sigma.mul_(1.01)
    save_model(changed, tmp_path / "m.safetensors", card)
    assert torch.equal(load_model(tmp_path / "m.safetensors").sigma, changed.sigma)


@pytest.mark.parametrize("stored", [torch.float32, torch.float64])
@pytest.mark.parametrize("wanted", [None, torch.float32, torch.float64])
def test_dtypes(
    potential: Potential, tmp_path: Path, stored: torch.dtype, wanted: torch.dtype | None, card: ModelCard
) -> None:
    path = tmp_path / "m.safetensors"
    description = save_model(LennardJones(potential.config).to(stored), path, card)
    loaded = load_model(path, dtype=wanted)
    assert loaded.epsilon.dtype == (wanted or stored)
    assert description.dtype == str(stored).removeprefix("torch.")
    expected = LennardJones(potential.config).to(stored).to(wanted or stored)
    assert torch.equal(loaded.epsilon, expected.epsilon)


def test_the_description_says_what_the_model_is(model_file: Path, card: ModelCard) -> None:
    description = read_card(model_file)
    assert description.card == card
    assert description.architecture == "lennard-jones"
    assert description.symbols == ("Ne", "Ar", "Xe")
    assert description.cutoff == 9.0
    assert description.created_with == f"atomsym {atomsym.__version__}"
    assert description.n_parameters == 18
    assert description.size == model_file.stat().st_size


def test_the_same_model_gives_the_same_bytes(
    potential: Potential, model_file: Path, tmp_path: Path, card: ModelCard
) -> None:
    save_model(load_model(model_file), tmp_path / "again.safetensors", card)
    assert (tmp_path / "again.safetensors").read_bytes() == model_file.read_bytes()


def test_content_hashes_differ_when_anything_differs(potential: Potential, tmp_path: Path, card: ModelCard) -> None:
    path = tmp_path / "m.safetensors"
    hashes = {save_model(potential, path, card).content_hash for card in (card, replace(card, licence="MIT"))}
    changed = LennardJones(potential.config)
    with torch.no_grad():
        changed.sigma[0, 0] *= 1 + 1e-15
    hashes.add(save_model(changed, path, card).content_hash)
    hashes.add(save_model(potential, path, card, created_with="another program").content_hash)
    assert len(hashes) == 4


def test_other_programs_can_read_the_file(potential: Potential, model_file: Path) -> None:
    with safetensors.safe_open(model_file, "pt") as file:
        assert set(file.keys()) == {"epsilon", "sigma"}
        assert torch.equal(file.get_tensor("sigma"), potential.state_dict()["sigma"])
        assert file.metadata()["licence"] == "CC0-1.0"


def test_a_sum_of_potentials_survives(tmp_path: Path, card: ModelCard) -> None:
    total = Sum.of(LennardJones(ARGON), ZBL(ZBLConfig()))
    save_model(total, tmp_path / "sum.safetensors", card)
    graph = connect(AtomGraph.from_arrays([[0, 0, 0], [0, 0, 1.5]], [18, 18]), total.cutoff)
    loaded = load_model(tmp_path / "sum.safetensors")
    assert torch.equal(loaded(graph)["energies"], total(graph)["energies"])


@pytest.mark.parametrize("ambient", [torch.float32, torch.float64, torch.bfloat16])
def test_loading_leaves_global_state_alone(model_file: Path, ambient: torch.dtype) -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(ambient)
    try:
        generator = torch.random.get_rng_state()
        loaded = load_model(model_file)
        assert torch.get_default_dtype() == ambient
        assert torch.equal(torch.random.get_rng_state(), generator)
    finally:
        torch.set_default_dtype(before)
    assert torch.equal(energies(loaded), energies(load_model(model_file)))


class StartsAtRandom(LennardJones):
    """Draws initial weights, as networks do."""

    architecture = "starts-at-random"

    def __init__(self, config: LennardJonesConfig) -> None:
        super().__init__(config)
        self.drawn = torch.nn.Parameter(torch.rand(3, dtype=torch.float64))


def test_building_a_model_does_not_advance_the_random_numbers(
    tmp_path: Path, card: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry._ARCHITECTURES._classes, StartsAtRandom.architecture, StartsAtRandom)
    saved = StartsAtRandom(ARGON)
    save_model(saved, tmp_path / "m.safetensors", card)
    before = torch.random.get_rng_state()
    assert torch.equal(load_model(tmp_path / "m.safetensors").drawn, saved.drawn)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_weights_that_are_not_finite_are_not_saved(potential: Potential, model_file: Path, card: ModelCard) -> None:
    before = model_file.read_bytes()
    broken = LennardJones(potential.config)
    with torch.no_grad():
        broken.sigma[1, 2] = torch.nan
    with pytest.raises(ArtifactError, match=r"'sigma' is not finite at \[1, 2\]: nan"):
        save_model(broken, model_file, card)
    assert model_file.read_bytes() == before


def test_a_class_that_could_not_be_found_again_is_not_saved(
    potential: Potential, tmp_path: Path, card: ModelCard
) -> None:
    class Homemade(LennardJones):
        pass

    with pytest.raises(ConfigError, match="not the class registered"):
        save_model(Homemade(potential.config), tmp_path / "m.safetensors", card)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "Argon", "../argon", "a b", ".hidden", "a/b", "end-"])
def test_names_that_are_no_file_names_are_refused(name: str, card: ModelCard) -> None:
    with pytest.raises(ConfigError, match="model name"):
        replace(card, name=name)


def test_models_are_found_by_name_then_by_path(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atomsym.artifacts.folders._FOLDERS", [])
    with pytest.raises(InputError, match="no model and no file 'noble-gases'"):
        find_model("noble-gases")
    assert find_model(model_file) == model_file
    register_model_folder(tmp_path)
    register_model_folder(tmp_path)
    assert find_model("noble-gases") == model_file
    with pytest.raises(InputError, match="did you mean 'noble-gases'"):
        find_model("nobel-gases")
    for wrong in ("", "\0", str(tmp_path), "noble-gases/", "..", "x" * 5000):
        with pytest.raises(InputError):
            find_model(wrong)
    assert find_model("noble-gases", folders=[tmp_path]) == model_file


def test_a_device_that_is_not_there_is_an_input_error(model_file: Path) -> None:
    for device in ("gpu", "cuda:99", "cpu:0:0"):
        with pytest.raises(InputError, match="cannot be used here"):
            load_model(model_file, device=device)
    with pytest.raises(InputError, match=r"'gpu' cannot be used here: there is no such device\. Pass 'cpu', 'cuda'"):
        load_model(model_file, device="gpu")
    assert load_model(model_file, device="auto").epsilon.dtype == torch.float64


DISK_FULL = """
import resource, sys
from pathlib import Path
from atomsym.artifacts import ModelCard, save_model, load_model, write_atomically
from atomsym.core import ArtifactError
path = Path(sys.argv[1])
model, before = load_model(path), path.read_bytes()
resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))
card = ModelCard("m", "a", "b", "c", "d")
try:
    save_model(model, path, card)
except ArtifactError as error:
    message = str(error)
assert path.read_bytes() == before, "the previous file changed"
assert [p.name for p in path.parent.iterdir()] == [path.name], "a part of the new file was left"
sys.stdout.write(message)
"""


@pytest.mark.skipif(os.name != "posix", reason="file-size limits are POSIX")
def test_r5_a_full_disk_leaves_the_previous_file(model_file: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", DISK_FULL, str(model_file)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "it needs " in result.stdout
    assert "bytes" in result.stdout
    assert "the file that was there is unchanged" in result.stdout


def test_r5_a_folder_that_is_not_there(potential: Potential, tmp_path: Path, card: ModelCard) -> None:
    with pytest.raises(ArtifactError, match="No such file or directory"):
        save_model(potential, tmp_path / "missing" / "m.safetensors", card)


def test_r5_an_interruption_leaves_the_previous_file(
    potential: Potential, model_file: Path, monkeypatch: pytest.MonkeyPatch, card: ModelCard
) -> None:
    before = model_file.read_bytes()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_model(LennardJones(ARGON), model_file, card)
    assert model_file.read_bytes() == before
    assert list(model_file.parent.iterdir()) == [model_file]
