"""A scripted expert for the 34 tasks in scenes A to D, which acts through the same actions as a policy.

It knows where everything is, grasps by friction, and steers by the present poses; each task reads like a recipe. It is
no model of CALVIN's demonstrators, who played by teleoperation: figures of what is trained on its motions are not
comparable with published ones.
"""

import numpy as np

from simulation.calvin.environment import CalvinEnvironment
from simulation.calvin.motions import ACROSS, CLOSED, OPEN, PASSED, SAFE, YAW_RANGE, Actions, Motions, shift

# From the frame of a link to the place where it is handled, metres; the tables of the four scenes share these parts.
DRAWER_HANDLE = np.array([0.0, -0.25, 0.04])
DRAWER_FRONT = np.array([0.0, -0.157, 0.06])  # its wall, inside; the height at which a block is let go
TABLE_EDGE = -0.181  # metres
SLIDER_HANDLE = np.array([0.14, -0.055, 0.05])
SWITCH_BAR = np.array([0.0, -0.042, 0.033])
UPHILL = np.array([0.0, 0.5, 0.866])  # the way of the switch and of the cabinet's front
BUTTON_DEPTH = 0.03
BLOCK = 0.04  # metres, height of every block
SURFACE = 0.46  # metres, middle of a block that lies on the table
ROOM = 0.11  # metres between blocks that leave room for the fingers
AT_HANDLE = 0.08  # metres from a handle at which the hand has just moved it
FINGER = 0.018  # metres from the middle of closed fingers to their outside
TRAVEL = 0.12  # metres that a block is pushed; 0.10 is asked for
TURN = 1.35  # radians that a block is turned; 1.05 are asked for
TRIES = 3


class Expert:
    """Does one task.

    Args:
        environment: that has been asked for the task.
        task: its name.
    """

    def __init__(self, environment: CalvinEnvironment, task: str) -> None:
        self._environment, self._task = environment, task
        self._motions = Motions(environment)

    def actions(self) -> Actions:
        """The actions of the whole task, each computed from the state in which it is asked for."""
        yield from self._finish()
        for _ in range(TRIES):
            yield from self._recipe()
            yield from self._motions.rise()
        while True:
            yield from self._motions.wait(self._motions.grip, 1)

    def _recipe(self) -> Actions:
        verb, *words = self._task.split("_")
        block = f"block_{words[0]}"
        if self._task == "push_into_drawer":
            return self._into_drawer()
        if verb in {"push", "rotate"}:
            side = 1.0 if words[-1] == "right" else -1.0
            return self._push(block, side) if verb == "push" else self._rotate(block, -side)
        if verb == "lift":
            return self._lift(block)
        if verb == "turn":
            return self._press_button() if words[-1] == "led" else self._switch(words[0] == "on")
        recipes = {
            "move": lambda: self._move_door(1.0 if words[-1] == "right" else -1.0),
            "open": lambda: self._drawer(opens=True),
            "close": lambda: self._drawer(opens=False),
            "place": self._place_in_cabinet if words[-1] == "slider" else self._place_in_drawer,
            "stack": self._stack,
            "unstack": self._unstack,
        }
        return recipes[verb]()

    # The tasks.

    def _push(self, block: str, side: float) -> Actions:
        """Beside the block, then along x."""
        motions = self._motions
        yield from self._free_hand()
        yield from motions.wait(CLOSED, 1)
        start = motions.block(block)
        gap = self._half_width(block) + FINGER
        behind = start - shift(x=side * (gap + 0.02))
        yield from motions.over(behind, ACROSS)
        yield from motions.move(behind, ACROSS)
        end = start[0] + side * (TRAVEL - gap)
        yield from motions.move(lambda: np.array([end, motions.block(block)[1], start[2]]), ACROSS, share=0.4)

    def _rotate(self, block: str, side: float) -> Actions:
        """Grasp, turn, and put down where it was."""
        motions = self._motions
        yield from self._free_hand(block)
        place = motions.block(block)
        yield from motions.grasp(block)
        yaw = motions.yaw() + side * TURN
        if abs(yaw - ACROSS) > YAW_RANGE:
            return
        yield from motions.move(motions.tool() + shift(z=0.02), yaw)
        yield from motions.move(lambda: motions.tool() + place + shift(z=0.001) - motions.block(block), yaw)
        yield from motions.wait(OPEN, 5)

    def _lift(self, block: str) -> Actions:
        motions = self._motions
        yield from self._free_hand(block)
        yield from motions.grasp(block)
        yield from motions.rise()

    def _place_in_cabinet(self) -> Actions:
        """On the half that the door leaves open, beside what lies there."""
        held = self._held()
        if held:
            low, high = self._environment.settings.surfaces[f"slider_{self._open_half()}"]
            spots = [np.array([x, 0.09, SURFACE]) for x in np.linspace(low[0], high[0], 9)]
            yield from self._motions.carry(held, self._free_spot(spots, held), ACROSS)

    def _place_in_drawer(self) -> Actions:
        held = self._held()
        if held:
            spots = [self._in_drawer() + shift(x=x) for x in (0, -0.08, 0.08)]
            yield from self._motions.carry(held, self._free_spot(spots, held), ACROSS)

    def _stack(self) -> Actions:
        motions, held = self._motions, self._held()
        if held:
            others = [name for name in self._environment.scene.blocks if name != held]
            # In reach are those on the table; the widest bears best.
            below = min(others, key=lambda name: (motions.block(name)[1] > 0, -self._half_width(name)))
            place = motions.block(below) + shift(z=BLOCK)
            yield from motions.carry(held, place, motions.block_yaw(below))

    def _unstack(self) -> Actions:
        motions = self._motions
        top = max(self._environment.scene.blocks, key=lambda name: motions.block(name)[2])
        yield from self._lift(top)

    def _into_drawer(self) -> Actions:
        """Take the block on the table over the edge and let it go in the drawer."""
        motions = self._motions
        yield from self._free_hand()
        blocks = self._environment.scene.blocks
        block = min(
            blocks, key=lambda name: (motions.block(name)[2] < SURFACE - 0.02, motions.block(name)[1])
        )
        yield from motions.grasp(block)
        yield from motions.carry(block, self._in_drawer(), ACROSS)

    def _move_door(self, side: float) -> Actions:
        """Both fingers about the handle, then along x."""
        motions = self._motions
        yield from self._free_hand()
        handle = motions.link("slide_link") + SLIDER_HANDLE
        yield from motions.over(np.array([handle[0], -0.08, SAFE]), ACROSS)
        yield from motions.move(handle + shift(z=0.07), ACROSS, near=0.01)
        yield from motions.move(handle, ACROSS)
        yield from motions.move(handle + shift(x=side * 0.25), ACROSS, share=0.6)

    def _drawer(self, opens: bool) -> Actions:
        """Closed fingers behind the handle and out, or before it and in."""
        motions = self._motions
        yield from self._free_hand()
        yield from motions.wait(CLOSED, 1)
        handle = motions.link("drawer_link") + DRAWER_HANDLE
        start = handle + shift(y=0.04 if opens else -0.05)
        yield from motions.over(start, ACROSS, height=0.46 if not opens else SAFE)
        yield from motions.move(start, ACROSS)
        yield from motions.move(start + shift(y=-0.22 if opens else 0.25), ACROSS, share=0.6)

    def _press_button(self) -> Actions:
        motions = self._motions
        yield from self._free_hand()
        yield from motions.wait(CLOSED, 1)
        top = motions.link("button_link") + shift(z=0.04)
        yield from motions.over(top, ACROSS)
        yield from motions.move(top - shift(z=BUTTON_DEPTH), ACROSS, share=0.4, patience=40)

    def _switch(self, on: bool) -> Actions:
        """Under the bar and up along the front, or onto it and down."""
        motions = self._motions
        yield from self._free_hand()
        yield from motions.wait(CLOSED, 1)
        bar = motions.link("switch_link") + SWITCH_BAR
        if on:
            start = bar + shift(y=-0.06, z=-0.025)
            yield from motions.over(start, ACROSS)
            yield from motions.move(start, ACROSS)
            yield from motions.move(start + shift(y=0.035), ACROSS, share=0.4)
            yield from motions.move(start + shift(y=0.055) + 0.09 * UPHILL, ACROSS, share=0.4)
        else:
            start = bar + 0.05 * UPHILL
            yield from motions.over(start, ACROSS)
            yield from motions.move(start, ACROSS, near=0.01)
            yield from motions.move(start - 0.14 * UPHILL, ACROSS, share=0.4)

    # What they share.

    def _finish(self) -> Actions:
        """Slide to its end what the hand still holds on to: a task counts as done before, but the next one needs it."""
        motions, doors = self._motions, self._environment.scene.doors
        for joint, link, place, way in (
            ("base__slide", "slide_link", SLIDER_HANDLE, shift(x=-1)),
            ("base__drawer", "drawer_link", DRAWER_HANDLE, shift(y=-1)),
        ):
            offset = motions.tool() - motions.link(link) - place
            if np.linalg.norm(offset) < AT_HANDLE:
                position, limit = doors[joint].position(), doors[joint].limit
                rest = limit - position if position > limit / 2 else -position
                yield from motions.move(motions.tool() + 1.1 * rest * way, share=0.6, patience=25)

    def _free_hand(self, keep: str | None = None) -> Actions:
        """Put down what an earlier task left in the hand, unless it is wanted."""
        motions, held = self._motions, self._motions.held()
        if held and held != keep:
            if motions.block(held)[2] > SURFACE + 0.015:
                low, high = self._environment.settings.surfaces["table"]
                spots = [np.array([x, -0.10, SURFACE]) for x in np.linspace(low[0], high[0], 12)]
                yield from motions.carry(held, self._free_spot(spots, held))
            yield from motions.wait(OPEN, 5)
            yield from motions.rise()
        elif not held:
            yield from motions.wait(OPEN, 4)
            yield from motions.rise()

    def _held(self) -> str | None:
        """The block in the hand, or the one that should be."""
        held = self._motions.held()
        if held or self._motions.grip == OPEN:
            return held
        tool = self._motions.tool()
        near = [
            n
            for n in self._environment.scene.blocks
            if np.linalg.norm(self._motions.block(n) - tool) < PASSED
        ]
        return near[0] if near else None

    def _half_width(self, block: str) -> float:
        """Half of a block's extent along x, as it lies."""
        low, high = self._environment.client.getAABB(self._environment.scene.blocks[block])
        return (high[0] - low[0]) / 2

    def _in_drawer(self) -> np.ndarray:
        """Above the middle of what is open of the drawer."""
        front = self._motions.link("drawer_link") + DRAWER_FRONT
        return np.array([front[0], (front[1] + TABLE_EDGE) / 2, front[2]])

    def _open_half(self) -> str:
        """The half of the cabinet that the door leaves open: the one it has slid away from."""
        return "left" if self._environment.scene.doors["base__slide"].position() < 0.12 else "right"

    def _free_spot(self, spots: list[np.ndarray], but: str) -> np.ndarray:
        """The first spot with room around it, or that with most."""
        others = [self._motions.block(name) for name in self._environment.scene.blocks if name != but]
        others.append(self._motions.link("button_link"))
        rooms = [min(float(np.linalg.norm((spot - other)[:2])) for other in others) for spot in spots]
        return next(
            (s for s, room in zip(spots, rooms, strict=True) if room > ROOM), spots[int(np.argmax(rooms))]
        )
