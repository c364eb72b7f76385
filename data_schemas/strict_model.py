"""The base of every configuration and of every document that HARP writes and reads back."""

from pydantic import BaseModel, ConfigDict


class StrictModel(BaseModel):
    """Refuses keys that it does not know and numbers that are not finite; does not change once it is made."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
