"""Choose the off-screen OpenGL library before MuJoCo is imported.

MuJoCo reads `MUJOCO_GL` once, at import. EGL and OSMesa give bit-identical frames on Mesa's software renderer and
run equally fast; EGL is preferred because it also uses a GPU where there is one.
"""

import ctypes
import os

from data_schemas.errors import UserError

LIBRARIES = {"egl": "libEGL.so.1", "osmesa": "libOSMesa.so.8"}
INSTALL = "apt-get install -y libegl1 libgl1 libgl1-mesa-dri"


def loads(library: str) -> bool:
    """Whether the dynamic linker finds `library`."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def prefer_headless() -> None:
    """Set `MUJOCO_GL` to the first library that loads, unless the user has set it."""
    if os.environ.get("MUJOCO_GL"):
        return
    for backend, library in LIBRARIES.items():
        if loads(library):
            os.environ["MUJOCO_GL"] = backend
            return


def require_headless() -> None:
    """Raise `UserError` with the installing command when no off-screen library can be loaded."""
    backend = os.environ.get("MUJOCO_GL", "")
    library = LIBRARIES.get(backend)
    if backend and (library is None or loads(library)):
        return
    found = (
        f"MUJOCO_GL={backend} but {library} does not load"
        if backend
        else "neither libEGL nor libOSMesa loads"
    )
    raise UserError(
        f"No off-screen OpenGL: {found}; MuJoCo needs one to render, install it with `{INSTALL}`."
    )
