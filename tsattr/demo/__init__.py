"""`tsattr demo`: the main job on embedded data, from simulated samples to a report, without any download."""

from .fields import climate
from .records import LESIONS, SmallECGNet, accuracy, ecg, score, train
from .tables import tabular

__all__ = ["LESIONS", "SmallECGNet", "accuracy", "climate", "ecg", "score", "tabular", "train"]
