"""Why two cases are alike: closed forms, completeness, both sides, and every kind of model and input."""

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import tsattr as ta
from tsattr.cases.embedding import fingerprint

W = torch.tensor(np.random.default_rng(5).normal(size=(4, 6)))


def linear(x):
    return x.flatten(1) @ W.T


def net():
    torch.manual_seed(3)
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 2)).double()


@pytest.fixture
def x():
    values = np.random.default_rng(2).normal(size=(7, 2, 3))
    coords = {"sample": list("abcdefg"), "patient": ("sample", [0, 0, 0, 1, 1, 2, 2]), "time": [0.0, 0.1, 0.2]}
    return xr.DataArray(values, dims=("sample", "lead", "time"), coords=coords)


def test_the_closed_form_of_a_linear_embedding(x):
    """-|a W x - W c|^2 along the line from 0: W'W is integrated to x (2 c - x), cell by cell."""
    gallery = ta.cases.Gallery.fit(linear, x, metric="euclidean")
    near = gallery.nearest(x, k=2)
    ds = gallery.why(x, near)
    w = W.numpy()
    for i in range(7):
        for j in range(2):
            own, other = (x.values[k].ravel() for k in (i, int(near.position[i, j])))
            for name, here, there in (("attribution", own, other), ("attribution_of_case", other, own)):
                slow = here * (w.T @ (w @ (2 * there - here)))
                np.testing.assert_allclose(ds[name][i, j].values.ravel(), slow, atol=1e-10)
    np.testing.assert_allclose(ds.prediction, -(near.distance**2), atol=1e-12)
    assert ds.attribution.dims == ("sample", "neighbour", "lead", "time")
    assert ds.attrs["target"] == "minus squared distance"
    assert ds.attrs["model"] == "minus squared distance of embeddings by linear"


def test_maps_of_the_cosine_sum_to_its_change(x):
    gallery = ta.cases.Gallery.fit(net(), x)
    near = gallery.nearest(x, k=3)
    ds = gallery.why(x, near, method=ta.IntegratedGradients(steps=200))
    np.testing.assert_allclose(ds.prediction, 1 - near.distance, atol=1e-12)
    for side in ("", "_of_case"):
        total = ds[f"attribution{side}"].sum(["lead", "time"])
        np.testing.assert_allclose(total, ds.prediction - ds[f"reference{side}"], atol=1e-4)
        assert set(ds[f"status{side}"].values.ravel()) == {"ok"}


def test_duplicates_agree_from_both_sides(x):
    gallery = ta.cases.Gallery.fit(net(), x)
    twins = x.assign_coords(sample=[f"{s}'" for s in x.sample.values])
    near = gallery.nearest(twins, k=1)
    assert near.case.values[:, 0].tolist() == x.sample.values.tolist()
    assert near.distance.values.max() == 0
    ds = gallery.why(twins, near)
    np.testing.assert_allclose(ds.prediction, 1, atol=1e-12)
    np.testing.assert_allclose(ds.attribution, ds.attribution_of_case, atol=1e-12)


@pytest.mark.parametrize(
    "method",
    [ta.IntegratedGradients(), ta.Occlusion(ta.groups.Along("time")), ta.ShapleySampling(ta.groups.Along("lead"))],
)
def test_neither_company_nor_the_order_of_the_gallery_matters(x, method):
    model = net()
    gallery = ta.cases.Gallery.fit(model, x)
    ds = gallery.why(x, gallery.nearest(x, k=2), method=method)
    for i in (0, 4):
        one = gallery.why(x[[i]], gallery.nearest(x[[i]], k=2), method=method, batch_size=3)
        xr.testing.assert_allclose(
            one.drop_vars("model_evaluations"), ds.isel(sample=[i]).drop_vars("model_evaluations")
        )
    mixed = ta.cases.Gallery.fit(model, x[[3, 1, 6, 0, 2, 5, 4]])
    other = mixed.why(x, mixed.nearest(x, k=2), method=method)
    xr.testing.assert_allclose(other.drop_vars("position"), ds.drop_vars("position"))


def test_some_of_the_neighbours_and_the_five_nearest(x):
    gallery = ta.cases.Gallery.fit(linear, x, metric="euclidean")
    near = gallery.nearest(x, k=3)
    ds = gallery.why(x, near.isel(neighbour=[2]), method=ta.Saliency())
    assert ds.neighbour.values.tolist() == [3]
    every = gallery.why(x, method=ta.Saliency())
    assert every.sizes["neighbour"] == 5
    xr.testing.assert_allclose(every.attribution.sel(neighbour=[3]), ds.attribution)


def test_where_there_is_no_neighbour(x):
    gallery = ta.cases.Gallery.fit(linear, x, metric="euclidean")
    ds = gallery.why(x, gallery.nearest(x, k=5, apart="patient"))
    gone = ds.position == -1
    assert gone.sum() == 3
    assert (ds.status == "no case").equals(gone)
    assert ds.attribution.where(gone, drop=True).isnull().all()
    assert ds.attribution_of_case.where(~gone).notnull().equals((~gone).broadcast_like(ds.attribution_of_case))


def test_a_black_box_is_explained_by_what_it_loses(x):
    box = ta.models.on_arrays(lambda a: np.concatenate([a[:, 0], np.abs(a[:, 0])], 1))  # the second lead is unread
    gallery = ta.cases.Gallery.fit(box, x)
    near = gallery.nearest(x, k=2)
    ds = gallery.why(x, near, method=ta.Occlusion(ta.groups.Along("lead")))
    assert (ds.attribution.isel(lead=1) == 0).all()
    assert (ds.attribution_of_case.isel(lead=1) == 0).all()
    np.testing.assert_allclose(ds.attribution.isel(lead=0, time=0), ds.prediction, atol=1e-12)  # nothing has cosine 0
    with pytest.raises(TypeError, match=r"needs gradients.*use Occlusion"):
        gallery.why(x, near)


def test_tables(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(9, 3)), columns=["age", "dose", "noise"], index=[f"p{i}" for i in range(9)])
    pipe = make_pipeline(StandardScaler(), PCA(2)).fit(frame)
    ta.cases.Gallery.fit(pipe, frame, metric="euclidean").write(tmp_path / "g.nc")
    gallery = ta.cases.Gallery.read(tmp_path / "g.nc", model=pipe)
    near = gallery.nearest(frame, k=1)
    method = ta.ShapleySampling(ta.groups.Cells(), ta.baselines.Constant(0.0))
    ds = gallery.why(frame, near, method=method)
    case = int(near.position[4, 0])
    v = pipe.transform(frame)
    assert ds.attribution.dims == ("sample", "neighbour", "feature")
    np.testing.assert_allclose(ds.prediction[4, 0], -((v[4] - v[case]) ** 2).sum())
    zero = pipe.transform(pd.DataFrame(np.zeros((1, 3)), columns=frame.columns))[0]
    change = -((v[4] - v[case]) ** 2).sum() + ((v[4] - zero) ** 2).sum()
    np.testing.assert_allclose(ds.attribution_of_case[4, 0].sum(), change)


def test_several_variables_masks_and_context():
    rng = np.random.default_rng(0)
    ecg = xr.DataArray(rng.normal(size=(5, 6)), dims=("sample", "time"))
    row = xr.DataArray(rng.normal(size=(5, 2)), dims=("sample", "feature"))
    x, valid = xr.Dataset({"ecg": ecg, "row": row}), {"ecg": xr.DataArray(np.arange(6) < 4, dims="time")}

    def model(ecg, row, scale):
        return torch.stack([scale * ecg[:, :4].sum(1), row.sum(1), torch.ones(len(row))], 1)

    settings = {"valid": valid, "context": {"scale": np.arange(1.0, 6.0)}}
    gallery = ta.cases.Gallery.fit(model, x, **settings, metric="euclidean")
    ds = gallery.why(x, gallery.nearest(x, k=2, **settings), **settings)
    for of in ("", "_of_case"):
        assert ds[f"attribution_ecg{of}"].isel(time=slice(4, 6)).isnull().all()
        total = ds[f"attribution_ecg{of}"].sum("time") + ds[f"attribution_row{of}"].sum("feature")
        np.testing.assert_allclose(total, ds.prediction - ds[f"reference{of}"], atol=1e-9)


def test_cases_with_other_labels_keep_them(x):
    gallery = ta.cases.Gallery.fit(linear, x, metric="euclidean")
    later = x.assign_coords(time=x.time + 5)
    ds = gallery.why(later, gallery.nearest(later, k=1))
    assert ds.attribution_of_case.dims == ("sample", "neighbour", "lead", "time_of_case")
    assert ds.time_of_case.values.tolist() == [0.0, 0.1, 0.2]
    assert ds.time.values.tolist() == [5.0, 5.1, 5.2]


def test_the_sample_dim_may_stand_anywhere(x):
    gallery = ta.cases.Gallery.fit(linear, x, metric="euclidean")
    ds = gallery.why(x.transpose("lead", "time", "sample"), method=ta.Saliency())
    plain = gallery.why(x, method=ta.Saliency())
    assert ds.attribution.dims == ds.attribution_of_case.dims == ("lead", "time", "sample", "neighbour")
    xr.testing.assert_allclose(ds.attribution_of_case.transpose(*plain.attribution.dims), plain.attribution_of_case)


def test_the_result_survives_a_file_and_the_model_is_left_alone(x, tmp_path):
    model = net().train()
    before = fingerprint(model)
    gallery = ta.cases.Gallery.fit(model, x)
    ds = gallery.why(x, gallery.nearest(x, k=2))
    assert model.training
    assert fingerprint(model) == before
    ta.io.write_result(ds, tmp_path / "why.nc")
    xr.testing.assert_allclose(ta.io.read_result(tmp_path / "why.nc"), ds)
    ta.io.write_result(gallery.nearest(x, k=2), tmp_path / "near.nc")
    xr.testing.assert_allclose(gallery.why(x, ta.io.read_result(tmp_path / "near.nc")), ds)


def test_without_the_cases_there_is_the_map_of_the_query(x):
    gallery = ta.cases.Gallery.fit(linear, x, metric="euclidean", keep=False)
    ds = gallery.why(x, gallery.nearest(x, k=1))
    assert "attribution" in ds
    assert not any(str(name).endswith("_of_case") for name in ds)


def test_what_why_refuses(x, tmp_path):
    gallery = ta.cases.Gallery.fit(linear, x)
    near = gallery.nearest(x, k=2)
    with pytest.raises(ValueError, match="near is of other queries than q"):
        gallery.why(x[:3], near)
    with pytest.raises(ValueError, match="neighbours are of another gallery"):
        ta.cases.Gallery.fit(linear, x[::-1]).why(x, near)
    with pytest.raises(ValueError, match=r"near is what gallery\.nearest\(q\) returns"):
        gallery.why(x, near.distance)
    with pytest.raises(ValueError, match="is asked of the model about the queries themselves"):
        gallery.why(ta.cases.embed(linear, x), near)
    with pytest.raises(TypeError, match="method"):
        gallery.why(x, near, method=ta.Saliency)


def test_samples_of_several_levels(x):
    levels = pd.MultiIndex.from_product([["a", "b"], [1, 2, 3]], names=["who", "beat"])
    x = x[:6].drop_vars(["sample", "patient"]).assign_coords(xr.Coordinates.from_pandas_multiindex(levels, "sample"))
    gallery = ta.cases.Gallery.fit(linear, x, metric="euclidean")
    ds = gallery.why(x[:2], gallery.nearest(x[:2], k=2, apart="who"))
    assert ds.case.values[0].tolist() == [str(v) for v in levels[ds.position.values[0]]]
    assert ds.who.values.tolist() == ["a", "a"]
    np.testing.assert_allclose(ds.attribution_of_case.sum(["lead", "time"]), ds.prediction - ds.reference_of_case)


def test_methods_name_layers_as_the_module_does():
    net = nn.Sequential(nn.Conv1d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4), nn.Tanh(), nn.Linear(4, 2))
    x = torch.tensor(np.random.default_rng(0).normal(size=(5, 1, 6)))
    gallery = ta.cases.Gallery.fit(net.double(), x)
    named, found = (gallery.why(x[:1], method=ta.GradCAM(layer)) for layer in ("0", None))
    np.testing.assert_array_equal(named.attribution, found.attribution)
