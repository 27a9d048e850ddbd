"""Everything people can get wrong, in one table: the message says what it is, the exit code is right, no traceback."""

from __future__ import annotations

import os
import pickle
import shlex
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import make_picture, write_json

Run = Callable[..., tuple[int, str, str]]


class _Malice:
    """A pickle that would make a folder if it were obeyed."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("obeyed",)


def _claiming(width: int, height: int) -> bytes:
    """A few bytes of PNG that claim a picture of this size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.fixture
def mess(here: Path) -> Path:
    """A folder with one good picture and much that is wrong."""
    whole = make_picture(here / "ok.png").read_bytes()
    (here / "cut.png").write_bytes(whole[: len(whole) // 2])
    (here / "empty.png").write_bytes(b"")
    (here / "text.png").write_text("Dear diary")
    (here / "huge.png").write_bytes(_claiming(60_000, 60_000))
    (here / "clip.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    (here / "nothing").mkdir()
    os.mkfifo(here / "pipe.png")
    (here / "broken.toml").write_text("name = [")
    (here / "weights.pth").write_text("not weights")
    (here / "evil.pth").write_bytes(pickle.dumps(_Malice(), protocol=2))
    (here / "lfs.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    (here / "halfway").mkdir()
    (here / "halfway" / "config.json").write_text("{}")
    write_json(here / "good.json", {"tip": [20, 20], "base": [40, 30]})
    write_json(here / "outside.json", {"tip": [20, 2000]})
    write_json(here / "word.json", {"tip": "top left"})
    write_json(here / "infinite.json", {"tip": [float("inf"), 3]})
    write_json(here / "box.json", {"keypoints": {"tip": [1, 2]}, "box": [30, 30, 10, 10]})
    write_json(here / "edge.json", {"keypoints": {"tip": [20, 20], "base": [40, 30]}, "edges": [["tip", "bas"]]})
    write_json(here / "list.json", [[20, 20], [40, 30]])
    write_json(here / "none.json", {"keypoints": {}})
    write_json(here / "named.json", {"name": "dog", "keypoints": {"rudder": [20, 20]}})
    for name in ("ok", "other"):
        write_json(here / f"{name}.json", [{"image_id": name, "category_id": 1, "bbox": [5, 5, 20, 20]}])
    (here / "no.json").write_text("{tip: 3")
    (here / "deep.json").write_text("[" * 100_000)
    (here / "bytes.json").write_bytes(b"\xff\xfe\x00")
    return here


SHOWN = "detect ok.png -p W --like ok.png --points"
SIX = " ".join(["--like ok.png --points good.json"] * 6)
LONG = "x" * 400

BAD = [
    # Pictures
    ("a picture that is not there", "detect gone.png -t dog -p W", 1, 'There is no picture "gone.png"'),
    ("a misspelt picture", "detect okk.png -t dog -p W", 1, 'Did you mean "ok.png"?'),
    ("a folder that is not there", "detect gone/a.png -t dog -p W", 1, "no such folder"),
    ("an empty file", "detect empty.png -t dog -p W", 1, "not a picture that can be read"),
    ("a text", "detect text.png -t dog -p W", 1, "not a picture that can be read"),
    ("a file cut short", "detect cut.png -t dog -p W", 1, "damaged or cut"),
    ("a decompression bomb", "detect huge.png -t dog -p W", 1, "pixels; at most 200,000,000 are read"),
    ("a video", "detect clip.mp4 -t dog -p W", 1, "xpose video clip.mp4"),
    ("an address", "detect https://example.org/a.jpg -t dog -p W", 1, "xpose downloads no pictures"),
    ("a folder without pictures", "detect nothing -t dog -p W", 1, "contains no pictures"),
    ("a pattern that fits nothing", "detect '*.webp' -t dog -p W", 1, "No picture matches the pattern"),
    ("a pipe", "detect pipe.png -t dog -p W", 1, "a device or a pipe"),
    ("an empty name", "detect '' -t dog -p W", 1, "The name is empty"),
    ("a name longer than any file's", f"detect {LONG}.png -t dog -p W", 1, "not a usable path"),
    ("no picture", "detect -t dog -p W", 2, "No picture was given"),
    # Words
    ("nothing to look for", "detect ok.png -p W", 1, "No prompt was given"),
    ("an empty word", "detect ok.png -t dog,,cat -p W", 1, "contains an empty name"),
    ("only blanks", "detect ok.png -t '  ' -p W", 1, "contains an empty name"),
    ("a misspelt object", "detect ok.png -t hrose -p W", 1, 'Unknown object "hrose". Did you mean "horse"?'),
    ("an object without keypoints", "detect ok.png -t truck -p W", 1, "It has no default keypoints: name them"),
    ("a part that the object lacks", "detect ok.png -t dog --part wing -p W", 1, 'Unknown part of "dog": "wing".'),
    ("a part of nothing", "detect ok.png --part hand --keypoints tip -p W", 1, 'The part "hand" has no object'),
    ("an object twice", "detect ok.png -t dog,dog -p W", 1, '"dog" was given more than once'),
    ("a word without end", f"detect ok.png -t {LONG} -p W", 1, "Names have at most 300"),
    ("more words than the encoder reads", f"detect ok.png -t '{'qzx ' * 70}' --keypoints tip -p W", 1, "tokens"),
    # Where to look
    ("a region of words", "detect ok.png -t dog --region a,b,c,d -p W", 2, "'a,b,c,d' is not X,Y,WIDTH,HEIGHT"),
    ("three numbers", "count ok.png -t dog --region 1,2,3 -p W", 2, "is not X,Y,WIDTH,HEIGHT"),
    ("a region without area", "detect ok.png -t dog --region 1,2,0,3 -p W", 1, "a size above 0"),
    ("a region beyond", "detect ok.png -t dog --region 9,9,90,9 -p W", 1, "beyond the picture of 64 x 48 pixels"),
    ("boxes that are not there", "detect ok.png -t dog --boxes-from gone.json -p W", 1, '"gone.json" cannot be read'),
    ("boxes that are no JSON", "detect ok.png -t dog --boxes-from no.json -p W", 1, '"no.json" is not JSON'),
    ("boxes nested without end", "detect ok.png -t dog --boxes-from deep.json -p W", 1, "is not JSON"),
    ("boxes that are points", "detect ok.png -t dog --boxes-from good.json -p W", 1, "It must be COCO annotations"),
    ("boxes that are a list", "detect ok.png -t dog --boxes-from list.json -p W", 1, "It must be COCO annotations"),
    ("boxes of one picture", "detect ok.png -t dog --boxes-from other.json -p W", 1, "boxes for none of the pictures"),
    (
        "boxes and a choice",
        "detect ok.png -t dog --boxes-from ok.json --best -p W",
        2,
        "--best cannot be used with it",
    ),
    # Keypoints
    ("a misspelt skeleton", "detect ok.png -t face -k 68_face_point -p W", 1, 'Did you mean "68_face_points"'),
    (
        "fewer skeletons than objects",
        "detect ok.png -t a,b -k face -p W",
        1,
        "Got 2 object(s) (a, b) and 1 skeleton(s)",
    ),
    ("more skeletons than objects", "detect ok.png -t a -k face,hand -p W", 1, "the counts must be equal"),
    ("keypoints of no object", "detect ok.png -k face -p W", 1, "Each -k belongs to a -t"),
    ("a skeleton file with a fault", "detect ok.png -t dog -k broken.toml -p W", 1, '"broken.toml" is not TOML'),
    ("a skeleton file that is not there", "detect ok.png -t dog -k my.toml -p W", 1, "Cannot read the skeleton file"),
    (
        "a misspelt keypoint",
        "detect ok.png -t person -k person --keypoints 'left eyee' -p W",
        1,
        'Did you mean "left eye"',
    ),
    ("a keypoint twice", "detect ok.png -t dog --keypoints nose,nose -p W", 1, '"nose" is named more than once'),
    # Examples
    ("an example without points", "detect ok.png --like ok.png -p W", 1, "Got 1 example picture(s) (--like) and 0"),
    ("six examples", f"detect ok.png {SIX} -p W", 1, "At most 5 are used"),
    ("points that are not there", f"{SHOWN} gone.json", 1, '"gone.json" cannot be read'),
    ("points that are no JSON", f"{SHOWN} no.json", 1, "is not valid JSON"),
    ("points nested without end", f"{SHOWN} deep.json", 1, "is not valid JSON"),
    ("points in no encoding", f"{SHOWN} bytes.json", 1, "is not valid JSON"),
    ("no points at all", f"{SHOWN} none.json", 1, "has no points"),
    ("a point in words", f"{SHOWN} word.json", 1, 'The point "tip" is'),
    ("a point at infinity", f"{SHOWN} infinite.json", 1, 'The point "tip" is'),
    ("a point outside the picture", f"{SHOWN} outside.json", 1, "outside the picture of 64 x 48 pixels"),
    ("a box the wrong way round", f"{SHOWN} box.json", 1, "x1 < x2"),
    ("an edge to no point", f"{SHOWN} edge.json", 1, 'Did you mean "base"'),
    ("an example picture that is not there", "detect ok.png --like gone.png --points good.json -p W", 1, "gone.png"),
    ("an example picture that is a text", "detect ok.png --like text.png --points good.json -p W", 1, "text.png"),
    ("an example of one of two objects", f"{SHOWN} good.json -t a,b", 1, "has no name, and there are several objects"),
    ("an example of other points", f"{SHOWN} named.json -t dog -k animal", 1, 'has the point "rudder"'),
    ("words for points without names", f"{SHOWN} list.json -t dog", 1, "have no names"),
    # Prompt banks
    ("a bank that is not there", "detect ok.png --bank gone.safetensors -p W", 1, "There is no prompt bank"),
    ("a bank that is none", "detect ok.png --bank weights.pth -p W", 1, "cannot be read as a prompt bank"),
    ("a weight file as a bank", "prompt show W/model.safetensors", 1, "another kind of safetensors file"),
    ("a bank with another ending", "prompt save birds.pt -t wren -p W", 1, "must end in .safetensors"),
    ("a bank that is there already", "prompt save lfs.safetensors -t wren -p W", 1, "add --overwrite"),
    # Weights, devices, settings
    ("weights that are not there", "detect ok.png -t dog -p gone.pth", 1, 'There is no file "gone.pth"'),
    ("a picture as weights", "detect ok.png -t dog -p ok.png", 1, '"ok.png" is a picture. Weights are'),
    ("weights of no known name", "detect ok.png -t dog -p xpose-giant", 1, "There are no weights"),
    ("weights that are a text", "detect ok.png -t dog -p weights.pth", 1, '"weights.pth" was not opened'),
    ("weights that would run code", "detect ok.png -t dog -p evil.pth", 1, "was not opened"),
    ("weights that git has not fetched", "detect ok.png -t dog -p lfs.safetensors", 1, "git lfs pull"),
    ("half a weight folder", "detect ok.png -t dog -p halfway", 1, "has no model.safetensors"),
    ("a device that is not there", "detect ok.png -t dog -p W --device cuda:77", 1, 'The device "cuda:77"'),
    ("a device of no known kind", "detect ok.png -t dog -p W --device abacus", 1, 'The device "abacus"'),
    ("a type that is none", "detect ok.png -t dog -p W --dtype float8", 1, 'dtype is "float8"'),
    ("settings of no known name", "detect ok.png -t dog -p W -c thesis.py", 1, "selects no known network"),
    (
        "settings of another network",
        "detect ok.png -t dog -p W -c UniPose_SwinT.py",
        1,
        "selects the network xpose-swin-t",
    ),
    # Options
    ("a threshold over 1", "detect ok.png -t dog -p W --threshold 2", 2, "--threshold"),
    ("a threshold in words", "detect ok.png -t dog -p W --threshold high", 2, "--threshold"),
    ("a threshold that is no number", "detect ok.png -t dog -p W --threshold nan", 2, "--threshold"),
    ("an overlap below 0", "detect ok.png -t dog -p W --nms -1", 2, "--nms"),
    ("no instances", "detect ok.png -t dog -p W --max-instances 0", 2, "--max-instances"),
    ("an option that is none", "detect ok.png -t dog --treshold 0.3", 2, "No such option"),
    ("a file for a folder", "detect ok.png -t dog -p W -o text.png", 1, '"text.png" is a file'),
    ("a folder in a file", "detect ok.png -t dog -p W -o text.png/out", 1, '/text.png" is a file'),
    ("two ways to print", "count ok.png -t dog -p W --json --csv", 1, "Leave one out"),
]


def test_an_installation_without_weights_says_how_to_get_some(
    mess: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xpose.model.checkpoints.known.bundled_weights", dict)
    ended, out, err = run("detect", "ok.png", "-t", "dog")
    assert (ended, out) == (1, "")
    assert "xpose models" in " ".join(err.split())


@pytest.mark.parametrize(("why", "command", "code", "expected"), BAD, ids=[row[0] for row in BAD])
def test_what_is_wrong_is_said(
    mess: Path, run: Run, weights: str, why: str, command: str, code: int, expected: str
) -> None:
    words = [word.replace("W/", f"{weights}/") if word != "W" else weights for word in shlex.split(command)]
    before = sorted(path.name for path in mess.iterdir())
    ended, out, err = run(*words)
    assert expected in " ".join(err.replace("│", " ").split()), err
    assert ended == code
    assert out == ""
    assert sorted(path.name for path in mess.iterdir()) == before  # nothing made, nothing obeyed
