"""The ways to answer a removal that are tried beside the dense one."""

from __future__ import annotations

from ..evaluator import RemovalEvaluation
from .incremental.evaluation import Incremental, ToTheEnd

EVALUATIONS: tuple[type[RemovalEvaluation], ...] = (Incremental,)
EXACT: tuple[type[RemovalEvaluation], ...] = (ToTheEnd,)  # those of them that stop nowhere early
