"""A folder in calvin_env's layout that is made of boxes and of PyBullet's own Panda, so that no data of CALVIN are needed."""

from pathlib import Path

import pybullet_data
import yaml

COLORS = ("red", "blue", "pink")
ARM = Path(pybullet_data.getDataPath()) / "franka_panda"

CAMERA_LINK = """
  <link name="gripper_cam"><inertial><mass value="0"/><inertia ixx="0" ixy="0" ixz="0" iyy="0" iyz="0" izz="0"/></inertial></link>
  <joint name="gripper_cam_joint" type="fixed">
    <parent link="panda_hand"/><child link="gripper_cam"/><origin xyz="0.1 0 0" rpy="-1.5708 0 1.5708"/>
  </joint>
"""


def box(size: str, xyz: str, rpy: str = "0 0 0") -> str:
    """Visual and collision of one box."""
    shape = f'<origin xyz="{xyz}" rpy="{rpy}"/><geometry><box size="{size}"/></geometry>'
    return f"<visual>{shape}</visual><collision>{shape}</collision>"


def link(name: str, *boxes: str, mass: float = 0.1, inertia: float = 0.01) -> str:
    """A link of boxes; kg, kg m²."""
    tensor = "".join(
        f'i{a}="{inertia if a[0] == a[1] else 0}" ' for a in ("xx", "xy", "xz", "yy", "yz", "zz")
    )
    inertial = f'<inertial><mass value="{mass}"/><inertia {tensor}/></inertial>'
    return f'<link name="{name}">{inertial}{"".join(boxes)}</link>'


def joint(name: str, child: str, xyz: str, axis: str = "", upper: float = 0.0) -> str:
    """A sliding joint from 0 to `upper` metres, or where no axis is given, a fixed one."""
    motion = f'<axis xyz="{axis}"/><limit lower="0" upper="{upper}" effort="0" velocity="0"/>' if axis else ""
    kind = "prismatic" if axis else "fixed"
    return (
        f'<joint name="base__{name}" type="{kind}"><parent link="base_link"/><child link="{child}"/>'
        f'<origin xyz="{xyz}"/>{motion}</joint>'
    )


TABLE = f"""<robot name="table">
{link("base_link", box("0.88 0.36 0.02", "0 0 0.43"), mass=0)}
{link("button_link", box("0.06 0.06 0.027", "0 0 0.0135"))}
{joint("button", "button_link", "-0.12 -0.12 0.46", "0 0 -1", 0.02)}
{link("switch_link", box("0.12 0.02 0.03", "0 -0.042 0.033", "0.52 0 0"))}
{joint("switch", "switch_link", "0.3 0.061 0.495", "0 0.5 0.866", 0.088)}
{link("slide_link", box("0.28 0.01 0.1", "0.14 0.02 0"), box("0.042 0.03 0.08", "0.14 -0.055 0.05"))}
{joint("slide", "slide_link", "-0.1 0.075 0.535", "-1 0 0", 0.28)}
{
    link(
        "drawer_link",
        box("0.4 0.2 0.01", "0 -0.06 0.01"),
        box("0.44 0.025 0.1", "0 -0.17 0.03"),
        box("0.19 0.023 0.04", "0 -0.25 0.04"),
        box("0.025 0.06 0.04", "-0.1 -0.21 0.04"),
        box("0.025 0.06 0.04", "0.1 -0.21 0.04"),
    )
}
{joint("drawer", "drawer_link", "0.18 0 0.32", "0 -1 0", 0.22)}
{link("led_link", box("0.1 0.03 0.02", "0 0 0"))}
{joint("led", "led_link", "-0.12 0.16 0.65")}
{link("light_link", box("0.05 0.05 0.05", "0 0 0"))}
{joint("light", "light_link", "0.3 0.16 0.67")}
{link("plank_link", box("0.5 0.12 0.004", "0 0 0.012"))}
{joint("plank", "plank_link", "-0.1 0.09 0.43")}
</robot>"""

BLOCK = (
    f"""<robot name="block">{link("base_link", box("0.04 0.04 0.04", "0 0 0"), mass=1, inertia=1)}</robot>"""
)
PLANE = f"""<robot name="plane">{link("base_link", box("9 9 0.01", "0 0 -0.005"), mass=0)}</robot>"""


def scene() -> dict:
    """`calvin_scene_D.yaml`."""
    return {
        "global_scaling": 1.0,
        "robot_base_position": [-0.34, -0.46, 0.24],
        "robot_base_orientation": [0, 0, 0],
        "robot_initial_joint_positions": [-1.218, 1.04, 2.12, -2.342, -0.87, 1.641, 0.553],
        "surfaces": {
            "table": [[0.0, -0.15, 0.4599], [0.35, -0.03, 0.4599]],
            "slider_left": [[-0.32, 0.08, 0.4639], [-0.2, 0.12, 0.4639]],
            "slider_right": [[-0.05, 0.08, 0.4639], [0.13, 0.12, 0.4639]],
        },
        "objects": {
            "fixed_objects": {
                "table": {
                    "file": "table.urdf",
                    "initial_pos": [0, 0, 0],
                    "initial_orn": [0, 0, 0],
                    "joints": {"base__slide": {"initial_state": 0}, "base__drawer": {"initial_state": 0}},
                    "buttons": {"base__button": {"initial_state": 0, "effect": "led"}},
                    "switches": {"base__switch": {"initial_state": 0, "effect": "lightbulb"}},
                    "lights": {
                        "lightbulb": {"link": "light_link", "color": [1, 1, 0, 1]},
                        "led": {"link": "led_link", "color": [0, 1, 0, 1]},
                    },
                }
            },
            "movable_objects": {
                f"block_{color}": {"file": "block.urdf", "initial_pos": "any", "initial_orn": "any"}
                for color in COLORS
            },
        },
    }


def tasks() -> dict[str, list]:
    """Criteria of some tasks of every kind."""
    table: dict[str, list] = {
        "move_slider_left": ["move_door_rel", "base__slide", 0.15],
        "move_slider_right": ["move_door_rel", "base__slide", -0.15],
        "open_drawer": ["move_door_rel", "base__drawer", 0.12],
        "close_drawer": ["move_door_rel", "base__drawer", -0.12],
        "place_in_drawer": ["place_object", "table", "drawer_link"],
        "stack_block": ["stack_objects"],
        "unstack_block": ["unstack_objects"],
        "turn_on_led": ["toggle_light", "led", 0, 1],
        "turn_off_led": ["toggle_light", "led", 1, 0],
        "turn_on_lightbulb": ["toggle_light", "lightbulb", 0, 1],
        "push_into_drawer": [
            *("push_object_into", [f"block_{color}" for color in COLORS]),
            *("table", "base_link", "table", "drawer_link"),
        ],
    }
    for color in COLORS:
        block = f"block_{color}"
        table |= {
            f"push_{color}_block_right": ["push_object", block, 0.1, 0],
            f"push_{color}_block_left": ["push_object", block, -0.1, 0],
            f"rotate_{color}_block_left": ["rotate_object", block, 60],
            f"rotate_{color}_block_right": ["rotate_object", block, -60],
            f"lift_{color}_block_table": ["lift_object", block, 0.05, "table", "base_link"],
        }
    return table


def write(root: Path) -> Path:
    """Write the folder and return it."""
    # Drawn by its coarse meshes, the arm renders many times faster.
    arm = (ARM / "panda.urdf").read_text().replace("package://", f"{ARM}/").replace("visual/", "collision/")
    files = {
        "data/table.urdf": TABLE,
        "data/block.urdf": BLOCK,
        "data/plane/plane.urdf": PLANE,
        "data/panda.urdf": arm.replace("</robot>", f"{CAMERA_LINK}</robot>"),
        "conf/scene/calvin_scene_D.yaml": scene(),
        "conf/robot/panda.yaml": {
            "filename": "absent.urdf",
            "max_joint_force": 200.0,
            "gripper_force": 200,
            "arm_joint_ids": list(range(7)),
            "lower_joint_limits": [-2.89, -1.76, -2.89, -3.07, -2.89, -0.01, -2.89],
            "upper_joint_limits": [2.89, 1.76, 2.89, -0.07, 2.89, 3.75, 2.89],
            "gripper_joint_ids": [9, 10],
            "gripper_joint_limits": [0, 0.04],
            "tcp_link_id": 11,
            "max_velocity": 2,
        },
        "conf/robot/panda_longer_finger.yaml": {"filename": "panda.urdf"},
        "conf/cameras/cameras/static.yaml": {
            **{"fov": 10, "aspect": 1, "nearval": 0.01, "farval": 10, "width": 200, "height": 200},
            **{"look_at": [0.0, -0.03, 0.4], "look_from": [2.9, -2.2, 2.5], "up_vector": [0.4, 0.2, 0.9]},
        },
        "conf/cameras/cameras/gripper.yaml": {
            **{"fov": 75, "aspect": 1, "nearval": 0.01, "farval": 2, "width": 84, "height": 84}
        },
        "conf/tasks/new_playtable_tasks.yaml": {"tasks": tasks()},
        "new_playtable_validation.yaml": {task: [f"please {task.replace('_', ' ')}"] for task in tasks()},
    }
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
    return root
