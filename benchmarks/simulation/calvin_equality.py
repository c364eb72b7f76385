"""HARP's CALVIN environment beside an installed calvin_env: the same motions, pictures and judgements?

    python -m benchmarks.simulation.calvin_equality D --data ~/calvin_env [--steps 300] [--seed 3]

Both get the same start and the same random actions; prints the largest differences of their states, the number of
steps at which their oracles disagree on any of the 34 tasks, and the largest difference of a pixel in the last
pictures. One scene a call, as calvin_env asks the first physics of a process where it means its own.
"""

import argparse
from pathlib import Path

import numpy as np

from simulation.calvin.environment import CalvinEnvironment
from simulation.calvin.official import OfficialEnvironment
from simulation.calvin.oracle import Oracle
from simulation.calvin.starts import ROBOT_START, draw_start

HOLD = 20  # steps that an action is repeated


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scene")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=3)
    arguments = parser.parse_args()
    official = OfficialEnvironment(None, arguments.scene, "tiny")
    theirs, judge = official.simulator, official.oracle
    ours = CalvinEnvironment(arguments.data, arguments.scene)
    oracle = Oracle(ours.data.tasks())
    random = np.random.default_rng(arguments.seed)
    robot, scene = np.array(ROBOT_START), draw_start(ours.settings, random)
    cameras, theirs.cameras = theirs.cameras, []
    theirs.reset(robot, scene)
    ours.place(robot, scene)
    observation = ours.instruct("open_drawer")
    before_theirs, before_ours = theirs.get_info(), ours.world()
    difference, disagreements, done = 0.0, 0, set()
    action = np.zeros(7)
    for step in range(arguments.steps):
        if step % HOLD == 0:
            action = random.normal(0, 0.8, 7) - [0, 0, 0.3, 0, 0, 0, 0]
            action[6] = np.sign(action[6])
        seen, _, _, info = theirs.step(action.copy())
        observation, _ = ours.step(action)
        states = (seen["robot_obs"] - observation.robot, seen["scene_obs"] - ours.scene.observe())
        difference = max(difference, *(float(np.abs(state).max()) for state in states))
        by_them = judge.get_task_info(before_theirs, info)
        by_us = {task for task in ours.tasks if oracle.achieved(task, before_ours, ours.world())}
        disagreements += by_them != by_us
        done |= by_them
    pictures = zip(cameras, (observation.third_view, observation.wrist), strict=True)
    pixels = max(int(np.abs(camera.render()[0].astype(int) - ours_).max()) for camera, ours_ in pictures)
    print(
        f"scene {arguments.scene}, {arguments.steps} steps: states differ by {difference:g}, oracles disagree at "
        f"{disagreements} steps (tasks done on the way: {', '.join(sorted(done)) or 'none'}), pixels by {pixels}"
    )


if __name__ == "__main__":
    main()
