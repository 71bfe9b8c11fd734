"""Pictures for print: their width, their letters, and that none is cut."""

import warnings

import numpy as np
import pytest
import xarray as xr
from matplotlib.image import imread

from tsattr import plot

from .test_plot import MM, attribution, signal
from .test_plot_text import PICTURES
from .test_sheets import boxes


def saved(figure, path, **options):
    plot.save(figure, path, **options)
    return imread(path)


def dark(image, side):
    """Whether anything is drawn at the outermost pixels of a side."""
    edge = {"left": image[:, 0], "right": image[:, -1], "top": image[0], "bottom": image[-1]}[side]
    return bool((edge[..., :3] < 0.5).any())


QUICK = ("trace", "bars", "ranking", "shape")


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in PICTURES])
def test_every_picture_fits_a_column_and_stays_as_it_was(name, tmp_path):
    figure = PICTURES[name]()
    size, words = figure.get_size_inches().copy(), [t for t, _ in boxes(figure)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = saved(figure, tmp_path / "a.png", width="85mm", dpi=254)  # ten pixels a millimetre
    assert image.shape[1] == 850
    assert not [side for side in ("left", "right", "top", "bottom") if dark(image, side)]
    np.testing.assert_array_equal(figure.get_size_inches(), size)
    assert [t for t, _ in boxes(figure)] == words


def test_long_texts_are_broken_and_not_cut(tmp_path):
    a = xr.DataArray(
        [1.0, -2.0], dims="lead", coords={"lead": ["I", "II"]}, attrs={"units": "units of a long name " * 3}
    )
    figure = plot.bars(a, title="A title that is far too long for a column of a journal, and goes on and on")
    image = saved(figure, tmp_path / "a.png", width="60mm", dpi=254)
    assert image.shape[1] == 600
    assert not dark(image, "right")


def test_a_pdf_has_its_fonts_embedded_as_true_type_and_its_size(tmp_path):
    x = signal(seconds=2.0)
    plot.save(plot.ecg(x, attribution(x)), tmp_path / "a.pdf", width="170mm")
    page = (tmp_path / "a.pdf").read_bytes()
    assert b"/FontFile2" in page
    assert b"/Type3" not in page
    left, bottom, right, _ = map(float, page.split(b"/MediaBox [ ")[1].split(b" ]")[0].split())
    assert (left, bottom) == (0, 0)
    assert right / 72 * MM == pytest.approx(170)


def test_the_width_of_a_picture_is_its_own_unless_given(tmp_path):
    figure = plot.ecg(signal(("II",), 4.0))
    assert saved(figure, tmp_path / "a.png", dpi=254).shape[1] == 1280
    assert saved(figure, tmp_path / "a.png", width="17cm", dpi=254).shape[1] == 1700  # on wider paper, true to scale
    with pytest.raises(ValueError, match="at least 30 mm, such as '85mm' or '170mm', got '3s'"):
        plot.save(figure, tmp_path / "a.png", width="3s")
    with pytest.raises(ValueError, match="got '85'"):
        plot.save(figure, tmp_path / "a.png", width="85")
