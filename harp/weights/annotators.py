"""Catalog entries of the paper's annotators (A.1): detectors, point trackers, hands; hundreds of megabytes each."""

from harp.weights.entry import HubSource, ModelEntry, NpmSource

_TAPNET = ("google/tapnet", "5d3fb48e76c5422841e38501514121e251beabb7")

_WILOR_FILES = {
    "wilor_final.ckpt": "3e97aafc7dd08d883a4cc5a027df61fdb6fda6136dbd1319405413862ada6bb2",
    "detector.pt": "5ef3df44e42d2db52d4ffe91f83a22ce9925e2acc9abebf453f2c5d22e380033",
    "mano_mean_params.npz": "efc0ec58e4a5cef78f3abfb4e8f91623b8950be9eff8b8e0dbb0d036ebc63988",
}


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
    ModelEntry(
        name="handtrack",
        revision="3.3.6",
        license="MIT",
        purpose="boxes of hands, also of hands that hold something: proposals for mediapipe-hands",
        sources=(
            NpmSource(
                "@vladmandic/human",
                "3.3.6",
                {name: f"models/{name}" for name in ("handtrack.json", "handtrack.bin")},
            ),
        ),
        files={
            "handtrack.json": "a27d86daea1799c65dd0ad99ea1855a6b6dc721bf7ba4d4eb1a138c9e51d5755",
            "handtrack.bin": "70164f725aefbbf8094a8ef4150dc10e906b6f0976b484ef8ec882d3eae4b812",
        },
        size=28_615_417,
    ),
    ModelEntry(
        name="wilor-mini",
        revision="b00adea9",
        license="CC-BY-NC-ND-4.0; MANO (fetched by hand) for non-commercial research; detector's library AGPL-3.0",
        purpose="both hands with handedness: WiLoR, run in an environment of its own (paper A.1)",
        sources=(
            HubSource(
                "warmshao/WiLoR-mini",
                "b00adea9a6843bbb4c9042109c5eb29ab2a59dea",
                {name: f"pretrained_models/{name}" for name in _WILOR_FILES},
            ),
        ),
        files=_WILOR_FILES,
        size=2_610_000_000,
    ),
)
