"""A folder holds the run of one program, and no other program touches it."""

from __future__ import annotations

from pathlib import Path

import pytest

from atomsym.core import InputError
from atomsym.workflows.md.settings import MdSettings
from atomsym.workflows.relax.settings import RelaxSettings
from atomsym.workflows.run_folders import kind_of_run, require_no_run, require_run_of

CONTENTS = {
    "md": ("settings.json", MdSettings("argon", "argon").to_json()),
    "relax": ("settings.json", RelaxSettings("argon", "argon").to_json()),
    "train": ("checkpoint.safetensors", ""),
    "train-generator": ("generator_checkpoint.safetensors", ""),
    "": ("settings.json", "{"),
}


@pytest.mark.parametrize("kind", CONTENTS)
def test_the_program_of_a_run_is_recognised(tmp_path: Path, kind: str) -> None:
    assert kind_of_run(tmp_path) is None
    require_no_run(tmp_path)
    name, text = CONTENTS[kind]
    (tmp_path / name).write_text(text)
    assert kind_of_run(tmp_path) == kind
    with pytest.raises(InputError, match=f"atomsym {kind} --resume" if kind else "cannot be read"):
        require_no_run(tmp_path)


@pytest.mark.parametrize("kind", ["md", "relax", "train", "train-generator"])
def test_a_run_of_another_program_is_refused_with_the_right_one(tmp_path: Path, kind: str) -> None:
    name, text = CONTENTS[kind]
    (tmp_path / name).write_text(text)
    for asked in ("md", "relax", "train", "train-generator"):
        if asked == kind:
            require_run_of(asked, tmp_path)
        else:
            with pytest.raises(InputError, match=f"go on with: atomsym {kind} --resume"):
                require_run_of(asked, tmp_path)
