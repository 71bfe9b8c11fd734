"""From a WFDB record to an explanation by lead and by wave.

Run as it is, it writes a simulated record in WFDB format first; give the path of a record of your own (12 leads) to read
that instead: python 01_ecg_record_from_wfdb.py path/to/record
"""

import sys
from pathlib import Path

import torch

import tsattr as ta
from tsattr.demo import SmallECGNet, train

# A small network, trained on simulated records of five classes.
data = ta.datasets.simulate_ecg(400, lesions=("st_elevation_anterior", "t_inversion", "pathologic_q", "pvc"), seed=1)
classes = data.label.attrs["flag_meanings"].split()
torch.manual_seed(0)
net = SmallECGNet(classes=len(classes))
train(net, data.ecg.values[:-10], data.label.values[:-10], epochs=6)

if len(sys.argv) > 1:
    path = Path(sys.argv[1])
else:
    path = ta.io.write_wfdb(
        data.ecg[-4].drop_vars("sample"), Path("simulated")
    )  # a t_inversion the network has not seen

ecg = ta.read_wfdb(path, leads=ta.ecg.LEADS, resample=100, stop=10).expand_dims("sample")
print(f"read {dict(ecg.sizes)}, {ecg.attrs['units']}, {ecg.attrs['sampling_rate']:g} Hz")

ds = ta.explain(net, ecg, ta.IntegratedGradients(ta.baselines.Blur(time="200ms")), outputs={"class": classes})
print(
    f"explained {ds.attrs['target']}: logit {ds.prediction.item():.2f}, {ds.status.item()}, {ds.steps.item()} path points"
)
print(f"completeness error {ds.completeness_error.item():.4f}")

# Where the attribution lies: exact sums by lead and by wave.
r_peaks = ta.ecg.r_peaks(ecg)
waves = ta.ecg.waves(r_peaks)
print(f"{r_peaks.attrs['count']} beats by {r_peaks.attrs['detector']}")
print(ta.ecg.by_lead(ds.attribution).absolute.squeeze().to_series().sort_values().tail(3).round(3).to_string())
print(ta.ecg.by_wave(ds.attribution.sum("lead"), waves).signed.squeeze().to_series().round(3).to_string())

ta.plot.ecg(ecg[0], ds.attribution[0]).savefig("ecg.png")
ta.io.write_netcdf(ds, "attribution.nc")
ta.report.report(ds, ecg.assign_coords(wave=waves), out="report.html")
print("wrote ecg.png, attribution.nc, report.html")
