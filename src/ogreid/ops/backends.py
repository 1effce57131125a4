"""Which form of an operation runs: the plain definition, our fused kernels, or torch-cluster."""

import importlib.util
from collections.abc import Callable
from typing import Literal, ParamSpec, TypeVar, get_args

import torch
from torch import Tensor

from ogreid.errors import InputError, nearest_names, refuse

__all__ = ["Backend", "Form", "choose_backend", "finite", "outside_graphs"]

P = ParamSpec("P")
R = TypeVar("R")

Backend = Literal["auto", "plain", "fused", "cluster"]
Form = Literal["plain", "fused", "cluster"]


def choose_backend(
    operation: str, backend: str, tensor: Tensor, forms: tuple[Form, ...], *, triton: bool = False
) -> Form:
    """Turn what was asked for into a form that exists for this operation on this device.

    ``auto`` takes ``fused``, else ``cluster`` where installed, else ``plain``. While a program is being exported
    ``auto`` is ``plain``, so that the exported graph holds nothing but torch's own operators. On CUDA the fused forms
    have been run by Triton's interpreter only, never on a GPU: there ``auto`` leaves them out, ``fused`` takes them.

    Args:
        operation: its name, for messages.
        backend: what was asked for.
        tensor: the input; its device decides whether a fused kernel exists.
        forms: the forms that ``operation`` has at all.
        triton: whether its fused form has Triton kernels too; on CUDA ``fused`` means the plain form of an operation
            without them.

    Raises:
        InputError: an unknown name, or a form that is not to be had here.
    """
    if backend not in get_args(Backend):
        raise InputError(f"backend {backend!r} is unknown; {nearest_names(backend, get_args(Backend))}")
    if backend == "auto":
        if torch.compiler.is_exporting():
            return "plain"
        if "fused" in forms and tensor.device.type == "cpu":
            return "fused"
        return "cluster" if "cluster" in forms and _cluster_installed() else "plain"
    if backend == "fused" and tensor.is_cuda and not triton:
        return "plain"
    if backend == "fused" and tensor.device.type not in ("cpu", "cuda"):
        raise InputError(f"{operation}: no fused kernel for {tensor.device.type}; use backend=auto or plain")
    if backend == "cluster" and "cluster" in forms and not _cluster_installed():
        raise InputError(f"{operation}: torch-cluster is not installed; `make cluster`, or backend=auto")
    for form in forms:
        if form == backend:
            return form
    raise InputError(f"{operation}: has no {backend} form; one of {', '.join(forms)} or auto")


def _cluster_installed() -> bool:
    return importlib.util.find_spec("torch_cluster") is not None


def outside_graphs(function: Callable[P, R]) -> Callable[P, R]:
    """Leave ``function`` out of what ``torch.compile`` traces: compiled loops are not to be seen through.

    The decorator that torch's own optimizers use; ``torch.compiler.disable`` does the same but loads the whole compiler
    when a module is imported.
    """
    left_out: Callable[P, R] = torch._disable_dynamo(function)  # type: ignore[attr-defined]
    return left_out


def finite(operation: str, points: Tensor) -> Tensor:
    """Refuse NaN and infinity on the CPU; on an accelerator the check would cost a host synchronization.

    Returns:
        ``points``; with zeros in the place of what is only noted (`errors.collect_refusals`).

    Raises:
        NotFinite: where a coordinate is not finite, with the first cloud and point.
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
