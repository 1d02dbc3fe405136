"""A model against a rule on the same patients: how many patients it is better on, and how sure the mean is."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anomalib_patchgan.measure.statistics import bootstrap_mean
from anomalib_patchgan.measure.uncertainty import FEWEST_FOR_INTERVAL, Trainings, uncertainty


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """A model beside a rule.

    Args:
        model: Mean over patients, and over trainings.
        rule: Mean over patients.
        patients: Number of patients with both values.
        above: Patients on whom the model's mean over trainings is above the rule's value.
        equal: Patients on whom they are equal.
        interval: 95 % interval of the difference of the means; over patients only where there is one training. `None`
            for fewer than five patients, which tell too little of others.
    """

    model: float
    rule: float
    patients: int
    above: int
    equal: int
    interval: tuple[float, float] | None

    @property
    def difference(self) -> float:
        """The model's mean minus the rule's."""
        return self.model - self.rule


def pair(model: NDArray[np.float64], rule: NDArray[np.float64]) -> Pairing | None:
    """Compare a model's values with those of a rule, which no training changes.

    Args:
        model: Value of each of n trainings on each of P patients, `(n, P)`; NaN where undefined.
        rule: Value of the rule on the same patients, `(P,)`.

    Returns:
        The comparison over the patients on whom all values are defined; `None` without such a patient.

    Example:
        >>> found = pair(np.array([[0.5, 0.75, 0.5, 1.0, 0.75]]), np.array([0.25, 0.75, 0.75, 0.5, 0.25]))
        >>> found.above, found.equal, found.patients, round(found.difference, 3)
        (3, 1, 5, 0.2)
    """
    defined = ~np.isnan(model).any(axis=0) & ~np.isnan(rule)
    model, rule = model[:, defined], rule[defined]
    patients = rule.size
    if not patients:
        return None
    means = model.mean(axis=0)
    return Pairing(
        model=float(means.mean()),
        rule=float(rule.mean()),
        patients=patients,
        above=int((means > rule).sum()),
        equal=int((means == rule).sum()),
        interval=mean_interval(model - rule),
    )


def mean_interval(values: NDArray[np.float64]) -> tuple[float, float] | None:
    """Return the 95 % interval of a mean over patients.

    Args:
        values: Value of each of n trainings on each of P patients, `(n, P)`.

    Returns:
        The interval, which holds the randomness of training where there are several; `None` for fewer than five
        patients.

    Example:
        >>> low, high = mean_interval(np.array([[0.5, 0.75, 0.5, 1.0, 0.75]]))
        >>> round(low, 1), round(high, 1)
        (0.4, 1.0)
    """
    patients = values.shape[1]
    if patients < FEWEST_FOR_INTERVAL:
        return None
    resampled = np.stack([bootstrap_mean(one) for one in values])
    trainings = Trainings(values=values.mean(axis=1), resampled=resampled, patients=patients)
    return uncertainty(trainings).interval(float(values.mean()))
