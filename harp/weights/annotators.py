"""Catalog entries of the paper's annotators of objects (A.1): detectors and point trackers, hundreds of megabytes each."""

from harp.weights.entry import HubSource, ModelEntry

_TAPNET = ("google/tapnet", "5d3fb48e76c5422841e38501514121e251beabb7")


def _detector(name: str, repo: str, commit: str, sha256: str, size: int) -> ModelEntry:
    files = {
        "model.safetensors": sha256,
        "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    }
    return ModelEntry(
        name=name,
        revision=commit[:8],
        license="Apache-2.0",
        purpose="boxes of the manipulated object from its phrase (paper A.1)",
        sources=(HubSource(repo, commit, {file: file for file in files}),),
        files=files,
        size=size,
    )


def _tracker(name: str, file: str, sha256: str, size: int, purpose: str) -> ModelEntry:
    return ModelEntry(
        name=name,
        revision=sha256[:8],
        license="Apache-2.0",
        purpose=purpose,
        sources=(HubSource(*_TAPNET, {file: file}),),
        files={file: sha256},
        size=size,
    )


ENTRIES = (
    _detector(
        "grounding-dino-tiny",
        "IDEA-Research/grounding-dino-tiny",
        "a2bb814dd30d776dcf7e30523b00659f4f141c71",
        "1a2412ef99bd74bcd3c2a246fa1e48581f8889a1300c9051974741314fc042f3",
        689_590_000,
    ),
    _detector(
        "grounding-dino-base",
        "IDEA-Research/grounding-dino-base",
        "12bdfa3120f3e7ec7b434d90674b3396eccf88eb",
        "5548f844c928c4b6f411fa8cbcc2bfa8dbbba437cb1d513975519f93c2a9ed21",
        933_600_000,
    ),
    ModelEntry(
        name="groundingdino-swint-ogc",
        revision="a94c9b56",
        license="Apache-2.0",
        purpose="the same detector in its authors' format, for groundingdino-py",
        sources=(
            HubSource(
                "ShilongLiu/GroundingDINO",
                "a94c9b567a2a374598f05c584e96798a170c56fb",
                {"groundingdino_swint_ogc.pth": "groundingdino_swint_ogc.pth"},
            ),
        ),
        files={
            "groundingdino_swint_ogc.pth": "3b3ca2563c77c69f651d7bd133e97139c186df06231157a64c507099c52bc799"
        },
        size=694_000_000,
    ),
    _tracker(
        "bootstapir",
        "bootstapir_checkpoint_v2.pt",
        "8493c7a69e02c85b9382fbb3c7b8b539b36bc08ede744b9e99feb739a0129f4b",
        218_886_140,
        "point tracks: BootsTAPIR, sees past and future frames (paper A.1)",
    ),
    _tracker(
        "causal-bootstapir",
        "causal_bootstapir_checkpoint.pt",
        "87c1e752cf5ce56e3e2f7da460aeb4d40fc826d04ef2939bade86a5c7495377f",
        218_887_028,
        "point tracks: causal BootsTAPIR, frame by frame in constant memory",
    ),
)
