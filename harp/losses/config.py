"""Weights and margins of stage 1. The paper gives none of these numbers; the defaults are ours."""

from typing import Literal

from pydantic import Field

from data_schemas.strict_model import StrictModel

ObjectiveName = Literal["none", "hr", "hr_style", "l2", "sr", "srpd"]


class AlignmentConfig(StrictModel):
    """Alignment of pooled robot features to pooled human features (paper A.2)."""

    objective: ObjectiveName = "srpd"
    """`hr` pools by attention of the instruction, all others by ρ."""
    weight: float = Field(default=1.0, ge=0)
    """λ_align."""
    source_margin: float = Field(default=0.1, ge=0)
    """m_s. Above the unadapted paired distance the hinge never closes and SR pulls like L2."""
    discriminative_margin: float = Field(default=0.05, ge=0)
    """m_t. About 1.3 × (other − paired distance of the unadapted features)."""
    robot_to_human: float = Field(default=1.0, ge=0)
    """λ_{R→H}."""
    human_to_robot: float = Field(default=1.0, ge=0)
    """λ_{H→R}."""
    negative_temperature: float | None = Field(default=None, ge=0)
    """How PD sums up the distances to other pairs: their mean (none, the paper), their minimum (0), or between
    the two a soft minimum, −T log mean exp(−d/T). A variant of ours."""
    temperature: float = Field(default=0.1, gt=0)
    """τ of `hr` and `hr_style`."""


class LossConfig(StrictModel):
    """L_stage1 = L_lam + λ_aux L_aux + λ_align L_align."""

    alignment: AlignmentConfig = AlignmentConfig()
    prediction: float = Field(default=1.0, ge=0)
    """Weight of the prediction term, which the paper does not have. The term is a squared error in the scale of the
    encoder's features; where their variance is far below one (0.026 with the `laptop` encoder), the other terms drown it
    and the codes hardly learn to predict. The inverse of the variance mends that."""
    commitment: float = Field(default=0.25, ge=0)
    """β of the VQ loss."""
    auxiliary: float = Field(default=1.0, ge=0)
    """λ_aux."""
    keypoints: float = Field(default=1.0, ge=0)
    """λ_K."""
    effector: float = Field(default=1.0, ge=0)
    """λ_E."""
    huber_delta: float = Field(default=0.1, gt=0)
    """Where the Huber loss turns linear, as a share of the image side."""
    detach_target: bool = True
    """Predict a fixed target. A robot target depends on the adapters, which could otherwise make it trivial."""
