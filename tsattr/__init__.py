"""Explain models of time series and tables over labelled data: ``tsattr.explain(model, x, method)``.

The methods, and the modules `baselines`, `groups`, `targets` and `models` that they are made of, are here at once; what
needs plotting, WFDB or scikit-learn code (`plot`, `report`, `ecg`, `climate`, `cases`, `datasets`, `afex`, `estimators`,
`read_wfdb`), and `testing`, for methods, baselines and groups of one's own, is loaded when first used.
"""

import importlib as _importlib
import typing as _typing

from . import models as models
from .compare import compare as compare
from .core import baselines as baselines
from .core import groups as groups
from .core import targets as targets
from .evaluate import evaluate as evaluate
from .explain import ExplanationWarning as ExplanationWarning
from .explain import explain as explain
from .methods.fit import FIT as FIT
from .methods.grad_cam import GradCAM as GradCAM
from .methods.gradient import InputXGradient as InputXGradient
from .methods.gradient import Saliency as Saliency
from .methods.gradient import SmoothGrad as SmoothGrad
from .methods.guided_backprop import GuidedBackprop as GuidedBackprop
from .methods.integrated_gradients import IntegratedGradients as IntegratedGradients
from .methods.interactions import ShapleyInteractions as ShapleyInteractions
from .methods.kernel_shap import KernelShap as KernelShap
from .methods.learned_attention import LearnedAttention as LearnedAttention
from .methods.occlusion import Occlusion as Occlusion
from .methods.rescaling import TemporalRescaling as TemporalRescaling
from .methods.shapley import ShapleySampling as ShapleySampling
from .methods.winit import AugmentedOcclusion as AugmentedOcclusion
from .methods.winit import FeatureOcclusion as FeatureOcclusion
from .methods.winit import WinIT as WinIT
from .models.lficam import LFICAM as LFICAM
from .prepare import prepare as prepare
from .version import __version__ as __version__

_MODULES = (
    "afex",
    "cases",
    "climate",
    "datasets",
    "ecg",
    "estimators",
    "io",
    "metrics",
    "parts",
    "plot",
    "report",
    "testing",
)
_NAMES = {
    "AFEXClassifier": "afex",
    "AFEXExplainer": "afex",
    "AFEXRegressor": "afex",
    "AttributionTransformer": "estimators",
    "read_wfdb": "io",
    "write_wfdb": "io",
}

if _typing.TYPE_CHECKING:  # what is loaded when first used: known to a type checker, which then finds a misspelt name
    from . import afex as afex
    from . import cases as cases
    from . import climate as climate
    from . import datasets as datasets
    from . import ecg as ecg
    from . import estimators as estimators
    from . import io as io
    from . import metrics as metrics
    from . import parts as parts
    from . import plot as plot
    from . import report as report
    from . import testing as testing
    from .afex import AFEXClassifier as AFEXClassifier
    from .afex import AFEXExplainer as AFEXExplainer
    from .afex import AFEXRegressor as AFEXRegressor
    from .estimators import AttributionTransformer as AttributionTransformer
    from .io import read_wfdb as read_wfdb
    from .io import write_wfdb as write_wfdb
else:

    def __getattr__(name: str) -> object:
        if name in _MODULES:
            return _importlib.import_module(f".{name}", __name__)
        if name in _NAMES:
            return getattr(_importlib.import_module(f".{_NAMES[name]}", __name__), name)
        raise AttributeError(f"module 'tsattr' has no attribute {name!r}")


__all__ = [
    *("AugmentedOcclusion", "FIT", "FeatureOcclusion", "GradCAM", "GuidedBackprop", "InputXGradient"),
    *(
        "IntegratedGradients",
        "KernelShap",
        "LFICAM",
        "LearnedAttention",
        "Occlusion",
        "Saliency",
        "ShapleyInteractions",
        "ShapleySampling",
        "SmoothGrad",
        "TemporalRescaling",
    ),
    *("WinIT", "ExplanationWarning", "__version__", "baselines", "compare", "evaluate", "explain", "groups", "models"),
    *("prepare", "targets", *_MODULES, *_NAMES),
]


def __dir__() -> list[str]:
    return sorted(__all__)
