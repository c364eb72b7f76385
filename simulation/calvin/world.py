"""What the task oracle sees of the world at one moment: poses, velocities, contacts, joints and lights."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Contact = tuple[str, str]
"""Body and link that are touched; the link of a body without joints is `base_link`."""
ROBOT, TABLE = "robot", "table"


@dataclass(frozen=True)
class BlockState:
    """One block. Position (3,) in metres, quaternion (4,) xyzw, velocities (3,) in m/s and rad/s, all in the world."""

    position: np.ndarray
    quaternion: np.ndarray
    linear_velocity: np.ndarray
    angular_velocity: np.ndarray
    contacts: frozenset[Contact]

    @property
    def touches(self) -> frozenset[str]:
        """Names of the bodies that it touches."""
        return frozenset(body for body, _ in self.contacts)


@dataclass(frozen=True)
class WorldState:
    """The world at one moment.

    blocks: by name, in the scene's order; robot_touches: bodies that the robot touches; doors: positions of the
    sliding joints in metres; lights: 1 where on, else 0.
    """

    blocks: Mapping[str, BlockState]
    robot_touches: frozenset[str]
    doors: Mapping[str, float]
    lights: Mapping[str, int]
