import numpy as np
import pytest

from medpipe.phantoms.drawing import apportion, ellipse, noise, soft, to_uint8


def test_noise_is_standard_and_as_coarse_as_asked():
    fields = [noise(np.random.default_rng(0), (96, 128), cells) for cells in (4, 32)]
    steps = []
    for field in fields:
        assert field.shape == (96, 128)
        assert field.dtype == np.float32
        assert field.mean() == pytest.approx(0, abs=1e-5)
        assert field.std() == pytest.approx(1, abs=1e-5)
        steps.append(np.abs(np.diff(field, axis=0)).mean())
    assert steps[1] > 4 * steps[0]


def test_soft_is_half_on_the_edge_and_ellipse_is_one_on_its_border():
    assert soft(np.float32([-9, 0, 9]), 1).tolist() == pytest.approx([0, 0.5, 1], abs=1e-6)
    y, x = np.float32([3, 0, 2]), np.float32([0, 2, 3])
    assert ellipse(y, x, (0, 0), (3, 2)).tolist() == pytest.approx([1, 1, np.hypot(2 / 3, 3 / 2)])
    # A quarter turn swaps the radii.
    assert ellipse(np.float32([0]), np.float32([3]), (0, 0), (3, 2), np.pi / 2)[0] == pytest.approx(1)


def test_to_uint8_cuts_off():
    assert to_uint8(np.array([-1, 0, 0.5, 1, 2])).tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize("total", [0, 9, 40, 420])
def test_apportion_adds_up_and_holds_the_floor(total):
    counts = apportion({"a": 0.9, "b": 0.07, "c": 0.03}, total, at_least=12)
    assert sum(counts.values()) == total
    assert min(counts.values()) >= min(12, total // 6)
    assert counts["a"] == max(counts.values())
