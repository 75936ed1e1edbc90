"""The import rules of the house: arrows point down, hosts stay at the top, importing changes nothing global."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYER = {
    "core": 0, "kernels": 1, "symmetry": 1, "nn": 2, "models": 3, "heads": 3, "symmetrizers": 3,
    "generators": 3,
    "derivatives": 4, "inference": 4, "training": 4, "artifacts": 4, "metrics": 4,
    "calculators": 5, "datasets": 5, "workflows": 6,
}  # fmt: skip
HOSTS = {"ase", "pymatgen", "openmm", "torch_sim", "mdtraj"}


def modules() -> list[tuple[str, Path]]:
    found = []
    for folder in ("atomsym", "calculators", "datasets", "workflows"):
        for path in (ROOT / folder).rglob("*.py"):
            relative = path.relative_to(ROOT).with_suffix("")
            name = relative.parts if folder == "atomsym" else ("atomsym", *relative.parts)
            found.append((".".join(name), path))
    return found


def imports(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def layer_of(module: str) -> int | None:
    parts = module.split(".")
    return LAYER.get(parts[1]) if len(parts) > 1 and parts[0] == "atomsym" else None


@pytest.mark.parametrize(("name", "path"), modules(), ids=lambda value: value if isinstance(value, str) else "")
def test_imports_point_down(name: str, path: Path) -> None:
    own = layer_of(name)
    for imported in imports(path):
        target = layer_of(imported)
        if own is not None and target is not None:
            assert target <= own, f"{name} (layer {own}) imports {imported} (layer {target})"
        if own is not None and own < 5:
            assert imported.split(".")[0] not in HOSTS, f"{name} imports the host {imported}"
    parts = name.split(".")
    if parts[1:2] == ["calculators"]:
        assert not any(i.startswith("atomsym.datasets") for i in imports(path))
    if parts[1:2] == ["datasets"]:
        assert not any(i.startswith("atomsym.calculators") for i in imports(path))


STATE_SCRIPT = """
import os, sys, warnings, random
import torch, numpy
def state():
    return [torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled(), dict(os.environ),
            list(warnings.filters), torch.random.get_rng_state().tolist(), random.getstate(),
            numpy.random.get_state()[1].tolist()]
before = state()
loaded = set(sys.modules)
import atomsym
assert state() == before, "import atomsym changed global state"
others = {name.partition(".")[0] for name in set(sys.modules) - loaded} - sys.stdlib_module_names
others -= {"atomsym", "numpy", "torch"}
assert not others, others
"""


def test_import_changes_no_global_state_and_loads_only_torch_and_numpy() -> None:
    result = subprocess.run([sys.executable, "-c", STATE_SCRIPT], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
