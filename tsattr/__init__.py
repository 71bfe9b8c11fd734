"""Explain models of time series and tables over labelled data: ``tsattr.explain(model, x, method)``.

The verbs, the methods, and the modules `baselines`, `groups`, `targets` and `models` that they are made of, are loaded together
when the first of them is used; what needs plotting, WFDB or scikit-learn code (`plot`, `report`, `ecg`, `climate`, `cases`,
`datasets`, `afex`, `estimators`, `read_wfdb`), and `testing`, for methods, baselines and groups of one's own, each by itself.
"""

import importlib as _importlib
import sys as _sys
import types as _types
import typing as _typing

from .version import __version__ as __version__

_AT_ONCE = (
    *(
        "AugmentedOcclusion",
        "ExplanationWarning",
        "FIT",
        "FeatureOcclusion",
        "GradCAM",
        "GuidedBackprop",
        "InputXGradient",
    ),
    *(
        "IntegratedGradients",
        "KernelShap",
        "LFICAM",
        "LearnedAttention",
        "Occlusion",
        "Saliency",
        "ShapleyInteractions",
    ),
    *("ShapleySampling", "SmoothGrad", "TemporalRescaling", "WinIT", "baselines", "compare", "evaluate", "explain"),
    *("groups", "models", "prepare", "targets"),
)
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
    from .public import *  # noqa: F403
else:

    class _Root(_types.ModuleType):
        """The package: its verbs are not hidden by the modules that they are in, which importing would put in their place."""

        def __setattr__(self, name: str, value: object) -> None:
            if name not in _AT_ONCE or not isinstance(value, _types.ModuleType):
                super().__setattr__(name, value)

        def __getattr__(self, name: str) -> object:
            if name in _AT_ONCE:
                public = _importlib.import_module(".public", __name__)
                globals().update({one: getattr(public, one) for one in _AT_ONCE})
                return globals()[name]
            if name in _MODULES:
                return _importlib.import_module(f".{name}", __name__)
            if name in _NAMES:
                return getattr(_importlib.import_module(f".{_NAMES[name]}", __name__), name)
            raise AttributeError(f"module 'tsattr' has no attribute {name!r}")

    _sys.modules[__name__].__class__ = _Root


__all__ = ["__version__", *_AT_ONCE, *_MODULES, *_NAMES]


def __dir__() -> list[str]:
    return sorted(__all__)
