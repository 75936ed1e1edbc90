"""CHGNet's calculator, without a remark of torch that its code provokes; importing this needs the package chgnet."""

from __future__ import annotations

import warnings
from typing import Any

from chgnet.model import dynamics

REMARK = "Converting a tensor with requires_grad=True to a scalar"
"""Of torch, at the volumes of cells that CHGNet makes a tensor of; they are right."""


class CHGNetCalculator(dynamics.CHGNetCalculator):
    """See ``chgnet.model.dynamics.CHGNetCalculator``, which takes the same arguments and gives the same results."""

    def calculate(self, *args: Any, **kwargs: Any) -> None:
        """As it does; all other warnings are shown."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=REMARK, category=UserWarning, module=r"chgnet\.")
            super().calculate(*args, **kwargs)
