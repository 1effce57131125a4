"""Two real processes with half of the rows each compute the same as one with all of them."""

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
INPUTS = {
    "edges": lambda batch: (batch["features"], batch["graph"]),
    "groups": lambda batch: (
        torch.cat([batch["xyz"], batch["features"]], 2),
        batch["xyz"][:, :CENTERS],
        batch["groups"],
    ),
    "rows": lambda batch: (batch["features"].mean(1),),
    "images": lambda batch: (batch["features"].view(-1, 5, 3, 4),),
}
"""What a part takes from a batch, by the first word of its name."""


def parts() -> dict[str, nn.Module]:
    """Everything that normalizes over a batch, seeded; negative scales are among them."""
    torch.manual_seed(0)
    named = {"rows": nn.BatchNorm1d(5), "images": nn.BatchNorm2d(5)}
    for form in ("plain", "fused"):
        named[f"edges {form}"] = EdgeConv(5, 7, backend=form)
        for gate in (True, False):
            named[f"groups {form} gate={gate}"] = GroupBranch(5, 6, 8, gate=gate, backend=form)
    for norm in (one for part in named.values() for one in part.modules()):
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)
    return {name: part.double() for name, part in named.items()}


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


def learned(name, shared=True, rank=0, world=1):
    """The output for the own clouds, and after a step's backward: averaged gradients and running statistics."""
    part = share_batch_norms(parts()[name]) if shared else parts()[name]
    own = {key: value.chunk(world)[rank] for key, value in whole_batch().items()}
    own["features"].requires_grad_()
    out = part(*INPUTS[name.split()[0]](own))
    target = torch.randn(CLOUDS, *out.shape[1:], generator=torch.Generator().manual_seed(2), dtype=out.dtype)
    (out * target.chunk(world)[rank]).sum(tuple(range(1, out.dim()))).mean().backward()
    results = {"out": out.detach(), "features": own["features"].grad / world}
    results |= {f"gradient of {n}": collectives.all_reduce(p.grad) / world for n, p in part.named_parameters()}
    return results | {n: buffer.clone() for n, buffer in part.named_buffers()}


def pair_losses(rank=0, world=1):
    """Value and averaged gradient of the pair losses over a batch of 8 rows, gathered."""
    seeded = torch.Generator().manual_seed(3)
    rows, identity = torch.randn(8, 6, generator=seeded), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    losses = {"circle": CircleLoss(gather=True), "anchors": CircleLoss(gather=True, pairs="anchor")}
    results = {}
    for name, loss in (losses | {"triplet": TripletLoss(gather=True)}).items():
        own = rows.chunk(world)[rank].clone().requires_grad_()
        value = loss(own, identity.chunk(world)[rank])
        value.backward()
        results[name] = {"value": value.detach(), "gradient": own.grad / world}
    return results


def _serve(rank, port, folder):
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    results = {"agreed": distributed.agree(lambda: f"from {rank}")}
    dist.init_process_group("gloo")  # at the same place, afterwards
    results |= {name: learned(name, True, rank, 2) for name in parts()} | pair_losses(rank, 2)
    results["apart"] = learned("edges fused", False, rank, 2)
    own = nn.BatchNorm1d(3)
    own.running_mean.fill_(float(rank + 1))
    collectives.broadcast_buffers(own)
    results["buffers"] = own.running_mean
    Path(folder, f"{rank}.pkl").write_bytes(pickle.dumps(results))
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


@pytest.mark.parametrize("name", sorted(parts()))
def test_shared_statistics_are_those_of_the_whole_batch(served, name):
    one, two = (half[name] for half in served)
    rows = {key: torch.cat([one.pop(key), two.pop(key)]) for key in ("out", "features")}
    torch.testing.assert_close(one, two, rtol=0, atol=0)  # what both must know
    torch.testing.assert_close(rows | one, learned(name, shared=False), rtol=1e-9, atol=1e-11)


def test_statistics_that_are_not_shared_differ(served):
    apart = torch.cat([half["apart"]["out"] for half in served])
    assert (apart - learned("edges fused")["out"]).abs().max() > 0.1


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
    before, keys = {**dict(network.named_parameters()), **dict(network.named_buffers())}, list(network.state_dict())
    shared = share_batch_norms(network)
    after = {**dict(shared.named_parameters()), **dict(shared.named_buffers())}
    assert list(shared.state_dict()) == keys and all(after[name] is before[name] for name in before)
    assert [type(part) for part in (shared[1][0], shared[2])] == [SharedBatchNorm] * 2
    assert shared[1][0].training and not shared[2].training


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, 0),
        ({"LOCAL_RANK": "3"}, 3),
        ({"NODE_RANK": "2", "LOCAL_WORLD_SIZE": "4", "LOCAL_RANK": "1"}, 9),
        ({"RANK": "5", "LOCAL_RANK": "1", "SLURM_PROCID": "0"}, 5),
        ({"SLURM_PROCID": "7", "SLURM_STEP_NUM_TASKS": "8"}, 7),
    ],
)
def test_a_process_knows_its_number_before_the_trainer_exists(monkeypatch, environment, expected):
    for name in ("RANK", "SLURM_PROCID", "NODE_RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert distributed.rank() == expected


def test_processes_agree_on_the_text_of_the_first_one_before_there_is_a_group(served, monkeypatch):
    assert [half["agreed"] for half in served] == ["from 0"] * 2
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert distributed.agree(lambda: "mine") == "mine"
