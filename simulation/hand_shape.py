"""The human hand's mesh, bones and kinematics.

Five right forearms and hands cut from the CC0 MakeHuman mesh lie in `assets/hands.npz` (see the NOTICE there).
Frame: origin at the wrist joint, x towards the middle knuckle, y towards the thumb, z out of the back of the hand.
The skeleton has 16 hinges: four for the thumb (twist, three flexions), three flexions for every other finger.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from simulation.rotations import about, unit

FINGERS: dict[str, tuple[str, str, str]] = {
    name: (f"finger{i}-1", f"finger{i}-2", f"finger{i}-3")
    for i, name in enumerate(("thumb", "index", "middle", "ring", "pinky"), start=1)
}
RADII = {"thumb": 0.0095, "index": 0.008, "middle": 0.008, "ring": 0.0078, "pinky": 0.0068}
JOINTS: tuple[tuple[str, str, int], ...] = (
    ("thumb_twist", "thumb", 0),
    *((f"{finger}_{k}", finger, k) for finger in FINGERS for k in range(3)),
)
THUMB_TWIST_AXIS = np.array([1.0, 0.0, 0.0])
TIP_INSET = 0.004


@dataclass(frozen=True)
class HandShape:
    """One hand.

    vertices (V, 3) metres; faces (F, 3); weights (V, B) skin weights summing to 1; heads: bone name -> (3,);
    chains: finger -> (4, 3) knuckle, two joints, tip; axes: finger -> (3, 3) flexion axes.
    """

    name: str
    vertices: np.ndarray
    faces: np.ndarray
    weights: np.ndarray
    heads: dict[str, np.ndarray]
    chains: dict[str, np.ndarray]
    axes: dict[str, np.ndarray]

    @property
    def elbow(self) -> np.ndarray:
        """Elbow joint in the wrist frame, metres."""
        return self.heads["lowerarm01"]

    def tips(self, angles: np.ndarray) -> dict[str, np.ndarray]:
        """Finger tips in the wrist frame for the 16 joint angles in the order of `JOINTS`."""
        by_joint = dict(zip((j[0] for j in JOINTS), angles, strict=True))
        out = {}
        for finger, chain in self.chains.items():
            R, p = np.eye(3), chain[0].copy()
            for k in range(3):
                if finger == "thumb" and k == 0:
                    R = R @ about(THUMB_TWIST_AXIS, by_joint["thumb_twist"])
                R = R @ about(self.axes[finger][k], by_joint[f"{finger}_{k}"])
                p = p + R @ (chain[k + 1] - chain[k])
            out[finger] = p
        return out


def _flexion_axes(chains: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    axes = {}
    for finger, chain in chains.items():
        bones = [unit(b) for b in np.diff(chain, axis=0)]
        axes[finger] = np.stack([unit(np.cross([0, 0, 1], b)) for b in bones])
    # The thumb flexes towards a point below the index finger's last joint, not towards the palm.
    thumb = chains["thumb"]
    pad = chains["index"][2] + np.array([0, 0, -0.03])
    base = unit(np.cross(unit(thumb[3] - thumb[0]), unit(pad - thumb[0])))
    rest = unit(np.cross(unit(thumb[3] - thumb[1]), unit(pad - thumb[1])))
    axes["thumb"] = np.stack([base, rest, rest])
    return axes


@cache
def load_hands() -> dict[str, HandShape]:
    """All hand shapes by name."""
    with (files("simulation") / "assets" / "hands.npz").open("rb") as file, np.load(file) as z:
        data = {k: z[k] for k in z.files}
    bones = [str(b) for b in data["bones"]]
    index, influence = data["bone_index"].astype(int), data["bone_weight"].astype(float)
    weights = np.zeros((len(index), len(bones)))
    np.put_along_axis(weights, index, influence / influence.sum(1, keepdims=True), axis=1)
    hands = {}
    for name, vertices, heads in zip(data["shapes"], data["vertices"], data["heads"], strict=True):
        head = dict(zip(bones, heads.astype(float), strict=True))
        v = vertices.astype(float)
        chains = {}
        for finger, chain in FINGERS.items():
            along = unit(head[chain[2]] - head[chain[1]])
            last = v[weights[:, bones.index(chain[2])] > 0.5]
            tip = last[np.argmax(last @ along)] - TIP_INSET * along
            chains[finger] = np.stack([*(head[b] for b in chain), tip])
        hands[str(name)] = HandShape(
            str(name), v, data["faces"].astype(int), weights, head, chains, _flexion_axes(chains)
        )
    return hands
