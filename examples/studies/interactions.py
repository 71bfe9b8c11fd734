"""Is a planted pair of a lead's wave with another lead's wave found, in a formula and in a network trained on records?

Simulated records of three leads, each wave of each lead made larger or smaller at random (by a factor of 0 to 2). The outcome
is the size of one wave times that of another of another lead, and a third by itself; which three is drawn for each seed. Players
are lead x wave, with what lies between the waves: 15 of them, 105 pairs. Asked is whether the planted pair is the largest of the
105, in a formula that reads the true sizes and in a network trained on records; with three meanings of absence, and with less and
less effort. Beside it is what Shapley values alone would have said (`KernelShap`): and for a control network, whose outcome is the
sum of the same three sizes, whether a pair is seen where there is none.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import xarray as xr
from common import SignalNet, arguments, begin, fit, logits
from scipy.stats import binomtest, spearmanr
from sklearn.metrics import r2_score

import tsattr as ta
from tsattr.io import write_netcdf

LEADS = ("II", "V1", "V5")
WAVES = ("P", "QRS", "T")  # those planted; ST and the rest are players too
RECORDS, HELD = 5000, 500
EXPLAINED = 12


class Planted(NamedTuple):
    """Which three waves of which leads make the outcome, each as lead and wave."""

    first: tuple[int, int]
    second: tuple[int, int]
    alone: tuple[int, int]


def planted(seed: int) -> Planted:
    """Two waves of two leads, and a third of any."""
    rng = np.random.default_rng(seed)
    leads, waves = rng.permutation(len(LEADS))[:2], rng.permutation(len(WAVES))
    first, second = ((int(lead), int(wave)) for lead, wave in zip(leads, waves))
    rest = [p for p in np.ndindex(len(LEADS), len(WAVES)) if p not in (first, second)]
    return Planted(first, second, rest[rng.integers(len(rest))])


def records(n: int, seed: int) -> xr.Dataset:
    """Records whose waves are larger or smaller, in each lead by a factor of its own: `ecg` and `wave`."""
    data = ta.datasets.simulate_ecg(n, lesions=(), duration=4.0, sampling_rate=50.0, distractor=False, seed=seed)
    x, names = data.ecg.sel(lead=list(LEADS)), data.wave.attrs["flag_meanings"].split()
    factor = np.random.default_rng([seed, 1]).uniform(0, 2, (n, len(LEADS), len(WAVES))).astype("float32")
    factor = xr.DataArray(factor, {"lead": list(LEADS), "kind": list(WAVES)}, ("sample", "lead", "kind"))
    for wave in WAVES:
        x = x * factor.sel(kind=wave).where(data.wave == names.index(wave), 1)
    return xr.Dataset({"ecg": x.drop_vars("kind").transpose("sample", "lead", "time"), "wave": data.wave})


def lead_waves(data: xr.Dataset) -> ta.groups.Labelled:
    """Groups of lead x wave: `V1-QRS`, and `V1-none` for what lies between the waves."""
    waves = data.wave.attrs["flag_meanings"].split()
    label = xr.DataArray(np.arange(len(LEADS)) * len(waves), {"lead": list(LEADS)}, "lead") + data.wave
    names = " ".join(f"{lead}-{wave}" for lead in LEADS for wave in waves)
    return ta.groups.Labelled(label.assign_attrs(flag_values=range(len(LEADS) * len(waves)), flag_meanings=names))


def name(place: tuple[int, int]) -> str:
    return f"{LEADS[place[0]]}-{WAVES[place[1]]}"


def usual_sizes(data: xr.Dataset) -> torch.Tensor:
    """The mean over records of each wave's size in each lead (leads, waves)."""
    return sizes(torch.as_tensor(data.ecg.values), torch.as_tensor(data.wave.values)).mean(0)


def sizes(x: torch.Tensor, wave: torch.Tensor) -> torch.Tensor:
    """The mean absolute value within each wave of each lead (n, leads, waves); 0 where there is none."""
    inside = torch.stack([(wave == ta.ecg.WAVES.index(name)).to(x.dtype) for name in WAVES], 2)
    return (x.abs() @ inside) / inside.sum(1).clamp(min=1)[:, None]


def formula(of: Planted, usual: torch.Tensor, *, together: bool = True) -> Callable[..., torch.Tensor]:
    """The outcome from the signal and the places of its waves: a product and a third size, or the sum of all three."""

    def model(x: torch.Tensor, wave: torch.Tensor) -> torch.Tensor:
        size = sizes(x, wave) / usual
        a, b, c = (size[:, lead, kind] for lead, kind in of)
        return a * b + c if together else a + b + c

    return model


def outcome(model: Callable[..., torch.Tensor], data: xr.Dataset) -> np.ndarray:
    return model(torch.as_tensor(data.ecg.values), torch.as_tensor(data.wave.values)).numpy()


def trained(y: np.ndarray, train: xr.Dataset, seed: int, *, epochs: int) -> SignalNet:
    torch.manual_seed(seed)
    net = SignalNet(len(LEADS), 1, widths=(32, 48, 64), kernels=(9, 7, 5))
    fit(net, [train.ecg.values], y[:, None], torch.nn.functional.mse_loss, epochs=epochs, seed=seed)
    return net


def explanations(model: Any, data: xr.Dataset, train: xr.Dataset, **settings: Any) -> Iterator[tuple[str, xr.Dataset]]:
    """Results by the meaning of absence, then by index and effort."""
    groups, pairs = lead_waves(data), ta.ShapleyInteractions
    methods = {
        "0 mV": pairs(groups),
        "bridge": pairs(groups, ta.baselines.Bridge()),
        "other records": pairs(groups, ta.baselines.Samples.fit(train.ecg[:64]), coalitions=1000, draws=4),
        "0 mV, faithful": pairs(groups, index="faithful"),
        "0 mV, 960 coalitions": pairs(groups, coalitions=960),
        "0 mV, 480 coalitions": pairs(groups, coalitions=480),
    }
    for name, method in methods.items():
        yield name, ta.explain(model, data.ecg, method, **settings)


def judged(ds: xr.Dataset, of: Planted, product: np.ndarray) -> dict[str, float]:
    """Is the planted pair the first of all, by the mean over records and record by record; and what its value is."""
    players = ds.group.values.tolist()
    a, b, c = (players.index(name(place)) for place in of)
    first, second = np.triu_indices(len(players), 1)
    pairs = np.nan_to_num(ds.interaction.transpose("sample", "group", "group_b").values[:, first, second])
    mains = np.nan_to_num(ds.group_value.transpose("sample", "group").values)
    truth = np.flatnonzero((first == min(a, b)) & (second == max(a, b)))[0]
    mean = abs(pairs.mean(0))
    share = abs(pairs).sum() / (abs(pairs).sum() + abs(mains).sum())
    values = mains + np.nan_to_num(ds.interaction.transpose("sample", "group", "group_b").values).sum(2) / 2
    best = np.argsort(-abs(values.mean(0)))
    return {
        "first": float(mean.argmax() == truth),
        "first, one record": float((abs(pairs).argmax(1) == truth).mean()),
        "rank": float(1 + (mean > mean[truth]).sum()),
        "value": float(pairs[:, truth].mean()),
        "next": float(np.sort(np.delete(mean, truth))[-1]),
        "share of pairs": float(share),
        "follows the sizes": float(spearmanr(pairs[:, truth], product)[0]),
        "two largest values": float(set(best[:2].tolist()) == {a, b}),
        "three largest values": float(set(best[:3].tolist()) == {a, b, c}),
        "value of first": float(values[:, a].mean()),
        "value of second": float(values[:, b].mean()),
        "value of third": float(values[:, c].mean()),
    }


def one_seed(seed: int, train: xr.Dataset, held: xr.Dataset, *, epochs: int) -> Iterator[dict[str, Any]]:
    """What is found of one planted pair: by its formula, by a network trained on it, and by one trained on the sum."""
    of, usual, some = planted(seed), usual_sizes(train), held.isel(sample=slice(0, EXPLAINED))
    size = sizes(torch.as_tensor(some.ecg.values), torch.as_tensor(some.wave.values)).numpy()
    product = np.prod([size[:, lead, kind] for lead, kind in of[:2]], 0)
    for how, ds in explanations(formula(of, usual), some, train, context={"wave": some.wave}):
        yield {"seed": seed, "model": "formula", "absent": how, "r2": 1.0, **judged(ds, of, product)}
    for kind in ("product", "sum"):
        truth = formula(of, usual, together=kind == "product")
        net = trained(outcome(truth, train), train, seed, epochs=epochs)
        r2 = r2_score(outcome(truth, held), logits(net, held.ecg.values)[:, 0])
        for how, ds in explanations(net, some, train):
            yield {"seed": seed, "model": kind, "absent": how, "r2": r2, **judged(ds, of, product)}


def table(found: pd.DataFrame) -> str:
    """By model and absence: how often first over the seeds with a 95 % interval, and medians."""
    rows = []
    for (model, absent), part in found.groupby(["model", "absent"], sort=False):
        hits, n = int(part["first"].sum()), len(part)
        ends = binomtest(hits, n).proportion_ci(method="wilson")
        middle = part.median(numeric_only=True)
        rows.append(
            {
                "model": model,
                "absent": absent,
                "first": f"{hits} of {n} [{ends.low:.2f}, {ends.high:.2f}]",
                **{k: f"{middle[k]:.2f}" for k in ("r2", "first, one record", "rank", "value", "next", "share of pairs", "follows the sizes")},
                "two largest values": f"{int(part['two largest values'].sum())}",
                "three largest values": f"{int(part['three largest values'].sum())}",
                "values": " ".join(f"{middle[f'value of {k}']:.2f}" for k in ("first", "second", "third")),
            }
        )  # fmt: skip
    return pd.DataFrame(rows).to_string(index=False)


def main() -> None:
    parser = arguments(__doc__, study="interactions")
    parser.add_argument("--seeds", type=int, default=10)
    args = parser.parse_args()
    say = begin(args)
    seeds = 2 if args.quick else args.seeds
    train, held = records(1500 if args.quick else RECORDS, seed=args.seed), records(HELD, seed=args.seed + 1000)
    rows: list[dict[str, Any]] = []
    for seed in range(args.seed, args.seed + seeds):
        rows += one_seed(seed, train, held, epochs=8 if args.quick else 16)
        say(f"seed {seed}: {', '.join(name(p) for p in planted(seed))}")
    found = pd.DataFrame(rows)
    print(table(found))
    write_netcdf(found.to_xarray(), args.out / "interactions.nc")


if __name__ == "__main__":
    main()
