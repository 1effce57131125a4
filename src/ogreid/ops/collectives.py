"""Tensors and plain data between the processes of one run; one process alone gets back what it gives.

``all_reduce`` and ``all_gather`` pass gradients, on Gloo too; the ones in `torch.distributed.nn` are deprecated.
"""

from typing import Any

import torch
from torch import Tensor, distributed
from torch.autograd.function import once_differentiable


def world_size() -> int:
    """The number of processes that run together with this one, itself included."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def connected() -> bool:
    """Whether there are others."""
    return world_size() > 1


def all_reduce(tensor: Tensor) -> Tensor:
    """The sum of the tensors of all processes, which must have one shape; the gradient is summed likewise."""
    return _AllReduce.apply(tensor) if connected() else tensor  # type: ignore[no-untyped-call]


def all_reduce_max(number: int, device: torch.device) -> int:
    """The largest of the numbers of all processes, which meet on ``device``."""
    if not connected():
        return number
    maximum = torch.tensor(number, device=device)
    distributed.all_reduce(maximum, distributed.ReduceOp.MAX)
    return int(maximum)


def all_gather_object(value: Any) -> list[Any]:  # noqa: ANN401 - plain data
    """The values of all processes in the order of their ranks; for plain data, and for what is rare."""
    values = [value] * world_size()
    if connected():
        distributed.all_gather_object(values, value)
    return values


def all_gather(rows: Tensor) -> Tensor:
    """The rows of all processes in the order of their ranks: (B, ...) -> (world B, ...), B being equal everywhere.

    A row's gradient is the sum of what every process makes of it. Where each process computes the *same* mean from all
    rows and the gradients of the parameters are averaged afterwards (DDP), the result is the gradient of that mean.
    """
    return _AllGather.apply(rows) if connected() else rows  # type: ignore[no-untyped-call]


@torch.no_grad()
def broadcast_buffers(module: torch.nn.Module) -> None:
    """Every process takes the buffers (the running statistics of BatchNorm) of the first one."""
    for buffer in module.buffers() if connected() else ():
        distributed.broadcast(buffer, src=0)


def _sum(tensor: Tensor) -> Tensor:
    result = tensor.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(result)
    return result


class _AllReduce(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:  # noqa: ANN401
        return _sum(tensor)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401
        return _sum(gradient)


class _AllGather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:  # noqa: ANN401
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(world_size())]
        distributed.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401
        return _sum(gradient).chunk(world_size())[distributed.get_rank()]
