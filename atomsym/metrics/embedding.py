"""Points in a small space for protostructures, so that distributions of them can be compared (Fréchet distance)."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atomsym.artifacts.container import encode, read_header, read_tensors
from atomsym.core.configs import config_from_json, config_to_json
from atomsym.core.elements import MAX_ATOMIC_NUMBER
from atomsym.core.errors import ArtifactError, InputError
from atomsym.symmetry.wyckoff import Protostructure, wyckoff_positions
from atomsym.symmetry.wyckoff.group_features import group_features
from atomsym.symmetry.wyckoff.relabelling import canonical
from atomsym.symmetry.wyckoff.table import N_GROUPS

FILE = Path(__file__).with_name("embedding.safetensors")
"""Weights made by ``python -m atomsym.workflows.train_embedding``."""

PROPERTY = "formation_energy_per_atom"
"""What a network predicts whose description does not say."""

_BATCH = 512


@dataclass(frozen=True)
class EmbeddingConfig:
    """Sizes of the network.

    Attributes:
        element_channels: of the embedding of elements.
        site_channels: of the embedding of site symmetries.
        channels: of the tokens.
        hidden: width of the feed-forward parts.
        heads: of the attention.
        layers: of the encoder.
        dimension: of the points.
    """

    element_channels: int = 32
    site_channels: int = 16
    channels: int = 64
    hidden: int = 128
    heads: int = 4
    layers: int = 2
    dimension: int = 32


@dataclass(frozen=True)
class OrbitTokens:
    """A padded batch of protostructures.

    Attributes:
        groups: space-group numbers, shape (n,), int64.
        elements: atomic numbers, 0 where there is no orbit, shape (n, most_orbits), int64.
        sites: numbers of the oriented site symmetries, same shape.
        shares: share of the atoms, 0 where there is no orbit, same shape, float32.
    """

    groups: Tensor
    elements: Tensor
    sites: Tensor
    shares: Tensor

    def __len__(self) -> int:
        return len(self.groups)

    def rows(self, chosen: Tensor) -> OrbitTokens:
        """Some of them, without padding that none of them needs."""
        width = max(int((self.elements[chosen] > 0).sum(dim=1).max()), 1)
        parts = (part[chosen, :width] for part in (self.elements, self.sites, self.shares))
        return OrbitTokens(self.groups[chosen], *parts)


@cache
def _site_symmetries() -> dict[str, int]:
    symbols = {p.site_symmetry for group in range(1, N_GROUPS + 1) for p in wyckoff_positions(group)}
    return {symbol: number for number, symbol in enumerate(sorted(symbols))}


def orbit_tokens(protostructures: Sequence[Protostructure]) -> OrbitTokens:
    """Tokens of the canonical forms, so that equivalent descriptions of a crystal have the same.

    Raises:
        InputError: if there are none.
    """
    if not protostructures:
        raise InputError("no protostructures were given")
    number_of = _site_symmetries()
    forms = [canonical(protostructure) for protostructure in protostructures]
    shape = (len(forms), max(len(form.orbits) for form in forms))
    elements, sites = torch.zeros(shape, dtype=torch.int64), torch.zeros(shape, dtype=torch.int64)
    shares = torch.zeros(shape)
    for row, form in enumerate(forms):
        n = len(form.orbits)
        elements[row, :n] = torch.tensor(form.elements)
        sites[row, :n] = torch.tensor([number_of[position.site_symmetry] for position in form.positions])
        shares[row, :n] = torch.tensor(form.multiplicities, dtype=torch.float32) / form.n_atoms
    return OrbitTokens(torch.tensor([form.space_group for form in forms]), elements, sites, shares)


class ProtostructureEmbedding(torch.nn.Module):
    """A property of a protostructure, such as the formation energy per atom, and the point that it is read from.

    A token for each occupied orbit (element, oriented site symmetry, share of the atoms) and one for the space group
    go through an encoder that knows no order; the mean of the orbits, weighted by their shares, is mapped to the point.
    The points are shifted and scaled so that those of the training data have mean zero and total variance one.

    Args:
        config: sizes.

    Source: own, after the Wrenformer (Riebesell et al., Matbench Discovery, Nat. Mach. Intell. 2025) as it serves the
    Fréchet distance of Kelvinius et al., WyckoffDiff, ICML 2025. Distances of the two are not comparable.
    """

    mean: Tensor
    scale: Tensor
    group_features: Tensor

    def __init__(self, config: EmbeddingConfig) -> None:
        super().__init__()
        self.config = config
        features = torch.from_numpy(group_features())
        self.register_buffer("group_features", features, persistent=False)
        self.register_buffer("mean", torch.zeros(config.dimension))
        self.register_buffer("scale", torch.ones(()))
        self.element = torch.nn.Embedding(MAX_ATOMIC_NUMBER + 1, config.element_channels)
        self.site = torch.nn.Embedding(len(_site_symmetries()), config.site_channels)
        self.orbit = torch.nn.Linear(config.element_channels + config.site_channels + 1, config.channels)
        self.group = torch.nn.Linear(features.shape[1], config.channels)
        layer = torch.nn.TransformerEncoderLayer(
            config.channels, config.heads, config.hidden, 0.0, batch_first=True, norm_first=True
        )
        self.encoder = torch.nn.TransformerEncoder(
            layer, config.layers, norm=torch.nn.LayerNorm(config.channels), enable_nested_tensor=False
        )
        self.point = torch.nn.Linear(config.channels, config.dimension)
        self.energy = torch.nn.Sequential(
            torch.nn.SiLU(), torch.nn.Linear(config.dimension, config.channels), torch.nn.SiLU(),
            torch.nn.Linear(config.channels, 1),
        )  # fmt: skip

    def points(self, tokens: OrbitTokens) -> Tensor:
        """Shape (n, dimension)."""
        return (self._raw(tokens) - self.mean) * self.scale

    def forward(self, tokens: OrbitTokens) -> Tensor:
        """The property in units of the training data's standard deviation, from its mean, shape (n,)."""
        return torch.as_tensor(self.energy(self._raw(tokens)).squeeze(-1))

    def _raw(self, tokens: OrbitTokens) -> Tensor:
        parts = (self.element(tokens.elements), self.site(tokens.sites), tokens.shares.unsqueeze(-1))
        orbits = self.orbit(torch.cat(parts, dim=-1))
        group = self.group(self.group_features[tokens.groups]).unsqueeze(1)
        absent = tokens.elements == 0
        hidden = torch.cat((torch.zeros_like(absent[:, :1]), absent), dim=1)
        states = self.encoder(torch.cat((group, orbits), dim=1), src_key_padding_mask=hidden)
        mean = (states[:, 1:] * tokens.shares.unsqueeze(-1)).sum(dim=1)
        return torch.as_tensor(self.point(mean))


@dataclass(frozen=True)
class TrainedEmbedding:
    """A network with what is known of it.

    Attributes:
        network: in evaluation mode, float32 on the CPU.
        content_hash: sha256 of the file, to be named beside every distance.
        description: data, errors and licence, by name.
    """

    network: ProtostructureEmbedding
    content_hash: str
    description: dict[str, str]

    def embed(self, protostructures: Sequence[Protostructure]) -> NDArray[np.float64]:
        """Points of protostructures, shape (n, dimension), float64; equivalent descriptions have the same point.

        Raises:
            InputError: if there are none.
        """
        tokens = orbit_tokens(protostructures)
        order = (tokens.elements > 0).sum(dim=1).argsort()
        points = torch.empty(len(tokens), self.network.config.dimension)
        with torch.inference_mode():
            for rows in order.split(_BATCH):
                points[rows] = self.network.points(tokens.rows(rows))
        return np.asarray(points.double().numpy())

    @property
    def property(self) -> str:
        """Name of the property that the network predicts."""
        return self.description.get("property", PROPERTY)

    def predict(self, protostructures: Sequence[Protostructure]) -> NDArray[np.float64]:
        """The property of protostructures in its own unit, shape (n,), float64.

        Raises:
            InputError: if there are none.
            ArtifactError: if the file does not tell the scale of the property.
        """
        try:
            mean, deviation = (float(part.split()[0]) for part in self.description["energy_mean_deviation"].split(","))
        except (KeyError, ValueError) as error:
            raise ArtifactError(
                "the weights of the embedding do not tell mean and deviation of what it predicts"
            ) from error
        return np.asarray(standardised(self.network, protostructures).double().numpy()) * deviation + mean


def standardised(network: ProtostructureEmbedding, protostructures: Sequence[Protostructure]) -> Tensor:
    """The property that a network predicts as it learned it, mean zero and deviation one, shape (n,).

    Raises:
        InputError: if there are no protostructures.
    """
    tokens = orbit_tokens(protostructures)
    with torch.inference_mode():
        return torch.cat([network(tokens.rows(rows)) for rows in torch.arange(len(tokens)).split(_BATCH)])


def embedding_bytes(network: ProtostructureEmbedding, description: dict[str, str]) -> bytes:
    """The content of a file of weights; the same arguments give the same bytes."""
    state = {name: value.to(torch.float32) for name, value in network.state_dict().items()}
    return encode(state, {**description, "config": config_to_json(network.config)})


@cache
def shipped_embedding() -> TrainedEmbedding:
    """The network that comes with the package."""
    return read_embedding(FILE)


def read_embedding(path: Path) -> TrainedEmbedding:
    """Read a file of weights; its hash is checked.

    Raises:
        ArtifactError: if the file is missing, damaged or not of this kind.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from error
    file = io.BytesIO(content)
    header = read_header(file, str(path))
    tensors = read_tensors(header, file.read(), str(path))
    if "config" not in header.metadata:
        raise ArtifactError(f"{path}: not the weights of an embedding of protostructures")
    network = ProtostructureEmbedding(config_from_json(EmbeddingConfig, header.metadata["config"]))
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise ArtifactError(f"{path}: the weights do not fit the network they describe") from error
    if not all(math.isfinite(float(value.sum())) for value in tensors.values()):
        raise ArtifactError(f"{path}: weights that are not finite")
    description = {name: text for name, text in header.metadata.items() if name not in ("config", "content_hash")}
    return TrainedEmbedding(network.eval(), header.content_hash, description)
