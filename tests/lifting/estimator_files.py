"""Files as body estimators write them, each with the pixels at which the estimator itself draws the body.

The code that was read, and the lines that save:

* HMR f149abe (2021-08): none; src/RunModel.py:148-172, what `predict_dict` returns
* 4D-Humans 6ec7965 (2024-05): demo.py:86-98 `out` and `batch`; demo.py:147-149 the `.obj`
* TokenHMR 198645f (2024-09): tokenhmr/demo.py:76-85 and 127, the same
* ROMP and BEV, simple_romp 1.1.4: romp/utils.py:43-76; cameras of romp/post_parser.py and bev/post_parser.py
* mmhuman3d 8c95747 (2024-09): demo/estimate_smpl.py:405-441; box of mmhuman3d/utils/demo_utils.py:63-96
* SAM 3D Body b5c765a (2026-02): sam_3d_body/sam_3d_body_estimator.py:194-260 `outputs`; notebook/utils.py:209-275
* Multi-HMR 651fb41 (2026-03): demo.py:320 and 374-376

Every writer takes a folder, the name of the crop, where its people are and the crop's height and width, and returns
the vertices' pixels (V, 2) as (column, row), a person each.
"""

import json
from typing import NamedTuple

import numpy as np

from ogreid.lifting import upright_template

VERTICES = upright_template().vertices[::12].astype(np.float64)
FACES = np.arange(len(VERTICES) - 2)[:, None] + [0, 1, 2]
JOINTS = VERTICES[::20]
COLOR = np.array([166, 189, 219, 255])


class Place(NamedTuple):
    """Pixels a meter, and the pixel of the body's origin."""

    scale: float
    column: float
    row: float

    def weak(self, points=VERTICES):
        """Pixels of ``points`` without perspective."""
        return self.scale * points[:, :2] + [self.column, self.row]

    def translation(self, focal, center):
        """Of the pinhole camera that draws the body at this place."""
        x, y = (np.array([self.column, self.row]) - center) / self.scale
        return np.array([x, y, focal / self.scale])

    def pinhole(self, focal, center, points=VERTICES):
        """Pixels of ``points`` in that camera."""
        moved = points + self.translation(focal, center)
        return focal * moved[:, :2] / moved[:, 2:] + center


def middle(size):
    return np.array([size[1] / 2, size[0] / 2])


def stem(image):
    return image.rpartition(".")[0]


def stacked(people, points=VERTICES):
    return np.stack([points] * len(people)).astype(np.float32)


def hmr(folder, image, people, size, off=0.0):
    """Side of the square 2, centered; joints in a square of 224 pixels."""
    person, side = people[0], max(size)
    corner = side / 2 - middle(size)
    scale = person.scale / (side / 2)
    shift = ((np.array([person.column, person.row]) + corner) / (side / 2) - 1) / scale
    joints = (person.weak(JOINTS) + corner + off) / side * 224
    arrays = {"verts": VERTICES[None], "cams": np.array([[scale, *shift]]), "joints3d": JOINTS[None]}
    np.savez(folder / f"{stem(image)}.npz", joints=joints[None], theta=np.zeros((1, 85)), **arrays)
    return [person.weak()]


def four_d_humans(folder, image, people, size, off=0.0):
    """``np.savez(file, **out, **batch)``; TokenHMR's is the same. Joints in the box, whose side is 1 and center 0."""
    centers, sides = np.array([[p.column - 3, p.row + 4] for p in people]), np.array([2.1 * p.scale for p in people])
    scales = np.array([p.scale for p in people]) / (sides / 2)
    shifts = np.array([[3 / p.scale, -4 / p.scale] for p in people])
    depth = 2 * 5000 / (256 * scales)
    moved = [JOINTS + np.array([*shift, z]) for shift, z in zip(shifts, depth, strict=True)]
    joints = np.stack([5000 / 256 * one[:, :2] / one[:, 2:] for one in moved]) + off / sides[:, None, None]
    out = {"pred_cam": np.column_stack([scales, shifts]), "pred_cam_t": np.column_stack([shifts, depth])}
    out |= {"pred_smpl_params": {"betas": np.zeros((len(people), 10))}, "focal_length": np.full((len(people), 2), 5e3)}
    out |= {"pred_keypoints_3d": stacked(people, JOINTS), "pred_vertices": stacked(people), "pred_keypoints_2d": joints}
    batch = {"personid": np.arange(len(people)), "box_center": centers, "box_size": sides}
    np.savez(folder / f"{stem(image)}.npz", **out, **batch, img_size=np.array([size[::-1]] * len(people)))
    return [person.weak() for person in people]


def four_d_humans_obj(folder, image, people, size):
    """``--save_mesh``: a file for each person, focal length 5000 of a side of 256, y and z negated."""
    focal, center = 5000 / 256 * max(size), middle(size)
    for number, person in enumerate(people):
        vertices = (VERTICES + person.translation(focal, center)) * [1, -1, -1]
        lines = [f"v {x:.8f} {y:.8f} {z:.8f} 0.65098039 0.74117647 0.85882353" for x, y, z in vertices]
        lines += [f"f {a} {b} {c}" for a, b, c in FACES + 1]
        text = "\n".join(["# https://github.com/mikedh/trimesh", *lines, ""])
        (folder / f"{stem(image)}_{number}.obj").write_text(text)
    return [person.pinhole(focal, center) for person in people]


def _padding(size):
    """Left and top, in whole pixels, of the square that ROMP pads to."""
    return np.array([(max(size) - size[1]) // 2, (max(size) - size[0]) // 2])


def romp(folder, image, people, size, off=0.0):
    side, padding = max(size), _padding(size)
    shifts = [(np.array([p.column, p.row]) + padding) / side * 2 - 1 for p in people]
    results = {"cam": np.array([[2 * p.scale / side, *shift] for p, shift in zip(people, shifts, strict=True)])}
    results |= {"smpl_betas": np.zeros((len(people), 10), np.float32), "cam_trans": np.ones((len(people), 3))}
    results |= {"center_confs": np.linspace(0.9, 0.3, len(people))[:, None], "verts": stacked(people)}
    results |= {"joints": stacked(people, JOINTS), "pj2d_org": np.stack([p.weak(JOINTS) + off for p in people])}
    np.savez(folder / f"{stem(image)}.npz", results=results)
    return [person.weak() for person in people]


def bev(folder, image, people, size, off=0.0):
    """Threshold of confidence in the name; focal length 443.4 of a square of 512."""
    focal, center = 443.4 / 512 * max(size), max(size) / 2 - _padding(size)
    translations = np.array([p.translation(focal, center) for p in people])
    tangent = np.tan(np.radians(30))
    flipped = translations[:, [1, 0]] / (translations[:, 2:] * tangent)
    results = {"cam": np.column_stack([(1 / translations[:, 2] - 1e-3) / tangent, flipped]), "cam_trans": translations}
    results |= {"smpl_betas": np.zeros((len(people), 11), np.float32), "params_pred": np.zeros((len(people), 146))}
    results |= {"center_confs": np.linspace(0.9, 0.3, len(people))[:, None], "verts": stacked(people)}
    joints = np.stack([p.pinhole(focal, center, JOINTS) + off for p in people])
    np.savez(
        folder / f"{stem(image)}_0.08.npz", results=results | {"joints": stacked(people, JOINTS), "pj2d_org": joints}
    )
    return [person.pinhole(focal, center) for person in people]


def _sam_outputs(people, size, off):
    focal, center = float(np.hypot(*size)), middle(size)
    for person in people:
        yield {
            **{"bbox": np.array([0, 0, size[1], size[0]], np.float32), "focal_length": np.float32(focal), "mask": None},
            **{"pred_vertices": VERTICES.astype(np.float32), "pred_cam_t": person.translation(focal, center)},
            **{"pred_keypoints_3d": JOINTS, "pred_keypoints_2d": person.pinhole(focal, center, JOINTS) + off},
        }


def sam_3d_body(folder, image, people, size, off=0.0):
    """``np.savez(file, outputs=outputs)``; without an estimate of the field of view."""
    np.savez(folder / f"{stem(image)}.npz", outputs=list(_sam_outputs(people, size, off)))
    return [person.pinhole(float(np.hypot(*size)), middle(size)) for person in people]


def sam_3d_body_one(folder, image, people, size, off=0.0):
    """``np.savez(file, **outputs[0])``."""
    np.savez(folder / f"{stem(image)}.npz", **next(_sam_outputs(people, size, off)))
    return [people[0].pinhole(float(np.hypot(*size)), middle(size))]


def sam_3d_body_ply(folder, image, people, size):
    """The notebook's ``save_mesh_results``: a folder for each image, y and z negated."""
    focal, center = 1.3 * max(size), middle(size)
    folder = folder / stem(image)
    folder.mkdir(exist_ok=True)
    (folder / f"{stem(image)}_focal_length.json").write_text(json.dumps({"focal_length": focal}, indent=2))
    head = "ply\nformat binary_little_endian 1.0\ncomment https://github.com/mikedh/trimesh\n"
    head += f"element vertex {len(VERTICES)}\nproperty float x\nproperty float y\nproperty float z\n"
    head += "".join(f"property uchar {name}\n" for name in ("red", "green", "blue", "alpha"))
    head += f"element face {len(FACES)}\nproperty list uchar int vertex_indices\nend_header\n"
    corners = np.zeros(len(FACES), dtype=[("count", "u1"), ("corners", "<i4", 3)])
    corners["count"], corners["corners"] = 3, FACES
    for number, person in enumerate(people):
        points = np.zeros(len(VERTICES), dtype=[("xyz", "<f4", 3), ("color", "u1", 4)])
        points["xyz"], points["color"] = (VERTICES + person.translation(focal, center)) * [1, -1, -1], COLOR
        path = folder / f"{stem(image)}_mesh_{number:03d}.ply"
        path.write_bytes(head.encode() + points.tobytes() + corners.tobytes())
    return [person.pinhole(focal, center) for person in people]


def multi_hmr(folder, image, people, size):
    """Vertices with their translation; the longer side covers 60 degrees."""
    focal, center = max(size) / 2 / np.tan(np.radians(30)), middle(size)
    vertices = [(VERTICES + person.translation(focal, center)).astype(np.float32) for person in people]
    np.save(folder / f"{image}_multiHMR_896_L.png.npy", np.asarray(vertices))
    return [person.pinhole(focal, center) for person in people]


def mmhuman3d(path, frames, size):
    """One file for a folder: ``frames`` has the people of each image in which somebody was found, by its number."""
    people = [(frame, person) for frame, those in frames.items() for person in those]
    boxes = np.array([[p.column - 25, p.row - 52, p.column + 27, p.row + 50, 0.99] for _, p in people])
    centers, sides = (boxes[:, :2] + boxes[:, 2:4]) / 2, 1.25 * (boxes[:, 3] - boxes[:, 1])
    scales = np.array([p.scale for _, p in people]) / (sides / 2)
    shifts = np.array([[p.column, p.row] for _, p in people]) - centers
    cameras = np.column_stack([scales, shifts / np.array([[p.scale] for _, p in people])])
    names = [f"images/{list(frames).index(frame):06d}.png" for frame, _ in people]
    arrays = {"verts": stacked(people), "pred_cams": cameras, "bboxes_xyxy": boxes, "image_path": names}
    smpl = {"body_pose": np.zeros((len(people), 23, 3))}
    ids = {"person_id": [0] * len(people), "frame_id": [frame for frame, _ in people]}
    np.savez_compressed(path, __key_strict__=False, __data_len__=-1, smpl=smpl, **arrays, **ids)
    return {frame: [person.weak() for person in those] for frame, those in frames.items()}


WITH_JOINTS = [hmr, four_d_humans, romp, bev, sam_3d_body, sam_3d_body_one]
FORMS = [*WITH_JOINTS, four_d_humans_obj, sam_3d_body_ply, multi_hmr]
SEVERAL = [form for form in FORMS if form not in (hmr, sam_3d_body_one)]
