"""What methods, baselines and checks mean, in plain sentences.

Results carry their method and baseline as printed objects (`Occlusion(groups=..., baseline=Constant(0.0))`), which may come
from a file: sentences are chosen by the name in front, and one that is not known here gets none.
"""

from __future__ import annotations

import re

import numpy as np
import xarray as xr

from ..climate import states as _states  # noqa: F401 - whose baselines have words too
from ..core.baselines.fills import Baseline
from ..core.bound import classes_of
from ..public import METHODS

GOOD, FAIR = 0.01, 0.05  # completeness errors up to which a map adds up, and adds up roughly

_ESTIMATORS = {
    "AFEXExplainer": "AFEX: an additive model of the black box learns what each feature adds; pairs are shared by halves.",
    **dict.fromkeys(
        ("AFEXRegressor", "AFEXClassifier"),
        "AFEX: the model is a sum of one curve for each feature and of pairs, and this is what each adds; pairs are shared by halves.",
    ),
}

_STATUS_NOTES = {
    "not converged": "stopped before its map had settled, or its sum misses the change of the prediction: more steps are needed, or a method without gradients where the model blocks them",
    "non-finite gradient": "has finite outputs whose gradients are NaN or infinite; a method without gradients can explain it",
    "non-finite output": "made the model answer with NaN or infinity; its map means nothing",
    "no baseline": "has values where the baseline has none; there is nothing to compare it with",
    "all missing": "has no valid cell; there is nothing to explain",
}


def head(text: object) -> str:
    """Return the name in front of a printed object, without its module.

    Examples
    --------
    >>> head("tsattr.baselines.Constant(0.0)"), head("zero")
    ('Constant', 'zero')
    """
    found = re.match(r"\s*(?:\w+\.)*(\w+)", str(text))
    return found[1] if found else ""


def _target(target: str) -> str:
    """Return a sentence on a target."""
    if target.startswith("Divergence"):
        return "how far the model's prediction moves when something is taken away"
    if target.startswith("Uncertainty"):
        return "how unsure the model is, of what it predicts or between its members"
    if target.startswith("Difference"):
        return "by how much one output or model is above another, for the same input: what is orange speaks for the first, against the second"
    if target.startswith("Member"):
        return "what one of the models says by itself"
    if target.startswith("Each"):
        return (
            "every output along some axes of the model's outputs, each explained by itself; all were asked for together"
        )
    return "the number of the model's output that is explained" if target else "not recorded"


def _sentence(method: str) -> str:
    """Return the sentence of a method or additive estimator, empty for one that is not known."""
    return METHODS[method].sentence if method in METHODS else _ESTIMATORS.get(method, "")


def _of_baseline(name: str) -> tuple[str, str]:
    """Return the sentence and the note of a baseline, empty for one that is not known."""
    known = classes_of(Baseline)
    return (known[name].sentence, known[name].note) if name in known else ("", "")


def _note(method: str) -> str:
    """Return what can be concluded from a method's map, empty for one that is not known."""
    return METHODS[method].note if method in METHODS else ""


def call_terms(ds: xr.Dataset, n: int, shape: str) -> list[tuple[str, str, str]]:
    """Return term, sentence and literal setting for the model, target, method, baseline, groups and input of a call."""
    attrs = ds.attrs
    method, baseline = str(attrs.get("method", "")), str(attrs.get("baseline", ""))
    model = str(attrs.get("model", ""))
    targets = ", ".join(str(t) for t in np.atleast_1d(ds["target"].values)) if "target" in ds.dims else ""
    target = targets or str(attrs.get("target", ""))
    asked = str(attrs.get("target", target))
    if asked.startswith("Each") and targets:
        target = f"{asked}: {targets}"
    absent, _ = _of_baseline(head(baseline))
    rows = [
        ("Model", "" if model else "not recorded", model),
        ("Target", _target(asked), str(attrs.get("target_definition", target))),
        ("Method", _sentence(head(method)) if method else "not recorded", method),
        ("Input", f"{n} {'sample' if n == 1 else 'samples'} of {shape}", ""),
    ]
    if groups := str(attrs.get("groups", "")):
        rows.insert(3, ("Groups: what goes absent together", "", groups))
    if baseline and baseline != "None":
        rows.insert(3, ("Baseline: what “absent” means", absent[:1].upper() + absent[1:], baseline))
    return rows


def completeness_verdict(ds: xr.Dataset) -> tuple[str, bool]:
    """Return a sentence on whether the maps add up, and whether it is bad news; empty without `completeness_error`."""
    if "completeness_error" not in ds:
        return "", False
    errors = ds["completeness_error"]
    if "status" in ds and "sample" in ds["status"].dims:  # what has no map has nothing to add up; the statuses say so
        has_map = ds["status"].isin(["ok", "not converged"])
        if not has_map.any():
            return "", False
        errors = errors.isel(sample=np.flatnonzero(has_map.values))
    error = errors.max([d for d in errors.dims if d != "sample"], skipna=False).values.astype(float)
    n, known = len(error), error[np.isfinite(error)]
    if not known.size:
        return "The sum of attribution could not be compared with the change of the prediction for any sample.", True
    worst = f"the worst error is {100 * known.max():.2g} %"
    bad = int((known > FAIR).sum()) + n - known.size
    if not bad and known.max() <= GOOD:
        return f"The maps add up: for {_all(n)} the sum equals prediction − reference; {worst}.", False
    if not bad:
        return f"The maps add up roughly for {_all(n)}; {worst}. More steps would settle it.", False
    return (
        f"Maps that do not add up to prediction − reference: {bad} of {n} ({worst}, where above {100 * FAIR:.0f} % is too much): do not trust them; raise the number of steps and explain again.",
        True,
    )


def _all(n: int) -> str:
    return f"all of {n} samples" if n > 1 else "the sample"


def sample_verdict(error: float, status: str) -> str:
    """Return the verdict on one sample, a few words.

    Examples
    --------
    >>> sample_verdict(0.001, "ok"), sample_verdict(0.2, "ok")
    ('adds up', 'does not add up')
    """
    if status != "ok":
        return status
    if np.isnan(error):
        return "ok"
    return "adds up" if error <= GOOD else "adds up roughly" if error <= FAIR else "does not add up"


def status_sentences(status: dict[str, list[str]]) -> list[str]:
    """Return a sentence for each status other than "ok", naming the samples."""
    sentences = []
    for state, names in status.items():
        if state != "ok":
            shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
            sentences.append(f"Sample {shown}: {_STATUS_NOTES.get(state, state)} (status “{state}”).")
    return sentences


def agreement_verdict(mean: float) -> str:
    """Return a sentence on a mean rank correlation between maps."""
    if np.isnan(mean):
        return "agreement cannot be measured, as some map is constant"
    if mean >= 0.8:
        return "the maps rank the cells alike, so the main finding does not hang on this choice"
    if mean >= 0.5:
        return "the maps agree in part; trust what they share"
    return "the maps disagree; none of them should be read as the explanation by itself"


def notes(ds: xr.Dataset, *, clinical: bool, limb_leads: bool, truth: bool) -> list[str]:
    """Return what can and what cannot be concluded, the notes on this method and baseline first."""
    method, baseline = head(ds.attrs.get("method", "")), head(ds.attrs.get("baseline", ""))
    verdict, bad = completeness_verdict(ds)
    found = [verdict] if bad else []
    found += [text for text in (_note(method), _of_baseline(baseline)[1]) if text]
    if "standard_error" in ds:
        found.append(
            "The map is a mean over random draws: cells smaller than about twice their standard error may be chance."
        )
    about = "not about the patient: it" if clinical else "not about the world: it"
    found += [
        f"Attribution is about the model, {about} shows what this model's number rests on, right or wrong. It is no evidence that the prediction is correct, and none of cause and effect.",
        "Inputs that go together (neighbouring moments, related leads or columns) can stand in for each other: how credit is divided among them is in part arbitrary, so read their sum before their parts.",
    ]
    if baseline not in ("", "None"):
        found.append(
            "It depends on the baseline, on what “absent” is taken to mean. Another baseline asks another question."
        )
    if limb_leads:
        found.append(
            "The six limb leads are not independent: III = II − I, aVR = −(I + II)/2, aVL = I − II/2 and aVF = II − I/2. Credit may move among them without any change in what the model does; read them as one group."
        )
    if truth:
        found.append(
            "The truth is what was planted or marked. A model may reach the right answer on other grounds; low scores can be the model's doing and not the method's."
        )
    if clinical:
        found.append(
            "This is a tool for research on models. It is not a medical device, and not for decisions on care."
        )
    return found
