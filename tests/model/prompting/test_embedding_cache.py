"""The memory of encoded texts: counts, bounds, threads."""

import copy
import pickle
import threading
import time

import numpy as np
import pytest

from xpose.model.prompting.cache import EmbeddingCache, check_texts


def lengths(texts: list[str]) -> np.ndarray:
    return np.array([[float(len(text)), 1.0] for text in texts], np.float32)


def test_every_text_is_computed_once_and_given_in_the_order_asked():
    cache, asked = EmbeddingCache(), []

    def compute(texts):
        asked.extend(texts)
        return lengths(texts)

    assert cache.encode(["bb", "a", "bb"], compute)[:, 0].tolist() == [2, 1, 2]
    assert cache.encode(["ccc", "a"], compute)[:, 0].tolist() == [3, 1]
    assert asked == ["bb", "a", "ccc"]
    assert cache.runs == 2


def test_the_oldest_is_forgotten_first():
    cache = EmbeddingCache(capacity=2)
    cache.encode(["a", "b"], lengths)
    cache.encode(["a"], lengths)
    cache.encode(["c"], lengths)  # "b" was used longest ago
    assert len(cache) == 2
    assert cache.runs == 2
    cache.encode(["a"], lengths)
    assert cache.runs == 2
    cache.encode(["b"], lengths)
    assert cache.runs == 3


def test_more_texts_than_the_memory_holds_are_all_answered():
    cache = EmbeddingCache(capacity=3, batch=2)
    texts = [c * n for n, c in enumerate("abcdefg", start=1)]
    assert cache.encode(texts, lengths)[:, 0].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert cache.runs == 4
    assert len(cache) == 3


def test_the_answer_is_the_callers_own():
    cache = EmbeddingCache()
    cache.encode(["a"], lengths).fill(0)
    assert cache.encode(["a"], lengths)[0, 0] == 1


def test_threads_that_want_the_same_text_share_one_run():
    cache, barrier, answers = EmbeddingCache(), threading.Barrier(4), []

    def slow(texts):
        time.sleep(0.05)
        return lengths(texts)

    def ask(own: str) -> None:
        barrier.wait()
        answers.append((own, cache.encode(["shared", own], slow)[:, 0].tolist()))

    threads = [threading.Thread(target=ask, args=("x" * n,)) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [("x" * n, [6, n]) for n in range(1, 5)]
    assert cache.runs == 4  # the first thread also computes "shared"; no thread computes it again


def test_what_was_computed_with_old_weights_is_not_remembered():
    cache = EmbeddingCache()

    def change_weights_meanwhile(texts):
        cache.clear()
        return lengths(texts)

    cache.encode(["a"], change_weights_meanwhile)
    assert len(cache) == 0


@pytest.mark.parametrize("again", [copy.deepcopy, lambda cache: pickle.loads(pickle.dumps(cache))])
def test_a_copy_starts_empty(again):
    cache = EmbeddingCache(capacity=5)
    cache.encode(["a"], lengths)
    fresh = again(cache)
    assert (fresh.capacity, fresh.runs, len(fresh)) == (5, 0, 0)


def test_a_single_text_is_refused_because_its_letters_would_be_taken_for_texts():
    with pytest.raises(TypeError, match=r"single text 'horse'.*\['horse'\]"):
        check_texts("horse")
    with pytest.raises(TypeError, match="Got 3 among"):
        check_texts(["a", 3])
    assert check_texts(("a", "\ud800")) == ["a", "\ufffd"]
