"""RH20T: scenes of a robot and of a person doing the same task before the same cameras."""
