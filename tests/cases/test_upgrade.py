"""A gallery carried over to a new model: without the cases, in a file, in part embedded anew; and what is refused."""

import dataclasses

import numpy as np
import pytest
import torch
import xarray as xr
from sklearn.decomposition import PCA
from torch import nn

import tsattr as ta
from tsattr.cases import Gallery, Transformation
from tsattr.cases.upgrade import _length


def net(hidden, seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(6, hidden), nn.Tanh(), nn.Linear(hidden, 2)).double().eval()


@pytest.fixture
def x():
    """120 samples: 80 to learn from, 40 cases."""
    values = np.random.default_rng(0).normal(size=(120, 2, 3))
    coords = {"sample": [f"s{i:03d}" for i in range(120)], "patient": ("sample", np.arange(120) // 4)}
    return xr.DataArray(values, dims=("sample", "lead", "time"), coords=coords)


@pytest.fixture
def gallery(x):
    side = PCA(2, random_state=0).fit(x[:80].values.reshape(80, -1))
    return Gallery.fit(net(4, 1), x[80:], side=side, labels=np.arange(40) % 2)


@pytest.fixture
def upgraded(gallery, x):
    return gallery.upgrade(net(5, 2), x[:80])


def test_a_new_model_finds_in_it_what_it_would_find_in_its_own(x):
    """Where one linear map leads from the old embedding to the new one, neighbours and distances are those of the new model."""
    cases, pairs, q = x[80:], x[:40], x[:20]
    turn = torch.tensor(np.random.default_rng(1).normal(size=(6, 6)))

    def new(x):
        return x.flatten(1) @ turn - 3

    for metric in ("cosine", "euclidean"):
        own = Gallery.fit(new, cases, metric=metric)
        carried = Gallery.fit(lambda x: x.flatten(1), cases, metric=metric, keep=False).upgrade(new, pairs)
        np.testing.assert_allclose(carried.embedding, own.embedding, atol=1e-6)
        a, b = own.nearest(q), carried.nearest(q)
        np.testing.assert_array_equal(a.position, b.position)
        np.testing.assert_allclose(a.distance, b.distance, atol=1e-6)
        assert carried.data.uncertainty.max() < 1e-5


def test_the_cases_are_not_asked_for_and_their_labels_stay(gallery, upgraded):
    assert upgraded.embedding.shape == (40, 5)
    assert (
        repr(upgraded)
        == "Gallery(40 cases, 40 of them transformed, 5 numbers each, cosine, by Sequential at 'input of 3')"
    )
    for name in ("case", "label", "patient", "side", "input"):
        xr.testing.assert_equal(upgraded.data[name].drop_vars("uncertainty", errors="ignore"), gallery.data[name])
    assert gallery.embedding.shape == (40, 4)
    assert "uncertainty" not in gallery.data
    assert upgraded.data.attrs["fingerprint"] == upgraded.embedder.fingerprint != gallery.data.attrs["fingerprint"]
    with pytest.raises(ValueError, match="the query's embeddings have 4 numbers"):
        upgraded.nearest(ta.cases.embed(net(4, 1), xr.DataArray(np.ones((1, 2, 3)), dims=("sample", "lead", "time"))))


def test_neighbours_tell_how_uncertain_they_are(upgraded, x):
    near = upgraded.nearest(x[:3], k=2)
    np.testing.assert_array_equal(near.case_uncertainty, upgraded.data.uncertainty.values[near.position.values])
    assert (near.case_uncertainty > 0).all()
    assert upgraded.why(x[:2], near.isel(sample=[0, 1])).case_uncertainty.shape == (2, 2)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_uncertainty_is_in_the_units_of_the_distance(x, metric):
    """The distance of the embedding from one that is off by the transformation's expected error, at right angles to it."""
    gallery = Gallery.fit(net(4, 1), x[80:], metric=metric).upgrade(net(2, 2), x[:80])
    a, error = gallery.transformation(Gallery.fit(net(4, 1), x[80:]).embedding)
    off = a + error[:, None] * np.stack([-a[:, 1], a[:, 0]], 1) / np.linalg.norm(a, axis=1)[:, None]
    moved = xr.DataArray(off, dims=("sample", "embedding_number"), coords={"sample": x.sample[80:]})
    own = [gallery.nearest(moved[[i]], 40, itself=True) for i in range(40)]
    distance = [near.distance.values[0][near.position.values[0] == i].item() for i, near in enumerate(own)]
    np.testing.assert_allclose(gallery.data.uncertainty, distance, rtol=1e-9)


def test_embeddings_made_before_will_do_where_the_old_model_is_gone(gallery, upgraded, x):
    made = {
        "old": ta.cases.embed(net(4, 1), x[:80]),
        "new": ta.cases.embed(net(5, 2), x[:80]),
        "side": ta.cases.embed(gallery.side.model, x[:80]),
    }
    gone = Gallery(gallery.data)
    for pairs in (made, xr.Dataset({k: v.rename(embedding_number=f"{k}_number") for k, v in made.items()})):
        again = gone.upgrade(net(5, 2), pairs)
        xr.testing.assert_equal(again.data, upgraded.data)
        assert again.embedder.layer == "input of 3"
    plain = gone.upgrade(None, {k: v.values for k, v in made.items()})
    np.testing.assert_array_equal(plain.embedding, upgraded.embedding)
    assert plain.embedder is None
    np.testing.assert_array_equal(plain.nearest(made["new"]).position, upgraded.nearest(made["new"]).position)


def test_a_transformation_serves_other_galleries_of_the_old_model(gallery, upgraded):
    half = dataclasses.replace(gallery, data=gallery.data.isel(case=slice(0, 20)))
    again = half.upgrade(net(5, 2), upgraded.transformation)
    np.testing.assert_allclose(again.embedding, upgraded.embedding[:20], rtol=1e-12)


@pytest.mark.parametrize("name", ["g.nc", "g.zarr"])
def test_it_survives_a_file(upgraded, x, tmp_path, name):
    upgraded.write(tmp_path / name)
    read = Gallery.read(tmp_path / name, model=net(5, 2), side=upgraded.side.model)
    xr.testing.assert_equal(read.data, upgraded.data)
    assert set(read.data.attrs) == set(upgraded.data.attrs)
    xr.testing.assert_equal(read.nearest(x[:5]), upgraded.nearest(x[:5]))
    assert str(read.transformation.calibration) == str(upgraded.transformation.calibration)
    a, s = np.ones((2, 4)), np.ones((2, 2))
    np.testing.assert_array_equal(read.transformation(a, s)[0], upgraded.transformation(a, s)[0])
    assert Gallery.read(tmp_path / name).upgrade(None, _onward(x, upgraded)).embedding.shape == (40, 3)


def _onward(x, gallery):
    """Pairs from the second model to a third."""
    return {
        "old": ta.cases.embed(net(5, 2), x[:80]),
        "new": ta.cases.embed(net(3, 3), x[:80]),
        "side": ta.cases.embed(gallery.side.model, x[:80]),
    }


def test_a_function_as_the_new_model_is_known_again_by_the_cases_that_it_embedded(x, tmp_path):
    def new(x):
        return x.flatten(1)[:, :4].tanh() + x.flatten(1)[:, 2:]

    upgraded = Gallery.fit(net(4, 1), x[80:]).upgrade(new, x[:80])
    upgraded.write(tmp_path / "g.nc")
    Gallery.read(tmp_path / "g.nc", model=lambda x: x.flatten(1)[:, 2:])  # nothing tells it
    upgraded.embed_anew(at=[3]).write(tmp_path / "one.nc")
    Gallery.read(tmp_path / "one.nc", model=new)
    with pytest.raises(ValueError, match="makes other numbers"):
        Gallery.read(tmp_path / "one.nc", model=lambda x: x.flatten(1)[:, 2:])


def test_updates_are_told_one_after_the_other_and_errors_add_up(upgraded, x):
    third = upgraded.upgrade(None, _onward(x, upgraded))
    first, second = third.data.attrs["updates"].splitlines()
    assert first == upgraded.data.attrs["updates"]
    marks = [upgraded.data.attrs["fingerprint"][:12], third.data.attrs["fingerprint"][:12]]
    assert second.startswith(
        f"Sequential {marks[0]} to Sequential {marks[1]}: 5 numbers and 2 of side information to 3 by "
    )
    # Of embeddings that are the second model's own the same update is surer: nothing of the first is carried on.
    exact = Gallery(upgraded.data.drop_vars("uncertainty")).upgrade(None, third.transformation)
    np.testing.assert_array_equal(exact.embedding, third.embedding)
    assert (exact.data.uncertainty < third.data.uncertainty).all()
    whole = upgraded.embed_anew()
    own, plain = (g.upgrade(None, third.transformation) for g in (whole, Gallery(whole.data.drop_vars("uncertainty"))))
    np.testing.assert_array_equal(own.data.uncertainty, plain.data.uncertainty)


def test_the_most_uncertain_come_first(upgraded):
    order = upgraded.to_embed()
    u = upgraded.data.uncertainty.values
    np.testing.assert_array_equal(order, np.sort(u)[::-1])
    np.testing.assert_array_equal(u[order.position], order)
    xr.testing.assert_identical(upgraded.to_embed(3), order[:3])
    assert order.case.values[0] == upgraded.data.case.values[u.argmax()]
    assert "patient" in order.coords


def test_cases_without_a_transformed_embedding_come_before_all(gallery, x):
    data = gallery.data.copy(deep=True)
    data["embedding"][7] = np.nan
    upgraded = dataclasses.replace(gallery, data=data).upgrade(net(5, 2), x[:80])
    assert np.isnan(upgraded.embedding[7]).all()
    assert np.isnan(upgraded.embedding).any(1).sum() == 1
    assert upgraded.to_embed(1).position.item() == 7
    assert np.isfinite(upgraded.embed_anew(at=upgraded.to_embed(1)).embedding).all()


def test_cases_are_embedded_anew_by_label_by_position_or_from_what_is_kept(upgraded, x):
    own = ta.cases.embed(net(5, 2), x[80:]).values
    first = upgraded.to_embed(5)
    some = upgraded.embed_anew(x.sel(sample=first.case.values[::-1]))
    at = first.position.values
    np.testing.assert_allclose(some.embedding[at], own[at], rtol=1e-12)
    np.testing.assert_array_equal(np.delete(some.embedding, at, 0), np.delete(upgraded.embedding, at, 0))
    assert (some.data.uncertainty == 0).sum() == 5
    assert (some.data.uncertainty.values[at] == 0).all()
    for other in (
        upgraded.embed_anew(at=first),
        upgraded.embed_anew(x[80:][at], at=at),
        upgraded.embed_anew(x[80:][at].drop_vars("sample"), at=first),
        upgraded.embed_anew(ta.cases.embed(net(5, 2), x[80:][at]), at=first),
    ):
        xr.testing.assert_allclose(other.data, some.data)
    assert some.to_embed().position.values.tolist() == upgraded.to_embed().position.values[5:].tolist()
    whole = upgraded.embed_anew()
    np.testing.assert_allclose(whole.embedding, own, rtol=1e-12)
    assert len(whole.to_embed()) == 0
    assert (upgraded.data.uncertainty > 0).all()


def test_no_side_information_works(x):
    upgraded = Gallery.fit(net(4, 1), x[80:]).upgrade(net(5, 2), x[:80], blocks="patient")
    assert upgraded.transformation.data.attrs["side"] == 0
    assert "of blocks of their own" in upgraded.transformation.data.attrs["held_out"]


def test_models_are_left_as_they_were(gallery, x):
    new = net(5, 2).train()
    before = {name: v.clone() for name, v in new.state_dict().items()}
    state = torch.get_rng_state()
    gallery.upgrade(new, x[:80])
    assert new.training
    assert all(torch.equal(v, before[name]) for name, v in new.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_what_an_update_refuses(gallery, x):
    new, made = net(5, 2), {"old": np.ones((80, 4)), "new": np.ones((80, 5)), "side": np.ones((80, 2))}
    with pytest.raises(ValueError, match="at least 20 pairs"):
        gallery.upgrade(new, x[:10])
    with pytest.raises(ValueError, match=r"the old model is needed to embed the pairs"):
        Gallery(gallery.data).upgrade(new, x[:80])
    with pytest.raises(ValueError, match=r"the new model is needed to embed the pairs"):
        gallery.upgrade(None, x[:80])
    with pytest.raises(ValueError, match="what gave it is needed for the pairs"):
        Gallery(gallery.data, gallery.embedder).upgrade(new, x[:80])
    with pytest.raises(ValueError, match=r"names 'old', 'new' and perhaps 'side', got \['Old'\]"):
        gallery.upgrade(new, {"Old": made["old"], "new": made["new"]})
    with pytest.raises(ValueError, match=r"names 'old', 'new' and perhaps 'side', got \['beside'\]"):
        gallery.upgrade(new, made | {"beside": np.ones((80, 2))})
    with pytest.raises(ValueError, match=r"pairs of embeddings lack \['new'\]"):
        gallery.upgrade(new, {"old": made["old"]})
    with pytest.raises(ValueError, match=r"'new' of pairs has the dims \(sample, number\)"):
        gallery.upgrade(new, made | {"new": np.ones(80)})
    with pytest.raises(ValueError, match="'new' of pairs is of other samples than 'old'"):
        gallery.upgrade(new, {"old": ta.cases.embed(net(4, 1), x[:80]), "new": ta.cases.embed(new, x[1:81])})
    with pytest.raises(ValueError, match="blocks='ward' is no coordinate of the pairs"):
        gallery.upgrade(new, x[:80], blocks="ward")


def test_pairs_that_do_not_fit_the_gallery(gallery, x):
    rng, new = np.random.default_rng(0), net(5, 2)
    made = {"old": rng.normal(size=(80, 4)), "new": rng.normal(size=(80, 5)), "side": rng.normal(size=(80, 2))}
    with pytest.raises(ValueError, match="the gallery's cases have side information, and the pairs have none"):
        gallery.upgrade(new, {"old": made["old"], "new": made["new"]})
    with pytest.raises(ValueError, match="needs 2 numbers of side information for each case, and the gallery has none"):
        Gallery(gallery.data.drop_vars("side")).upgrade(new, made)
    with pytest.raises(ValueError, match="embeddings by the old model of 3 numbers, the gallery of 4"):
        gallery.upgrade(new, made | {"old": made["old"][:, :3]})
    with pytest.raises(ValueError, match="side information of 1 numbers, the gallery of 2"):
        gallery.upgrade(new, made | {"side": made["side"][:, :1]})
    other = {"old": ta.cases.embed(net(4, 9), x[:80]), "new": made["new"], "side": made["side"]}
    with pytest.raises(ValueError, match="the pairs go from a model with the weights"):
        gallery.upgrade(None, other)
    h = gallery.upgrade(new, x[:80]).transformation
    with pytest.raises(ValueError, match="distances between the two mean nothing"):
        gallery.upgrade(net(5, 3), h)


def test_what_embedding_anew_refuses(gallery, upgraded, x):
    with pytest.raises(ValueError, match="every case of this gallery was embedded by its model"):
        gallery.to_embed(3)
    with pytest.raises(ValueError, match="none is to be embedded anew"):
        gallery.embed_anew(x[80:])
    with pytest.raises(ValueError, match="1 samples are no cases of the gallery, such as 's000'"):
        upgraded.embed_anew(x[[0]])
    with pytest.raises(ValueError, match="positions from 0 to 39"):
        upgraded.embed_anew(x[80:82], at=[0, 40])
    with pytest.raises(ValueError, match="a case is named twice"):
        upgraded.embed_anew(x[80:82], at=[1, 1])
    with pytest.raises(ValueError, match="2 samples for 3 cases"):
        upgraded.embed_anew(x[80:82], at=[0, 1, 2])
    with pytest.raises(ValueError, match="which cases these are is told by at="):
        upgraded.embed_anew(x[80:82].drop_vars("sample"))
    with pytest.raises(ValueError, match="does not keep its cases"):
        dataclasses.replace(upgraded, data=upgraded.data.drop_vars("input")).embed_anew(at=[0])
    with pytest.raises(ValueError, match="n is a whole number of at least 1"):
        upgraded.to_embed(0)


def test_the_names_of_what_an_update_learnt_are_taken(x):
    with pytest.raises(ValueError, match="'uncertainty', which is the name of something in a gallery"):
        Gallery.fit(net(4, 1), x.assign_coords(uncertainty=("sample", np.arange(120))))


def test_a_transformation_in_a_gallery_is_a_transformation(upgraded):
    whole = upgraded.transformation.beside(upgraded.data)
    data, h = Transformation.out_of(whole)
    xr.testing.assert_identical(data, upgraded.data)
    xr.testing.assert_equal(h.data, upgraded.transformation.data)
    assert Transformation.out_of(data)[1] is None


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_however_exact_a_transformation_is_its_cases_are_not_the_models_own(x, metric):
    """0 says that the model itself embedded a case; the cosine distance of a small error must not be rounded to it."""
    same = Gallery.fit(net(4, 1), x[80:], metric=metric).upgrade(net(4, 1), x[:80])
    assert same.to_embed().shape == (40,)
    error = same.transformation(same.embedding)[1]
    length = np.linalg.norm(same.embedding, axis=1)
    slow = error if metric == "euclidean" else (error / length) ** 2 / 2
    np.testing.assert_allclose(same.data.uncertainty, slow, rtol=1e-6)
    np.testing.assert_allclose(_length(same.data.uncertainty.values, same.embedding, metric), error, rtol=1e-9)


def test_nothing_left_to_embed(upgraded):
    whole = upgraded.embed_anew()
    assert whole.to_embed().shape == (0,)
    xr.testing.assert_identical(whole.embed_anew().data, whole.data)
    xr.testing.assert_identical(upgraded.embed_anew(at=[]).data, upgraded.data)


def test_a_layer_that_plain_pairs_do_not_tell_has_to_be_named(x):
    """Or queries would be embedded by the new model's output, and its cases by a layer."""
    gallery, new = Gallery.fit(net(4, 1), x[80:]), net(3, 2)
    made = {"old": ta.cases.embed(net(4, 1), x[:80]).values, "new": ta.cases.embed(new, x[:80]).values}
    with pytest.raises(ValueError, match="do not say which layer of the new model made 'new'"):
        gallery.upgrade(new, made)
    upgraded = gallery.upgrade(new, made, layer="input of 3")
    np.testing.assert_array_equal(upgraded.embed(x[:5]), made["new"][:5])
    assert upgraded.data.attrs["fingerprint"] == upgraded.embedder.fingerprint


def test_pairs_with_other_side_information_are_refused(x):
    side = net(2, 5), net(2, 6)
    gallery = Gallery.fit(net(4, 1), x[80:], side=side[0])
    made = {"old": ta.cases.embed(net(4, 1), x[:80]), "new": ta.cases.embed(net(5, 2), x[:80])}
    assert gallery.upgrade(None, made | {"side": ta.cases.embed(side[0], x[:80], "")}).embedding.shape == (40, 5)
    with pytest.raises(ValueError, match="the gallery holds side information by Sequential with the weights"):
        gallery.upgrade(None, made | {"side": ta.cases.embed(side[1], x[:80], "")})


def test_maps_of_transformed_cases_add_up_to_what_the_model_makes_of_them(upgraded, x):
    """The query is compared with the transformed embedding, the case's map is of the model's own."""
    ds = upgraded.why(x[:3], upgraded.nearest(x[:3], k=2), method=ta.IntegratedGradients(steps=200))
    own = ta.cases.embed(net(5, 2), x)
    for i in range(3):
        for j in range(2):
            a, b = own.values[i], own.sel(sample=ds.case.values[i, j]).values
            cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
            np.testing.assert_allclose(ds.prediction_of_case[i, j], cosine, rtol=1e-12)
    assert abs(ds.prediction_of_case - ds.prediction).max() > 1e-3
    for of in ("", "_of_case"):
        total = ds[f"attribution{of}"].sum(["lead", "time"])
        np.testing.assert_allclose(total, ds[f"prediction{of}"] - ds[f"reference{of}"], atol=1e-4)
    assert "own embedding of the case" in ta.cases.page(ds, x[:3], upgraded)
    assert "own embedding of the case" not in ta.cases.page(
        (whole := upgraded.embed_anew()).why(x[:1], whole.nearest(x[:1], k=1)), x[:1], whole
    )
