"""How far a point that is projected lies from where CALVIN's cameras draw it.

    python -m benchmarks.simulation.calvin_projection --data ~/calvin_env [--scenes ABCD] [--renderer tiny]

Puts balls before each camera. A ball off the axis is seen as an ellipse whose middle is not the projection of the ball's
middle (up to 1 pixel in the wrist camera), so the middle of that ellipse is what the middle of the drawn pixels is
compared with. It is measured in pictures that are several times as fine, since in the true ones (84 pixels) the middle
of a ball's few pixels is itself uncertain by a tenth; errors are in pixels of the true pictures.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from simulation.calvin.cameras import Camera, View
from simulation.calvin.environment import CalvinEnvironment
from simulation.calvin.starts import ROBOT_START, draw_start

BALLS = {"static": (3.0, 0.02), "gripper": (0.08, 0.006)}  # metres: depth, radius
ASIDE = ((0.0, 0.0), (-0.3, 0.25), (0.35, -0.3), (0.17, 0.23))  # from the middle, shares of the picture
FINER = {"static": 3, "gripper": 8}
BRIGHTER = 20  # levels by which a magenta pixel's red and blue exceed thrice its green


def outline_middle(view: View, middle: np.ndarray, radius: float) -> np.ndarray:
    """Pixel (2,) in the middle of the ellipse that a ball (metres, world) is seen as."""
    eye = -view.T_camera_world[:3, :3].T @ view.T_camera_world[:3, 3]
    way = middle - eye
    distance = np.linalg.norm(way)
    across = np.cross(way, [1, 0, 0])
    across /= np.linalg.norm(across)
    up = np.cross(way, across) / distance
    sine = radius / distance
    angles = np.linspace(0, 2 * np.pi, 721)[:, None]
    circle = radius * np.sqrt(1 - sine**2) * (np.cos(angles) * across + np.sin(angles) * up)
    pixels = view.project(eye + way * (1 - sine**2) + circle)
    return (pixels.min(0) + pixels.max(0)) / 2


def projection_errors(environment: CalvinEnvironment, name: str, finer: int) -> np.ndarray:
    """Where balls are drawn, less where they are projected: (N, 2) pixels of the true picture."""
    client, data = environment.client, environment.data
    settings = {"static": data.static_camera(), "gripper": data.gripper_camera()}[name]
    fine = replace(settings, width=finer * settings.width, height=finer * settings.height)
    camera = Camera(client, fine, environment.robot.body, environment.cameras[name].renderer)
    view = camera.view()
    R, t = view.T_camera_world[:3, :3], view.T_camera_world[:3, 3]
    depth, radius = BALLS[name]
    errors = []
    for aside in ASIDE:
        ray = np.array([aside[0] * view.width / view.K[0, 0], aside[1] * view.height / view.K[1, 1], 1])
        point = R.T @ (depth * ray - t)
        shape = client.createVisualShape(client.GEOM_SPHERE, radius=radius, rgbaColor=[1, 0, 1, 1])
        before = _is_magenta(camera.render())
        ball = client.createMultiBody(baseVisualShapeIndex=shape, basePosition=point)
        rows, columns = np.nonzero(_is_magenta(camera.render()) & ~before)
        client.removeBody(ball)
        drawn = np.array([columns.mean(), rows.mean()]) + 0.5
        errors.append((drawn - outline_middle(view, point, radius)) / finer)
    return np.array(errors)


def _is_magenta(picture: np.ndarray) -> np.ndarray:
    red, green, blue = picture.astype(int).transpose(2, 0, 1)
    return np.minimum(red, blue) > 3 * green + BRIGHTER


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--scenes", default="ABCD")
    parser.add_argument("--renderer", default="tiny")
    arguments = parser.parse_args()
    table = Table("scene", *FINER, title="largest error, pixels", min_width=40)
    for scene in arguments.scenes:
        environment = CalvinEnvironment(arguments.data, scene, arguments.renderer)
        environment.place(np.array(ROBOT_START), draw_start(environment.settings, np.random.default_rng(0)))
        errors = [np.abs(projection_errors(environment, name, finer)).max() for name, finer in FINER.items()]
        environment.close()
        table.add_row(scene, *(f"{error:.3f}" for error in errors))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
