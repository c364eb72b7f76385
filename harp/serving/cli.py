"""`harp serve`: a trained policy for robots on the network."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from harp.options import PolicyDatasetOption

app = typer.Typer()
console = Console()


@app.command()
def serve(
    policy: Annotated[
        Path,
        typer.Argument(
            help="Folder of a finished stage-3 run, or of the policy in it.", metavar="POLICY_DIR"
        ),
    ],
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 opens it to the network: set a token then.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    max_batch: Annotated[int, typer.Option(min=1, help="Robots answered by one inference.")] = 8,
    wait_ms: Annotated[
        float, typer.Option(min=0, help="How long a request may wait for those of other robots.")
    ] = 5.0,
    max_waiting: Annotated[
        int, typer.Option(min=1, help="Requests that may queue; one more is refused as busy.")
    ] = 64,
    max_message_mb: Annotated[
        float, typer.Option(min=0.001, help="Largest observation, images and all.")
    ] = 16,
    dataset: PolicyDatasetOption = None,
) -> None:
    """Serve a policy to robots over openpi's websocket protocol.

    Robots connect with openpi-client, send images, state and instruction,
    and get a chunk of actions, decoded greedily: the same every time.
    Requests that come together are answered by one inference. The policy
    is warm before the port opens; http://HOST:PORT/healthz says OK.
    Ctrl-C or SIGTERM finishes what is in work, then ends.

    With HARP_SERVE_TOKEN in the environment, robots must bring that token
    (api_key of openpi-client).

    Examples:

      harp serve runs/stage3

      export HARP_SERVE_TOKEN=$(openssl rand -hex 16)

      harp serve runs/stage3 --host 0.0.0.0 --max-batch 16

    On the robot:

      from openpi_client.websocket_client_policy import WebsocketClientPolicy

      client = WebsocketClientPolicy("127.0.0.1", 8000)

      seen = {"image": rgb, "wrist_image": wrist, "state": state,
              "prompt": "push the plate"}

      actions = client.infer(seen)["actions"]
    """
    from harp.serving.access import TOKEN_VARIABLE, read_token
    from harp.serving.listener import bind, is_local, url_of

    token = read_token()
    with bind(host, port) as listener:
        # Only now what takes seconds to import and minutes to load: mistakes above show at once.
        import asyncio

        from harp.policy.checkpoints.folder import find_policy
        from harp.policy.predict import Predictor
        from harp.serving.server import HEALTH, PolicyServer, ServingConfig
        from harp.training.distributed import default_device

        predictor = Predictor.load(find_policy(policy), dataset, default_device())
        config = ServingConfig(max_batch, wait_ms / 1e3, max_waiting, int(max_message_mb * 2**20))
        server = PolicyServer(predictor, config, token)
        server.warm_up()
        if token is None and not is_local(listener):
            console.print(f"[yellow]Everybody who reaches {host} may ask:[/] set {TOKEN_VARIABLE}.")
        address = escape(url_of(listener))
        ready = f"Serving {escape(str(policy))} on [bold]ws://{address}[/], health: http://{address}{HEALTH}"
        asyncio.run(server.serve(listener, lambda: console.print(ready, soft_wrap=True)))
