import hashlib
import os
import pickle

import pytest
import torch
from tests.cli.conftest import full_disk
from tests.model.prompting.conftest import tiny_shapes

from xpose import cli
from xpose.cli.convert import FILES
from xpose.model.checkpoints.pretrained import from_pretrained


@pytest.fixture(scope="module")
def halved(official, tmp_path_factory):
    """The size of weights with 16-bit numbers, and their folder."""
    out = tmp_path_factory.mktemp("converted") / "weights" / "swin-t"
    assert cli.main(["convert", str(official), str(out), "--half"]) == 0
    return (out / "model.safetensors").stat().st_size, out


@pytest.fixture(scope="module")
def converted(official, halved):
    """The folder with weights that have replaced the others."""
    size, out = halved
    assert cli.main(["convert", str(official), str(out)]) == 1
    assert (out / "model.safetensors").stat().st_size == size
    assert cli.main(["convert", str(official), str(out), "--overwrite"]) == 0
    return out


def test_the_folder_holds_the_same_network(official, converted):
    assert {file.name for file in converted.iterdir()} == FILES
    model, encoders, *_ = from_pretrained(converted)
    expected, expected_encoders, *_ = from_pretrained(official)
    assert encoders.keys() == expected_encoders.keys() == tiny_shapes().keys() - {"clip_model.logit_scale"}
    for mine, theirs in ((model.state_dict(), expected.state_dict()), (encoders, expected_encoders)):
        for name, tensor in theirs.items():
            assert torch.equal(mine[name], tensor), name


def test_the_card_says_where_the_weights_come_from(official, converted):
    card = (converted / "README.md").read_text("utf-8")
    assert official.name in card
    assert hashlib.sha256(official.read_bytes()).hexdigest() in card
    assert "non-commercial research only" in card


def test_nothing_else_is_left_behind(converted):
    assert [entry.name for entry in converted.parent.iterdir()] == ["swin-t"]


def test_half_halves(halved, converted):
    assert halved[0] == pytest.approx((converted / "model.safetensors").stat().st_size / 2, rel=0.01)


class Malice:
    """A pickle that would make a file if it were obeyed."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_malicious_pickle_is_refused_and_not_obeyed(tmp_path, capsys):
    trap, out = tmp_path / "trap", tmp_path / "out"
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"model": Malice(trap)}, protocol=2))
    assert cli.main(["convert", str(tmp_path / "evil.pth"), str(out)]) == 1
    assert not trap.exists()
    assert not out.exists()
    assert "evil.pth" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("why", "content", "expected"),
    [
        ("not there", None, 'There is no file "'),
        ("empty", b"", "cannot be read as a weight file"),
        ("text", b"hello, I am no checkpoint", "cannot be read as a weight file"),
        ("a pointer of Git LFS", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        ("another network", {"model": {"conv1.weight": torch.zeros(2)}}, "does not fit xpose-swin-t"),
        ("no tensors inside", {"epoch": 3}, "holds no state dict of tensors"),
    ],
)
def test_what_is_no_checkpoint_is_explained_and_leaves_nothing(tmp_path, capsys, why, content, expected):
    file, out = tmp_path / "weights.pth", tmp_path / "out"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        torch.save(content, file)
    assert cli.main(["convert", str(file), str(out)]) == 1, why
    err = capsys.readouterr().err
    assert expected in err, why
    assert "Traceback" not in err
    assert sorted(entry.name for entry in tmp_path.iterdir()) == (["weights.pth"] if file.exists() else [])


@pytest.mark.parametrize("flags", [[], ["--overwrite"]])
def test_a_folder_with_other_files_is_never_replaced(tmp_path, capsys, flags):
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / "config.json").write_text("{}")
    assert cli.main(["convert", "missing.pth", str(tmp_path), *flags]) == 1
    assert "contains other files" in capsys.readouterr().err
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_the_input_is_never_replaced(tmp_path, capsys):
    source = tmp_path / "model.safetensors"
    source.write_bytes(b"the only copy")
    assert cli.main(["convert", str(source), str(tmp_path), "--overwrite"]) == 1
    assert source.read_bytes() == b"the only copy"


def test_a_file_in_the_way_is_named(tmp_path, capsys):
    (tmp_path / "out").write_text("a file")
    assert cli.main(["convert", "missing.pth", str(tmp_path / "out"), "--overwrite"]) == 1
    assert "is a file" in capsys.readouterr().err


def test_a_full_disk_leaves_the_old_weights_and_no_traces(official, tmp_path, capsys):
    out = tmp_path / "weights"
    out.mkdir()
    (out / "model.safetensors").write_bytes(b"old")
    network = {name: tensor for name, tensor in torch.load(official)["model"].items() if name not in tiny_shapes()}
    torch.save({"model": network}, tmp_path / "network.pth")
    with full_disk(10_000_000):
        assert cli.main(["convert", str(tmp_path / "network.pth"), str(out), "--overwrite"]) == 1
    err = capsys.readouterr().err
    assert "the file has no prompt encoders" in err
    assert "Traceback" not in err
    assert "could not be written" in err
    assert (out / "model.safetensors").read_bytes() == b"old"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["network.pth", "weights"]
