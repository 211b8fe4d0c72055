"""Small drawn archives with the layouts of public data sets: {name: bytes of a file}."""

import gzip
import json
from io import BytesIO

import nibabel
import numpy as np
from PIL import Image

SIDE = 32
SETS = {"train": 12, "val": 6, "test": 6}


def encoded(image, kind="PNG", **options):
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


class Drawing:
    """Images and masks of their own, in the order in which they are drawn."""

    def __init__(self):
        self.random = np.random.default_rng(0)

    def image(self, kind="PNG", mode="RGB"):
        blocks = self.random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        return encoded(Image.fromarray(blocks).resize((SIDE, SIDE)).convert(mode), kind)

    def marked(self, value=255, empty=False):
        """A grey image that is `value` within a square."""
        pixels = np.zeros((SIDE, SIDE), np.uint8)
        if not empty:
            x, y = self.random.integers(2, SIDE - 12, 2)
            pixels[y : y + 10, x : x + 10] = value
        return Image.fromarray(pixels)

    def mask(self, kind="PNG", mode="L", empty=False):
        return encoded(self.marked(empty=empty).convert(mode), kind)

    def volume(self, values=None):
        """Greys of a volume, or `values` in its middle."""
        voxels = self.random.integers(0, 900, (8, 8, 4)).astype(np.int16)
        if values is not None:
            voxels[:] = 0
            for place, value in enumerate(values, 2):
                voxels[place, 2:6, 1:3] = value
        return gzip.compress(nibabel.Nifti1Image(voxels, np.eye(4)).to_bytes())


def pairs_by_set(draw):
    files = {}
    for part, count in SETS.items():
        for i in range(count):
            files |= {f"{part}/images/{part}{i}.png": draw.image(), f"{part}/masks/{part}{i}.png": draw.mask()}
    return files


def pairs_with_sets_below(draw):
    return {name.replace(f"{part}/{kind}", f"{kind}/{part}"): data
            for part in SETS for kind in ("images", "masks")
            for name, data in pairs_by_set(draw).items() if name.startswith(f"{part}/{kind}")}  # fmt: skip


def kvasir(draw):
    """Every image has a mask, and masks are JPEG."""
    names = [f"cju{i:05d}" for i in range(20)]
    files = {f"Kvasir-SEG/images/{name}.jpg": draw.image("JPEG") for name in names}
    return files | {f"Kvasir-SEG/masks/{name}.jpg": draw.mask("JPEG", "RGB") for name in names}


def isic2018(draw):
    files = {}
    for part, count in (("Training", 12), ("Validation", 4), ("Test", 6)):
        for i in range(count):
            name = f"ISIC_{sum(map(ord, part)) + i:07d}"
            files[f"ISIC2018_Task1-2_{part}_Input/{name}.jpg"] = draw.image("JPEG")
            files[f"ISIC2018_Task1_{part}_GroundTruth/{name}_segmentation.png"] = draw.mask()
    return files


def nnunet(draw):
    """Two channels an image, test images without labels, names in dataset.json."""
    files = {"dataset.json": json.dumps({"labels": {"background": 0, "Anterior": 1, "Posterior": 2}}).encode()}
    for i in range(8):
        files[f"imagesTr/hip_{i:03d}_0000.nii.gz"], files[f"imagesTr/hip_{i:03d}_0001.nii.gz"] = (
            draw.volume(), draw.volume(),
        )  # fmt: skip
        files[f"labelsTr/hip_{i:03d}.nii.gz"] = draw.volume((1, 2))
    return files | {f"imagesTs/hip_{i:03d}_0000.nii.gz": draw.volume() for i in range(20, 23)}


def decathlon(draw):
    files = {f"imagesTr/hip_{i:03d}.nii.gz": draw.volume() for i in range(8)}
    files |= {f"labelsTr/hip_{i:03d}.nii.gz": draw.volume((1, 2)) for i in range(8)}
    labels = {"0": "background", "1": "Anterior", "2": "Posterior"}
    return files | {"dataset.json": json.dumps({"labels": labels}).encode()}


def cvc(draw):
    files = {f"CVC-ClinicDB/Original/{i}.tif": draw.image("TIFF") for i in range(1, 13)}
    return files | {f"CVC-ClinicDB/Ground Truth/{i}.tif": draw.mask("TIFF") for i in range(1, 13)}


def busi(draw):
    files = {}
    for label, count in (("benign", 12), ("malignant", 10), ("normal", 8)):
        for i in range(1, count + 1):
            files[f"{label}/{label} ({i}).png"] = draw.image()
            files[f"{label}/{label} ({i})_mask.png"] = draw.mask(empty=label == "normal")
    return files | {"benign/benign (3)_mask_1.png": draw.mask()}


def brats(draw):
    files = {}
    for i in range(1, 9):
        name = f"BraTS20_Training_{i:03d}"
        files |= {f"{name}/{name}_{kind}.nii.gz": draw.volume() for kind in ("flair", "t1", "t1ce", "t2")}
        files[f"{name}/{name}_seg.nii.gz"] = draw.volume((1, 2, 4))
    return files


def drive(draw):
    """Vessels in GIF, and the field of view, which is no mask; the sets are in the names too."""
    files = {}
    for part, first in (("test", 1), ("training", 21)):
        for i in range(first, first + 8):
            files[f"DRIVE/{part}/images/{i:02d}_{part}.tif"] = draw.image("TIFF")
            files[f"DRIVE/{part}/1st_manual/{i:02d}_manual1.gif"] = draw.mask("GIF")
            files[f"DRIVE/{part}/mask/{i:02d}_{part}_mask.gif"] = draw.mask("GIF")
    return files


def chase(draw):
    """Left and right eye of 14, vessels by two readers, all in one folder."""
    files = {}
    for patient in range(1, 15):
        for eye in "LR":
            files[f"Image_{patient:02d}{eye}.jpg"] = draw.image("JPEG")
            for reader in ("1stHO", "2ndHO"):
                files[f"Image_{patient:02d}{eye}_{reader}.png"] = draw.mask(mode="1")
    return files


def one_bit(draw):
    files = {f"images/{i}.tif": draw.image("TIFF") for i in range(12)}
    return files | {f"masks/{i}.tif": draw.mask("TIFF", "1") for i in range(12)}


def voc(draw):
    """Masks of a palette, 1, 2 and a border of 255, with a class_names.txt."""
    palette = [sum(((place >> (3 * bit + channel)) & 1) << (7 - bit) for bit in range(3))
               for place in range(256) for channel in range(3)]  # fmt: skip
    files = {"class_names.txt": b"_background_\npolyp\nforceps\n"}
    for i in range(12):
        mask = draw.marked(1 + i % 2)
        mask.paste(255, (0, 0, SIDE, 1))
        mask.putpalette(palette)
        files |= {f"JPEGImages/{i:04d}.jpg": draw.image("JPEG"), f"SegmentationClassPNG/{i:04d}.png": encoded(mask)}
    return files


def coloured(draw):
    """Masks in colours that a table names, background grey."""
    files = {"class_dict.csv": b"name,r,g,b\nBlack Background,127,127,127\nLiver,255,114,114\nFat,186,183,75\n"}
    for i in range(12):
        pixels = np.full((SIDE, SIDE, 3), 127, np.uint8)
        pixels[5:15, 5:15] = (255, 114, 114)
        pixels[20:25, i : i + 4] = (186, 183, 75)
        name = f"video{i % 6:02d}/frame_{i}_endo"
        files |= {f"{name}.png": draw.image(), f"{name}_color_mask.png": encoded(Image.fromarray(pixels))}
    return files


def zero_one(draw):
    files = {f"img/{i}.png": draw.image() for i in range(12)}
    return files | {f"Ground_truth/{i}.png": encoded(draw.marked(1)) for i in range(12)}


def breakhis(draw):
    files = {}
    for label, kind, code in (("benign", "adenoma", "B_A"), ("malignant", "ductal_carcinoma", "M_DC")):
        for patient in range(22549, 22555):
            for zoom in ("40X", "100X"):
                folder = f"breast/{label}/SOB/{kind}/SOB_{code}_14-{patient}/{zoom}"
                for i in range(2):
                    files[f"{folder}/SOB_{code}-14-{patient}-{zoom[:-1]}-{i:03d}.png"] = draw.image()
    return files


def stray(draw):
    """X-rays of patients, ten pictures of other shapes of names among their folders, and one beside these."""
    files = {f"{label}/{label[0]}{i // 4:03d}_{i}.jpeg": draw.image("JPEG", "L") for label in ("NORMAL", "PNEUMONIA")
             for i in range(100)}  # fmt: skip
    odd = ["a", "a 1 b", "1 1 1 b", "b b b", "c c c c", "d 1 d d d", "e e e e e e", "1 f 1 f 1"]
    return files | {f"NORMAL/{name}.jpeg": draw.image("JPEG", "L") for name in odd} | {"loss.png": draw.image()}


def kermany(draw):
    files = {}
    for part, patients in (("train", range(16)), ("test", range(14, 22))):
        for i in patients:
            files[f"{part}/NORMAL/IM-{100 + i:04d}-0001.jpeg"] = draw.image("JPEG", "L")
            for j in range(2):
                files[f"{part}/PNEUMONIA/person{i}_bacteria_{100 * (part == 'test') + 2 * i + j}.jpeg"] = draw.image(
                    "JPEG", "L"
                )
    return files


def cells(draw):
    """Thin smears of patients, of whom some have cells of both classes."""
    files = {}
    for label, patients in (("Parasitized", range(33, 45)), ("Uninfected", range(40, 52))):
        for patient in patients:
            for i in range(2):
                slide = f"C{2 * patient + i}P{patient}ThinF_IMG_20150918_14{patient}04"
                files |= {f"cell_images/{label}/{slide}_cell_{j + 10 * i}.png": draw.image() for j in range(2)}
    return files


def eyes(draw):
    """One photograph of each eye."""
    return {f"{label}/{first + i:03d}{eye}.png": draw.image() for label, first in (("glaucoma", 0), ("healthy", 50))
            for i in range(12) for eye in "LR"}  # fmt: skip


def parts(draw):
    """Numbered parts of a download above folders of classes."""
    return {f"imgs_part_{1 + i % 3}/{label}/{label}{i}.png": draw.image() for label in ("nevus", "keratosis")
            for i in range(30)}  # fmt: skip


def parts_alone(draw):
    return {f"imgs_part_{1 + i % 3}/{i}.png": draw.image() for i in range(60)}


def patients_alone(draw):
    return {f"patient {p}/{i}.png": draw.image() for p in range(8) for i in range(6)}


def brain_sets(draw):
    """The sets as words of folders' names, classes below."""
    return {f"{part}/{label}/{part[:2]}-{label[:2]}_{i}.jpg": draw.image("JPEG")
            for part, n in (("Training", 12), ("Testing", 4))
            for label in ("glioma", "meningioma", "notumor", "pituitary") for i in range(n)}  # fmt: skip


def bitmaps(draw):
    kinds = {"benign": "BMP", "malignant": "WEBP"}
    return {f"{label}/{i}.{kind.lower()}": draw.image(kind) for label, kind in kinds.items() for i in range(12)}
