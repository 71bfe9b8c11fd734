"""Forward selection: the order is that of slow least squares, the length that of cross-validation."""

import numpy as np

from tsattr.afex.screen import _selection_path, selected_blocks


def test_the_path_is_that_of_least_squares():
    rng = np.random.default_rng(0)
    blocks = [rng.normal(size=(60, k)) for k in (1, 3, 1, 2, 1)]
    y, w = blocks[2] + 0.6 * blocks[1][:, :1] + 0.3 * rng.normal(size=(60, 1)), rng.uniform(0.5, 2, 60)
    w[::7] = 0
    taken, errors = _selection_path(blocks, y, w)
    assert taken[:2] == [2, 1]
    for step in range(len(errors)):
        z = np.column_stack([np.ones(60), *(blocks[i] for i in taken[:step])])
        coef = np.linalg.lstsq(np.sqrt(w)[:, None] * z, np.sqrt(w)[:, None] * y)[0]
        assert np.allclose(errors[step], ((y - z @ coef) ** 2).sum(1))  # those of rows left out as well


def test_noise_is_rarely_taken():
    rng = np.random.default_rng(0)
    taken = [
        len(selected_blocks([rng.normal(size=(80, 1)) for _ in range(200)], rng.normal(size=(80, 1)), np.ones(80)))
        for _ in range(10)
    ]
    assert np.median(taken) == 0
