"""Models of every kind: numpy functions, functions of DataFrames, ensembles, the last step of a pipeline.

Torch modules, functions of tensors and fitted scikit-learn estimators are explained as they are.
"""

from .calling import on_arrays as on_arrays
from .calling import on_frames as on_frames
from .ensembles import Ensemble as Ensemble
from .ensembles import dropout as dropout
from .pipelines import last_step as last_step

__all__ = ["Ensemble", "dropout", "last_step", "on_arrays", "on_frames"]


def __dir__() -> list[str]:
    return __all__
