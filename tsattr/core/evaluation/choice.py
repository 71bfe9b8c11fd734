"""How a model is best asked about stretches of a series.

It depends on the model, and is found by trial on the samples themselves, never by its name:

* **recurrent state**: a module whose memory of the past is the state of its recurrent layers is asked about the stretch alone;
* **one pass**: a causal model that gives one output for each time is asked once up to the end of the stretch, of finite
  receptive field from where it still sees;
* **prefixes**: any other model is asked about each prefix by itself, and its last output is read; and every model where the
  call is to be dense.
"""

from __future__ import annotations

from functools import partial

from ..evaluator import Unsupported, attempt
from .one_pass import OnePass
from .prefixes import Prefixes
from .recurrent import Recurrent, recurrent_layers
from .series import SampleSeries, StretchEvaluation


def stretch_evaluation(series: SampleSeries, last: bool = False, gaps: bool = False) -> StretchEvaluation:
    """The quickest evaluation that gives what the model gives.

    `last` for a model that is read at the last time alone, `gaps` where missing values take the place of others.
    """
    if series.times == 1:
        return Prefixes(series, last)
    engine = series.samples.engine
    trial, notes = series.trial(gaps), engine.notes
    candidates: list[type[StretchEvaluation]] = [Recurrent] if recurrent_layers(engine.module) else []
    candidates += [OnePass] if series.output_per_time else []
    candidates = [] if engine.dense else candidates
    tried = (attempt(partial(kind.tried, series, trial, last)) for kind in candidates)
    found = next((e for e in tried if not isinstance(e, Unsupported)), None) or Prefixes.tried(series, trial, last)
    notes["trial_steps"] = notes.get("trial_steps", 0) + int(trial.time_steps.sum())
    engine.count_trial(int(trial.evaluations.sum()))
    return found


def trial_rows(times: int, recurrent: bool) -> int:
    """The most rows that `stretch_evaluation` asks for in a trial on series of so many `times`, of each chunk of samples."""
    if times == 1:
        return 0
    states = Recurrent.trial_rows(times) if recurrent else 0
    return 4 + states + OnePass.trial_rows(times) + Prefixes.trial_rows(times)  # 4 for the intact ones
