"""Galleries: embeddings by layer, nearest cases with known answers, files, and what is refused."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from sklearn.decomposition import PCA
from torch import nn

import tsattr as ta
from tsattr.cases.embedding import fingerprint


class Net(nn.Module):
    """Convolutions, a mean over time, two linear layers; what is on the way can be read off."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv1d(3, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.hidden = nn.Linear(4, 5)
        self.head = nn.Linear(5, 2)
        self.double()

    def trunk(self, x):
        return torch.tanh(self.hidden(self.conv(x).relu().mean(2)))

    def forward(self, x):
        return self.head(torch.tanh(self.hidden(self.relu(self.conv(x)).mean(2))))


@pytest.fixture
def x():
    values = np.random.default_rng(1).normal(size=(12, 3, 8))
    coords = {
        "sample": [f"s{i:02d}" for i in range(12)],
        "lead": ["I", "II", "III"],
        "patient": ("sample", np.arange(12) // 3),
        "rhythm": ("sample", np.array(["sinus", "AF"])[np.arange(12) % 2]),
    }
    return xr.DataArray(values, dims=("sample", "lead", "time"), coords=coords)


def brute(a, b, metric):
    """Distances by their definition, one pair at a time."""
    if metric == "euclidean":
        return np.array([[np.sqrt(((u - v) ** 2).sum()) for v in b] for u in a])
    return np.array([[1 - u @ v / np.sqrt((u @ u) * (v @ v)) for v in b] for u in a])


def test_the_layer_that_feeds_the_last_linear_one_is_found(x):
    net = Net()
    a = ta.cases.embed(net, x)
    np.testing.assert_allclose(a, net.trunk(torch.tensor(x.values)).detach(), rtol=0, atol=1e-14)
    assert a.attrs["layer"] == "input of head"
    assert a.dims == ("sample", "embedding_number")
    xr.testing.assert_equal(a.sample, x.sample)


def test_layers_by_name(x):
    net, t = Net(), torch.tensor(x.values)
    conv = net.conv(t).detach()
    np.testing.assert_allclose(ta.cases.embed(net, x, "conv"), conv.mean(2), atol=1e-14)  # before ReLU wrote into it
    np.testing.assert_allclose(ta.cases.embed(net, x, "relu"), conv.relu().mean(2), atol=1e-14)
    np.testing.assert_allclose(ta.cases.embed(net, x, "input of hidden"), conv.relu().mean(2), atol=1e-14)
    np.testing.assert_allclose(ta.cases.embed(net, x, ""), net(t).detach(), atol=1e-14)
    np.testing.assert_allclose(ta.cases.embed(net.trunk, x), net.trunk(t).detach(), atol=1e-14)


def test_features_come_last_in_layers_on_the_last_axis():
    t = torch.randn(4, 6, 3, dtype=torch.float64)
    gru = nn.GRU(3, 5, batch_first=True).double()
    np.testing.assert_allclose(ta.cases.embed(gru, t, ""), gru(t)[0].mean(1).detach(), atol=1e-14)
    net = nn.Sequential(nn.Linear(3, 2), nn.Flatten(), nn.Linear(12, 1)).double()
    np.testing.assert_allclose(ta.cases.embed(net, t, "0"), net[0](t).mean(1).detach(), atol=1e-14)
    assert ta.cases.embed(net, t).shape == (4, 12)


def test_a_module_without_linear_layers_is_its_own_embedding():
    net = nn.Sequential(nn.Conv1d(1, 2, 1), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    a = ta.cases.embed(net, torch.randn(3, 1, 5))
    assert (a.attrs["layer"], a.shape) == ("", (3, 2))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_neighbours_are_those_of_a_slow_search(x, metric):
    net = Net()
    gallery = ta.cases.Gallery.fit(net, x, metric=metric)
    q = x[::-1] + 0.3
    near = gallery.nearest(q.drop_vars("sample"), k=4)
    a = ta.cases.embed(net, q).values
    apart = brute(a, gallery.embedding, metric)
    order = np.argsort(apart, axis=1, kind="stable")[:, :4]
    assert near.position.values.tolist() == order.tolist()
    np.testing.assert_allclose(near.distance, np.take_along_axis(apart, order, 1), atol=1e-12)
    assert near.case.values.tolist() == x.sample.values[order].tolist()
    assert near.case_rhythm.values.tolist() == x.rhythm.values[order].tolist()
    assert near.neighbour.values.tolist() == [1, 2, 3, 4]
    assert set(near.status.values) == {"ok"}


def test_a_query_does_not_find_itself_unless_asked(x):
    gallery = ta.cases.Gallery.fit(Net(), x)
    itself = gallery.nearest(x, k=1, itself=True)
    assert itself.case.values[:, 0].tolist() == x.sample.values.tolist()
    assert itself.distance.values.max() == 0
    assert not (gallery.nearest(x, k=11).case == x.sample).any()
    bare = gallery.nearest(x.drop_vars("sample"), k=1)  # nothing tells that these are the cases
    assert bare.distance.values.max() == 0


def test_cases_of_the_same_patient_are_left_out(x):
    gallery = ta.cases.Gallery.fit(Net(), x)
    near = gallery.nearest(x, k=9, apart="patient")
    assert not (near.case_patient == x.patient).any()
    assert near.attrs["left_out"] == "the query itself (by its label) and cases of the same patient"
    few = gallery.nearest(x, k=10, apart="patient")
    assert set(few.status.values) == {"fewer cases"}
    assert (few.position[:, -1] == -1).all()
    assert (few.case[:, -1] == "").all()
    assert few.distance[:, -1].isnull().all()
    assert few.case_patient[:, -1].isnull().all()
    with pytest.raises(ValueError, match="apart='ward' is no coordinate of the queries"):
        gallery.nearest(x, apart="ward")


def test_duplicates_are_at_distance_nothing_and_ties_follow_the_labels():
    twins = xr.DataArray(np.repeat([[1.0, 2.0], [3.0, -1.0]], 6, 0), dims=("sample", "time"))
    twins = twins.assign_coords(sample=list("lkjihgfedcba"))
    gallery = ta.cases.Gallery.fit(lambda x: x, twins)
    near = gallery.nearest(twins[:1].drop_vars("sample"), k=3)
    assert near.case.values.tolist() == [["g", "h", "i"]]
    assert near.distance.values.tolist() == [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_neither_rotation_nor_order_nor_company_changes_the_neighbours(x, metric):
    net = Net()
    turn = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64))[0]
    plain = ta.cases.Gallery.fit(net.trunk, x, metric=metric).nearest(x)
    turned = ta.cases.Gallery.fit(lambda x: net.trunk(x) @ turn, x, metric=metric).nearest(x)
    mixed = ta.cases.Gallery.fit(net.trunk, x[np.random.default_rng(0).permutation(12)], metric=metric).nearest(x)
    for other in (turned, mixed):
        assert (other.case == plain.case).all()
        np.testing.assert_allclose(other.distance, plain.distance, atol=1e-12)
    gallery = ta.cases.Gallery.fit(net.trunk, x, metric=metric)
    singles = xr.concat([gallery.nearest(x[[i]], batch_size=1) for i in range(12)], "sample")
    xr.testing.assert_allclose(singles, plain, atol=1e-12)


def test_the_sample_dim_may_stand_anywhere(x):
    flipped = x[:, 0].T
    near = ta.cases.Gallery.fit(lambda x: x, x[:, 0]).nearest(flipped, k=3)
    xr.testing.assert_equal(near, ta.cases.Gallery.fit(lambda x: x, flipped).nearest(x[:, 0], k=3))


def test_what_has_no_embedding_is_a_status_and_near_to_nothing(x):
    bad = x.copy()
    bad[2, 0, 0] = np.nan
    gallery = ta.cases.Gallery.fit(Net(), bad)
    near = gallery.nearest(bad, k=10)
    assert near.status.values.tolist() == ["ok", "ok", "no embedding", *["ok"] * 9]
    assert (near.position[2] == -1).all()
    assert not (near.case == "s02").any()
    zeros = ta.cases.Gallery.fit(lambda x: x, np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]))
    assert zeros.nearest(np.zeros((1, 2)), k=1).status.values.tolist() == ["no embedding"]
    assert zeros.nearest(np.ones((1, 2)), k=3).position.values.tolist() == [[2, 1, -1]]


def test_more_neighbours_than_cases_are_refused(x):
    with pytest.raises(ValueError, match="k=13 neighbours are asked for, and the gallery has 12 cases"):
        ta.cases.Gallery.fit(Net(), x).nearest(x, k=13)


@pytest.mark.parametrize("name", ["g.nc", "g.zarr"])
def test_a_gallery_survives_a_file(x, tmp_path, name):
    if name.endswith("zarr"):
        pytest.importorskip("zarr")
    net = Net()
    gallery = ta.cases.Gallery.fit(net, x, labels=x.rhythm.values, side=PCA(2).fit(x.values.reshape(12, -1)))
    gallery.write(tmp_path / name)
    read = ta.cases.Gallery.read(tmp_path / name, model=net)
    xr.testing.assert_identical(gallery.nearest(x), read.nearest(x).assign_attrs(gallery.nearest(x).attrs))
    assert read.nearest(x).attrs == gallery.nearest(x).attrs
    assert set(read.data.data_vars) == {"embedding", "side", "input"}
    np.testing.assert_array_equal(read.data.input, x)
    np.testing.assert_allclose(read.data.side, PCA(2).fit_transform(x.values.reshape(12, -1)), atol=1e-12)
    alone = ta.cases.Gallery.read(tmp_path / name)
    a = ta.cases.embed(net, x)
    assert (alone.nearest(a).case == read.nearest(x).case).all()
    with pytest.raises(ValueError, match=r"no model to embed queries with: Gallery\.read\(path, model="):
        alone.nearest(x)


def test_a_damaged_file_is_refused(x, tmp_path):
    ta.cases.Gallery.fit(Net(), x).write(tmp_path / "g.nc")
    raw = bytearray((tmp_path / "g.nc").read_bytes())
    raw[len(raw) // 2] ^= 1
    (tmp_path / "g.nc").write_bytes(raw)
    with pytest.raises(ValueError, match="bytes in it have changed"):
        ta.cases.Gallery.read(tmp_path / "g.nc")
    ta.io.write_result(xr.Dataset({"a": ("lead", [1.0])}), tmp_path / "other.nc")
    with pytest.raises(ValueError, match="this is no gallery"):
        ta.cases.Gallery.read(tmp_path / "other.nc")


def test_a_query_by_another_model_is_refused(x, tmp_path):
    net, other = Net(), Net()
    gallery = ta.cases.Gallery.fit(net, x)
    gallery.write(tmp_path / "g.nc")
    assert fingerprint(net) == fingerprint(other)
    with torch.no_grad():
        other.conv.bias[0] += 1e-3
    with pytest.raises(ValueError, match=r"gallery\.upgrade\(new_model, pairs\)"):
        ta.cases.Gallery.read(tmp_path / "g.nc", model=other)
    with pytest.raises(ValueError, match="distances between the two mean nothing"):
        gallery.nearest(ta.cases.embed(other, x))
    net.load_state_dict(other.state_dict())  # trained on behind the gallery's back
    with pytest.raises(ValueError, match="distances between the two mean nothing"):
        gallery.nearest(x)


def test_the_model_is_left_as_it_was_also_after_an_error(x):
    net = Net().train()
    before = fingerprint(net)
    ta.cases.Gallery.fit(net, x).nearest(x)
    with pytest.raises(KeyError, match="Net has no layer 'tail'"):
        ta.cases.embed(net, x, "tail")
    with pytest.raises(RuntimeError):
        ta.cases.embed(net, x[:, :2])
    assert net.training
    assert net.conv.training
    assert fingerprint(net) == before
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_layers_that_cannot_be_read(x):
    net = Net()
    net.unused = nn.Linear(2, 2).double()
    with pytest.raises(ValueError, match="'unused' is not called for a prediction"):
        ta.cases.embed(net, x, "unused")
    with pytest.raises(TypeError, match="layer='conv' is of a torch module"):
        ta.cases.embed(lambda x: x, x, "conv")
    with pytest.raises(ValueError, match="an embedding is one row of numbers"):
        ta.cases.embed(lambda x: x, x)
    with pytest.raises(ValueError, match="is not a function of its row"):  # time comes first in this one
        ta.cases.embed(nn.GRU(8, 2).double(), x, "")


def test_tables_with_text_come_back(tmp_path):
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.integers(20, 90, 20),
            "sex": pd.Categorical(rng.choice(["f", "m"], 20)),
            "ward": rng.choice(["icu", "home"], 20),
            "sodium": np.where(rng.random(20) < 0.2, np.nan, rng.normal(140, 4, 20)),
            "dead": rng.random(20) < 0.5,
        },
        index=[f"p{i}" for i in range(20)],
    )
    columns = make_column_transformer(
        (OneHotEncoder(), ["sex", "ward"]), (StandardScaler(), ["age", "dead"]), remainder="drop"
    )
    pipe = make_pipeline(columns, PCA(3)).fit(frame)
    gallery = ta.cases.Gallery.fit(pipe, frame)
    gallery.write(tmp_path / "g.nc")
    read = ta.cases.Gallery.read(tmp_path / "g.nc", model=pipe)
    near = read.nearest(frame, k=2)
    assert (near.case == gallery.nearest(frame, k=2).case).all()
    from tsattr.cases.stored import restore

    back, _ = restore(read.data, np.arange(20), "sample")
    pd.testing.assert_frame_equal(back, frame.reset_index(drop=True))


def test_masks_context_and_several_variables_are_kept(tmp_path):
    from tsattr.cases.stored import restore

    rng = np.random.default_rng(0)
    ecg = xr.DataArray(rng.normal(size=(5, 6)), dims=("sample", "time"))
    row = xr.DataArray(rng.normal(size=(5, 2)), dims=("sample", "feature"))
    valid = {"ecg": xr.DataArray(np.arange(6) < 4, dims="time")}
    age = np.arange(5.0)
    gallery = ta.cases.Gallery.fit(
        lambda ecg, row, age: torch.stack([ecg.sum(1) + age, row.sum(1)], 1),
        xr.Dataset({"ecg": ecg, "row": row}),
        valid=valid,
        context={"age": age},
    )
    gallery.write(tmp_path / "g.nc")
    back, settings = restore(ta.cases.Gallery.read(tmp_path / "g.nc").data, np.array([3, 1]), "sample")
    np.testing.assert_array_equal(back.ecg, ecg[[3, 1]])
    np.testing.assert_array_equal(back.row, row[[3, 1]])
    assert settings["context"]["age"].tolist() == [3, 1]
    assert settings["valid"]["ecg"].values.tolist() == [[True] * 4 + [False] * 2] * 2


def test_what_a_gallery_refuses(x):
    with pytest.raises(ValueError, match="metric is one of 'cosine', 'euclidean', got 'manhattan'"):
        ta.cases.Gallery.fit(Net(), x, metric="manhattan")
    with pytest.raises(ValueError, match="labels has shape"):
        ta.cases.Gallery.fit(Net(), x, labels=["a"])
    with pytest.raises(ValueError, match=r"x has a dim or coordinate 'case'.*x\.rename"):
        ta.cases.Gallery.fit(lambda x: x, x[:, 0].rename(time="case"))
    with pytest.raises(ValueError, match="embeddings have 3 numbers, the gallery's 5"):
        ta.cases.Gallery.fit(Net(), x).nearest(xr.DataArray(np.ones((1, 3)), dims=("sample", "embedding_number")))
    with pytest.raises(ValueError, match="this is no gallery"):
        ta.cases.Gallery(xr.Dataset())


def test_a_gallery_is_frozen_and_says_what_it_is(x):
    gallery = ta.cases.Gallery.fit(Net(), x, keep=False)
    assert repr(gallery) == "Gallery(12 cases, 5 numbers each, cosine, by Net at 'input of head')"
    assert "input" not in gallery.data
    with pytest.raises(dataclasses.FrozenInstanceError):
        gallery.data = None


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_many_equal_distances_are_those_of_a_slow_search(metric):
    """Points of a small grid, in which most distances occur many times, far from the origin, where squares round."""
    rng = np.random.default_rng(0)
    points = rng.integers(0, 3, (200, 2)) + np.array([1000.0, 1.0])
    x = xr.DataArray(points, dims=("sample", "feature"), coords={"sample": rng.permutation(200)})
    near = ta.cases.Gallery.fit(lambda x: x, x, metric=metric).nearest(x, k=7)
    apart = ((points[:, None] - points) ** 2).sum(2)
    if metric == "cosine":
        unit = points / np.sqrt((points**2).sum(1))[:, None]
        apart = ((unit[:, None] - unit) ** 2).sum(2) / 2
    np.fill_diagonal(apart, np.inf)
    order = np.array([np.lexsort((x.sample.values, row.round(15)))[:7] for row in apart])
    np.testing.assert_allclose(near.distance.values[:, -1] ** (1 if metric == "cosine" else 2), np.sort(apart)[:, 6])
    if metric == "euclidean":  # cosines of grid points that are equal by number may differ by rounding
        assert near.position.values.tolist() == order.tolist()


def test_missing_patients_are_nobodys_and_other_kinds_of_labels_are_refused(x):
    named = x.assign_coords(patient=("sample", np.array(["a", None, "b"] * 4, object)))
    gallery = ta.cases.Gallery.fit(Net(), named)
    near = gallery.nearest(named, k=4, apart="patient")
    assert not ((near.case_patient == named.patient) & (near.case_patient != "")).any()
    assert not (near.case == named.sample).any()  # not even where nobody knows the patient
    assert (near.case_patient[1::3] == "").any()
    with pytest.raises(TypeError, match="'patient' is a number in the queries and text in the gallery"):
        gallery.nearest(x, apart="patient")


def test_dates_are_labels(tmp_path):
    days = np.arange("2001-01-01", "2001-01-09", dtype="M8[D]").astype("M8[s]")
    x = xr.DataArray(np.random.default_rng(0).normal(size=(8, 3)), dims=("day", "lat"), coords={"day": days})
    gallery = ta.cases.Gallery.fit(lambda x: x, x, sample_dim="day", metric="euclidean")
    gallery.write(tmp_path / "g.nc")
    read = ta.cases.Gallery.read(tmp_path / "g.nc", model=lambda x: x)
    near = read.nearest(x, k=7, sample_dim="day")
    assert not (near.case == near.day).any()
    ds = read.why(x, near, sample_dim="day", method=ta.Saliency())
    assert ds.attribution.dims == ("day", "neighbour", "lat")


def test_another_function_is_told_by_the_first_case(x, tmp_path):
    ta.cases.Gallery.fit(lambda x: x.mean(2), x).write(tmp_path / "g.nc")
    ta.cases.Gallery.read(tmp_path / "g.nc", model=lambda x: x.sum(2) / 8)
    for other in (lambda x: x.amax(2), lambda x: x[:, 0]):
        with pytest.raises(ValueError, match=r"other numbers of the gallery's first case.*gallery\.upgrade"):
            ta.cases.Gallery.read(tmp_path / "g.nc", model=other)


def test_a_function_may_stand_for_a_layer(x, tmp_path):
    net = Net()
    gallery = ta.cases.Gallery.fit(net, x)
    gallery.write(tmp_path / "g.nc")
    read = ta.cases.Gallery.read(tmp_path / "g.nc", model=net.trunk)
    np.testing.assert_allclose(read.nearest(x).distance, gallery.nearest(x).distance, atol=1e-12)
    with pytest.raises(ValueError, match="other numbers of the gallery's first case"):
        ta.cases.Gallery.read(tmp_path / "g.nc", model=net.forward)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_compiled_models_and_script(x):
    net = Net().eval()
    plain = ta.cases.embed(net, x)
    xr.testing.assert_identical(ta.cases.embed(torch.compile(net, backend="eager"), x), plain)
    script = torch.jit.trace(net, torch.tensor(x.values))
    np.testing.assert_allclose(ta.cases.embed(script, x), net(torch.tensor(x.values)).detach(), atol=1e-14)
    with pytest.raises(TypeError, match="TorchScript or was compiled in place, which hides its layers"):
        ta.cases.embed(script, x, "conv")


def test_several_outputs_are_no_embedding(x):
    class Two(nn.Module):
        def forward(self, x):
            return x.mean(2), x.sum(2)

    with pytest.raises(ValueError, match="the model gives tuple for 2 rows"):
        ta.cases.embed(Two(), x)


def test_the_gallery_shares_nothing_with_its_input(x):
    x.time.attrs["units"] = "s"
    x = x.assign_attrs(odd=[1, None])
    gallery = ta.cases.Gallery.fit(Net(), x)
    assert x.attrs["odd"] == [1, None]
    assert isinstance(gallery.data.input.attrs["odd"], str)


def test_a_compiled_model_is_known_again(x, tmp_path):
    compiled = torch.compile(Net(), backend="eager")
    gallery = ta.cases.Gallery.fit(compiled, x)
    gallery.write(tmp_path / "g.nc")
    xr.testing.assert_equal(ta.cases.Gallery.read(tmp_path / "g.nc", model=compiled).nearest(x), gallery.nearest(x))
    with pytest.raises(TypeError, match=r"layer is a name in model.named_modules\(\).*, got 3"):
        ta.cases.Gallery.fit(compiled, x, layer=3)


def test_side_information_by_something_else_is_refused(x, tmp_path):
    flat = x.values.reshape(12, -1)
    for own, other, told in (
        (nn.Sequential(nn.Flatten(), nn.Linear(24, 2).double()), nn.Linear(8, 2).double(), "has the weights"),
        (PCA(2).fit(flat), PCA(2).fit(flat**3), "makes other numbers of the gallery's first case"),
    ):
        ta.cases.Gallery.fit(Net(), x, side=own).write(tmp_path / f"{told}.nc")
        assert ta.cases.Gallery.read(tmp_path / f"{told}.nc", model=Net(), side=own).side is not None
        with pytest.raises(ValueError, match=f"side= {told}"):
            ta.cases.Gallery.read(tmp_path / f"{told}.nc", model=Net(), side=other)


def test_dask_in_any_chunks_is_written(x, tmp_path):
    pytest.importorskip("dask")
    pytest.importorskip("zarr")
    gallery = ta.cases.Gallery.fit(Net(), x.chunk(sample=(3, 5, 4)))
    gallery.write(tmp_path / "g.zarr")
    np.testing.assert_array_equal(ta.cases.Gallery.read(tmp_path / "g.zarr").data.input, x)
