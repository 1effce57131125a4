"""How people stand and walk: joint rotations from a phase of the step and a personal gait."""

from dataclasses import dataclass

import numpy as np

from ogreid.synthetic.body import Array, Body, rotation, rotation_vector

# Rotation vectors that bring the arms of the rest pose (half lowered) to the sides and the feet together.
ARMS_DOWN = np.radians(31.0)
FEET_TOGETHER = np.radians(3.5)


@dataclass(frozen=True)
class Gait:
    """What stays the same in the way one person walks; radians."""

    stride: float  # amplitude of the hips
    swing: float  # amplitude of the arms
    elbow: float  # how far the elbows are bent
    stoop: float  # forward lean of the upper spine
    splay: float  # feet turned outwards
    spread: float  # arms held away from the body
    load: int  # -1 and 1 for a right or left arm kept straight by what it carries, 0 for none


def draw_gait(rng: np.random.Generator, load: int) -> Gait:
    """A random gait."""
    ranges = ((17, 27), (8, 30), (0, 25), (0, 14), (0, 14), (-4, 8))  # degrees, in the order of the fields
    stride, swing, elbow, stoop, splay, spread = (float(np.radians(rng.uniform(*limits))) for limits in ranges)
    return Gait(stride, swing, elbow, stoop, splay, spread, load)


def draw_pose(body: Body, gait: Gait, rng: np.random.Generator, *, standing: bool) -> Array:
    """A pose (J, 3) of somebody in mid-step, or standing; the pelvis is left unturned."""
    phase = rng.uniform(0, 2 * np.pi)
    effort = rng.uniform(0.0, 0.25) if standing else rng.uniform(0.75, 1.1)
    pose = np.zeros((len(body.parents), 3), dtype=np.float32)
    for side, sign, step in (("L", 1.0, phase), ("R", -1.0, phase + np.pi)):
        for name, vector in _leg(sign, step, gait, effort).items():
            pose[body.joint(f"{name}.{side}")] = vector
        shoulder, bend = _arm(sign, step, gait, effort, rng)
        pose[body.joint(f"shoulder.{side}")] = shoulder
        along = body.joint_mean[body.joint(f"elbow.{side}")] - body.joint_mean[body.joint(f"shoulder.{side}")]
        hinge = np.cross(along, (0, 0, -1))
        pose[body.joint(f"elbow.{side}")] = hinge / np.linalg.norm(hinge) * bend
    twist = 0.12 * effort * np.cos(phase)
    pose[body.joint("chest")] = (gait.stoop, twist, 0)
    pose[body.joint("waist")] = (rng.normal(0, 0.03), twist, rng.normal(0, 0.03))
    pose[body.joint("neck")] = (rng.normal(0, 0.1) - gait.stoop / 2, rng.normal(0, 0.2), rng.normal(0, 0.06))
    pose[body.joint("head")] = (rng.normal(0.03, 0.1), rng.normal(0, 0.2), rng.normal(0, 0.05))
    return pose


def _bump(phase: float, center: float, width: float) -> float:
    """A smooth hump of height 1 on the circle."""
    return float(np.exp((np.cos(phase - center) - 1) / width**2))


def _leg(sign: float, step: float, gait: Gait, effort: float) -> dict[str, tuple[float, float, float]]:
    """Heel strike at step 0, swing from pi on: hip as a cosine, knee with its two humps."""
    flexion = effort * (gait.stride * np.cos(step) + 0.06)
    knee = 0.06 + effort * (0.2 * _bump(step, 0.7, 0.6) + 1.0 * _bump(step, 4.6, 0.75))
    foot = effort * (-0.3 * _bump(step, 3.5, 0.6) + 0.12 * _bump(step, 6.0, 0.6))
    return {
        "hip": (-flexion, -sign * gait.splay, sign * FEET_TOGETHER),
        "knee": (knee, 0, 0),
        "ankle": (-foot - 0.3 * (knee - flexion) * (1 - effort / 2), 0, -sign * FEET_TOGETHER),
        "toes": (-0.5 * effort * _bump(step, 3.4, 0.5), 0, 0),
    }


def _arm(sign: float, step: float, gait: Gait, effort: float, rng: np.random.Generator) -> tuple[Array, float]:
    """Rotation (3,) of the shoulder and bend of the elbow: arms swing against the legs, now and then one is lifted."""
    loaded = gait.load == sign
    lifted = rng.uniform() < 0.12 and not loaded  # telephone, pocket, strap
    swing = (0.25 if loaded else 1.0) * effort * -gait.swing * np.cos(step)
    bend = 0.05 if loaded else gait.elbow + 0.25 * effort * max(0.0, -np.cos(step))
    if lifted:
        swing, bend = rng.uniform(-0.1, 0.5), rng.uniform(1.2, 2.1)
    down = rotation(np.array([0, 0, sign * (ARMS_DOWN - gait.spread)], dtype=np.float32))
    forward = rotation(np.array([-swing, 0, 0], dtype=np.float32))
    return rotation_vector(forward @ down), bend
