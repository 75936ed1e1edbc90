"""Layer 5: hosts. Nothing below this layer imports ASE, pymatgen or another host.

Importing this package makes the models that are shipped in ``pretrained/`` known by name.
"""

from pathlib import Path

from atomsym.artifacts import register_model_folder

register_model_folder(Path(__file__).parent / "pretrained")
