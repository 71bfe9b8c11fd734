"""What is explained: torch modules, callables and scikit-learn estimators behind one calling convention."""

from .calling import Ensemble as Ensemble
from .calling import dropout as dropout
from .calling import on_arrays as on_arrays
from .calling import on_frames as on_frames
from .pipelines import last_step as last_step

__all__ = ["Ensemble", "dropout", "last_step", "on_arrays", "on_frames"]


def __dir__() -> list[str]:
    return __all__
