"""From stored to seen: the released selection to the point, and each augmentation against its written rule."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ogreid.config import Augmentation
from ogreid.data.batch import CloudBatch
from ogreid.data.transforms import (
    Draws,
    augment,
    draws_for,
    erased_balls,
    erased_rectangles,
    mirror,
    select_evenly,
    select_randomly,
    shift_window,
    to_crops,
    to_network,
)

GOLDEN = Path(__file__).parents[1] / "golden"
NOTHING = Augmentation(subset=0, mirror=0, scale=[], jitter=0)


def _batch(xyz: torch.Tensor, rgb: torch.Tensor) -> CloudBatch:
    zero = torch.zeros(len(xyz), dtype=torch.int64)
    return CloudBatch(xyz, rgb, zero, zero, zero)


def _with_normals(batch: CloudBatch) -> CloudBatch:
    """Normals along the positions, and each point's number as a further array."""
    numbers = torch.arange(batch.xyz.shape[1]).expand(len(batch.xyz), -1)[..., None]
    return batch._replace(extra={"normal": torch.nn.functional.normalize(batch.xyz, dim=2), "number": numbers})


def _draws(*numbers: int) -> Draws:
    return draws_for(torch.device("cpu"), *numbers)


@pytest.fixture
def cloud() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(4, 200, 3, generator=generator), torch.rand(4, 200, 3, generator=generator) - 0.5


def test_the_released_choice_of_points_is_reproduced_to_the_point():
    points = torch.from_numpy(np.load(GOLDEN / "lift_vertex.npz")["points"]).float()[None]
    golden = np.load(GOLDEN / "load_published.npz")
    blank = (points[..., 3:].mean(dim=2) - 1).abs() <= 1e-5
    assert int(blank.sum()) == int(golden["blank"])
    np.testing.assert_array_equal(select_evenly(blank, 4096)[0].numpy(), golden["selected"])
    seen = to_network(_batch(points[..., :3], points[..., 3:]), 4096)
    # The released loader adds 8192 float32 numbers one after the other; its mean is 5e-6 m off.
    np.testing.assert_allclose(torch.cat((seen.xyz, seen.rgb), dim=2)[0].numpy(), golden["cloud"], atol=1e-5)


@pytest.mark.parametrize("select", ["evenly", "randomly"])
def test_blank_points_are_taken_only_when_the_others_are_too_few(select):
    blank = torch.zeros(2, 10, dtype=torch.bool)
    blank[0, ::2] = True  # five others
    blank[1, :3] = True  # seven others
    chosen = select_evenly(blank, 6) if select == "evenly" else select_randomly(blank, 6, _draws(0))
    assert blank.gather(1, chosen).sum(dim=1).tolist() == [1, 0]
    assert (chosen.diff(dim=1) > 0).all()  # in their order, none twice


def test_uint8_and_float_colors_give_the_same_cloud(cloud):
    rgb = torch.randint(0, 255, (4, 200, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    stored = to_network(_batch(cloud[0], rgb), 100)
    torch.testing.assert_close(stored.rgb, to_network(_batch(cloud[0], rgb / 255), 100).rgb)


def test_a_cloud_is_centered_by_all_its_points_not_by_the_chosen_ones(cloud):
    xyz = cloud[0] + 5
    seen = to_network(_batch(xyz, cloud[1] + 0.5), 7).xyz
    torch.testing.assert_close(seen, (xyz - xyz.mean(dim=1, keepdim=True))[:, np.linspace(0, 199, 7).astype(int)])


def test_without_augmentation_nothing_changes(cloud):
    xyz, rgb, _ = augment(*cloud, NOTHING, _draws(0))
    assert torch.equal(xyz, cloud[0]) and torch.equal(rgb, cloud[1])


def test_a_mirror_turns_x_alone_and_half_of_the_clouds(cloud):
    xyz = cloud[0][:1].expand(400, -1, -1)
    seen, *_ = augment(xyz, cloud[1][:1].expand(400, -1, -1), Augmentation(0, 0.5, [], 0), _draws(1))
    mirrored = (seen[:, 0, 0] != xyz[:, 0, 0]).float().mean()
    assert 0.4 < mirrored < 0.6
    torch.testing.assert_close(seen[..., 0].abs(), xyz[..., 0].abs())
    assert torch.equal(seen[..., 1:], xyz[..., 1:])


def test_three_scale_factors_are_independent_and_in_range(cloud):
    seen, *_ = augment(*cloud, Augmentation(0, 0, [0.75, 1.33], 0), _draws(2))
    factor = (seen / cloud[0])[:, 0]
    torch.testing.assert_close(seen, cloud[0] * factor[:, None])
    assert (factor >= 0.75).all() and (factor <= 1.33).all() and factor.flatten().unique().numel() == 12


def test_jitter_is_clipped_at_its_own_size(cloud):
    seen, *_ = augment(*cloud, Augmentation(0, 0, [], 0.01), _draws(3))
    moved = seen - cloud[0]
    assert moved.abs().max() <= 0.01 + 1e-6 and moved.std() > 0.005


def test_a_turn_is_about_the_vertical_axis(cloud):
    seen, *_ = augment(*cloud, Augmentation(0, 0, [], 0, rotation=90), _draws(4))
    torch.testing.assert_close(seen[..., 1], cloud[0][..., 1])
    torch.testing.assert_close(seen.norm(dim=2), cloud[0].norm(dim=2))
    assert not torch.allclose(seen, cloud[0], atol=0.1)


def test_erasing_grays_one_run_of_points(cloud):
    _, rgb, _ = augment(*cloud, Augmentation(0, 0, [], 0, color_drop=1), _draws(5))
    gone = (rgb == 0).all(dim=2)
    assert gone.any() and (gone.int().diff(dim=1).abs().sum(dim=1) <= 2).all()


def test_light_changes_a_cloud_as_a_whole_and_stays_in_range(cloud):
    _, rgb, _ = augment(*cloud, Augmentation(0, 0, [], 0, color_jitter=0.5), _draws(6))
    assert rgb.abs().max() <= 0.5 and not torch.equal(rgb, cloud[1])
    ranks = rgb[..., 0].argsort(dim=1, stable=True)
    kept = cloud[1][..., 0].gather(1, ranks).diff(dim=1)
    assert ((kept >= 0) | (rgb[..., 0].gather(1, ranks).diff(dim=1) == 0)).all()  # brighter stays brighter


def test_a_draw_depends_on_all_its_numbers_and_on_nothing_else():
    def draw(*numbers: int) -> float:
        return float(_draws(*numbers).uniform(1))

    draws = {draw(a, b, c, d) for a in range(3) for b in range(3) for c in range(3) for d in range(3)}
    assert len(draws) == 81
    assert draw(1, 2, 3, 4) == draw(1, 2, 3, 4)


@pytest.mark.parametrize("world", [2, 4])
def test_processes_augment_their_parts_as_one_process_does_the_whole(cloud, world):
    def seen(clouds: int, rank: int, world: int) -> tuple[torch.Tensor, ...]:
        mine = slice(rank * clouds, (rank + 1) * clouds)
        batch = _batch(cloud[0][mine], cloud[1][mine] + 0.5)
        augmentation = Augmentation(rotation=20, color_drop=0.5, color_jitter=0.2)
        changed = to_network(batch, 100, augmentation, _draws(7).part(rank, world))
        return changed.xyz, changed.rgb

    shares = [seen(4 // world, rank, world) for rank in range(world)]
    for whole, parts in zip(seen(4, 0, 1), zip(*shares, strict=True), strict=True):
        assert torch.equal(whole, torch.cat(parts))


def crop_clouds(rows=16, columns=8, clouds=60):
    """Flat crops of distinct colors, pixel by pixel: xyz (B, P, 3), rgb (B, P, 3) uint8."""
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    xyz = torch.stack((x, y, 0 * x), dim=2).reshape(1, -1, 3).float() / 8
    rgb = torch.arange(1, rows * columns + 1, dtype=torch.uint8)[None, :, None].expand(-1, -1, 3)
    return xyz.expand(clouds, -1, -1), rgb.expand(clouds, -1, -1)


def test_erasing_grays_one_rectangle_of_the_crop_in_so_many_clouds():
    xyz, rgb = crop_clouds(clouds=400)
    erased = erased_rectangles(xyz, 0.5, _draws(7)).view(-1, 16, 8)
    assert 0.4 < erased.flatten(1).any(1).float().mean() < 0.6
    for mask in erased[erased.flatten(1).any(1)]:
        assert torch.equal(mask, mask.any(1)[:, None] & mask.any(0)[None])  # rows x columns
        assert mask.sum() <= 0.5 * mask.numel()  # 40 % of the extent, and a pixel more on each side
    seen = to_network(_batch(xyz, rgb), 128, replace(NOTHING, erase=1.0), _draws(7))
    plain = to_network(_batch(xyz, rgb), 128)
    changed = (seen.rgb != plain.rgb).any(dim=2)
    assert (seen.rgb[changed] == 0).all() and changed.any(1).float().mean() > 0.9
    assert torch.equal(seen.xyz, plain.xyz)


def test_erased_balls_are_balls_in_space(cloud):
    xyz = cloud[0] / 3
    erased = erased_balls(xyz, 1.0, _draws(8))
    for points, mask in zip(xyz, erased, strict=True):
        inside = torch.cdist(points, points[mask]).amax(dim=1)
        assert mask.any() and not mask.all()
        assert inside[mask].max() <= 0.8 + 1e-5  # no two members further apart than the largest diameter


def test_a_shifted_window_loses_its_edge_and_is_centered_anew():
    xyz, rgb = crop_clouds()
    shifted, outside = shift_window(xyz, 0.25, _draws(9))
    moved = (xyz - shifted)[:, 0]
    assert torch.equal(shifted + moved[:, None], xyz) or torch.allclose(shifted + moved[:, None], xyz)
    assert (moved[:, 0].abs() <= 0.25 * 7 / 8).all() and (moved[:, 1].abs() <= 0.25 * 15 / 8).all()
    edge = (xyz < xyz.amin(1, keepdim=True) + moved[:, None]) | (xyz > xyz.amax(1, keepdim=True) + moved[:, None])
    assert torch.equal(outside, edge[..., :2].any(dim=2)) and outside.any(1).float().mean() > 0.9
    seen = to_network(_batch(xyz, rgb), 64, replace(NOTHING, crop=0.25), _draws(9))
    assert (seen.rgb != 0).all()  # what left the window is not selected while there is enough left


@pytest.mark.parametrize("part", ["mirror", "crop", "erase", "color_jitter"])
def test_a_crop_is_augmented_as_an_image(part):
    xyz, rgb = crop_clouds()
    pixels = torch.arange(128)
    plain = to_crops(_batch(xyz, rgb), pixels, 8).rgb.view(-1, 16, 8, 3)
    changes = replace(NOTHING, **{part: {"crop": 0.25, "color_jitter": 0.3}.get(part, 1.0)})
    seen = to_crops(_batch(xyz, rgb), pixels, 8, changes, _draws(10)).rgb.view(-1, 16, 8, 3)
    if part == "mirror":
        assert torch.equal(seen, plain.flip(2))
    elif part == "color_jitter":
        assert (seen != plain).flatten(1).any(1).all()
    else:
        for one in seen:
            kept = (one != 0).all(dim=2)
            rows, columns = torch.where(kept)
            places = (one[rows, columns, 0] + 0.5) * 255 - 1  # each pixel's color is its number
            shift = (places.round().long() - (rows * 8 + columns)).unique()
            assert len(shift) <= 1 and (part == "crop" or shift.eq(0).all())


@pytest.mark.parametrize(
    "changes", [{"mirror": 1.0}, {"rotation": 90.0}, {"scale": [2.0, 2.0], "subset": 1.0}], ids=str
)
def test_what_lifting_knows_stays_with_its_point(changes, cloud):
    xyz, colors = cloud
    xyz = xyz - xyz.mean(dim=1, keepdim=True)
    batch = _with_normals(_batch(xyz, colors + 0.5))
    seen = to_network(batch, 50, replace(NOTHING, **changes), _draws(11))
    turned = torch.nn.functional.normalize(seen.xyz, dim=2)  # the normals were the directions of the positions
    torch.testing.assert_close(seen.extra["normal"], turned, rtol=1e-4, atol=1e-5)
    number = seen.extra["number"][..., 0].long()
    assert torch.equal(seen.rgb, colors.gather(1, number[..., None].expand(-1, -1, 3)).clamp(-0.5, 0.5))


def test_the_normals_of_a_scaled_surface_stay_perpendicular_to_it():
    tangent, normal = torch.tensor([[[1.0, 1.0, 0.0]]]), torch.tensor([[[1.0, -1.0, 0.0]]])
    batch = _batch(torch.cat((tangent, -tangent), 1), torch.zeros(1, 2, 3))._replace(
        extra={"normal": normal.expand(1, 2, 3)}
    )
    seen = to_network(batch, 2, replace(NOTHING, scale=[0.5, 2.0]), _draws(12))
    assert (seen.xyz[0, 0] @ seen.extra["normal"][0, 0]).abs() < 1e-5


def test_a_crop_in_a_mirror_has_its_columns_positions_and_normals_turned():
    xyz, rgb = crop_clouds()
    batch = to_crops(_with_normals(_batch(xyz, rgb)), torch.arange(128), 8)
    trained = to_crops(_with_normals(_batch(xyz, rgb)), torch.arange(128), 8, replace(NOTHING, mirror=1.0), _draws(13))
    reflected = mirror(batch, 8)
    for one, other in zip((trained, *trained.extra.values()), (reflected, *reflected.extra.values()), strict=True):
        for a, b in zip(one[:2], other[:2], strict=True):
            assert torch.equal(a, b)
    columns = batch.xyz.view(-1, 16, 8, 3).flip(2) * torch.tensor([-1.0, 1.0, 1.0])
    assert torch.equal(reflected.xyz.view(-1, 16, 8, 3), columns)
    twice = mirror(reflected, 8)
    assert torch.equal(twice.rgb, batch.rgb) and torch.allclose(twice.extra["normal"], batch.extra["normal"])
    cloud = mirror(batch)
    assert torch.equal(cloud.rgb, batch.rgb) and torch.equal(cloud.xyz[..., 0], -batch.xyz[..., 0])


def test_outside_a_shifted_window_nothing_is_known():
    xyz, rgb = crop_clouds()
    batch = _with_normals(_batch(xyz, rgb))
    batch = batch._replace(extra=batch.extra | {"foreground": torch.ones(*xyz.shape[:2], 1, dtype=torch.bool)})
    seen = to_crops(batch, torch.arange(128), 8, replace(NOTHING, crop=0.25), _draws(10))
    outside = (seen.rgb == 0).all(dim=2)
    assert outside.any() and torch.equal(seen.extra["foreground"][..., 0], (~outside).float())


def test_desaturation_takes_color_away_and_leaves_the_light():
    xyz, rgb = crop_clouds(clouds=8)
    tinted = torch.stack((rgb[..., 0] * 0.9, rgb[..., 1] * 0.5, rgb[..., 2] * 0.1), dim=2)
    seen = to_crops(_batch(xyz, tinted), torch.arange(128), 8, replace(NOTHING, desaturation=1.0), _draws(14))
    before = tinted.float() / 255 - 0.5
    torch.testing.assert_close(seen.rgb.mean(dim=2), before.mean(dim=2), rtol=1e-4, atol=1e-6)
    share = 1 - (seen.rgb[..., 0] - seen.rgb[..., 2]).mean(1) / (before[..., 0] - before[..., 2]).mean(1)
    assert (share >= 0).all() and (share <= 1).all() and share.std() > 0.1
