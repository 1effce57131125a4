"""Which form of an operation runs: the plain definition, our fused kernels, or torch-cluster."""

import importlib.util
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

from ogreid.errors import InputError, nearest_names, refuse
from ogreid.registry import BACKENDS

P = ParamSpec("P")
R = TypeVar("R")


def choose_backend(operation: str, backend: str, tensor: Tensor, *, cluster: bool = False, triton: bool = True) -> str:
    """The form that runs for a requested backend: ``plain``, ``fused`` or ``cluster``.

    ``auto`` is ``fused`` on a CPU, elsewhere ``cluster`` where installed, else ``plain``; and ``plain`` while a program
    is exported, so that its graph holds torch's own operators only. Triton's kernels have been run by its interpreter
    only, never on a GPU: so ``auto`` leaves them out, ``fused`` takes them.

    Args:
        operation: its name, for messages.
        backend: one of `BACKENDS`.
        tensor: the input; its device decides whether there is a kernel.
        cluster: whether torch-cluster has this operation.
        triton: whether Triton has it; without, ``fused`` means the plain form on CUDA.

    Raises:
        InputError: an unknown name, or a form that is not available here.
    """
    device = tensor.device.type
    if backend not in BACKENDS:
        raise InputError(f"backend {backend!r} is unknown; {nearest_names(backend, BACKENDS)}")
    if backend == "auto":
        if torch.compiler.is_exporting():
            return "plain"
        return "fused" if device == "cpu" else "cluster" if cluster and _cluster_installed() else "plain"
    if backend == "fused" and device not in ("cpu", "cuda"):
        raise InputError(f"{operation}: no fused kernel for {device}; use backend=auto or plain")
    if backend == "cluster" and not cluster:
        raise InputError(f"{operation}: no cluster form; use backend=auto, fused or plain")
    if backend == "cluster" and not _cluster_installed():
        raise InputError(f"{operation}: torch-cluster is not installed; `make cluster`, or backend=auto")
    return "plain" if backend == "fused" and device == "cuda" and not triton else backend


def _cluster_installed() -> bool:
    return importlib.util.find_spec("torch_cluster") is not None


def outside_graphs(function: Callable[P, R]) -> Callable[P, R]:
    """Leave ``function`` out of compiled graphs; ``torch.compiler.disable`` would load the compiler on import."""
    untraced: Callable[P, R] = torch._disable_dynamo(function)  # type: ignore[attr-defined]
    return untraced


def detached(points: Tensor) -> Tensor:
    """Coordinates for a search: without a gradient, half precision as float32."""
    return points.detach().float() if points.dtype in (torch.float16, torch.bfloat16) else points.detach()


def check_count(operation: str, count: int, points: int) -> None:
    """Refuse to take less than one or more than all of the ``points`` of a cloud."""
    if not 1 <= count <= points:
        raise InputError(f"{operation}: expected 1 to {points} of a cloud's {points} points, got {count}")


def check_finite(operation: str, points: Tensor) -> Tensor:
    """Refuse NaN and infinity on the CPU; on an accelerator the check would cost a host synchronization.

    Inside :func:`ogreid.errors.collect_refusals` ``points`` come back with zeros in the place of what is not finite.
    """
    if points.device.type != "cpu" or torch.compiler.is_compiling() or bool(points.sum().isfinite()):
        return points
    bad = (~points.isfinite()).nonzero()
    if not len(bad):
        return points
    cloud, point = bad[0, :2].tolist()
    refuse(
        f"{operation}: cloud {cloud}, point {point} is {points[cloud, point].tolist()}; "
        "every coordinate must be finite: pack the set again or drop this cloud"
    )
    return points.nan_to_num(0, 0, 0)
