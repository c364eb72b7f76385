"""What the numbers mean that go between a policy and its robot."""

from data_schemas.strict_model import StrictModel


class RobotInterface(StrictModel):
    """Rate and meaning of actions and states: of demonstrations, of the policy trained on them, of an environment.

    Two robots may have seven numbers each and understand different things by them, so that counting is not enough.
    """

    rate: float
    """Actions a second."""
    actions: tuple[str, ...]
    """What each number of an action means, in [-1, 1]."""
    action_scale: tuple[float, ...]
    """What 1 stands for: metres, radians; 1 for an absolute opening."""
    proprioception: tuple[str, ...]
    """What each number of the robot's state means."""

    def differences(self, other: "RobotInterface", reads_state: bool = True) -> str:
        """`rate 10.0 and 30.0; …`: what differs between this one and another; empty where nothing does.

        Args:
            reads_state: compare the state, too, which a policy that reads none need not share.
        """
        names = [name for name in type(self).model_fields if reads_state or name != "proprioception"]
        both = ((name, getattr(self, name), getattr(other, name)) for name in names)
        return "; ".join(f"{name} {_shown(a)} and {_shown(b)}" for name, a, b in both if a != b)


def _shown(value: object) -> str:
    return f"({', '.join(map(str, value))})" if isinstance(value, tuple) else str(value)
