"""The room: table, wall, floor, light, clutter and the third-person camera, as a MuJoCo specification.

The lamp is a spot, because the shadows of MuJoCo's directional lights speckle the surfaces they fall on.
World frame: z up, origin on the table top, x from the demonstrator (robot base or human shoulder) towards the
camera. All colours and the camera are set for every clip by `simulation.appearance`; this file only names things.
"""

import mujoco
import numpy as np

from simulation.objects import VISUAL, objects_xml

CAMERA = "third_person"
CLUTTER = ("clutter_box", "clutter_can", "clutter_ball", "clutter_book")
TIMESTEP = 0.004
FIELD_OF_VIEW = 40.0  # vertical, degrees

_WORLD = f"""
<mujoco>
<compiler angle="radian" autolimits="true"/>
<option timestep="{TIMESTEP}" integrator="implicitfast" cone="elliptic" impratio="5"/>
<visual>
  <quality shadowsize="512" offsamples="4"/>
  <headlight ambient=".35 .35 .35" diffuse=".35 .35 .35" specular=".1 .1 .1"/>
  <map znear=".02" zfar="8"/>
</visual>
<statistic extent="1" center="0 0 0"/>
<asset>
  <texture name="checker" type="2d" builtin="checker" rgb1=".95 .95 .95" rgb2=".86 .86 .86" width="64" height="64"/>
  <material name="floor" texture="checker" texrepeat="8 8"/>
  <material name="wall"/>
  <material name="plastic" specular=".35" shininess=".4"/>
  <material name="cloth" specular="0" shininess="0"/>
</asset>
<worldbody>
  <light name="lamp" pos=".4 0 1.8" dir="-.2 0 -1" cutoff="45" exponent="0" attenuation="1 0 0"
   diffuse=".55 .55 .52" specular=".2 .2 .2"/>
  <geom name="floor" type="plane" size="4 4 .1" pos="0 0 -.75" material="floor" contype="1" conaffinity="1"/>
  <geom name="wall" type="box" size=".02 3 2" pos="-1.3 0 0" material="wall" {VISUAL}/>
  <geom name="table" type="box" size=".5 .65 .02" pos=".12 0 -.02" material="table" friction="1 .02 .001"
   contype="1" conaffinity="1"/>
  <geom type="box" size=".03 .03 .34" pos=".55 .55 -.4" rgba=".3 .3 .3 1" {VISUAL}/>
  <geom type="box" size=".03 .03 .34" pos=".55 -.55 -.4" rgba=".3 .3 .3 1" {VISUAL}/>
  <geom name="clutter_box" type="box" size=".03 .025 .03" pos="0 0 -2" material="plastic" {VISUAL}/>
  <geom name="clutter_can" type="cylinder" size=".03 .04" pos="0 0 -2" material="plastic" {VISUAL}/>
  <geom name="clutter_ball" type="sphere" size=".03" pos="0 0 -2" material="plastic" {VISUAL}/>
  <geom name="clutter_book" type="box" size=".05 .035 .012" pos="0 0 -2" material="plastic" {VISUAL}/>
  <camera name="{CAMERA}" pos=".8 0 .6" fovy="{FIELD_OF_VIEW}"/>
  <body name="mocap" mocap="true" pos="0 0 .4"/>
  {objects_xml()}
</worldbody>
</mujoco>
"""


def wood_grain(size: int = 256) -> np.ndarray:
    """A light grey-scale wood grain (size, size, 3) uint8 that the table's colour multiplies."""
    rng = np.random.default_rng(20)
    y, x = np.mgrid[0:size, 0:size] / size
    bend = sum(
        rng.uniform(0.002, 0.008) * np.sin(2 * np.pi * (k * x + rng.uniform())) for k in range(1, 4)
    )  # periodic in x, so that the texture tiles
    rings = np.sin(2 * np.pi * 9 * (y + bend)) + 0.5 * np.sin(2 * np.pi * 23 * (y + 0.7 * bend))
    grain = 0.93 + 0.035 * rings + rng.normal(0, 0.012, (size, 1))
    return np.repeat((np.clip(grain, 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)


def build_scene() -> mujoco.MjSpec:
    """The scene without any embodiment."""
    spec = mujoco.MjSpec.from_string(_WORLD.replace('material="table" ', ""))
    grain = wood_grain()
    texture = spec.add_texture(name="wood", type=mujoco.mjtTexture.mjTEXTURE_2D)
    texture.width, texture.height, texture.nchannel = grain.shape[1], grain.shape[0], 3
    texture.data = grain.tobytes()
    material = spec.add_material(name="table", texrepeat=[1.5, 1.5], specular=0.15, shininess=0.3)
    textures = list(material.textures)
    textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "wood"
    material.textures = textures
    spec.geom("table").material = "table"
    return spec
