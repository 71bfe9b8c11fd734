"""The cases that a network holds to be most like a record, why it does, and a page of pictures.

A gallery keeps what a network makes of labelled records on the way to its answer (the input of its last layer). It is
written to a file, without the network, and asked about records that the network has not seen. At last the network is
replaced, and the gallery is carried over to the new one.
"""

import numpy as np
import torch
import xarray as xr

import tsattr as ta
from tsattr.demo import SmallECGNet, train

# A small network, trained on simulated records of five classes; 40 records are left for queries.
lesions = ("st_elevation_anterior", "t_inversion", "pathologic_q", "pvc")
data = ta.datasets.simulate_ecg(340, lesions=lesions, duration=4.0, seed=2)
names = np.array(data.label.attrs["flag_meanings"].split())
truth = data.truth
x = data.ecg.assign_coords(sample=[f"r{i:03d}" for i in range(340)], label=("sample", names[data.label.values]))
torch.manual_seed(0)
net = SmallECGNet(classes=len(names))
train(net, x.values[:300], data.label.values[:300], epochs=6)

# The gallery, from a file and back: NetCDF, with checksums, no pickle, no network.
ta.cases.Gallery.fit(net, x[:300]).write("gallery.nc")
gallery = ta.cases.Gallery.read("gallery.nc", model=net)
print(gallery)

# Who is near: the five nearest cases of each query, and how often they share its class.
q = x[300:]
near = gallery.nearest(q, k=5)
print(
    near[["case", "case_label", "distance"]].isel(sample=1).to_dataframe()[["case", "case_label", "distance"]].round(4)
)
share = (near.case_label == q.label).groupby(q.label).mean(...)
print("share of the five nearest cases that have the query's class (chance: 0.2)")
print(share.to_series().round(2).to_string())

# Why: the cells by which the embeddings of the two agree, at the record and at the case; maps add up to the similarity's
# change from the baseline.
few = q.isel(sample=[1, 2, 3])
ds = gallery.why(few, near.isel(sample=[1, 2, 3]), method=ta.IntegratedGradients(ta.baselines.Blur(time="400ms")))
print(
    f"statuses: {set(ds.status.values.ravel().tolist())}, worst completeness error {float(ds.completeness_error.max()):.4f}"
)
of_case = xr.DataArray(truth.values[:300][ds.position.values], dims=ds.attribution.dims)
of_query = xr.DataArray(truth.values[300:][[1, 2, 3]], dims=few.dims)
for side, map_, lesion in (
    ("record", ds.attribution, of_query),
    ("case", ds.attribution_of_case, of_case),
):
    size = abs(map_)
    inside = (size.where(lesion, 0).sum() / size.sum()).item()
    print(f"{side}: {inside:.0%} of the map lies on the planted lesions, {lesion.mean().item():.0%} of the cells")

# This record and the five cases most like it, as pictures.
ta.cases.page(ds, few, gallery, out="similar.html")
print("wrote gallery.nc, similar.html")

# A new network, of other records and seed. What the gallery holds means nothing to it, ...
more = ta.datasets.simulate_ecg(300, lesions=lesions, duration=4.0, seed=3)
torch.manual_seed(1)
new = SmallECGNet(classes=len(names))
train(new, more.ecg.values, more.label.values, epochs=6, seed=1)
try:
    gallery.nearest(ta.cases.embed(new, q))
except ValueError as error:
    print(f"refused: {error}")

# ... until it is carried over: from records that both networks embed, without those of the gallery.
upgraded = gallery.upgrade(new, more.ecg)
print(f"{upgraded}\n{upgraded.data.attrs['updates']}")
print(f"expected and actual errors of the pairs held out\n{upgraded.transformation.calibration}")


def precision(some):
    """The share of each query's five nearest cases that have its class."""
    return (some.nearest(q, k=5).case_label == q.label).mean().item()


# Of a few cases the record is still there: the most uncertain are embedded anew first.
first = upgraded.to_embed(30)
partly = upgraded.embed_anew(x[:300].sel(sample=first.case.values))
print(f"embedded anew first: {', '.join(first.case.values[:5])}, ...; then {partly}")
print(
    f"share of the five nearest of the query's class: old network {precision(gallery):.2f}, new network in the upgraded gallery "
    f"{precision(upgraded):.2f}, with 30 cases embedded anew {precision(partly):.2f}, with all {precision(upgraded.embed_anew()):.2f}"
)
