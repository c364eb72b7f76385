"""The loop of a robot that asks a policy server, to copy; the robot is a simulated one.

    pip install openpi-client
    harp serve runs/stage3 &
    python -m harp.serving.example_client --task press

`ActionChunkBroker` asks once a chunk and plays its actions one by one; a shorter `--replan` looks again sooner.
"""

import argparse
import os
from importlib.metadata import entry_points
from typing import Any

from openpi_client.action_chunk_broker import ActionChunkBroker
from openpi_client.websocket_client_policy import WebsocketClientPolicy
from rich.console import Console

from harp.evaluation.environment import Environment, Observation, Trial
from harp.serving.access import TOKEN_VARIABLE


def observe(observation: Observation, keys: list[str]) -> dict[str, Any]:
    """What the policy asks for of what the robot sees, feels and is told."""
    everything = {
        "image": lambda: observation.third_view,
        "wrist_image": lambda: observation.wrist,
        "state": lambda: observation.proprioception,
        "prompt": lambda: observation.instruction,
    }
    return {key: everything[key]() for key in keys}


def play(
    client: WebsocketClientPolicy, environment: Environment[Any], trial: Trial, steps: int, replan: int
) -> bool:
    """One trial of at most `steps` control steps; whether it succeeded."""
    metadata = client.get_server_metadata()
    policy = ActionChunkBroker(client, min(replan, metadata["action_horizon"]))
    observation = environment.reset(trial)
    for _ in range(steps):
        action = policy.infer(observe(observation, metadata["observation_keys"]))["actions"]
        observation, done, success = environment.step(action)
        if done:
            return success
    return False


def main() -> None:
    """Play trials of one task and say how they ended."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    found = {entry.name: entry for entry in entry_points(group="harp.environments")}
    parser.add_argument("--environment", default="tabletop", choices=sorted(found))
    parser.add_argument("--task", help="default: the environment's first")
    parser.add_argument("--trials", type=int, default=1)
    parser.add_argument("--steps", type=int, help="default: the environment's limit")
    parser.add_argument("--replan", type=int, default=1000, help="actions to play before asking again")
    arguments = parser.parse_args()
    environment: Environment[Any] = found[arguments.environment].load()()
    task = arguments.task or environment.tasks[0]
    if task not in environment.tasks:
        parser.error(f"argument --task: choose one of {', '.join(environment.tasks)}")
    try:
        client = WebsocketClientPolicy(arguments.host, arguments.port, os.environ.get(TOKEN_VARIABLE))
    except OSError as error:
        parser.error(f"no server at {arguments.host}:{arguments.port} ({error}); start `harp serve` there")
    for trial in environment.trials(task, arguments.trials):
        success = play(
            client, environment, trial, arguments.steps or environment.episode_limit, arguments.replan
        )
        Console().print(f"{task} {trial.index}: {'success' if success else 'no success'}")
    environment.close()


if __name__ == "__main__":
    main()
