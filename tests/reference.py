"""The methods as their papers state them: slow, with loops, for one sample and one number, and nothing of tsattr in them.

`f` maps a tensor (1, *event) to a tensor (1,); arrays are (*event) in numpy.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy import ndimage, special, stats
from torch import Tensor, nn

Function = Callable[[Tensor], Tensor]


def value(f: Function, x: np.ndarray) -> float:
    return float(f(torch.as_tensor(x)[None]).detach()[0])


def gradient(f: Function, x: np.ndarray) -> np.ndarray:
    row = torch.as_tensor(x)[None].requires_grad_(True)
    return torch.autograd.grad(f(row)[0], row)[0][0].numpy()


def rule(name: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on [0, 1]."""
    if name == "left":
        return np.arange(n) / n, np.full(n, 1 / n)
    if name == "midpoint":
        return np.array([(k + 0.5) / n for k in range(n)]), np.array([1 / n] * n)
    nodes, weights = special.roots_legendre(n)
    return (nodes + 1) / 2, weights / 2


def integrated_gradients(f: Function, x: np.ndarray, start: np.ndarray, n: int, name: str = "midpoint") -> np.ndarray:
    """Sundararajan, Taly and Yan 2017, equation 1, by a rule of n points."""
    total = np.zeros_like(x)
    for node, weight in zip(*rule(name, n)):
        total += weight * gradient(f, start + node * (x - start))
    return (x - start) * total


def refined(
    f: Function, x: np.ndarray, start: np.ndarray, name: str, levels: Sequence[int], tolerance: float
) -> tuple[np.ndarray, int, bool]:
    """Map, points and whether half the last relative change of the map came within the tolerance at one of the levels."""
    old = integrated_gradients(f, x, start, levels[0], name)
    for n in levels[1:]:
        new = integrated_gradients(f, x, start, n, name)
        if 0.5 * np.linalg.norm(new - old) <= tolerance * np.linalg.norm(new):
            return new, n, True
        old = new
    return old, levels[-1], False


def expected_gradients(f: Function, x: np.ndarray, starts: np.ndarray, alphas: Sequence[float]) -> np.ndarray:
    """Erion et al. 2021, equation 3: one point of one path for each draw, (draws, *event)."""
    return np.stack([(x - b) * gradient(f, b + a * (x - b)) for b, a in zip(starts, alphas)])


def projection(net: nn.Module, x: np.ndarray, a: int, b: int) -> np.ndarray:
    """The projection on the boundary of classes a and b in the features of an invertible network, of one sample (*event)."""
    with torch.no_grad():
        y = net.features(torch.as_tensor(x)[None])[0].numpy()
        weight, bias = net.head.weight.numpy(), net.head.bias.numpy()
        w, c = weight[a] - weight[b], bias[a] - bias[b]
        on = [y[i] - (sum(w[j] * y[j] for j in range(len(y))) + c) / sum(w**2) * w[i] for i in range(len(y))]
        return net.inverse(torch.as_tensor(np.array(on))[None])[0].numpy()


def windows(size: int, width: int, step: int) -> list[tuple[int, int]]:
    """Starts 0, step, ...; the first window that reaches the end is the last, cut short there."""
    out = [(0, min(width, size))]
    while out[-1][1] < size:
        start = out[-1][0] + step
        out.append((start, min(start + width, size)))
    return out


def occlusion(
    f: Function, x: np.ndarray, groups: Sequence[np.ndarray], fill: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Values of the groups (masks, True is taken away), and for each cell the mean over the groups that cover it, NaN for none."""
    values, total, cover = [], np.zeros_like(x), np.zeros(x.shape)
    for absent in groups:
        values.append(value(f, x) - value(f, np.where(absent, fill(absent), x)))
        total[absent] += values[-1]
        cover[absent] += 1
    return np.array(values), np.where(cover > 0, total / np.maximum(cover, 1), np.nan)


# ---- what takes the place of what is absent: x (lead, time), NaN missing


def maximum_distance(x: np.ndarray, low: float, high: float) -> np.ndarray:
    out = np.empty_like(x)
    for at, v in np.ndenumerate(x):
        out[at] = low if abs(v - low) >= abs(v - high) else high
    return out


def blur(x: np.ndarray, sigma: float, axis: int = -1, mode: str = "reflect") -> np.ndarray:
    """Normalised convolution over the cells that are there."""
    there = ~np.isnan(x)
    known = ndimage.gaussian_filter1d(np.where(there, x, 0), sigma, axis, mode=mode)
    return known / ndimage.gaussian_filter1d(there.astype(float), sigma, axis, mode=mode)


def hold(x: np.ndarray, absent: np.ndarray, otherwise: float = 0.0) -> np.ndarray:
    out = x.copy()
    for lead, t in zip(*np.nonzero(absent)):
        earlier = [x[lead, s] for s in range(t) if not absent[lead, s] and not np.isnan(x[lead, s])]
        out[lead, t] = earlier[-1] if earlier else otherwise
    return out


def bridge(x: np.ndarray, absent: np.ndarray, time: np.ndarray, otherwise: float = 0.0) -> np.ndarray:
    out = x.copy()
    for lead, t in zip(*np.nonzero(absent)):
        there = [s for s in range(x.shape[1]) if not absent[lead, s] and not np.isnan(x[lead, s])]
        out[lead, t] = np.interp(time[t], time[there], x[lead, there]) if there else otherwise
    return out


def standard_error(draws: np.ndarray) -> np.ndarray:
    """Of the mean over the first axis."""
    n = len(draws)
    mean = sum(draws) / n
    return np.sqrt(sum((d - mean) ** 2 for d in draws) / (n - 1) / n)


# ---- what is fitted


def conditional(x: np.ndarray, absent: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> tuple:
    """Mean of `x` with the absent cells given the present ones, and the covariance of the absent (cells in C order)."""
    unknown = absent.ravel() | np.isnan(x.ravel())
    mu, away = np.broadcast_to(mean, x.shape).ravel(), (x - mean).ravel()
    gain = covariance[np.ix_(unknown, ~unknown)] @ np.linalg.inv(covariance[np.ix_(~unknown, ~unknown)])
    out = x.ravel().copy()
    out[unknown] = mu[unknown] + gain @ away[~unknown]
    left = covariance[np.ix_(unknown, unknown)] - gain @ covariance[np.ix_(~unknown, unknown)]
    return np.where(absent, out.reshape(x.shape), x), left


def burg(series: Sequence[np.ndarray], order: int) -> tuple[float, float, list[float]]:
    """Mean, variance and coefficients of one channel from several complete series: Burg 1975, with sums over all."""
    every = np.concatenate(series)
    mean, variance = every.mean(), every.var()
    forward = [list(s - mean) for s in series]
    backward = [list(s - mean) for s in series]
    phi: list[float] = []
    for m in range(1, order + 1):
        top = bottom = 0.0
        for f, b in zip(forward, backward):
            for t in range(m, len(f)):
                top += 2 * f[t] * b[t - 1]
                bottom += f[t] ** 2 + b[t - 1] ** 2
        k = top / bottom
        phi = [phi[j] - k * phi[m - 2 - j] for j in range(m - 1)] + [k]
        for s in range(len(series)):
            f, b = forward[s][:], backward[s][:]
            for t in range(m, len(f)):
                forward[s][t] = f[t] - k * b[t - 1]
                backward[s][t] = b[t - 1] - k * f[t]
    return mean, variance, phi


def autoregressive_covariance(phi: Sequence[float], variance: float, n: int, terms: int = 1000) -> np.ndarray:
    """Of n cells of a stationary process, from its response to one shock."""
    response = [1.0]
    for t in range(1, terms):
        response.append(sum(p * response[t - j - 1] for j, p in enumerate(phi) if t - j - 1 >= 0))
    at = np.array([np.dot(response[: terms - k], response[k:]) for k in range(n)])
    return np.array([[variance * at[abs(i - j)] / at[0] for j in range(n)] for i in range(n)])


def forecast(x: np.ndarray, absent: np.ndarray, mean: float, covariance: np.ndarray) -> np.ndarray:
    """One series whose absent cells are each expected from those before, with the values put there for absent ones."""
    out = np.where(absent, np.nan, x)
    for t in range(len(x)):
        if np.isnan(out[t]):
            weights = np.linalg.solve(covariance[:t, :t], covariance[:t, t])
            out[t] = mean + weights @ (out[:t] - mean)
    return np.where(absent, out, x)


def band_stop(x: np.ndarray, low: float, high: float, rate: float) -> np.ndarray:
    """Less the part of x (..., time) along each cosine k / (2n) cycles per cell whose frequency lies in the band."""
    n, out = x.shape[-1], x.copy()
    for k in range(n):
        if low <= k * rate / (2 * n) <= high:
            wave = np.array([np.cos(np.pi * k * (t + 0.5) / n) for t in range(n)])
            out = out - (x @ wave)[..., None] * wave / (wave @ wave)
    return out


def road(x: np.ndarray, absent: np.ndarray, wraps: tuple[bool, ...] = (), otherwise: float = 0.0) -> np.ndarray:
    """Rong et al. 2022 on one grid, of one or two dims: the weighted means by repetition until nothing moves."""
    weights = {(1,): 1 / 2} if x.ndim == 1 else {(0, 1): 1 / 6, (1, 0): 1 / 6, (1, 1): 1 / 12, (1, -1): 1 / 12}
    wraps = wraps or (False,) * x.ndim
    absent = absent & ~np.isnan(x)
    out = np.where(absent, 0.0, x)
    reached = ~absent & ~np.isnan(x)
    for step in range(20000):
        before = out.copy()
        for cell in zip(*np.nonzero(absent)):
            total = weight_sum = 0.0
            for offset, weight in weights.items():
                for sign in (1, -1):
                    near = [c + sign * o for c, o in zip(cell, offset)]
                    if all(w or 0 <= i < n for i, n, w in zip(near, x.shape, wraps)):
                        near = tuple(i % n for i, n in zip(near, x.shape))
                        if not np.isnan(x[near]) and near != tuple(cell):
                            total += weight * out[near]
                            weight_sum += weight
                            reached[cell] |= step < 200 and reached[near]
            out[cell] = total / weight_sum if weight_sum else 0.0
        if np.abs(out - before).max(where=~np.isnan(out), initial=0) < 1e-16:
            break
    return np.where(absent & ~reached, otherwise, out)


def student_of_blocks(total, count, level, ordered=True):
    """Mean, low and high of blocks with sums and counts (blocks,), from the matrix of the quadratic form and loops."""
    share, mean = count / count.sum(), total.sum() / count.sum()
    return mean, *student_of_pulls((total - mean * count) / count.sum(), share, mean, level, ordered)


def student_of_pulls(pull, share, center, level, ordered=True):
    """Low and high around a center, from what each block (of these shares) adds to its deviation."""
    n, one = len(pull), np.ones(len(pull))
    around = np.eye(n) - np.outer(one, share)  # of block means round the mean
    form = around.T @ np.diag(share**2) @ around
    scale, freedom = share @ share / np.trace(form), np.trace(form) ** 2 / np.trace(form @ form)
    variance = (pull**2).sum()
    if ordered:
        number = sum(k**3 <= n**2 for k in range(1, n))
        variance = 0.0
        for k in range(1, number + 1):
            wave = np.array([np.cos(np.pi * k * (b + 0.5) / n) for b in range(n)])
            variance += (wave / np.sqrt(wave @ wave) @ pull) ** 2 * (n - 1) / number
        freedom *= number / (n - 1)
    half = stats.t.isf((1 - level) / 2, max(freedom, 1)) * np.sqrt(scale * variance)
    return center - half, center + half


def interval_of_resamples(found, weights, share, center, level):
    """Low and high of a function of blocks: Student's t of its slopes on the blocks' weights, and its percentiles."""
    beside = np.column_stack([weights, np.ones(len(weights))])  # an intercept: the function may be curved
    slope = np.linalg.lstsq(beside, np.asarray(found), rcond=1e-9)[0][:-1]
    low, high = student_of_pulls(slope - slope.mean(), share, center, level)
    ends = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return min(low, ends[0]), max(high, ends[1])


def unit_range(m: np.ndarray) -> np.ndarray:
    return np.zeros_like(m) if m.max() == m.min() else (m - m.min()) / (m.max() - m.min())


def averaged_down(line: np.ndarray, size: int) -> np.ndarray:
    """Means over parts that divide the line evenly, each from the cell in which it begins to the one in which it ends."""
    n = len(line)
    return np.array([line[k * n // size : -(-(k + 1) * n // size)].mean() for k in range(size)])


def convolved(f: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Same-size cross-correlation of (K, T) with (K', K, 3), zeros beyond the ends."""
    out = np.zeros((len(weight), f.shape[1]))
    for o, k, j in np.ndindex(weight.shape):
        for t in range(f.shape[1]):
            if 0 <= t + j - 1 < f.shape[1]:
                out[o, t] += weight[o, k, j] * f[k, t + j - 1]
    return out


def layer_normed(f: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return (f - f.mean()) / np.sqrt(f.var() + 1e-5) * weight[:, None] + bias[:, None]


def lficam(features: np.ndarray, x: np.ndarray, w: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lee et al. 2021 for one series, all extremes of this sample: logits, weights of the channels, attention."""
    f = unit_range(features)
    guide = averaged_down(np.mean(list(x), axis=0), f.shape[1])
    m = np.array([channel * guide for channel in f])
    m = layer_normed(convolved(m, w["importance.0.weight"]), w["importance.1.weight"], w["importance.1.bias"])
    m = convolved(np.maximum(m, 0), w["importance.3.weight"])
    said = layer_normed(m, w["importance.4.weight"], w["importance.4.bias"]).mean(1)
    s = np.exp(said) / sum(np.exp(said))
    attention = unit_range(np.maximum(sum(s[k] * f[k] for k in range(len(f))), 0))
    pooled = np.array([np.mean([(1 + a) * v for a, v in zip(attention, channel)]) for channel in f])
    return w["head.weight"] @ (10 * pooled) + w["head.bias"], s, attention
