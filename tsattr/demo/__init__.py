"""`tsattr demo`: the main job on embedded data, from simulated samples to a report, without any download."""

from .records import LESIONS, SmallECGNet, accuracy, ecg, score, train

__all__ = ["LESIONS", "SmallECGNet", "accuracy", "ecg", "score", "train"]
