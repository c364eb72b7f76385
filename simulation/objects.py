"""The things on the table: shapes, MJCF, and the surface points that serve as ground-truth keypoints.

Collision bits: the table and the objects meet each other (bit 1); hands and grippers meet objects only (bit 2).
"""

from dataclasses import dataclass

import numpy as np

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.86, 0.12, 0.10),
    "blue": (0.10, 0.25, 0.80),
    "green": (0.10, 0.60, 0.20),
    "yellow": (0.95, 0.80, 0.10),
    "orange": (0.92, 0.45, 0.05),
    "purple": (0.50, 0.15, 0.60),
    "turquoise": (0.10, 0.70, 0.75),
    "pink": (0.92, 0.50, 0.65),
    "black": (0.12, 0.12, 0.14),
    "white": (0.90, 0.90, 0.88),
}
BLOCKS = ("block", "brick", "cylinder")  # what is picked and pushed
TARGETS = ("plate", "mat")  # where it is placed
FREE = (*BLOCKS, "cup")  # bodies that move freely
STATIC = (*TARGETS, "button")

BLOCK = (0.0225, 0.0225, 0.0225)
BRICK = (0.019, 0.036, 0.019)
CYLINDER_RADIUS, CYLINDER_HALF = 0.022, 0.028
CUP_RADIUS, CUP_HALF, CUP_WALL, CUP_SIDES = 0.034, 0.048, 0.004, 14
PLATE_RADIUS, PLATE_HALF = 0.085, 0.006
MAT_HALF, MAT_THICKNESS = 0.07, 0.003
BUTTON_HALF, BUTTON_HEIGHT = 0.04, 0.03
CAP_RADIUS, CAP_HALF, CAP_TRAVEL, CAP_REST = 0.024, 0.009, 0.014, 0.039

# Radius of the footprint on the table, metres, and the height of the centre when at rest.
FOOTPRINT = dict(block=0.032, brick=0.041, cylinder=0.022, cup=0.04, plate=0.085, mat=0.09, button=0.057)
REST_HEIGHT = dict(block=BLOCK[2], brick=BRICK[2], cylinder=CYLINDER_HALF, cup=CUP_HALF, button=0.0)
LYING_CUP_HEIGHT = CUP_RADIUS + CUP_WALL / 2
GRASP_WIDTH = dict(block=2 * BLOCK[0], brick=2 * BRICK[0], cylinder=2 * CYLINDER_RADIUS, cup=2 * CUP_RADIUS)
# Half extent along x and along y, for pushing.
PUSH_HALF = dict(block=BLOCK[:2], brick=BRICK[:2], cylinder=(CYLINDER_RADIUS, CYLINDER_RADIUS))

TOUCH = 'contype="1" conaffinity="3" condim="4" friction="1.1 .02 .001"'
VISUAL = 'contype="0" conaffinity="0"'


def _cup() -> str:
    walls = ""
    half_width = CUP_RADIUS * np.tan(np.pi / CUP_SIDES) + 0.0006
    for angle in np.arange(CUP_SIDES) * 2 * np.pi / CUP_SIDES:
        x, y = CUP_RADIUS * np.cos(angle), CUP_RADIUS * np.sin(angle)
        walls += (
            f'<geom type="box" size="{CUP_WALL / 2} {half_width:.5f} {CUP_HALF}" pos="{x:.5f} {y:.5f} 0" '
            f'euler="0 0 {angle:.5f}" mass=".004" material="plastic" {TOUCH}/>'
        )
    return (
        f'<body name="cup" pos="-2.5 .9 -.6"><freejoint/>{walls}<geom type="cylinder" size="{CUP_RADIUS} '
        f'{CUP_WALL / 2}" pos="0 0 {CUP_WALL / 2 - CUP_HALF}" mass=".03" material="plastic" {TOUCH}/></body>'
    )


def _size(*half: float) -> str:
    return f'size="{" ".join(map(str, half))}"'


def objects_xml() -> str:
    """MJCF bodies of all objects; a demonstration parks those it does not use out of sight."""
    rest = f'mass=".06" material="plastic" {TOUCH}'
    return f"""
<body name="block" pos="-2.5 0 -.7"><freejoint/><geom type="box" {_size(*BLOCK)} {rest}/></body>
<body name="brick" pos="-2.5 .3 -.7"><freejoint/><geom type="box" {_size(*BRICK)} {rest}/></body>
<body name="cylinder" pos="-2.5 .6 -.7"><freejoint/>
  <geom type="cylinder" {_size(CYLINDER_RADIUS, CYLINDER_HALF)} {rest}/></body>
{_cup()}
<body name="plate" pos="0 0 -3">
  <geom type="cylinder" {_size(PLATE_RADIUS, PLATE_HALF)} pos="0 0 {PLATE_HALF}" material="plastic" {TOUCH}/>
  <geom type="cylinder" {_size(0.06, PLATE_HALF)} pos="0 0 {PLATE_HALF + 0.0006}" material="plastic" {VISUAL}/></body>
<body name="mat" pos="0 0 -3">
  <geom type="box" {_size(MAT_HALF, MAT_HALF, MAT_THICKNESS / 2)} pos="0 0 {MAT_THICKNESS / 2}" material="cloth"
   {TOUCH}/></body>
<body name="button" pos="0 0 -3">
  <geom type="box" {_size(BUTTON_HALF, BUTTON_HALF, BUTTON_HEIGHT / 2)} pos="0 0 {BUTTON_HEIGHT / 2}"
   rgba=".25 .25 .28 1" material="plastic" {TOUCH}/>
  <body name="button_cap" pos="0 0 {CAP_REST}">
    <joint name="button" type="slide" axis="0 0 1" range="-{CAP_TRAVEL} 0" stiffness="120" damping="3"
     springref=".004" armature=".01"/>
    <geom type="cylinder" {_size(CAP_RADIUS, CAP_HALF)} mass=".05" material="plastic" contype="0"
     conaffinity="2"/></body></body>
"""


@dataclass(frozen=True)
class SurfacePoints:
    """Points on an object's surface: body names (N,), positions (N, 3) metres and outward normals (N, 3)."""

    bodies: tuple[str, ...]
    points: np.ndarray
    normals: np.ndarray


def _box_points(half: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    points, normals = [], []
    for axis, sign in ((2, 1), (0, 1), (0, -1), (1, 1), (1, -1)):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        spots = (
            [(-0.6, -0.6), (-0.6, 0.6), (0.6, -0.6), (0.6, 0.6)]
            if axis == 2
            else [(-0.6, 0), (0.6, 0), (0, 0.6)]
        )
        for a, b in spots:
            p, n = np.zeros(3), np.zeros(3)
            p[axis], p[u], p[v], n[axis] = sign * half[axis], a * half[u], b * half[v], sign
            points.append(p)
            normals.append(n)
    return np.array(points), np.array(normals)


def _ring(radius: float, z: float, count: int, phase: float = 0.0) -> np.ndarray:
    angles = phase + np.arange(count) * 2 * np.pi / count
    return np.stack([radius * np.cos(angles), radius * np.sin(angles), np.full(count, z)], 1)


def _upright(points: np.ndarray) -> np.ndarray:
    return np.tile([0.0, 0.0, 1.0], (len(points), 1))


def _radial(points: np.ndarray) -> np.ndarray:
    flat = points * [1, 1, 0]
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


def surface_points(name: str) -> SurfacePoints:
    """The 16 keypoints of a manipulated object, in the frames of its bodies."""
    if name in ("block", "brick"):
        points, normals = _box_points(BLOCK if name == "block" else BRICK)
    elif name == "cylinder":
        top = _ring(0.6 * CYLINDER_RADIUS, CYLINDER_HALF, 4)
        side = np.concatenate([_ring(CYLINDER_RADIUS, z * CYLINDER_HALF, 6, 0.5 * z) for z in (-0.4, 0.6)])
        points, normals = np.concatenate([top, side]), np.concatenate([_upright(top), _radial(side)])
    elif name == "cup":
        radius = CUP_RADIUS + CUP_WALL / 2
        points = np.concatenate([_ring(radius, z * CUP_HALF, 8, 0.4 * z) for z in (-0.6, 0.7)])
        normals = _radial(points)
    elif name == "button":
        cap = np.concatenate([_ring(0.7 * CAP_RADIUS, CAP_HALF, 7), [[0, 0, CAP_HALF]]])
        corner = 0.75 * BUTTON_HALF
        base = np.array([[a * corner, b * corner, BUTTON_HEIGHT] for a in (-1, 1) for b in (-1, 1)])
        side = _ring(BUTTON_HALF, BUTTON_HEIGHT / 2, 4)
        return SurfacePoints(
            ("button_cap",) * 8 + ("button",) * 8,
            np.concatenate([cap, base, side]),
            np.concatenate([_upright(cap), _upright(base), _radial(side)]),
        )
    else:
        raise KeyError(name)
    return SurfacePoints((name,) * len(points), points, normals)


def outline_points(name: str) -> SurfacePoints:
    """Points whose projections' bounding box is the object's 2D box (its convex outline)."""
    if name in ("block", "brick"):
        half = np.array(BLOCK if name == "block" else BRICK)
        points = np.array([[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)]) * half
    elif name == "cylinder":
        points = np.concatenate([_ring(CYLINDER_RADIUS, z, 24) for z in (-CYLINDER_HALF, CYLINDER_HALF)])
    elif name == "cup":
        points = np.concatenate([_ring(CUP_RADIUS + CUP_WALL / 2, z, 24) for z in (-CUP_HALF, CUP_HALF)])
    elif name == "button":
        cap = _ring(CAP_RADIUS, CAP_HALF, 24)
        base = np.array(
            [[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (0, BUTTON_HEIGHT / BUTTON_HALF)]
        )
        base = base * BUTTON_HALF
        return SurfacePoints(
            ("button_cap",) * len(cap) + ("button",) * len(base),
            np.concatenate([cap, base]),
            np.zeros((len(cap) + len(base), 3)),
        )
    else:
        raise KeyError(name)
    return SurfacePoints((name,) * len(points), points, np.zeros_like(points))
