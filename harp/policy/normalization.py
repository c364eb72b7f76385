"""Normalization of actions and proprioception by quantiles, as OpenVLA-OFT does (BOUNDS_Q99).

`x̂ = 2 (x − q01) / (q99 − q01) − 1`, clipped to ±1, in the dimensions of the mask; the others (a gripper command that
is 0 or 1 already) pass unchanged. The authors do not clip proprioception on CALVIN, so clipping is the caller's
choice. A dimension that never changes is 0 when normalized and its constant when not. Published code adds 1e-8 to
the range in both directions; so do we, for equal numbers.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data_schemas.errors import UserError

EPSILON = 1e-8


@dataclass(frozen=True)
class Statistics:
    """Of the D dimensions of a vector: what stands at -1 and 1 (quantiles, but for checkpoints of other bounds), and which
    dimensions they normalize; float64 (D,)."""

    q01: NDArray[np.float64]
    q99: NDArray[np.float64]
    mask: NDArray[np.bool_]

    @staticmethod
    def of(values_ND: ArrayLike, mask: ArrayLike | None = None) -> "Statistics":
        """Quantiles over all steps of a data set.

        Args:
            values_ND: one row per time step.
            mask: dimensions to normalize, all by default.

        Raises:
            UserError: no steps, values that are not finite, or a mask of other length.
        """
        values = np.asarray(values_ND, dtype=np.float64)
        if values.ndim != 2 or not len(values):
            raise UserError(
                f"Statistics need at least one time step of a vector, found an array {values.shape}."
            )
        if not np.isfinite(values).all():
            bad = int((~np.isfinite(values)).any(1).sum())
            raise UserError(
                f"{bad} of {len(values)} time steps hold NaN or infinity; drop them before normalizing."
            )
        q01, q99 = np.quantile(values, [0.01, 0.99], axis=0)
        return Statistics.checked(q01, q99, mask)

    @staticmethod
    def checked(q01: ArrayLike, q99: ArrayLike, mask: ArrayLike | None = None) -> "Statistics":
        """Statistics as a file has them.

        Raises:
            UserError: other lengths, or a lower quantile above the upper.
        """
        low, high = np.atleast_1d(np.asarray(q01, np.float64)), np.atleast_1d(np.asarray(q99, np.float64))
        chosen = np.ones(low.shape, bool) if mask is None else np.atleast_1d(np.asarray(mask, bool))
        if low.ndim != 1 or not low.shape == high.shape == chosen.shape:
            raise UserError(
                f"q01, q99 and mask have shapes {low.shape}, {high.shape}, {chosen.shape}; expected one."
            )
        if not (low <= high).all():
            raise UserError(f"q01 exceeds q99 in dimensions {np.nonzero(~(low <= high))[0].tolist()}.")
        return Statistics(low, high, chosen)

    @property
    def dim(self) -> int:
        return len(self.q01)

    def normalize(self, values: ArrayLike, clip: bool = True) -> NDArray[np.float32]:
        """(…, D) in the data's units → (…, D), most of it in -1 … 1."""
        x = self._checked(values)
        scaled = 2 * (x - self.q01) / (self.q99 - self.q01 + EPSILON) - 1
        if clip:
            scaled = np.clip(scaled, -1, 1)
        scaled = np.where(self.q01 == self.q99, 0.0, scaled)
        return np.where(self.mask, scaled, x).astype(np.float32)

    def denormalize(self, normalized: ArrayLike) -> NDArray[np.float32]:
        """The inverse, of values that were not clipped."""
        x = self._checked(normalized)
        scaled = 0.5 * (x + 1) * (self.q99 - self.q01 + EPSILON) + self.q01
        return np.where(self.mask, scaled, x).astype(np.float32)

    def _checked(self, values: ArrayLike) -> NDArray[np.float64]:
        x = np.asarray(values, dtype=np.float64)
        if x.shape[-1:] != (self.dim,):
            raise ValueError(f"expected vectors of {self.dim} dimensions, found an array {x.shape}")
        return x


@dataclass(frozen=True)
class Normalization:
    """Of one data set (one robot)."""

    action: Statistics
    proprioception: Statistics | None = None
