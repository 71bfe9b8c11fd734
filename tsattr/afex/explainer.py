"""AFEX as an explanation of any fitted model: an additive model of what it says, with its fidelity."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing, check_random_state

from ..models.predictions import is_estimator, predict_function
from . import near
from .base import AdditiveEstimator
from .families import Identity, probability, softmax
from .parameters import checked_weights
from .rows import canonical, held_out_rows, merged

LINKS = ("identity", "logit")
CERTAIN = 1e-6
"""Probabilities are taken to be at least so far from 0 and 1 before their log-odds."""
FEWEST = 10
"""Rows below which none are held out for the fidelity."""


class AFEXExplainer(AdditiveEstimator):
    """Additive model of what a fitted model says, with the share of it that the terms explain on rows kept out.

    Fits ``link(model(x)) = b + sum_j f_j(x_j) + sum_(a,b) f_ab(x_a, x_b)`` by least squares to the model's own output, with the
    functions, the selection of pairs and the purification of `AFEXRegressor`. The model is asked about rows with missing cells as
    they are: that a cell is missing has a contribution of its own, as a value has, and is drawn with the others (`synthetic`,
    `explain_near`).

    Parameters
    ----------
    model
        A fitted scikit-learn estimator or pipeline (``predict_proba`` for classifiers, else ``predict``), or a function of a
        table like `X` that gives numbers (n,) or (n, targets). Cloning keeps it as it is. One that does not read missing cells says
        so where `X` has some.
    link
        "identity" explains the output as it is; "logit" the log-odds of a probability, or for several classes the
        log-probabilities, centred over the classes. Probabilities of 0 and 1 count as 1e-6 from there.
    synthetic
        Rows added to the training data, each column drawn by itself from its values: the model is then explained off the data
        too, where features that depend on each other part.
    surrogate
        Whether a small net learns the output as well, for `explain_near` to ask in the model's place.
    interactions, heredity, purify, monotonic_cst, categorical_features, atoms, n_nets, hidden, max_epochs, attention, bags
        See `AFEXRegressor`.
    validation_fraction
        Share of the rows kept out for the fidelity, and of the others that chooses the step of the training.
    random_state
        Seed, for the rows kept out and drawn, the nets' start and the bootstrap.

    Attributes
    ----------
    fidelity_
        R2 of the additive model on rows that were kept out of its fit: 1 for a model that is additive with the pairs found, or
        constant. NaN below 10 rows. Also among the attrs of every result.
    intercept_, pairs_, loss_, training_rows_, n_features_in_, feature_names_in_
        See `AFEXRegressor`.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).uniform(-1, 1, (300, 2))
    >>> est = AFEXExplainer(lambda X: X[:, 0] ** 2 + 2 * X[:, 1], n_nets=0).fit(X)
    >>> low, high = est.shape(1, [-0.5, 0.5])
    >>> est.fidelity_ > 0.999, bool(abs(high - low - 2) < 0.05)
    (True, True)
    """

    def __init__(
        self,
        model: Any,
        *,
        link: str = "identity",
        synthetic: int = 0,
        surrogate: bool = False,
        interactions: Any = "auto",
        heredity: bool = False,
        purify: str = "marginals",
        monotonic_cst: Any = None,
        categorical_features: Any = "from_dtype",
        atoms: bool = True,
        n_nets: int = 2,
        hidden: int = 16,
        max_epochs: int = 150,
        attention: str = "least_squares",
        bags: int = 25,
        validation_fraction: float = 0.15,
        random_state: Any = None,
    ):
        super().__init__(
            interactions=interactions,
            heredity=heredity,
            purify=purify,
            monotonic_cst=monotonic_cst,
            categorical_features=categorical_features,
            atoms=atoms,
            n_nets=n_nets,
            hidden=hidden,
            max_epochs=max_epochs,
            attention=attention,
            bags=bags,
            validation_fraction=validation_fraction,
            random_state=random_state,
        )
        self.model = model
        self.link = link
        self.synthetic = synthetic
        self.surrogate = surrogate

    def __sklearn_clone__(self) -> AFEXExplainer:
        return type(self)(**{name: getattr(self, name) for name in self._get_param_names()})

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> AFEXExplainer:
        """Fit to what the model says of the rows of `X`.

        Parameters
        ----------
        X
            Table (n, p) as the model takes it: array, pandas or polars DataFrame.
        y
            Not used.
        sample_weight
            Weights of the rows; see the notes of `AFEXRegressor`.
        """
        if self.link not in LINKS:
            raise ValueError(f"link is one of {LINKS}, got {self.link!r}")
        X, codes = self._read_training(X)
        w = checked_weights(sample_weight, codes)
        self._template = _safe_indexing(X, [0])
        rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31 - 1))
        codes, output, w = canonical(codes, self._linked_output(X), w)
        held_out = self._held_out(len(w), rng)
        drawn = self._drawn(codes[~held_out], rng)
        codes_in, w_in = np.concatenate([codes[~held_out], drawn]), np.r_[w[~held_out], np.ones(len(drawn))]
        answer = np.concatenate([output[~held_out], self._output_at(drawn)]) if len(drawn) else output[~held_out]
        targets = None if answer.shape[1] == 1 else self._targets(answer.shape[1])
        self._seed = int(rng.integers(2**31))
        self._fit_terms(*merged(codes_in, answer, w_in), Identity(), targets, len(codes_in))
        self.fidelity_ = self._fidelity(codes[held_out], output[held_out], w[held_out])
        self._fitted.attrs.update(
            fidelity=self.fidelity_,
            link=self.link,
            units=self._units(),
            held_out=int(held_out.sum()),
            **self._model_attrs(),
        )
        self._surrogate: Any = self._fit_surrogate(codes_in, answer) if self.surrogate else None
        return self

    def _held_out(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Rows held out for the fidelity, bool (n,)."""
        return held_out_rows(n, self.validation_fraction, rng) if n >= FEWEST else np.zeros(n, bool)

    def _drawn(self, codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Synthetic rows (synthetic, p), each column drawn from its own values independently of the others."""
        return np.column_stack([rng.choice(column, self.synthetic) for column in codes.T])

    def _output_at(self, codes: np.ndarray) -> np.ndarray:
        """The model's output (n, targets), linked, at rows given as codes."""
        return self._linked_output(self._reader.write(codes, self._template))

    def _linked_output(self, x: Any) -> np.ndarray:
        """The model's output (n, targets), linked, at rows of a table."""
        out = np.asarray(_outputs(self.model, x), np.float64)
        if out.ndim > 2 or len(out) != len(x):
            raise ValueError(
                f"the model gives one number or one row of numbers a row, got {out.shape} for {len(x)} rows"
            )
        out = out.reshape(len(out), -1)
        if bad := int((~np.isfinite(out)).any(1).sum()):
            raise ValueError(f"the model's output is not finite for {bad} rows")
        if self.link == "identity":
            return out[:, 1:] if out.shape[1] == 2 and hasattr(self.model, "classes_") else out
        return _log_odds(out)

    def _targets(self, number: int) -> np.ndarray:
        classes = getattr(self.model, "classes_", None)
        return np.arange(number) if classes is None or len(classes) != number else np.asarray(classes)

    def _model_attrs(self) -> dict[str, str]:
        """The model by name, and the class that a single score is for, as attrs."""
        name = str(getattr(self.model, "__name__", type(self.model).__name__))
        classes: Any = getattr(self.model, "classes_", ())
        return {"model": name} | (
            {"target": str(classes[1])} if self._fitted.targets is None and len(classes) == 2 else {}
        )

    def _units(self) -> str:
        if self.link == "identity":
            return "units of the model's output"
        return "log-odds" if self._fitted.targets is None else "log-probability, centred over the classes"

    def _fidelity(self, codes: np.ndarray, output: np.ndarray, w: np.ndarray) -> float:
        if not len(codes):
            return float("nan")
        left = float((w @ (output - self._fitted.model.score(codes)) ** 2).sum())
        whole = float((w @ (output - np.average(output, axis=0, weights=w)) ** 2).sum())
        return 1 - left / whole if whole > 0 else float(left == 0)

    def _fit_surrogate(self, codes: np.ndarray, answer: np.ndarray) -> Any:
        """A small network fitted to the model's output (n, targets) at rows given as codes."""
        from sklearn.impute import SimpleImputer
        from sklearn.neural_network import MLPRegressor
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        net = MLPRegressor(
            hidden_layer_sizes=(64, 64), early_stopping=len(codes) >= 100, max_iter=1000, random_state=self._seed
        )
        imputer = SimpleImputer(keep_empty_features=True, add_indicator=True)  # that a cell is missing tells as well
        return make_pipeline(imputer, StandardScaler(), net).fit(codes, answer if answer.shape[1] > 1 else answer[:, 0])

    def _neighbours(self) -> near.NeighbourSource:
        """What the models of neighbourhoods are fitted to: rows drawn around a point, with the output of the model or its surrogate."""
        return near.SampledNeighbours(
            self._output_at if self._surrogate is None else self._surrogate_output,
            self._fitted.x,
            Identity(),
            self._seed,
        )

    def _surrogate_output(self, codes: np.ndarray) -> np.ndarray:
        """The surrogate's output (n, targets) at rows given as codes."""
        output: np.ndarray = self._surrogate.predict(codes)
        return output.reshape(len(codes), -1)

    def forget_rows(self) -> AFEXExplainer:
        """As for any AFEX estimator; the model that is explained is kept as it is, with what it holds itself."""
        super().forget_rows()
        self._template = None
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predictions of the additive model for the model's: (n,) or (n, targets), probabilities for the link "logit"."""
        score = self._score(X)
        if self.link == "identity":
            return score
        return probability(score) if score.ndim == 1 else softmax(score)


def _outputs(model: Any, x: Any) -> Any:
    """Probabilities of a classifier, predictions of another estimator, what a function gives."""
    if is_estimator(model):
        return predict_function(model, "on_frames" if hasattr(x, "columns") else "on_arrays").f(x)
    if not callable(model):
        raise TypeError(f"what is explained is a fitted estimator or a function of a table, got {model!r}")
    return model(x)


def _log_odds(p: np.ndarray) -> np.ndarray:
    """Log-odds of the second class (n, 1) of one or two columns; of more, log-probabilities centred over the classes."""
    if (p < 0).any() or (p > 1).any():
        raise ValueError(
            f"link='logit' takes probabilities between 0 and 1, got values from {p.min():g} to {p.max():g}"
        )
    p = np.clip(p, CERTAIN, 1 - CERTAIN)
    if p.shape[1] <= 2:
        log_odds: np.ndarray = np.log(p[:, -1:] / (1 - p[:, -1:]))
        return log_odds
    centred: np.ndarray = np.log(p) - np.log(p).mean(1, keepdims=True)
    return centred
