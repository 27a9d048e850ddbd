"""Reading frames: the right ones, once, in order, upright and with their own times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from tests.video.clips import HEIGHT, WIDTH, damaged, make_clip, number_of, numbered

from xpose.errors import ConfigError, ImageError, MissingExtraError
from xpose.video import sources
from xpose.video.sources import Frame, SkippedFrames, open_source

av = pytest.importorskip("av", reason="videos need the extra video")
FRAMES = 30


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", FRAMES)


def frames_of(*arguments: Any, **options: Any) -> list[Frame]:
    return [item for item in open_source(*arguments, **options).frames() if isinstance(item, Frame)]


def test_every_frame_comes_once_in_order(clip: Path) -> None:
    source = open_source(clip)
    frames = [*source.frames()]
    assert (source.name, source.rate, source.expected, source.live) == ("clip", 25.0, FRAMES, False)
    assert [frame.number for frame in frames] == [number_of(frame.pixels) for frame in frames] == [*range(FRAMES)]
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(FRAMES) / 25)
    assert np.abs(frames[7].pixels.astype(int) - numbered(7)).mean() < 6


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_reading_goes_on_after_any_frame(tmp_path: Path, exact: bool, codec: str) -> None:
    source = open_source(make_clip(tmp_path / "clip.mp4", FRAMES, codec=codec))
    frames = [*source.frames()]
    for number in (0, 4, 9, 10, 21, FRAMES - 2, FRAMES - 1):
        rest = [*source.frames(frames[number], exact=exact)]
        assert [frame.number for frame in rest] == [*range(number + 1, FRAMES)]
        for frame in rest:
            assert frame.time == frames[frame.number].time
            assert (frame.pixels == frames[frame.number].pixels).all()


def test_start_and_end_keep_numbers_and_times(clip: Path) -> None:
    part = frames_of(clip, start=0.42, end=0.8)
    assert [frame.number for frame in part] == [number_of(frame.pixels) for frame in part] == [*range(11, 20)]
    assert part[0].time == pytest.approx(0.44)
    source = open_source(clip, start=0.42, end=0.8)
    assert source.expected in (9, 10)
    assert [frame.number for frame in source.frames(part[3])] == [*range(15, 20)]
    with pytest.raises(ConfigError, match=r"start is 9 s, but .* lasts 1\.20 s"):
        open_source(clip, start=9)
    for wrong in ({"start": -1.0}, {"start": 2.0, "end": 1.0}, {"fps": 0.0}):
        with pytest.raises(ConfigError):
            open_source(clip, **wrong)


def test_variable_frame_rates_keep_the_presentation_times(tmp_path: Path) -> None:
    times = np.cumsum([0.0, *np.random.default_rng(0).integers(10, 400, FRAMES - 1) / 1000])
    path = make_clip(tmp_path / "vfr.mkv", FRAMES, times=times)
    frames = frames_of(path)
    assert [number_of(frame.pixels) for frame in frames] == [*range(FRAMES)]
    np.testing.assert_allclose([frame.time for frame in frames], times, atol=0.0011)
    assert [frame.number for frame in open_source(path).frames(frames[17])] == [*range(18, FRAMES)]


@pytest.mark.parametrize("rotation", [0, 90, -90, 180])
def test_rotation_flags_are_applied_as_in_opencv(tmp_path: Path, rotation: int) -> None:
    path = make_clip(tmp_path / "turned.mp4", 3, rotation=rotation)
    frames = frames_of(path)
    upright = (HEIGHT, WIDTH) if rotation in (0, 180) else (WIDTH, HEIGHT)
    assert {frame.pixels.shape for frame in frames} == {(*upright, 3)}
    video = cv2.VideoCapture(str(path))
    for frame in frames:
        _, expected = video.read()
        assert np.abs(frame.pixels.astype(int) - expected[..., ::-1]).mean() < 6


def test_damaged_stretches_are_skipped_and_the_rest_keeps_its_numbers(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 32, 64, 3), dtype=np.uint8)
    path = make_clip(tmp_path / "noisy.mp4", 60, pictures=[*noise])
    whole = frames_of(path)
    source = open_source(damaged(path, tmp_path / "damaged.mp4", length=4000))
    items = [*source.frames()]
    assert [item.number for item in items] == [*range(60)]
    skipped = [item for item in items if isinstance(item, SkippedFrames)]
    assert 0 < len(skipped) < 30
    assert {item.reason for item in skipped} == {"damaged"}
    for item in items:
        assert (item.time if isinstance(item, Frame) else item.start) == whole[item.number].time
    assert (items[-1].pixels == whole[-1].pixels).all()
    anchor = next(item for item in items[40:] if isinstance(item, Frame))
    rest = [*source.frames(anchor, exact=True)]
    assert [item.number for item in rest] == [*range(anchor.number + 1, 60)]


def test_a_video_that_was_cut_off_gives_the_frames_before(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mkv", FRAMES)
    content = path.read_bytes()
    path.write_bytes(content[: int(0.6 * len(content))])
    frames = frames_of(path)
    assert 5 < len(frames) < FRAMES
    assert [frame.number for frame in frames] == [*range(len(frames))]
    assert [number_of(frame.pixels) for frame in frames] == [round(25 * frame.time) for frame in frames]


def test_pictures_are_frames(tmp_path: Path) -> None:
    for number in range(12):
        Image.fromarray(numbered(number)).save(tmp_path / f"frame{number}.png")  # 10 comes after 9
    (tmp_path / "frame3.png").write_bytes(b"no picture")
    for source in (tmp_path, f"{tmp_path}/*.png", str(tmp_path)):
        opened = open_source(source, fps=10, start=0.2, end=1.1)
        items = [*opened.frames()]
        assert opened.expected == 9
        assert [item.number for item in items] == [*range(2, 11)]
        assert [item.number for item in items if isinstance(item, SkippedFrames)] == [3]
        assert all(number_of(item.pixels) == item.number for item in items if isinstance(item, Frame))
        assert items[0].time == pytest.approx(0.2)
    frames = frames_of((numbered(number) for number in range(3)), fps=5)
    assert [(frame.number, frame.time) for frame in frames] == [(0, 0.0), (1, 0.2), (2, 0.4)]
    pages = [Image.fromarray(numbered(number)) for number in range(3)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    assert [number_of(frame.pixels) for frame in frames_of(tmp_path / "stack.tif")] == [0, 1, 2]


def test_animated_pictures_have_their_own_times(tmp_path: Path) -> None:
    pages = [Image.fromarray(numbered(number)) for number in range(4)]
    pages[0].save(tmp_path / "clip.gif", save_all=True, append_images=pages[1:], duration=[100, 300, 100, 100])
    frames = frames_of(tmp_path / "clip.gif")
    assert [number_of(frame.pixels) for frame in frames] == [0, 1, 2, 3]
    assert [frame.time for frame in frames] == pytest.approx([0.0, 0.1, 0.4, 0.5])


def test_cameras_have_numbers(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def camera(number: int) -> Any:
        asked.append(number)
        return av.open(str(clip))

    monkeypatch.setattr(sources, "_camera", camera)
    source = open_source("0")
    assert (source.name, source.live, source.expected) == ("camera-0", True, None)
    assert [frame.number for frame in source.frames()] == [*range(FRAMES)]
    assert set(asked) == {0}


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("missing.mp4", None, "There is no video"),
        ("text.mp4", b"no video at all", "cannot be opened"),
        ("empty.mp4", b"", "cannot be opened"),
        ("concat.mp4", b"ffconcat version 1.0\nfile /etc/passwd\n", "cannot be opened"),
        ("list.m3u8", b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n", "cannot be opened|contains no video"),
    ],
)
def test_what_is_no_video_is_refused(tmp_path: Path, name: str, content: bytes | None, expected: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=expected):
        open_source(tmp_path / name)


def test_no_camera_no_pictures_and_no_package_are_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImageError, match="camera 99 cannot be opened"):
        open_source(99)
    with pytest.raises(ImageError, match="contains no pictures"):
        open_source(tmp_path)
    with pytest.raises(ImageError, match="No picture matches"):
        open_source(tmp_path / "*.png")
    (tmp_path / "a.mp4").write_bytes(b"x")
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"xpose\[video\]"):
        open_source(tmp_path / "a.mp4")


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.avi"])
def test_no_damage_leads_to_wrong_order_or_other_errors(tmp_path: Path, name: str) -> None:
    content = make_clip(tmp_path / name, FRAMES, codec="mpeg4").read_bytes()
    for seed in range(20):
        random = np.random.default_rng(seed)
        broken = bytearray(content)
        for place in random.integers(0, len(content), random.choice([1, 10, 200])):
            broken[place] = random.integers(256)
        (tmp_path / name).write_bytes(broken[: random.integers(len(content) // 2, len(content))])
        try:
            items = [*open_source(tmp_path / name).frames()]
        except ImageError:
            continue
        numbers = [item.number for item in items]
        times = [item.time for item in items if isinstance(item, Frame)]
        assert numbers == sorted(set(numbers))
        assert times == sorted(set(times))
        if len(items) > 9 and isinstance(items[5], Frame):
            rest = [item.number for item in open_source(tmp_path / name).frames(items[5], exact=True)]
            assert rest == numbers[6:]
