"""Does the model lean on when beats come, or on what they look like? Edits of the beats, what can be claimed, and tables of a cohort."""

import warnings

import torch

import tsattr as ta
from tsattr import ecg
from tsattr.demo import SmallECGNet, train

# A small network that tells records with inverted T waves, with PVCs (wide and early), and with a long PR interval.
data = ta.datasets.simulate_ecg(300, lesions=("t_inversion", "pvc", "av_block"), seed=1)
classes = data.label.attrs["flag_meanings"].split()
torch.manual_seed(0)
net = SmallECGNet(classes=len(classes))
train(net, data.ecg.values[:260], data.label.values[:260], epochs=6)

healthy = data.sel(sample=data.sample[260:][data.label.values[260:] == 0])
x = healthy.ecg.assign_coords(patient=("sample", range(healthy.sizes["sample"])))

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of some wide beats, and of some that cannot move as far
    measured = ecg.delineate(x, healthy.r_peak)  # onset, offset and confidence of P, QRS and T, beat by beat
    qrs = (measured.offset - measured.onset).sel(wave="QRS")
    print(
        f"{int(measured.r.count())} beats, QRS of {1000 * float(qrs.median()):.0f} ms; P in {float(measured.onset.sel(wave='P').count() / measured.r.count()):.0%}\n"
    )

    # What the standard edits of all beats do to "pvc": means with intervals over patients, and what bridging the same cells says.
    table = ecg.leaning(net, x, measured=measured, patient="patient", outputs={"class": classes}, target="pvc")
    print(
        table.squeeze("class").to_dataframe()[["kind", "mean", "low", "high", "apart", "removal"]].round(2).to_string(),
        "\n",
    )

    # One of them against its dose, with how far off clean records (1: where they end) the edited ones are.
    found = ecg.dose(
        net, x, ecg.edits.WidenQRS(), [1, 1.25, 1.5, 2], measured=measured, patient="patient",
        outputs={"class": classes}, target="pvc", reference=data.ecg[:260],
    )  # fmt: skip
    found["off"] = found["shift"].mean("sample")
    print(found[["mean", "low", "high", "off"]].to_dataframe().round(2).to_string(), "\n")

    # What the evidence supports of the network and of a map of it, claim by claim.
    by_blur = ta.IntegratedGradients(ta.baselines.Blur(time="200ms"))
    checked = ecg.check(net, x, by_blur, measured=measured, patient="patient", outputs={"class": classes}, target="pvc")
    print(checked.attrs["verdict"], f"({checked.attrs['rows']} rows of the model)\n", sep="\n")

# A cohort: where records of two classes differ in what the network looks at, of all leads and waves together.
some = data.isel(sample=slice(260, 300)).isel(sample=data.label.values[260:] <= 1)
ds = ta.explain(
    net,
    some.ecg,
    ta.IntegratedGradients(ta.baselines.Blur(time="200ms")),
    outputs={"class": classes},
    target="t_inversion",
)
label = [classes[k] for k in some.label.values]
cohort = ecg.cohort(ds.attribution, over=some.sample.values, by_class=label, wave=ecg.waves(some.r_peak))
differs = cohort.difference.squeeze("pair").where(cohort.difference_apart.squeeze("pair"))
print(cohort.pair.item(), "by lead and wave, where 0 lies outside intervals that hold for all cells together:")
print(differs.to_series().dropna().sort_values(key=abs, ascending=False).head(6).round(2).to_string())
