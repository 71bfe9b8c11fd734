"""Signals with and without annotations for the tests of reading and writing, and what to measure in them."""

import numpy as np
import wfdb
import xarray as xr

RATE = 250.0
CODES = {
    "flag_values": np.array([0, 1, 5, 28], np.int16),
    "flag_meanings": "none N V +",
}
RHYTHM = {"flag_values": np.array([0, 1, 3], np.int16), "flag_meanings": "none N AFIB"}


def signal(n=1000, leads=("I", "II", "V1"), rate=RATE, **coords):
    values = np.random.default_rng(0).normal(0, 0.5, (len(leads), n))
    time = ("time", np.arange(n) / rate, {"units": "s"})
    return xr.DataArray(
        values,
        dims=("lead", "time"),
        coords={"lead": list(leads), "time": time, **coords},
        attrs={"units": "mV", "sampling_rate": rate},
    )


def sine(hz, n=5000, rate=RATE, leads=("II",)):
    x = signal(n, leads, rate)
    return x.copy(data=np.sin(2 * np.pi * hz * np.arange(n) / rate) + np.zeros(x.shape))


def annotated(at, n=1000, symbols=None):
    """A signal with annotations at the given samples, N unless told."""
    codes = np.zeros(n, np.int16)
    codes[at] = 1 if symbols is None else symbols
    return signal(n, annotation=("time", codes, CODES))


def annotate(path, at, symbols, notes, fs=None):
    at, symbols = np.array(at), np.array(symbols)
    wfdb.wrann(path.name, "atr", at, symbols, aux_note=notes, fs=fs, write_dir=str(path.parent))


def counts(coordinate):
    """How often each word occurs, decoded as CF says."""
    words = dict(zip(coordinate.attrs["flag_values"].tolist(), coordinate.attrs["flag_meanings"].split()))
    codes, n = np.unique(coordinate.values, return_counts=True)
    return {words[c]: k for c, k in zip(codes.tolist(), n.tolist()) if c}


def amplitude(x, hz):
    """Least-squares amplitude and phase of a sine over the middle of a single-lead signal."""
    x = x.isel(lead=0)
    x = x.isel(time=slice(x.sizes["time"] // 4, -x.sizes["time"] // 4)).astype(float)
    basis = np.exp(2j * np.pi * hz * x.time.values)
    (a, b), *_ = np.linalg.lstsq(np.stack([basis.imag, basis.real], 1), x.values, rcond=None)
    return np.hypot(a, b), np.arctan2(b, a)
