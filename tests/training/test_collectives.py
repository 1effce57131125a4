"""Two real processes with half of the rows each compute the same as one with all of them."""

import copy
import os
import pickle
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing, nn

from ogreid.losses import CircleLoss, TripletLoss
from ogreid.models.layers.abstraction import GroupBranch
from ogreid.models.layers.convolutions import EdgeConv
from ogreid.models.layers.statistics import SharedBatchNorm, share_batch_norms
from ogreid.ops import collectives
from ogreid.training import distributed

CLOUDS, POINTS, CENTERS = 4, 12, 6


class OnePart(nn.Module):
    """One trainable thing, fed with what it needs from a common batch; gives (B, ...)."""

    def __init__(self, part, feed):
        super().__init__()
        self.part, self.feed = part, feed

    def forward(self, batch):
        return self.part(*self.feed(batch))


def edges(batch):
    return batch["features"], batch["graph"]


def groups(batch):
    return torch.cat([batch["xyz"], batch["features"]], 2), batch["xyz"][:, :CENTERS], batch["groups"]


def pooled(batch):
    return (batch["features"].mean(1),)


def images(batch):
    return (batch["features"].view(-1, 5, 3, 4),)


def parts():
    """Everything that normalizes over a batch, seeded; negative scales are among them."""
    torch.manual_seed(0)
    all_parts = {f"edges, {form}": OnePart(EdgeConv(5, 7, backend=form), edges) for form in ("plain", "fused")}
    all_parts |= {
        f"groups, {form}{' without gate' * (not gate)}": OnePart(GroupBranch(5, 6, 8, gate=gate, backend=form), groups)
        for form in ("plain", "fused")
        for gate in (True, False)
    }
    all_parts |= {"rows": OnePart(nn.BatchNorm1d(5), pooled), "images": OnePart(nn.BatchNorm2d(5), images)}
    for part in all_parts.values():
        for norm in part.modules():
            if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
                nn.init.normal_(norm.weight)
                nn.init.normal_(norm.bias)
    return {name: part.double() for name, part in all_parts.items()}


def whole_batch():
    seeded = torch.Generator().manual_seed(1)
    # The halves are far apart, so that statistics of one half alone would be far off.
    offset = torch.tensor([0.0, 0.0, 3.0, 3.0], dtype=torch.float64).view(-1, 1, 1)
    return {
        "xyz": torch.randn(CLOUDS, POINTS, 3, generator=seeded, dtype=torch.float64),
        "features": torch.randn(CLOUDS, POINTS, 5, generator=seeded, dtype=torch.float64) + offset,
        "graph": torch.randint(0, POINTS, (CLOUDS, POINTS, 3), generator=seeded),
        "groups": torch.randint(0, POINTS, (CLOUDS, CENTERS, 4), generator=seeded),
    }


def cut(batch, rank, world):
    return {name: value.chunk(world)[rank] for name, value in batch.items()}


def learned(part, batch, rank=0, world=1):
    """The output for the own clouds, and after a step's backward: averaged gradients and running statistics."""
    mine = cut(batch, rank, world)
    mine["features"].requires_grad_()
    out = part(mine)
    aim = torch.randn(CLOUDS, *out.shape[1:], generator=torch.Generator().manual_seed(2), dtype=out.dtype)
    (out * aim.chunk(world)[rank]).sum(tuple(range(1, out.dim()))).mean().backward()
    results = {"out": out.detach(), "features": mine["features"].grad / world}
    results |= {f"gradient of {n}": collectives.all_reduce(p.grad) / world for n, p in part.named_parameters()}
    return results | {n: buffer.clone() for n, buffer in part.named_buffers()}


def pair_losses(rank=0, world=1):
    """Value and averaged gradient of the pair losses over a batch of 8 rows, gathered."""
    seeded = torch.Generator().manual_seed(3)
    rows, identity = torch.randn(8, 6, generator=seeded), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    results = {}
    for name, loss in (
        ("circle", CircleLoss(gather=True)),
        ("anchors", CircleLoss(gather=True, pairs="anchor")),
        ("triplet", TripletLoss(gather=True)),
    ):
        mine = rows.chunk(world)[rank].clone().requires_grad_()
        value = loss(mine, identity.chunk(world)[rank])
        value.backward()
        results[name] = {"value": value.detach(), "gradient": mine.grad / world}
    return results


def _serve(rank, port, folder):
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    agreed = distributed.agree(lambda: f"from {rank}")
    dist.init_process_group("gloo")  # at the same place, afterwards
    results = {name: learned(share_batch_norms(part), whole_batch(), rank, 2) for name, part in parts().items()}
    results["agreed"] = agreed
    results["apart"] = learned(parts()["edges, fused"], whole_batch(), rank, 2)
    own = nn.BatchNorm1d(3)
    own.running_mean.fill_(float(rank + 1))
    collectives.broadcast_buffers(own)
    results["buffers"] = own.running_mean
    Path(folder, f"{rank}.pkl").write_bytes(pickle.dumps(results | pair_losses(rank, 2)))
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The results of each of two processes."""
    folder = tmp_path_factory.mktemp("two")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(_serve, (port, str(folder)), nprocs=2)
    return [pickle.loads((folder / f"{rank}.pkl").read_bytes()) for rank in (0, 1)]


def merged(halves, name):
    """Rows of the two processes after each other; what both must know is compared and taken once."""
    together = {}
    for key, first in halves[0][name].items():
        if key in ("out", "features"):
            together[key] = torch.cat([half[name][key] for half in halves])
        else:
            torch.testing.assert_close(first, halves[1][name][key], rtol=0, atol=0)
            together[key] = first
    return together


@pytest.mark.parametrize("name", sorted(parts()))
def test_shared_statistics_are_those_of_the_whole_batch(served, name):
    torch.testing.assert_close(merged(served, name), learned(parts()[name], whole_batch()), rtol=1e-9, atol=1e-11)


def test_statistics_that_are_not_shared_differ(served):
    alone = learned(parts()["edges, fused"], whole_batch())
    apart = torch.cat([half["apart"]["out"] for half in served])
    assert (apart - alone["out"]).abs().max() > 0.1


@pytest.mark.parametrize("name", ["circle", "anchors", "triplet"])
def test_gathered_pairs_give_the_loss_and_gradient_of_the_whole_batch(served, name):
    alone = pair_losses()[name]
    for half in served:
        torch.testing.assert_close(half[name]["value"], alone["value"])
    torch.testing.assert_close(torch.cat([half[name]["gradient"] for half in served]), alone["gradient"])


def test_buffers_are_those_of_the_first_process(served):
    assert [half["buffers"].tolist() for half in served] == [[1.0] * 3] * 2


def test_sharing_keeps_parameters_buffers_and_names():
    network = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.BatchNorm1d(4)), nn.BatchNorm2d(2).eval())
    before = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    keys = list(network.state_dict())
    shared = share_batch_norms(network)
    assert list(shared.state_dict()) == keys
    after = {**dict(shared.named_parameters()), **dict(shared.named_buffers())}
    assert all(after[name] is before[name] for name in before)
    assert [type(part) for part in (shared[1][0], shared[2])] == [SharedBatchNorm] * 2
    assert shared[1][0].training and not shared[2].training


def test_alone_a_shared_norm_is_a_batch_norm():
    rows = torch.randn(6, 4, generator=torch.Generator().manual_seed(4))
    norm = nn.BatchNorm1d(4)
    shared = share_batch_norms(copy.deepcopy(norm))
    torch.testing.assert_close(shared(rows), norm(rows))
    torch.testing.assert_close(shared.running_var, norm.running_var)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, 0),
        ({"LOCAL_RANK": "3"}, 3),
        ({"NODE_RANK": "2", "LOCAL_WORLD_SIZE": "4", "LOCAL_RANK": "1"}, 9),
        ({"RANK": "5", "LOCAL_RANK": "1", "SLURM_PROCID": "0"}, 5),
        ({"SLURM_PROCID": "7"}, 7),
    ],
)
def test_a_process_knows_its_number_before_the_trainer_exists(monkeypatch, environment, expected):
    for name in ("RANK", "SLURM_PROCID", "NODE_RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert distributed.rank() == expected


def test_processes_agree_on_the_text_of_the_first_one_before_there_is_a_group(served):
    assert [half["agreed"] for half in served] == ["from 0"] * 2


def test_a_process_that_is_alone_makes_its_own(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert distributed.agree(lambda: "mine") == "mine"
