"""What a symmetric contraction computes: irreps, order, couplings and the layout of its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.symmetry.irreps import Irrep, Irreps
from atomsym.symmetry.symmetric_coupling import SymmetricCoupling, symmetric_coupling

MAX_CORRELATION = 4

# Compiled graphs and library operators name a contraction by its key; a string survives where an object would not.
_KNOWN: dict[str, SymmetricContraction] = {}


@dataclass(frozen=True)
class PathBlock:
    """Where the weights of one output irrep and one order lie on the path axis of the packed weights.

    Attributes:
        output: position in ``irreps_out``.
        order: number of factors ν.
        paths: slice of the path axis; empty if there is no coupling.
    """

    output: int
    order: int
    paths: slice


@dataclass(frozen=True)
class SymmetricContraction:
    """Description of B[LM] = Σ_ν Σ_η W_{ν,L,η} Σ_{i1 … iν} U^{L,ν}_{η;M,i1…iν} A[i1] … A[iν]; equal if it computes the same.

    The weights of all outputs and orders share one tensor of shape (n_species, n_paths, channels). Its path axis runs
    over the outputs, for each over the orders 1 … correlation, and in a block over the paths of the coupling (see
    ``symmetric_coupling`` for their order); ``blocks`` has the slices.

    Args:
        irreps_in: irreps of the node features A; any list.
        irreps_out: irreps of the result; any list. An irrep that cannot be reached has no paths and comes out as zero.
        correlation: largest number of factors, 1 … 4.
        couplings: leave out for the orthonormal basis of ``symmetric_coupling``; see ``from_coupling_tensors`` for
            others. One per output and order, order fastest.

    Raises:
        InputError: if the correlation is out of range or given couplings do not fit the irreps.

    Example:
        >>> contraction = SymmetricContraction(Irreps.parse("0e+1o"), Irreps.parse("0e"), 3)
        >>> [(block.order, block.paths) for block in contraction.blocks]
        [(1, slice(0, 1, None)), (2, slice(1, 3, None)), (3, slice(3, 5, None))]
    """

    irreps_in: Irreps
    irreps_out: Irreps
    correlation: int
    couplings: tuple[SymmetricCoupling, ...] = ()
    key: str = field(init=False, repr=False)
    blocks: tuple[PathBlock, ...] = field(init=False, repr=False, compare=False)
    n_paths: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.correlation <= MAX_CORRELATION:
            raise InputError(f"correlation must be 1 to {MAX_CORRELATION}; found {self.correlation}")
        key = f"{self.irreps_in}->{self.irreps_out};{self.correlation}"
        if self.couplings:
            self._check_couplings()
            key += ";" + hashlib.sha256("".join(c.digest for c in self.couplings).encode()).hexdigest()
        else:
            basis = tuple(symmetric_coupling(self.irreps_in, irrep, order) for irrep, order in self._outputs_and_orders())
            object.__setattr__(self, "couplings", basis)
        object.__setattr__(self, "key", key)
        object.__setattr__(self, "blocks", self._make_blocks())
        object.__setattr__(self, "n_paths", sum(coupling.n_paths for coupling in self.couplings))
        _KNOWN.setdefault(key, self)

    @classmethod
    def from_coupling_tensors(
        cls, irreps_in: Irreps, irreps_out: Irreps, correlation: int, tensors: Mapping[tuple[int, int], Tensor]
    ) -> SymmetricContraction:
        """A contraction with given coupling tensors U, for weights that belong to another basis.

        The tensors need not be symmetric in the factors: A ⊗ … ⊗ A sees only their symmetric part, so nothing is lost.

        Args:
            irreps_in, irreps_out, correlation: as for the class.
            tensors: U of shape (n_paths, dim of the output irrep, irreps_in.dim, … ν times) for each (output position,
                ν). A missing one has no paths. MACE stores the path axis last and drops the component axis of scalars:
                pass ``U.movedim(-1, 0)``, for scalars ``U.movedim(-1, 0).unsqueeze(1)``.

        Raises:
            InputError: if a key or a shape does not fit.

        Example:
            >>> dot = torch.eye(3)[None, None]
            >>> vector, scalar = Irreps.parse("1o"), Irreps.parse("0e")
            >>> SymmetricContraction.from_coupling_tensors(vector, scalar, 2, {(0, 2): dot}).n_paths
            1
        """
        wanted = [(output, order) for output in range(len(irreps_out)) for order in range(1, correlation + 1)]
        unknown = set(tensors) - set(wanted)
        if unknown:
            raise InputError(f"coupling tensors for (output, order) {sorted(unknown)}; the contraction has {wanted}")
        couplings = []
        for output, order in wanted:
            shape = (irreps_out[output].dim,) + (irreps_in.dim,) * order
            tensor = tensors.get((output, order), torch.zeros((0, *shape)))
            if tuple(tensor.shape[1:]) != shape:
                raise InputError(
                    f"coupling tensor of output {output} ({irreps_out[output]}), order {order} has shape "
                    f"{tuple(tensor.shape)}; expected (n_paths, {', '.join(map(str, shape))})"
                )
            couplings.append(SymmetricCoupling.from_tensors(tensor))
        return cls(irreps_in, irreps_out, correlation, tuple(couplings))

    @classmethod
    def from_key(cls, key: str) -> SymmetricContraction:
        """The contraction of this key: one made in this process, or any with the default couplings."""
        if key not in _KNOWN:
            irreps, correlation, *digest = key.split(";")
            if digest:
                raise InputError(f"the coupling tensors of the contraction '{key}' are not known in this process")
            irreps_in, irreps_out = irreps.split("->")
            return cls(Irreps.parse(irreps_in), Irreps.parse(irreps_out), int(correlation))
        return _KNOWN[key]

    def _outputs_and_orders(self) -> list[tuple[Irrep, int]]:
        return [(irrep, order) for irrep in self.irreps_out for order in range(1, self.correlation + 1)]

    def _check_couplings(self) -> None:
        expected = self._outputs_and_orders()
        if len(self.couplings) != len(expected):
            raise InputError(f"{len(expected)} couplings are needed, one per output and order; got {len(self.couplings)}")
        for coupling, (irrep, order) in zip(self.couplings, expected, strict=True):
            found, wanted = (coupling.dim_in, coupling.dim_out, coupling.order), (self.irreps_in.dim, irrep.dim, order)
            if found != wanted:
                raise InputError(f"coupling for {irrep}: (dim_in, dim_out, order) is {found}; expected {wanted}")

    def _make_blocks(self) -> tuple[PathBlock, ...]:
        blocks, start = [], 0
        outputs = [output for output in range(len(self.irreps_out)) for _ in range(self.correlation)]
        for output, coupling in zip(outputs, self.couplings, strict=True):
            blocks.append(PathBlock(output, coupling.order, slice(start, start + coupling.n_paths)))
            start += coupling.n_paths
        return tuple(blocks)
