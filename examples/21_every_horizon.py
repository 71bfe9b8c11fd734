"""What in today's state moved day 1, day 2, ... day 6? Every horizon in one call, of a one-step model rolled out, with its forcing.

An anomaly travels along a coast of 24 places, two places a day, and fades; the wind of each day pushes it. The step is learnt from
pairs of days, and ``ta.models.rollout`` makes six days of it; as the truth is linear, the map of every horizon is known.
"""

import numpy as np
import torch
import xarray as xr

import tsattr as ta

torch.set_num_threads(1)
torch.manual_seed(0)
PLACES, DAYS, HERE, SPEED = 24, 6, 15, 2
distance = (np.arange(PLACES)[:, None] - np.arange(PLACES) - SPEED + PLACES // 2) % PLACES - PLACES // 2
CARRY = (
    0.9 * np.exp(-(distance**2) / 2) / np.exp(-(distance**2) / 2).sum(1, keepdims=True)
)  # today's places to tomorrow's
PUSH = 0.5 * np.eye(PLACES)


def days(n, seed):
    """States (n, place) of today, winds (n, day, place), and states of the days that follow."""
    rng = np.random.default_rng(seed)
    smooth = np.eye(PLACES) + np.exp(-(((np.arange(PLACES)[:, None] - np.arange(PLACES) + 12) % PLACES - 12) ** 2) / 8)
    x = rng.normal(size=(n, PLACES)) @ smooth
    wind = rng.normal(size=(n, DAYS, PLACES)) @ smooth / 2
    y = [x]
    for k in range(DAYS):
        y.append(y[-1] @ CARRY.T + wind[:, k] @ PUSH.T)
    return x.astype("float32"), wind.astype("float32"), np.stack(y[1:], 1).astype("float32")


class Step(torch.nn.Module):
    """Tomorrow's state, from today's and the wind of the day."""

    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(
            torch.nn.Linear(2 * PLACES, 64), torch.nn.Softplus(), torch.nn.Linear(64, PLACES)
        )
        self.straight = torch.nn.Linear(2 * PLACES, PLACES)

    def forward(self, x, wind):
        both = torch.cat([x, wind], 1)
        return self.straight(both) + self.net(both)


x, wind, y = map(torch.as_tensor, days(4000, seed=1))
step = Step()
optimiser = torch.optim.Adam(step.parameters(), lr=3e-3)
for k in range(1500):
    if k == 1000:
        optimiser.param_groups[0]["lr"] = 3e-4
    rows = torch.randint(len(x), (256,))
    loss = torch.nn.functional.mse_loss(step(x[rows], wind[rows, 0]), y[rows, 0])
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()

x, wind, y = days(20, seed=2)
horizons = np.arange(1, DAYS + 1)
state = xr.Dataset(
    {"state": (("sample", "place"), x), "wind": (("sample", "day", "place"), wind)},
    coords={"place": np.arange(PLACES), "day": horizons},
)
forecast = ta.models.rollout(step, DAYS, forcings="wind", state="state")
outputs = {"horizon": xr.DataArray(horizons, dims="horizon", attrs={"units": "day"}), "where": np.arange(PLACES)}
here = ta.targets.Output.at(where=HERE)
method = ta.IntegratedGradients(steps=12)
ds = ta.explain(forecast, state, method, target=ta.targets.Each("horizon", target=here), outputs=outputs)
print(
    f"{ds.attrs['target']}: dims {ds.attribution_state.dims}, {int(ds.model_evaluations[0])} rows a sample for all {DAYS} days"
)

print("day  error of the forecast [share of its variance]  map: correlation with the truth  largest at  truth")
for k, day in enumerate(horizons):
    truth = np.linalg.matrix_power(CARRY, day)[HERE] * x
    found = ds.attribution_state.sel(horizon=day)
    error = float(((ds.prediction.sel(horizon=day) - y[:, k, HERE]) ** 2).mean() / y[:, k, HERE].var())
    r = np.corrcoef(found.values.ravel(), truth.ravel())[0, 1]
    size, known = abs(found).mean("sample"), abs(truth).mean(0)
    print(f"{day:3d}  {error:44.1e}  {r:31.3f}  place {int(size.values.argmax()):4d}  place {known.argmax()}")

winds = abs(ds.attribution_wind).mean("sample").sum("place")  # (day, horizon)
later = float(winds.where(winds.day > winds.horizon).max())
print(f"of winds that blow after the day that is forecast: at most {later:.1e}")
print("size of what each day's wind says of each day's state")
print(winds.transpose("horizon", "day").to_pandas().round(2).to_string())

higher = ta.targets.Difference(
    ta.targets.Output(horizon=float(DAYS), where=HERE), ta.targets.Output(horizon=float(DAYS - 1), where=HERE)
)
why = ta.explain(forecast, state, method, target=higher, outputs=outputs)
most = int(abs(why.attribution_state.sum("place")).values.argmax())
one, sign = why.isel(sample=most), "higher" if why.prediction[most] > 0 else "lower"
top = one.attribution_state.to_series().sort_values(key=abs)[-3:]
print(
    f"forecast {most}: day {DAYS} is {float(abs(one.prediction)):.2f} {sign} than day {DAYS - 1}; the state says "
    f"{float(one.attribution_state.sum()):+.2f} of it, most by "
    + ", ".join(f"place {p} ({v:+.2f})" for p, v in top.items())
    + f"; the winds {float(one.attribution_wind.sum()):+.2f}"
)
figure = ta.plot.field(
    abs(ds.attribution_state).mean("sample").transpose("horizon", "place"),
    title=f"what of today moves place {HERE}, by horizon",
)
figure.savefig("horizons.png", dpi=100)
print("wrote horizons.png")
