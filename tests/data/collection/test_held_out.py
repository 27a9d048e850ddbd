import hashlib

import pytest

from xpose.data.collection.held_out import is_held_out
from xpose.errors import ConfigError


def test_the_rule_is_the_sha256_of_set_and_file_as_a_share_of_one():
    for number in range(300):
        digest = hashlib.sha256(f"birds/images/{number}.jpg".encode()).hexdigest()
        assert is_held_out("birds", f"images/{number}.jpg") == (int(digest[:16], 16) / 16**16 < 0.1)


def test_about_a_tenth_is_held_out_and_a_larger_share_keeps_those():
    names = [f"images/{number}.jpg" for number in range(4000)]
    tenth = {name for name in names if is_held_out("birds", name)}
    third = {name for name in names if is_held_out("birds", name, 1 / 3)}
    assert 330 <= len(tenth) <= 470
    assert tenth < third
    assert {name for name in names if is_held_out("fish", name)} != tenth


@pytest.mark.parametrize(("share", "expected"), [(0.0, False), (1.0, True)])
def test_nothing_and_everything(share, expected):
    assert {is_held_out("birds", str(number), share) for number in range(50)} == {expected}


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ConfigError, match="held-out share"):
        is_held_out("birds", "a.jpg", share)
