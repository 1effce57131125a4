"""What the processes of one run tell each other. A process that is alone keeps what it has."""

from typing import Any

import torch
from torch import Tensor, distributed
from torch.autograd.function import once_differentiable

__all__ = ["all_rows", "connected", "everyone", "largest", "share_buffers", "total", "world"]


def world() -> int:
    """How many processes train or judge together with this one, itself included."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def connected() -> bool:
    """Whether there are others."""
    return world() > 1


def total(tensor: Tensor) -> Tensor:
    """The sum of the tensors of all processes, which must have one shape; the gradient is summed likewise."""
    return _Total.apply(tensor) if connected() else tensor  # type: ignore[no-untyped-call]


def largest(number: int, device: torch.device) -> int:
    """The largest of the numbers of all processes; ``device`` is where they talk."""
    if not connected():
        return number
    maximum = torch.tensor(number, device=device)
    distributed.all_reduce(maximum, distributed.ReduceOp.MAX)
    return int(maximum)


def everyone(value: Any) -> list[Any]:  # noqa: ANN401 - plain data
    """The values of all processes in the order of their ranks; for plain data, and for what is rare."""
    values = [value] * world()
    if connected():
        distributed.all_gather_object(values, value)
    return values


def all_rows(rows: Tensor) -> Tensor:
    """The rows of all processes in the order of their ranks: (B, ...) -> (world B, ...), B being equal everywhere.

    A row's gradient is the sum of what every process makes of it. Where each process computes the *same* mean from all
    rows and the gradients of the parameters are averaged afterwards (DDP), the result is the gradient of that mean.
    """
    return _AllRows.apply(rows) if connected() else rows  # type: ignore[no-untyped-call]


@torch.no_grad()
def share_buffers(module: torch.nn.Module) -> None:
    """Every process takes the buffers (the running statistics of BatchNorm) of the first one."""
    for buffer in module.buffers() if connected() else ():
        distributed.broadcast(buffer, src=0)


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:  # noqa: ANN401
        return _summed(tensor)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401
        return _summed(gradient)


class _AllRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:  # noqa: ANN401
        parts = [torch.empty_like(rows) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401
        return _summed(gradient).chunk(distributed.get_world_size())[distributed.get_rank()]


def _summed(tensor: Tensor) -> Tensor:
    summed = tensor.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(summed)
    return summed
