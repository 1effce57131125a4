"""How people stand and walk: joint rotations from a phase of the step and a personal manner."""

from dataclasses import dataclass

import numpy as np

from ogreid.synthetic.body import Array, Body, rotation, rotation_vector

__all__ = ["Manner", "draw_manner", "draw_pose"]

# Rotation vectors that bring the arms of the rest pose (half lowered) to the sides and the feet together.
ARMS_DOWN = np.radians(31.0)
FEET_TOGETHER = np.radians(3.5)


@dataclass(frozen=True)
class Manner:
    """What stays the same in the way one person walks; radians.

    Attributes:
        stride: amplitude of the hips.
        swing: amplitude of the arms.
        elbow: how far the elbows are bent.
        stoop: forward lean of the upper spine.
        splay: feet turned outwards.
        spread: arms held away from the body.
        load: -1 and 1 for a right or left arm kept straight by what it carries, 0 for none.
    """

    stride: float
    swing: float
    elbow: float
    stoop: float
    splay: float
    spread: float
    load: int


def draw_manner(rng: np.random.Generator, load: int) -> Manner:
    """A random manner of walking."""
    return Manner(
        stride=float(np.radians(rng.uniform(17, 27))),
        swing=float(np.radians(rng.uniform(8, 30))),
        elbow=float(np.radians(rng.uniform(0, 25))),
        stoop=float(np.radians(rng.uniform(0, 14))),
        splay=float(np.radians(rng.uniform(0, 14))),
        spread=float(np.radians(rng.uniform(-4, 8))),
        load=load,
    )


def draw_pose(body: Body, manner: Manner, rng: np.random.Generator, *, standing: bool) -> Array:
    """A pose (J, 3) of somebody in mid-step, or standing; the pelvis is left unturned."""
    phase = rng.uniform(0, 2 * np.pi)
    effort = rng.uniform(0.0, 0.25) if standing else rng.uniform(0.75, 1.1)
    pose = np.zeros((len(body.parents), 3), dtype=np.float32)
    for side, sign, step in (("L", 1.0, phase), ("R", -1.0, phase + np.pi)):
        _leg(body, pose, side, sign, step, manner, effort)
        _arm(body, pose, side, sign, step, manner, effort, rng)
    twist = 0.12 * effort * np.cos(phase)
    pose[body.joint("chest")] = (manner.stoop, twist, 0)
    pose[body.joint("waist")] = (rng.normal(0, 0.03), twist, rng.normal(0, 0.03))
    pose[body.joint("neck")] = (rng.normal(0, 0.1) - manner.stoop / 2, rng.normal(0, 0.2), rng.normal(0, 0.06))
    pose[body.joint("head")] = (rng.normal(0.03, 0.1), rng.normal(0, 0.2), rng.normal(0, 0.05))
    return pose


def _bump(phase: float, center: float, width: float) -> float:
    """A smooth hump of height 1 on the circle."""
    return float(np.exp((np.cos(phase - center) - 1) / width**2))


def _leg(body: Body, pose: Array, side: str, sign: float, step: float, manner: Manner, effort: float) -> None:
    """Heel strike at step 0, swing from pi on: hip as a cosine, knee with its two humps."""
    flexion = effort * (manner.stride * np.cos(step) + 0.06)
    knee = 0.06 + effort * (0.2 * _bump(step, 0.7, 0.6) + 1.0 * _bump(step, 4.6, 0.75))
    foot = effort * (-0.3 * _bump(step, 3.5, 0.6) + 0.12 * _bump(step, 6.0, 0.6))
    pose[body.joint(f"hip.{side}")] = (-flexion, -sign * manner.splay, sign * FEET_TOGETHER)
    pose[body.joint(f"knee.{side}")] = (knee, 0, 0)
    pose[body.joint(f"ankle.{side}")] = (-foot - 0.3 * (knee - flexion) * (1 - effort / 2), 0, -sign * FEET_TOGETHER)
    pose[body.joint(f"toes.{side}")] = (-0.5 * effort * _bump(step, 3.4, 0.5), 0, 0)


def _arm(
    body: Body,
    pose: Array,
    side: str,
    sign: float,
    step: float,
    manner: Manner,
    effort: float,
    rng: np.random.Generator,
) -> None:
    """Arms swing against the legs; now and then one hand is lifted (telephone, pocket, strap)."""
    loaded = manner.load == sign
    lifted = rng.uniform() < 0.12 and not loaded
    swing = (0.25 if loaded else 1.0) * effort * -manner.swing * np.cos(step)
    bend = 0.05 if loaded else manner.elbow + 0.25 * effort * max(0.0, -np.cos(step))
    if lifted:
        swing, bend = rng.uniform(-0.1, 0.5), rng.uniform(1.2, 2.1)
    down = rotation(np.array([0, 0, sign * (ARMS_DOWN - manner.spread)], dtype=np.float32))
    forward = rotation(np.array([-swing, 0, 0], dtype=np.float32))
    pose[body.joint(f"shoulder.{side}")] = rotation_vector(forward @ down)
    along = body.joint_mean[body.joint(f"elbow.{side}")] - body.joint_mean[body.joint(f"shoulder.{side}")]
    hinge = np.cross(along, (0, 0, -1))
    pose[body.joint(f"elbow.{side}")] = hinge / np.linalg.norm(hinge) * bend
