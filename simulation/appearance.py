"""How clips look: what differs at random per pair, and what differs systematically between the embodiments.

A robot-only adapter can learn away what is systematic (the robot's recordings come from another camera position and
exposure than the human's). The random part is drawn alike for both clips of a pair, as in recordings of one afternoon, so
that table, wall, lamp and clutter help to find a partner; with `TabletopConfig.own_looks` each clip draws its own.
R@1 averaged over both ways at 112 px, over 93 pairs, and over 90 with looks of their own:

    systematic                 0     0.5 (default)   0.8
    frozen ViT-S               99 %  46 %            31 %
    8x8 mean colour            99 %  95 %            69 %
    frozen ViT-S, own looks    22 %  15 %            10 %
    8x8 mean colour, own looks 45 %  32 %            22 %
"""

import colorsys
from dataclasses import dataclass
from typing import Protocol

import mujoco
import numpy as np

from simulation.content import Content
from simulation.objects import COLOURS
from simulation.rotations import quaternion, unit
from simulation.scene import CAMERA, CLUTTER

SKIN_TONES = (
    (0.96, 0.80, 0.69),
    (0.87, 0.67, 0.53),
    (0.74, 0.54, 0.41),
    (0.55, 0.37, 0.26),
    (0.36, 0.23, 0.16),
)
LOOK_AT = np.array([0.10, 0.0, 0.06])
LAMP_DISTANCE = 1.8
WARM = np.array([1.12, 1.0, 0.80])
OUT_OF_SIGHT = (0.0, 0.0, -2.0)


@dataclass(frozen=True)
class Appearance:
    """Knobs of the look. Strengths are relative: 0 switches a source of variation off.

    Attributes:
        systematic: strength of the shift between embodiments, split evenly: the human's clips get -1/2 of it, the
            robot's +1/2 of every `shift_*`.
        shift_azimuth: camera azimuth, radians.
        shift_height: camera height, metres (the robot's camera is lower).
        shift_distance: camera distance, fraction (the robot's camera is nearer).
        shift_gamma: exponent of the tone curve.
        shift_white: how warm the white balance is, exponent of (1.12, 1, 0.8).
        layout_base: strength of the look that all clips of one layout share.
        camera, table, wall, light, photometric: strength of the random variation, per pair or per clip.
        recolour: probability that an object without a part in the task has another colour than its content says.
        clutter: most distractor objects beside the work area.
        distance: camera distance over the table, metres; height: camera height, metres.
    """

    systematic: float = 0.5
    shift_azimuth: float = 0.35
    shift_height: float = -0.12
    shift_distance: float = -0.10
    shift_gamma: float = 0.30
    shift_white: float = 1.0
    layout_base: float = 1.0
    camera: float = 0.3
    table: float = 0.3
    wall: float = 0.3
    light: float = 0.5
    photometric: float = 0.3
    recolour: float = 0.3
    clutter: int = 2
    distance: float = 0.68
    height: float = 0.56


class Actor(Protocol):
    """Whatever is filmed: an embodiment's kind, `human` or `robot`, and its model."""

    kind: str
    model: mujoco.MjModel


@dataclass(frozen=True)
class Tone:
    """What the camera does to colours: `(image * gain) ** gamma` on values in 0..1."""

    gain: np.ndarray
    gamma: float

    def apply(self, frame: np.ndarray) -> np.ndarray:
        """Tone-mapped copy of an RGB uint8 frame."""
        ramp = np.arange(256)[:, None] / 255
        table = np.clip(np.clip(ramp * self.gain, 0, 1) ** self.gamma, 0, 1)
        table = np.round(table * 255).astype(np.uint8)
        return np.stack([table[frame[..., c], c] for c in range(3)], axis=-1)


def _hsv(hue: float, saturation: float, value: float) -> np.ndarray:
    return np.array(
        colorsys.hsv_to_rgb(hue % 1, float(np.clip(saturation, 0, 1)), float(np.clip(value, 0, 1)))
    )


def _paint(model: mujoco.MjModel, body: str, rgb: np.ndarray, shade: float = 1.0) -> None:
    index = model.body(body).id
    first, count = model.body_geomadr[index], model.body_geomnum[index]
    model.geom_rgba[first : first + count, :3] = rgb
    if shade != 1.0:
        model.geom_rgba[first + count - 1, :3] = np.clip(rgb * shade + 0.06, 0, 1)


def _set_room(
    model: mujoco.MjModel, look: Appearance, base: np.random.Generator, rng: np.random.Generator
) -> None:
    a, t, w, l = look.layout_base, look.table, look.wall, look.light
    model.mat_rgba[model.mat("table").id, :3] = _hsv(
        0.08 + a * base.uniform(-0.5, 0.5) + t * rng.uniform(-0.5, 0.5),
        0.28 + a * base.uniform(-0.2, 0.15) + t * rng.uniform(-0.2, 0.2),
        0.80 + a * base.uniform(-0.30, 0.15) + t * rng.uniform(-0.4, 0.2),
    )
    model.mat_rgba[model.mat("wall").id, :3] = _hsv(
        0.6 + a * base.uniform(-0.5, 0.5) + w * rng.uniform(-0.5, 0.5),
        0.2 + a * base.uniform(-0.2, 0.2) + w * rng.uniform(-0.2, 0.4),
        0.75 + a * base.uniform(-0.3, 0.2) + w * rng.uniform(-0.4, 0.2),
    )
    model.mat_rgba[model.mat("floor").id, :3] = _hsv(base.uniform(), 0.2 + w * rng.uniform(-0.2, 0.3), 0.75)
    lamp = model.light("lamp").id
    model.light_diffuse[lamp] = (
        0.55 * (1 + l * rng.uniform(-0.5, 0.4)) * (1 + l * rng.uniform(-0.15, 0.15, 3))
    )
    tilt = np.r_[a * base.uniform(-0.3, 0.3, 2) + l * rng.uniform(-0.5, 0.5, 2), 0]
    model.light_dir[lamp] = unit(np.array([-0.2, 0, -1]) + tilt)
    model.light_pos[lamp] = LOOK_AT - LAMP_DISTANCE * model.light_dir[lamp]
    model.vis.headlight.ambient[:] = 0.35 * (1 + l * rng.uniform(-0.3, 0.3))
    model.vis.headlight.diffuse[:] = 0.35 * (1 + l * rng.uniform(-0.4, 0.3))


def _set_camera(
    model: mujoco.MjModel, look: Appearance, shift: float, base: np.random.Generator, rng: np.random.Generator
) -> None:
    a, c = look.layout_base, look.camera
    azimuth = a * base.normal(0, 0.15) + c * rng.normal(0, 0.12) + shift * look.shift_azimuth
    at = LOOK_AT + a * base.normal(0, 0.015, 3) + c * rng.normal(0, 0.02, 3)
    scale = 1 + shift * look.shift_distance + a * base.uniform(-0.05, 0.08) + c * rng.uniform(-0.08, 0.12)
    height = look.height + shift * look.shift_height + a * base.normal(0, 0.03) + c * rng.normal(0, 0.05)
    away = look.distance * scale * np.array([np.cos(azimuth), np.sin(azimuth)])
    position = np.array([at[0] + away[0], at[1] + away[1], height])
    back = unit(position - at)
    right = unit(np.cross([0, 0, 1], back))
    camera = model.camera(CAMERA).id
    model.cam_pos[camera] = position
    model.cam_quat[camera] = quaternion(np.stack([right, np.cross(back, right), back], axis=1))


def _set_objects(model: mujoco.MjModel, look: Appearance, content: Content, rng: np.random.Generator) -> None:
    spare = [c for c in COLOURS if c not in content.colours.values()]
    for name, colour in content.colours.items():
        involved = name == content.object or (content.task == "pick_place" and name == content.target)
        changes = not involved and rng.random() < look.recolour
        shown = spare.pop(int(rng.integers(len(spare)))) if changes else colour
        rgb = np.clip(np.array(COLOURS[shown]) + rng.normal(0, 0.02, 3), 0, 1)
        if name == "button":
            _paint(model, "button_cap", rgb)
        else:
            _paint(model, name, rgb, 0.8 if name == "plate" else 1.0)
    count = int(rng.integers(look.clutter + 1))
    for k, name in enumerate(rng.permutation(CLUTTER)):
        geom = model.geom(name).id
        model.geom_pos[geom] = OUT_OF_SIGHT
        if k < count:
            height = model.geom_size[geom, {"clutter_can": 1, "clutter_ball": 0}.get(name, 2)]
            side = rng.choice([-1, 1]) * rng.uniform(0.29, 0.42)
            model.geom_pos[geom] = [rng.uniform(-0.2, 0.4), side, height]
            model.geom_rgba[geom, :3] = _hsv(rng.uniform(), rng.uniform(0.1, 0.8), rng.uniform(0.2, 0.9))


def apply(
    body: Actor, content: Content, look: Appearance, rng: np.random.Generator, layout_seed: list[int]
) -> Tone:
    """Set colours, light, clutter and camera of the embodiment's model for one clip.

    Args:
        body: whose model is changed.
        content: the pair's content.
        look: strengths.
        rng: source of the random variation.
        layout_seed: seed of the look shared by all clips of the layout.

    Returns:
        The tone curve to put on every rendered frame.
    """
    model = body.model
    base = np.random.default_rng(layout_seed)
    shift = look.systematic * (-0.5 if body.kind == "human" else 0.5)
    _set_room(model, look, base, rng)
    _set_camera(model, look, shift, base, rng)
    _set_objects(model, look, content, rng)
    p = look.photometric
    gain = (
        WARM ** (shift * look.shift_white)
        * np.exp(p * rng.normal(0, 0.2))
        * np.exp(p * rng.normal(0, 0.1, 3))
    )
    return Tone(gain, float((1 + look.shift_gamma * shift) * np.exp(p * rng.normal(0, 0.2))))


def dress(body: Actor, subject: int, rng: np.random.Generator) -> None:
    """Give a human's model the subject's skin tone and a sleeve of a random colour."""
    model = body.model
    tone = np.array(SKIN_TONES[subject % len(SKIN_TONES)]) + rng.normal(0, 0.01, 3)
    model.mat_rgba[model.mat("skin").id, :3] = np.clip(tone, 0, 1)
    model.mat_rgba[model.mat("sleeve").id, :3] = _hsv(
        rng.uniform(), rng.uniform(0.1, 0.7), rng.uniform(0.2, 0.85)
    )
