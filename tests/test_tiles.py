"""Packed stacks in tiles: the same promises as of whole ones, and no more memory than a tile's."""

from __future__ import annotations

import math
import mmap
import pickle
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

import lowrank
from lowrank import codec, limits
from lowrank import format as lrk
from lowrank.errors import FormatError, LimitError, LowrankError, TruncatedError, UsageError
from lowrank.format.parts import Parts
from lowrank.io import lazy
from lowrank.io.taking import Taking
from lowrank.limits import let_go
from lowrank.picture import MODES, Loaded, Picture
from lowrank.picture.distance import frames
from lowrank.picture.levels import Scale
from lowrank.report import compared, measure, passes
from lowrank.runs import large, tasks
from lowrank.runs.plan import Job
from lowrank.stores.packed.coding.payload import Outline
from lowrank.stores.packed.frames import codec as room
from lowrank.stores.packed.frames import tiled, tiles
from lowrank.targets import Target

FRAMES, HEIGHT, WIDTH = 6, 50, 75
TILE = FRAMES * 32 * 48


def samples(
    height: int = HEIGHT, width: int = WIDTH, channels: int = 1, frames: int = FRAMES
) -> np.ndarray:
    """Smooth maps with curves of their own on the left and on the right, and noise."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:height, :width] / 9
    maps = np.stack([np.sin(x * (1 + k) + k) * np.cos(y * (2 + k)) for k in range(3)])
    curves = np.cumsum(rng.normal(0, 1, (2, channels, frames, 3)), 2)
    A = np.where(x < x.max() / 2, *np.tensordot(curves, maps, 1))
    A = 1500 + 120 * A + rng.normal(0, 8, A.shape)
    return np.rint(A).clip(0, 65535).transpose(1, 2, 3, 0)


@pytest.fixture(scope="module")
def stack() -> Picture:
    return Picture(samples().astype(np.uint16), MODES["I;16"])


@pytest.fixture(scope="module")
def low(stack) -> Picture:
    """Two tiles of it, for searches that encode them again and again."""
    return replace(stack, samples=stack.samples[:, :32])


@pytest.fixture
def small(monkeypatch):
    """Tiles of 32 x 48 pixels."""
    monkeypatch.setattr(tiled, "LARGEST", TILE)


def encoded(picture: Picture, target: Target) -> bytes:
    return lrk.serialize(codec.encode(picture, target, store="packed").parts)


@pytest.fixture(scope="module")
def data(stack) -> bytes:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiled, "LARGEST", TILE)
        return encoded(stack, Target("quality", 90))


def parse(data: bytes, *, partial: bool = False) -> Parts:
    return lrk.parse(data, name="x.lrk", max_pixels=10**6, partial=partial)


def decoded(data: bytes) -> np.ndarray:
    return codec.decode(parse(data)).picture.samples


@pytest.fixture(scope="module")
def whole(data) -> np.ndarray:
    """All that it decodes to."""
    found = decoded(data)
    found.flags.writeable = False
    return found


def of(data: bytes) -> tuple[bytes, tiles.Grid]:
    """The payload of a file, and its tiles."""
    payload = parse(data).body.payload
    return payload, tiles.outline(payload, (FRAMES, HEIGHT, WIDTH, 1)).read[0]


# -- the grid --------------------------------------------------------------------------


def test_tiles_cover_every_pixel_once_and_are_small_enough():
    rng = np.random.default_rng(1)
    for _ in range(200):
        size = tuple(int(x) for x in rng.integers(1, (40, 300, 300, 4)))
        largest = int(rng.integers(256, 1 << 18))
        down, across = tiled.sides(size, largest)
        seen = np.zeros(size[1:3], int)
        each = tiles.boxes(size, down, across)
        for box in each:
            seen[box.rows, box.columns] += 1
            assert box.rows.start % 16 == box.columns.start % 16 == 0
            one = math.prod(box.size(size))
            assert one <= largest or (down, across) == (1, 1)
        assert (seen == 1).all()
        if math.prod(size[:1] + size[3:]) * (size[1] + 15) * (size[2] + 15) <= largest:
            assert len(each) == 1


def test_a_tile_is_a_stack_of_its_own(stack, data, whole):
    payload, grid = of(data)
    assert len(grid.boxes) == 4
    for box, span in zip(grid.boxes, grid.spans, strict=True):
        size = box.size((FRAMES, HEIGHT, WIDTH, 1))
        alone = room.decode(payload[span], size, Scale(stack.mode)).samples
        assert np.array_equal(alone, whole[:, box.rows, box.columns])
    B = codec.factors(parse(data))[1][0].reshape(whole.shape)
    assert np.abs(np.rint(B) - whole).max() <= 1


def test_what_is_small_is_coded_whole(stack):
    parts = codec.encode(stack, Target("quality", 80), store="packed").parts
    assert not tiles.in_tiles(parts.body.payload)


# -- promises --------------------------------------------------------------------------


def test_a_file_states_norms_of_the_whole_matrix(stack, data):
    said = parse(data).body.stated[0]
    A = stack.samples.reshape(FRAMES, -1).astype(float)
    s = np.linalg.svd(A, compute_uv=False)
    grid = of(data)[1]
    planes = sum(x.components[0] for x in grid.outlines)
    assert said.k == min(planes, FRAMES)
    assert said.norm == pytest.approx(np.linalg.norm(s), rel=1e-3)
    assert said.tail == pytest.approx(np.linalg.norm(s[said.k :]), rel=1e-3)
    assert said.sigma_next == pytest.approx(s[said.k] if said.k < FRAMES else 0, rel=1e-3)
    error = np.linalg.norm(A - codec.factors(parse(data))[1][0])
    assert said.error == pytest.approx(error, rel=1e-3)


@pytest.mark.parametrize("kind", ["psnr", "psnr_worst"])
def test_a_psnr_is_that_of_all_tiles_together(low, small, kind):
    found = decoded(encoded(low, Target(kind, 41)))
    off = frames(low, found)
    mse = [x.squares / x.samples for x in off]
    least = max(mse) if kind == "psnr_worst" else np.mean(mse)
    assert 41 <= 10 * math.log10(low.peak**2 / least) < 41.2


def test_a_size_holds_all_tiles(low, small):
    size = len(encoded(low, Target("size", 1800)))
    assert 1740 < size <= 1800


def test_a_rank_is_that_of_each_tile(low, small):
    found = codec.encode(low, Target("rank", 2), store="packed")
    assert any("2 tiles, each of 2 terms" in note for note in found.notes)
    payload = found.parts.body.payload
    grid = tiles.outline(payload, low.samples.shape).read[0]
    assert [x.components[0] for x in grid.outlines] == [2, 2]
    tails = 0.0
    for box in grid.boxes:
        tile = low.samples[:, box.rows, box.columns].reshape(FRAMES, -1).astype(float)
        tails += (np.linalg.svd(tile, compute_uv=False)[2:] ** 2).sum()
    assert found.parts.body.stated[0].error ** 2 <= 1.0101 * tails


def test_frames_weigh_alike_in_all_tiles(stack, small):
    weighed = Target("quality", 90, weights="noise")
    assert tiles.in_tiles(parse(encoded(stack, weighed)).body.payload)


@pytest.mark.parametrize("kind", ["float32", "colour"])
def test_floats_and_colours_come_in_tiles(kind, small):
    if kind == "colour":
        A = (samples(24, 40, 3) / 16).clip(0, 255).astype(np.uint8)
    else:
        A = (samples(24, 80)[..., 0] / 7 - 100).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiled, "LARGEST", TILE)
        found = lowrank.compress(A, stack=True, psnr=40)
    assert found.in_parts
    B = found.to_array()
    E = A.astype(float) - B
    peak = 255 if kind == "colour" else float(A.max()) - float(A.min())
    assert 10 * math.log10(peak**2 / (E**2).mean()) >= 40
    assert np.array_equal(found[4, 3:9], B[4, 3:9])
    assert np.array_equal(found[:, 20, 30], B[:, 20, 30])


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
def test_levels_come_in_tiles_for_a_quality(dtype, small):
    A = (samples(24, 80)[..., 0] - 1500).astype(dtype)
    found = lowrank.compress(A, stack=True, quality=80)
    assert found.in_parts
    assert 0 < np.linalg.norm(A - np.asarray(found, np.float64)) < np.linalg.norm(A) / 3


# -- access ----------------------------------------------------------------------------


def test_any_part_is_that_of_the_whole_from_the_tiles_that_it_needs(data, whole, monkeypatch):
    whole = whole[..., 0]
    taken = []
    real = room.synthesis

    def counted(payload, size, **rest):
        taken.append(size)
        return real(payload, size, **rest)

    monkeypatch.setattr(room, "synthesis", counted)
    opened = lowrank.open(data)
    assert np.array_equal(opened[:, 3, 60], whole[:, 3, 60])
    assert len(taken) == 1
    assert np.array_equal(opened[2:7:2, 1:20, 50:], whole[2:7:2, 1:20, 50:])
    assert len(taken) == 1
    assert np.array_equal(opened[5], whole[5])
    assert np.array_equal(opened[[4, 1], ::-3, 40], whole[[4, 1], ::-3, 40])
    assert opened[3:3].shape == (0, HEIGHT, WIDTH)
    assert len(taken) == 4
    assert np.array_equal(pickle.loads(pickle.dumps(opened))[1], whole[1])
    assert np.array_equal(
        opened.to_array(1), codec.decode(parse(data), rank=1).picture.samples[..., 0]
    )


def test_commands_take_a_stack_in_tiles(data, whole, tmp_path, cli):
    np.save(tmp_path / "a.npy", samples()[..., 0].astype(np.uint16))
    (tmp_path / "a.lrk").write_bytes(data)
    whole = whole[..., 0]
    cli("decompress", "a.lrk", "-o", "b.npy").succeeded()
    assert np.array_equal(np.load(tmp_path / "b.npy"), whole)
    cli("decompress", "a.lrk", "--frames", "2:5", "-o", "c.npy").succeeded()
    assert np.array_equal(np.load(tmp_path / "c.npy"), whole[2:5])
    cli("decompress", "a.lrk", "--pixel", "40,70", "-o", "d.csv").succeeded()
    lines = (tmp_path / "d.csv").read_text().splitlines()[1:]
    assert [int(x.split(",")[1]) for x in lines] == whole[:, 40, 70].tolist()
    cli("verify", "--decode", "a.lrk").succeeded()
    cli("report", "a.npy", "a.lrk").succeeded()


def test_a_report_in_passes_is_that_of_all_at_once(stack, data, tmp_path):
    np.save(tmp_path / "a.npy", stack.samples[..., 0])
    parts = parse(data)
    loaded = lazy.of_path(str(tmp_path / "a.npy"), Taking(stack=True), least=0)
    size = {"file": None, "file_bytes": len(data)}
    some = passes.measured(loaded, parts, memory=1 << 26, **size)
    whole = measure.measure(stack, parts, source=loaded.source, **size)
    one, other = some.channels[0], whole.channels[0]
    assert (one.k, one.certified) == (other.k, other.certified)
    for name in ("norm", "sigma_1", "spectral_error", "frobenius_error", "frobenius_bound"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-6, abs=1e-6), name
    assert some.pixels.rmse == pytest.approx(whole.pixels.rmse, rel=1e-9)
    assert some.stack.frame_psnr_db.worst_frame == whole.stack.frame_psnr_db.worst_frame
    assert passes.distances(loaded.picture, parts).psnr_db == pytest.approx(whole.pixels.psnr_db)
    there = compared.against(Loaded(stack, loaded.source), parts)
    again = compared.in_passes(loaded, parts)
    assert (again.above, there.above) == (False, False)
    assert again.factor_error == pytest.approx(there.factor_error, rel=1e-9)
    assert again.stated_error == pytest.approx(there.stated_error, rel=1e-9)


def test_what_is_coded_in_tiles_is_measured_in_passes(stack, small, tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", stack.samples[..., 0])
    monkeypatch.setattr(limits, "LARGE", 0)
    wish = tasks.Compressing(
        target=Target("quality", 90), measure=True, memory=1 << 26, taking=Taking(stack=True)
    )
    output = tmp_path / "a.lrk"
    outcome = large.compress(Job(str(tmp_path / "a.npy"), str(output)), wish)
    said = outcome.report
    assert said.file.bytes == output.stat().st_size
    E = stack.samples[..., 0].astype(float) - decoded(output.read_bytes())[..., 0]
    assert said.pixels.rmse == pytest.approx(math.sqrt((E**2).mean()))


# -- memory ----------------------------------------------------------------------------


def test_memory_is_that_of_a_tile(tmp_path, monkeypatch):
    side = 96
    one = samples(side, side)[..., 0].astype(np.uint16)

    def peak(count: int) -> int:
        np.save(tmp_path / "a.npy", np.tile(one, (1, count, 1)))
        tracemalloc.start()
        try:
            lowrank.compress(str(tmp_path / "a.npy"), stack=True, quality=50)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    monkeypatch.setattr(tiled, "LARGEST", one.size)
    peak(1)  # what is made once
    assert peak(4) - peak(2) < one.size  # of two more, half a byte for each sample


def test_what_is_mapped_is_let_go_and_nothing_is_lost(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(99999))
    for mode in ("r", "r+", "c"):
        A = np.load(tmp_path / "a.npy", mmap_mode=mode)
        if mode != "r":
            A[:9] = 7
        let_go(A[::2, np.newaxis])
        assert A.sum() == sum(range(99999)) + (0 if mode == "r" else 63 - 36)
    private = {"flags": mmap.MAP_PRIVATE} if hasattr(mmap, "MAP_PRIVATE") else {}
    B = np.frombuffer(mmap.mmap(-1, 1 << 16, **private), np.uint8)
    B[:] = 5
    let_go(B)
    assert (B == 5).all()


# -- damage ----------------------------------------------------------------------------


def grid_of(down: int, across: int, planes: int, pieces: list[bytes]) -> bytes:
    return tiles.write(down, across, planes, pieces)


def with_payload(data: bytes, payload: bytes) -> bytes:
    parts = parse(data)
    return lrk.serialize(replace(parts, body=replace(parts.body, payload=payload)))


def hostile(data: bytes) -> dict[str, bytes]:
    payload, grid = of(data)
    each = [payload[span] for span in grid.spans]
    planes = sum(x.components[0] for x in grid.outlines)
    return {
        "no rows": grid_of(0, 3, planes, each),
        "no columns": grid_of(2, 0, planes, each),
        "wider than the frame": grid_of(2, 6, planes, each),
        "higher than the frame": grid_of(5, 3, planes, each),
        "fewer planes than tiles have": grid_of(2, 3, planes - 1, each),
        "more planes than tiles have": grid_of(2, 3, planes + 1, each),
        "tiles in a tile": grid_of(2, 3, planes, [payload, *each[1:]]),
        "a tile too few": grid_of(2, 3, planes, each[:-1]),
        "a tile too many": grid_of(2, 3, planes, [*each, each[0]]),
        "an empty tile": grid_of(2, 3, planes, [b"", *each[1:]]),
        "a tile cut short": grid_of(2, 3, planes, [each[0][:-9], *each[1:]]),
        "bytes after": payload + b"\0",
        "its last byte lost": payload[:-1],
    }


def test_what_is_no_grid_is_refused(data):
    for what, payload in hostile(data).items():
        with pytest.raises(LowrankError) as caught:
            codec.decode(parse(with_payload(data, payload)))
        assert isinstance(caught.value, FormatError), what
        assert "x.lrk" in str(caught.value), what


def test_more_tiles_and_maps_than_their_bytes_can_mean_are_refused(monkeypatch):
    with pytest.raises(LimitError, match="4900 tiles"):
        tiles.outline(tiles.write(1, 1, 0, []), (8, 16 * 70, 16 * 70, 1))
    payload = tiles.write(1, 1, 4000 * 100, [b"x"] * 100)
    monkeypatch.setattr(room, "outline", lambda *_: Outline(None, (4000,), (None, 0)))
    with pytest.raises(FormatError, match="maps in"):
        tiles.outline(payload, (4000, 160, 160, 1))
    monkeypatch.setattr(tiles, "MAX_PRODUCTS", 1 << 16)
    with pytest.raises(LimitError, match="more work"):
        tiles.outline(payload, (4000, 160, 160, 1))


def test_a_tile_that_no_decoder_reads_is_not_written(monkeypatch):
    monkeypatch.setattr(tiles, "LONGEST", 100)
    assert tiles.write(1, 1, 1, [bytes(99)])
    with pytest.raises(UsageError, match="coarser step"):
        tiles.write(1, 1, 1, [bytes(100)])


def test_a_file_that_ends_early_shows_the_tiles_before_its_end(data, whole):
    _, grid = of(data)
    start = len(data) - grid.spans[-1].stop
    cut = data[: start + grid.spans[1].stop + 5]
    with pytest.raises(TruncatedError):
        parse(cut)
    found = codec.decode(parse(cut, partial=True))
    for box in grid.boxes[:2]:
        assert np.array_equal(
            found.picture.samples[:, box.rows, box.columns], whole[:, box.rows, box.columns]
        )
    assert any("decoded 2 of 4 tiles" in note for note in found.notes)
    assert np.array_equal(lowrank.open(cut, partial=True)[3], found.picture.samples[3, ..., 0])
    with pytest.raises(TruncatedError, match="after 0 of 4 tiles"):
        codec.decode(parse(data[: start + grid.spans[0].start + 1], partial=True))
