"""What a request may contain, and how requests are refused."""

from __future__ import annotations

from dataclasses import dataclass

from xpose.errors import counted


@dataclass(frozen=True)
class ServerLimits:
    """The limits of the server.

    Attributes:
        body_bytes: in the body of a request.
        held_bytes: in the bodies of all requests together, which are kept in memory.
        pixels: in each picture; checked before it is decoded.
        pictures: to search in a request.
        classes: prompts for one picture.
        words: names of objects and keypoints in all prompts of a request.
        points: keypoints that the prompts of one picture detect.
        json_values: commas and colons in JSON, which are counted before it is read.
        json_depth: nested lists and objects in JSON.
        poses: the largest `max_instances`.
        banks: prompt banks that are kept; beyond this limit, the least recently used one is forgotten.
        queue: pictures of all requests that are being read, wait, or are in the network.
        deadline: seconds from the first byte of a body to the answer; a request may ask for less.
        receive_seconds: from the first byte to the last one of the header, and of the body.
    """

    body_bytes: int = 32_000_000
    held_bytes: int = 512_000_000
    pixels: int = 40_000_000
    pictures: int = 32
    classes: int = 20
    words: int = 2000
    points: int = 600
    json_values: int = 100_000
    json_depth: int = 12
    poses: int = 900
    banks: int = 100
    queue: int = 128
    deadline: float = 30.0
    receive_seconds: float = 20.0


class RefusalError(Exception):
    """A request that is answered with an error: its HTTP status, one sentence, and further headers."""

    def __init__(self, status: int, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers


def check_at_most(number: int, most: int, noun: str, plural: str | None = None, status: int = 422) -> None:
    """Refuse a request that has more of something than is allowed."""
    if number > most:
        raise RefusalError(status, f"The request has {counted(number, noun, plural)}; at most {most:,} are allowed.")
