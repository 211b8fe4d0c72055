"""Augmentation of images and masks with Albumentations. Imports no backend: its workers start fast and stay small."""

import os
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medpipe.params import Augmentation

if TYPE_CHECKING:
    import albumentations as A

Images = npt.NDArray[np.uint8]

# Albumentations asks the network for a newer version while it is imported.
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"


def pipeline(settings: Augmentation) -> "A.Compose":
    """Flips, then one affine warp for rotation, zoom, shift and shear, then brightness; what is off is left out.

    Each flip comes to every second image; the warp, and apart from it the brightness, to a share `probability` of them.

    Pixels from outside the image are its mirror image, so that no black corner gives a warp away. Masks are warped with
    their image to the nearest pixel. Not to be shared by threads: it holds the random state.
    """
    import albumentations as A  # which most trainings do without
    import cv2

    # Parallelism is over batches; OpenCV's own threads would fight the workers for the cores.
    cv2.setNumThreads(0)
    steps: list[A.BasicTransform] = []
    if settings.horizontal_flip:
        steps.append(A.HorizontalFlip(p=0.5))
    if settings.vertical_flip:
        steps.append(A.VerticalFlip(p=0.5))
    if settings.rotation or settings.zoom or settings.shift or settings.shear:
        steps.append(
            A.Affine(
                rotate=(-settings.rotation, settings.rotation),
                scale=(1 - settings.zoom, 1 + settings.zoom),
                keep_ratio=True,
                translate_percent=(-settings.shift, settings.shift),
                shear={"x": (-settings.shear, settings.shear), "y": (0, 0)},
                interpolation=cv2.INTER_LINEAR,
                mask_interpolation=cv2.INTER_NEAREST,
                border_mode=cv2.BORDER_REFLECT_101,
                p=settings.probability,
            )
        )
    if settings.brightness:
        limits = (-settings.brightness, settings.brightness)
        steps.append(A.RandomBrightnessContrast(brightness_limit=limits, contrast_limit=(0, 0), p=settings.probability))
    return A.Compose(steps)


def augment(steps: "A.Compose", images: Images, masks: Images | None, seed: int) -> tuple[Images, Images | None]:
    """(b, h, w, 3) and (b, h, w) uint8 -> the same, augmented. `seed` and the batch decide everything."""
    steps.set_random_seed(seed)
    out, out_masks = np.empty(images.shape, np.uint8), None if masks is None else np.empty(masks.shape, np.uint8)
    for i, image in enumerate(images):
        if masks is None or out_masks is None:
            out[i] = steps(image=np.asarray(image))["image"]
        else:
            both = steps(image=np.asarray(image), mask=np.asarray(masks[i]))
            out[i], out_masks[i] = both["image"], both["mask"]
    return out, out_masks
