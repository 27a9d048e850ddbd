"""Multi-scale deformable attention without a compile step.

Two kernels compute the same weighted bilinear sums. `sample_rows`, for the CPU, writes every sample as a weighted sum
of value rows and lets `embedding_bag` add them up, several times faster than `grid_sample` and with a fraction of its
memory. `sample_grid`, for the GPU and for training, calls `grid_sample` once per level. `self_check` compares both with
a slow plain implementation to detect a broken build.

Shape letters: see `types.py`; P = points per head and level, R = levels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xpose.errors import XPoseError
from xpose.model.layers import Linear, cached, linear, piecewise
from xpose.model.positions import level_sizes
from xpose.model.types import LevelGeometry

Shapes = tuple[tuple[int, int], ...]
# Queries per step of the row kernel, so that their row numbers and weights stay in the processor's cache.
_CHUNK_QUERIES = 512


class DeformableAttention(nn.Module):
    """Every query attends to a few learned places around its reference, on every level."""

    def __init__(self, dim: int, heads: int, levels: int, points: int) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.graph_kernel = "grid"  # in compiled and exported graphs: "grid" or "gather"
        self.sampling_offsets = Linear(dim, heads * levels * points * 2)
        self.attention_weights = Linear(dim, heads * levels * points)
        self.value_proj = Linear(dim, dim)
        self.output_proj = Linear(dim, dim)
        # Initially, weights are equal and offsets fan out, one direction per head.
        nn.init.zeros_(self.sampling_offsets.weight)
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        angle = torch.arange(heads) * (2 * math.pi / heads)
        direction = torch.stack((angle.cos(), angle.sin()), -1)
        direction = direction / direction.abs().amax(-1, keepdim=True)
        steps = torch.arange(1, points + 1)[:, None]
        fan = (direction[:, None, None] * steps).expand(heads, levels, points, 2)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(fan.flatten())

    def forward(self, query: Tensor, reference: Tensor, memory: Tensor, geometry: LevelGeometry) -> Tensor:
        """Queries [B, T, C] attend to `memory` [B, N, C] around `reference`: [B, T, C].

        `reference` has a point [B or 1, T, R, 2] or a box [B or 1, T, R, 4] per level, in [0, 1] of the padded level.
        """
        return self.attend(query, reference, self.values(memory, geometry), geometry)

    def values(self, memory: Tensor, geometry: LevelGeometry) -> Tensor:
        """The value rows [B, N, C], zero where padded.

        They have the type of `memory`, except on the CPU without gradients, where they keep that of the weights.
        """
        values = self.value_proj(memory)
        if not (piecewise(memory) and values.dtype == self.value_proj.weight.dtype):
            values = values.to(memory.dtype)
        if geometry.padding is not None:
            values = values.masked_fill(geometry.padding[..., None], 0)
        return values

    def attend(self, query: Tensor, reference: Tensor, values: Tensor, geometry: LevelGeometry) -> Tensor:
        """The rest of `forward`, after `values`."""
        if kernel_for(values) == "rows":
            sampled = self._sample_rows(query, reference, values, geometry.shapes)
        else:
            places, shares = self._samples(query, reference, geometry.shapes)
            kernel = sample_gather if self.graph_kernel == "gather" and torch.compiler.is_compiling() else sample_grid
            sampled = kernel(values.unflatten(-1, (self.heads, -1)), geometry.shapes, places, shares)
        return self.output_proj(sampled).to(query.dtype)

    def _sample_rows(self, query: Tensor, reference: Tensor, values: Tensor, shapes: Shapes) -> Tensor:
        """`_samples` and `sample_rows` in one, in chunks of queries, with all x before all y for fewer passes."""
        batch, count, dim = query.shape
        # Places always have full precision, even if queries, references or values do not.
        dtype = torch.promote_types(values.dtype, torch.float32)
        plan = row_plan(shapes, self.heads, self.points, dtype, query.device)
        # A table per image: the gradient of a table has its full size, even if an image uses few of its rows.
        tables = values.reshape(batch, -1, dim // self.heads).unbind(0)
        reference = reference.expand(batch, -1, -1, -1).to(dtype)
        mapped = linear(query, *self._planar_maps()).to(dtype)
        pieces = []
        for image in range(batch):
            for start in range(0, count, _CHUNK_QUERIES):
                piece = (image, slice(start, start + _CHUNK_QUERIES))
                offsets, shares = mapped[piece].split((2 * plan.columns, plan.columns), dim=-1)
                places = reference[piece]
                if places.shape[-1] == 4:
                    offsets = offsets * (places[..., 2:].flatten(1) @ plan.spread * (0.5 / self.points))
                offsets = torch.addmm(offsets - 0.5, places[..., :2].flatten(1), plan.spread)
                shares = shares.unflatten(-1, (self.heads, -1)).softmax(-1).flatten(1)
                pieces.append(_sum_rows(tables[image], plan, offsets, shares))
        return torch.cat(pieces).view(batch, count, dim)

    def _planar_maps(self) -> tuple[Tensor, Tensor]:
        """Offsets (all x, then all y) and attention weights as one linear map."""
        offset_weight = self.sampling_offsets.weight.unflatten(0, (-1, 2)).transpose(0, 1).flatten(0, 1)
        offset_bias = self.sampling_offsets.bias.unflatten(0, (-1, 2)).t().flatten()
        weight = torch.cat((offset_weight, self.attention_weights.weight))
        return weight, torch.cat((offset_bias, self.attention_weights.bias))

    def _samples(self, query: Tensor, reference: Tensor, shapes: Shapes) -> tuple[Tensor, Tensor]:
        """Sampling places in pixels of each level and their weights: [B, T, H, R, P, 2] and [B, T, H, R, P]."""
        split = (self.heads, self.levels, self.points)
        offsets = self.sampling_offsets(query).unflatten(-1, (*split, 2))
        weights = self.attention_weights(query).unflatten(-1, (self.heads, -1)).softmax(-1).unflatten(-1, split[1:])
        size = level_sizes(shapes, query.dtype, query.device)[:, None]  # [R, 1, 2] as w, h
        centre = reference[:, :, None, :, None, :2] * size - 0.5
        if reference.shape[-1] == 2:
            return centre + offsets, weights
        # A box scales its offsets: the last point is half the box's size away.
        return centre + offsets * (reference[:, :, None, :, None, 2:] * size * (0.5 / self.points)), weights


def kernel_for(values: Tensor) -> str:
    """The kernel for these values: rows on the CPU; the grid elsewhere, in export, and in training.

    The backward pass through the rows would sort them all, which costs more than the forward pass saves.
    """
    plain_cpu = values.device.type == "cpu" and values.dtype in (torch.float32, torch.float64, torch.bfloat16)
    return "rows" if plain_cpu and not values.requires_grad and not torch.compiler.is_compiling() else "grid"


def sample_rows(values: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted bilinear sums [B, T, C] by adding up value rows.

    Args:
        values: [B, N, H, C/H].
        shapes: (height, width) per level.
        locations: [B, T, H, R, P, 2], x and y in pixels, 0 = centre of the first pixel.
        weights: [B, T, H, R, P].
    """
    batch, _, heads, width = values.shape
    plan = row_plan(shapes, heads, locations.shape[-2], locations.dtype, locations.device)
    tables = values.reshape(batch, -1, width).unbind(0)
    places, shares = locations.movedim(-1, 2).flatten(2), weights.flatten(2)
    return torch.stack([_sum_rows(tables[b], plan, places[b], shares[b]) for b in range(batch)])


@dataclass(frozen=True)
class RowPlan:
    """Constants of the row kernel for one set of level shapes: a value per column (head, level, point)."""

    heads: int
    columns: int  # H · R · P
    spread: Tensor  # [2R, 2 · columns]: relative places by level to pixels in planes
    last_low: Tensor  # [2 · columns]: the largest lower neighbour
    has_upper: Tensor | None  # [2 · columns]: 0 where a level is a single pixel wide or high; None if none is
    steps: Tensor  # [4, columns] int32: rows from the lower neighbour to each of the four corners
    row_step: Tensor  # [columns] int32: rows from one line of pixels to the next
    first: Tensor  # [columns] int32: row of the level's first pixel for the head


@cached
def row_plan(shapes: Shapes, heads: int, points: int, dtype: torch.dtype, device: torch.device) -> RowPlan:
    """The constants, cached per shapes."""
    starts = [0]
    for rows, columns in shapes:
        starts.append(starts[-1] + rows * columns)
    if starts[-1] * heads >= 2**31:
        raise XPoseError(f"The picture has {starts[-1]} tokens; at most {2**31 // heads} fit. Use a smaller picture.")
    levels, per_head = len(shapes), len(shapes) * points

    def columns_of(values: list[int]) -> Tensor:  # one value per level to one per column
        return torch.tensor(values).repeat_interleave(points).repeat(heads)

    with torch.inference_mode(False), torch.no_grad():  # cached tensors are used in training too
        high, wide = columns_of([h for h, _ in shapes]), columns_of([w for _, w in shapes])
        level = columns_of(list(range(levels)))
        spread = torch.zeros(levels, 2, 2, heads * per_head)
        column = torch.arange(heads * per_head)
        spread[level, 0, 0, column] = wide.float()
        spread[level, 1, 1, column] = high.float()
        size = torch.cat((wide, high))
        right, down = (wide > 1) * heads, (high > 1) * wide * heads
        head = torch.arange(heads).repeat_interleave(per_head)
        return RowPlan(
            heads=heads,
            columns=heads * per_head,
            spread=spread.view(2 * levels, -1).to(device, dtype),
            last_low=(size - 2).clamp(min=0).to(device, dtype),
            has_upper=(size > 1).to(device, dtype) if bool((size == 1).any()) else None,
            steps=torch.stack((torch.zeros_like(right), right, down, right + down)).int().to(device),
            row_step=(wide * heads).int().to(device),
            first=(columns_of(starts[:-1]) * heads + head).int().to(device),
        )


def _sum_rows(table: Tensor, plan: RowPlan, places: Tensor, shares: Tensor) -> Tensor:
    """The sums [T, C] of one image, from its table [rows, C/H], with a row per token and head.

    `places` [T, 2 · columns] are pixels, all x, then all y; `shares` [T, columns] are the attention weights.
    """
    queries = places.shape[0]
    # The two neighbours inside the level that are nearest to the place. A neighbour that is a pixel or more away has
    # weight 0, which amounts to zero padding. A weight is 1 minus the distance; it is never computed by itself,
    # because multiplying a · (1 - d) as a - a · d saves a pass over all samples.
    low = places.detach().floor().clamp_(min=0)
    torch.minimum(low, plan.last_low, out=low)
    distance = places - low
    near = distance.abs().clamp_(max=1)
    far = (distance - 1).abs_().clamp_(max=1)
    if plan.has_upper is not None:
        far = torch.maximum(far, 1 - plan.has_upper)
    near_x, near_y = near.chunk(2, dim=1)
    far_x, far_y = far.chunk(2, dim=1)
    corner = torch.stack(
        [
            torch.addcmul(line, line, aside, value=-1).view(queries, plan.heads, -1)
            for line in (torch.addcmul(shares, shares, away, value=-1) for away in (near_y, far_y))
            for aside in (near_x, far_x)
        ],
        dim=2,
    ).to(table.dtype)
    x, y = low.int().chunk(2, dim=1)
    start = (y * plan.row_step).add_(x, alpha=plan.heads).add_(plan.first)
    rows = torch.stack([(start + step).view(queries, plan.heads, -1) for step in plan.steps], dim=2)
    bags = queries * plan.heads
    summed = F.embedding_bag(rows.view(bags, -1), table, mode="sum", per_sample_weights=corner.view(bags, -1))
    return summed.view(queries, -1)


def sample_grid(values: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted bilinear sums by `grid_sample`; arguments and result as in `sample_rows`."""
    batch, _, heads, width = values.shape
    queries = locations.shape[1]
    sizes = level_sizes(shapes, locations.dtype, locations.device)
    sums = []
    # Split, not sliced: the backward pass of every slice would fill a tensor of all levels with zeros.
    pieces = values.split([rows * columns for rows, columns in shapes], dim=1)
    for level, ((rows, columns), piece) in enumerate(zip(shapes, pieces, strict=True)):
        picture = piece.permute(0, 2, 3, 1).reshape(batch * heads, width, rows, columns)
        places = (locations[:, :, :, level] + 0.5) / sizes[level] * 2 - 1
        places = places.transpose(1, 2).reshape(batch * heads, queries, -1, 2).to(picture.dtype)
        sampled = F.grid_sample(picture, places, mode="bilinear", padding_mode="zeros", align_corners=False)
        share = weights[:, :, :, level].transpose(1, 2).reshape(batch * heads, 1, queries, -1)
        sums.append((sampled * share.to(sampled.dtype)).sum(-1))
    total = reduce(torch.add, sums)
    return total.view(batch, heads * width, queries).transpose(1, 2)


def sample_gather(values: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted bilinear sums from gathered rows, without `grid_sample`; arguments and result as in `sample_rows`."""
    pieces = values.split([rows * columns for rows, columns in shapes], dim=1)
    sums = [
        _gathered(piece, shape, locations[:, :, :, level], weights[:, :, :, level])
        for level, (shape, piece) in enumerate(zip(shapes, pieces, strict=True))
    ]
    return reduce(torch.add, sums).flatten(2)


def _gathered(values: Tensor, shape: tuple[int, int], locations: Tensor, weights: Tensor) -> Tensor:
    """`sample_gather` on one level: [B, T, H, C/H] from values [B, h · w, H, C/H] at places [B, T, H, P, 2]."""
    batch, _, heads, width = values.shape
    queries, (rows, columns) = locations.shape[1], shape
    table = values.transpose(1, 2).reshape(batch * heads, rows * columns, width)
    x, y = (locations[..., axis].transpose(1, 2).reshape(batch * heads, -1) for axis in (0, 1))
    shares = weights.transpose(1, 2).reshape(batch * heads, -1)
    left, top = x.floor(), y.floor()
    total = None
    for right, down in ((0, 0), (1, 0), (0, 1), (1, 1)):
        column, row = left + right, top + down
        share = shares * (1 - (x - column).abs()) * (1 - (y - row).abs())
        inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
        index = row.clamp(0, rows - 1).long() * columns + column.clamp(0, columns - 1).long()
        corner = table.gather(1, index[..., None].expand(-1, -1, width)) * (share * inside.to(share.dtype))[..., None]
        total = corner if total is None else total + corner
    assert total is not None
    return total.view(batch, heads, queries, -1, width).sum(3).transpose(1, 2)


def sample_plain(values: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """A slow reference for the two kernels, with a weight for every pixel."""
    sums = values.new_zeros(())
    pieces = values.split([rows * columns for rows, columns in shapes], dim=1)
    for level, ((rows, columns), piece) in enumerate(zip(shapes, pieces, strict=True)):
        x, y = locations[:, :, :, level, :, None].unbind(-1)  # [B, T, H, P, 1]
        near_x, near_y = (F.relu(1 - (at - torch.arange(size)).abs()) for at, size in ((x, columns), (y, rows)))
        shares = torch.einsum("bthp,bthpy,bthpx->bthyx", weights[:, :, :, level], near_y, near_x).flatten(3)
        sums = sums + torch.einsum("bthn,bnhc->bthc", shares, piece)
    return sums.flatten(2)


@dataclass(frozen=True)
class KernelCheck:
    """The largest error of a kernel on a small random case."""

    kernel: str
    error: float
    ok: bool


def self_check(device: torch.device | str = "cpu") -> list[KernelCheck]:
    """Compare every kernel with `sample_plain`, at places inside, on the border of and outside the levels."""
    shapes: Shapes = ((5, 7), (3, 4), (1, 2))
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2, sum(h * w for h, w in shapes), 2, 4, generator=generator)
    locations = torch.rand(2, 9, 2, 3, 2, 2, generator=generator) * 10 - 2
    weights = torch.rand(2, 9, 2, 3, 2, generator=generator)
    truth = sample_plain(values, shapes, locations, weights)
    results = []
    for name, kernel in (("rows", sample_rows), ("grid", sample_grid), ("gather", sample_gather)):
        sums = kernel(values.to(device), shapes, locations.to(device), weights.to(device)).cpu()
        error = float((sums - truth).abs().max())
        results.append(KernelCheck(name, error, error <= 1e-4))
    return results


def require_sound_kernels(device: torch.device | str) -> None:
    """Check that no kernel is wrong."""
    for check in self_check(device):
        if not check.ok:
            raise XPoseError(
                f'The attention kernel "{check.kernel}" is off by {check.error:.2g} on {device}; 1e-4 is allowed. '
                "This build of PyTorch computes wrong numbers here: use another device, or another version of torch."
            )
