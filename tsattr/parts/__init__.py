"""Signals as sums of parts: frequency bands, harmonics, trend and season, modes, the median beat and what deviates from it.

Each function returns its input with a new dim ``part`` after the samples', labelled by the names of the parts, which sum to it:
``parts.sum("part") == x`` to rounding. The last part, ``"rest"``, is what the others leave. Ask the model with the sum,
``ta.models.summed(model)``, and every method, baseline, group, metric and picture works on parts:

>>> import numpy as np, xarray as xr, tsattr as ta
>>> t = np.arange(200) / 100
>>> x = xr.DataArray(np.sin(2 * np.pi * 2 * t) + np.sin(2 * np.pi * 20 * t), dims="time", coords={"time": t}).expand_dims("sample")
>>> parts = ta.parts.bands(x, [(0.5, 5), (5, 40)], ends="periodic")
>>> power = ta.models.summed(lambda x: (x**2).mean(1))
>>> ds = ta.explain(power, parts, ta.IntegratedGradients())
>>> abs(ds.attribution.sum("time")).values.round(6).tolist()
[[0.5, 0.5, 0.0]]

Missing values stay missing, in all parts. What the parts rest on where nothing is known is in ``parts.part.attrs["assumes"]``, and
``parts.edge`` marks the cells of bands, octaves and seasons (by local regression) that rest on it.
"""

from .bands import bands as bands
from .bands import octaves as octaves
from .beats import beats_and_residual as beats_and_residual
from .cycles import harmonics as harmonics
from .cycles import trend_season as trend_season
from .modes import modes as modes

__all__ = ["bands", "beats_and_residual", "harmonics", "modes", "octaves", "trend_season"]


def __dir__() -> list[str]:
    return __all__
