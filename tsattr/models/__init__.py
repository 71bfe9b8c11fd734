"""Models of every kind: numpy functions, functions of DataFrames, ensembles, the last step of a pipeline, invertible networks.

Torch modules, functions of tensors and fitted scikit-learn estimators are explained as they are.
"""

from ..core.invertible import Invertible as Invertible
from .calling import on_arrays as on_arrays
from .calling import on_frames as on_frames
from .coupling import Coupling as Coupling
from .ensembles import Ensemble as Ensemble
from .ensembles import dropout as dropout
from .pipelines import last_step as last_step
from .rollout import rollout as rollout
from .summed import summed as summed

__all__ = ["Coupling", "Ensemble", "Invertible", "dropout", "last_step", "on_arrays", "on_frames", "rollout", "summed"]


def __dir__() -> list[str]:
    return __all__
