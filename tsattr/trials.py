"""What a call tries of its model on a few samples before it is believed, and refuses where it does not hold.

Skipped by ``check=False``. What the trials cost is in the result's attrs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .core.engine import Engine

if TYPE_CHECKING:
    from .edge import Call


def check(call: Call, engine: Engine) -> None:
    """Try the model of a call on some of its samples; ValueError, naming what was seen, where it cannot be explained."""
