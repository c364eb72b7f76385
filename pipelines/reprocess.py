"""Reprocesses a data set from a named stage on: that stage and what follows, and nothing before.

Every stage's key follows from the recipe, so a changed setting, model or stage version says by itself what has to be
computed anew. Reprocessing adds two things to a curation: it takes the clips and the earlier stages' rows as the
latest run left them, without looking at the raw files again, and it refuses a recipe that would change more than was meant.
Rows under the old keys and published versions stay.
"""

from data_schemas.errors import UserError
from data_schemas.versions import Manifest
from pipelines.curate import STEPS, UPSTREAM, Curation
from pipelines.runs import RunRecord

STAGES = tuple(UPSTREAM)

SECTIONS = {
    "wrists": "wrist_tracks",
    "camera": "camera_motion",
    "objects": "object_tracks",
    "alignment": "alignments",
    "verdict": "verdicts",
}
"""Sections of a recipe that are not named like their stage -> stage."""


def stage_named(name: str) -> str:
    """The stage of a name that people use: the stage's own, or that of its section in the recipe.

    Raises:
        UserError: there is none.
    """
    stage = SECTIONS.get(name, name)
    if stage not in STAGES:
        sections = {of: section for section, of in SECTIONS.items()}
        names = ", ".join(sections.get(known, known) for known in STAGES)
        raise UserError(f"There is no stage '{name}': the stages are {names}.")
    return stage


def prepare(curation: Curation, previous: RunRecord, from_stage: str) -> list[str]:
    """Take over what an earlier run did before the stage.

    Returns:
        The names of the steps that are left, in order.

    Raises:
        UserError: the recipe changes an earlier stage, or the earlier run did not finish one.
    """
    first = STAGES.index(stage_named(from_stage))
    done = {stage.name: stage for stage in previous.stages}
    for name in STAGES[:first]:
        if name not in done:
            raise UserError(
                f"The latest run of {previous.dataset} did not get past {name}: finish it with `harp curate`."
            )
        if curation.keys[name] != done[name].key:
            raise UserError(
                f"The recipe, a model or the code changes {name}, which comes before {STAGES[first]}: reprocess "
                f"with --from-stage {name}, or undo the change."
            )
        curation.record.stages.append(done[name].model_copy(update={"processed": 0}))
    if first:
        curation.record.sources = previous.sources
    return [step.__name__ for step in STEPS[first:]]


def reprocess(curation: Curation, previous: RunRecord, from_stage: str) -> Manifest:
    """All steps from a stage on, one after the other."""
    for step in prepare(curation, previous, from_stage):
        getattr(curation, step)()
    return curation.publish()
