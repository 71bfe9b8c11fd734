"""`tsattr demo`: the main job on embedded data, from simulated samples to a report, without any download."""

from .records import LESIONS, SmallECGNet, accuracy, ecg, score, train
from .tables import tabular

__all__ = ["LESIONS", "SmallECGNet", "accuracy", "ecg", "score", "tabular", "train"]
