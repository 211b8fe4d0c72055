"""What pixels say, in closed form."""

import numpy as np
import pandas as pd
import pytest

from medpipe.exploration import pixels


def constant(*values, size=(4, 6)):
    return np.broadcast_to(np.array(values, np.uint8), (*size, 3))


def test_channel_statistics_of_constant_images():
    images = [
        ("cyst", constant(0, 51, 255), None),
        ("cyst", constant(255, 51, 255), None),
        ("tumour", constant(102, 102, 102, size=(40, 60)), None),  # larger, and counts as much
    ]
    seen = pixels.look(images, 0)
    found = pixels.channel_facts(seen, ("tumour", "cyst", "none seen"))
    assert found["images"] == 3
    assert found["grey"] == 1
    assert found["mean"] == pytest.approx([(0 + 1 + 0.4) / 3, (0.2 + 0.2 + 0.4) / 3, (1 + 1 + 0.4) / 3])
    assert found["deviation"] == pytest.approx([np.std([0, 1, 0.4]), np.std([0.2, 0.2, 0.4]), np.std([1, 1, 0.4])])
    assert list(found["classes"]) == ["tumour", "cyst"]
    assert found["classes"]["cyst"]["mean"] == pytest.approx([0.5, 0.2, 1])
    assert found["classes"]["cyst"]["deviation"] == pytest.approx([0.5, 0, 0], abs=1e-7)
    assert found["classes"]["tumour"]["deviation"] == pytest.approx([0, 0, 0], abs=1e-7)
    assert seen.histogram.sum(axis=1).tolist() == [24 + 24 + 2400] * 3
    assert seen.histogram[0, [0, -1, 102 // 4]].tolist() == [24, 24, 2400]
    assert pixels.mask_facts(seen, ()) is None


def test_deviation_is_over_pixels():
    image = np.zeros((2, 2, 3), np.uint8)
    image[0] = 255
    found = pixels.channel_facts(pixels.look([("cyst", image, None)], 0), ("cyst",))
    assert found["mean"] == found["deviation"] == pytest.approx([0.5] * 3)


def test_the_share_of_an_image_that_its_mask_marks():
    masks = [np.zeros((10, 10), np.uint8) for _ in range(4)]
    masks[1][0, 0], masks[2][0], masks[3][:3] = 1, 1, 1  # 1, 10 and 30 of 100 pixels
    found = pixels.mask_facts(
        pixels.look([("tumour", constant(9, 9, 9, size=(10, 10)), mask) for mask in masks], 1), ["tumour"]
    )
    assert found is not None
    assert (found["images"], found["marked"]) == (4, 3)
    assert found["area"] == pytest.approx({"min": 0.01, "q1": 0.055, "median": 0.1, "q3": 0.2, "max": 0.3})
    nothing = pixels.mask_facts(pixels.look([("healthy", constant(9, 9, 9, size=(10, 10)), masks[0])], 1), ["tumour"])
    assert nothing == {
        "images": 1,
        "marked": 0,
        "area": dict.fromkeys(("min", "q1", "median", "q3", "max")),
        "classes": {},
    }


def test_the_share_of_each_class_that_masks_mark():
    masks = [np.zeros((10, 10), np.uint8) for _ in range(3)]
    masks[0][:2], masks[1][:2], masks[1][5:] = 1, 1, 2
    seen = pixels.look([("tumour", constant(9, 9, 9, size=(10, 10)), mask) for mask in masks], 2)
    found = pixels.mask_facts(seen, ["oedema", "core"])
    assert found is not None
    assert (found["marked"], found["area"]["max"]) == (2, pytest.approx(0.7))
    assert {name: (of["marked"], of["area"]["median"]) for name, of in found["classes"].items()} == {
        "oedema": (2, pytest.approx(0.2)),
        "core": (1, pytest.approx(0.5)),
    }


def test_a_sample_has_each_class_by_its_share_and_examples_are_of_different_groups():
    train = pd.DataFrame({"label": ["cyst"] * 90 + ["tumour"] * 10, "group": [f"p{i // 3}" for i in range(100)]})
    assert pixels.sample(train, 20, 1)["label"].value_counts().to_dict() == {"cyst": 18, "tumour": 2}
    assert len(pixels.sample(train, 500, 1)) == 100
    found = pixels.examples(train, ("tumour", "cyst", "none seen"), 3, 1)
    assert found["label"].tolist() == ["tumour"] * 3 + ["cyst"] * 3
    assert found.groupby("label")["group"].nunique().tolist() == [3, 3]
    assert found.index.tolist() == pixels.examples(train, ("tumour", "cyst"), 3, 1).index.tolist()
