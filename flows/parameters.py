"""Types of the flows' parameters.

Prefect turns a flow's signature into a JSON schema: the UI shows it as a form, and the server refuses a value that
does not fit before a run is made. What a parameter means stands in the flow's docstring, which the form shows too.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from pipelines.reprocess import SECTIONS, STAGES, stage_named

Executor = Literal["local", "ray"]
Precision = Literal["auto", "fp32", "bf16"]
Text = Annotated[str, Field(min_length=1)]
DatasetName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
Count = Annotated[int, Field(ge=1)]
Change = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*=", examples=["alignment.warp.time_weight=0.3"])]
"""`key.path=value`, for a recipe."""
Seconds = Annotated[float, Field(gt=0)]
Gpus = Annotated[float, Field(ge=0)] | None
SECTION_OF = {stage: section for section, stage in SECTIONS.items()}
StageSection = Annotated[
    str,
    AfterValidator(stage_named),
    Field(json_schema_extra={"enum": [SECTION_OF.get(stage, stage) for stage in STAGES]}),
]
"""A stage by its section in a recipe; the form offers them in the order they run."""
