"""Decoding and preprocessing equal the libraries' own, and a bad file gives neither a hang nor a
traceback."""

import hashlib
import io
import os
import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from captioning.core.pictures import ImageFault, open_rgb, read_content
from captioning.features import images
from captioning.features.images import Preprocess, clip_preprocess, decode
from captioning.features.pixels import ImageFiles, PixelStore, pixel_batches

SIZES = [(500, 375), (375, 500), (224, 224), (256, 256), (80, 100), (1000, 61), (97, 333), (641, 640)]


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Colours with smooth changes and noise, so that an offset of one pixel shows."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    smooth = np.stack([x * 255 / width, y * 255 / height, (x + y) % 256], axis=-1)
    return Image.fromarray((smooth * 0.7 + rng.uniform(0, 76, smooth.shape)).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("size", SIZES)
def test_equals_the_libraries_transforms_within_the_tolerance(size, tmp_path):
    """In photographs one pixel in 250 is rounded to the next level, in these noisy pictures up to one
    in 60."""
    from clip.clip import _transform
    from torchvision.transforms._presets import ImageClassification

    picture(*size).save(tmp_path / "a.jpg", quality=90)
    theirs = Image.open(tmp_path / "a.jpg")
    for ours, reference in [
        (clip_preprocess(224), _transform(224)),
        (clip_preprocess(96), _transform(96)),
        (images.vgg16_preprocess(224), ImageClassification(crop_size=224)),
        (images.vgg16_preprocess(96), ImageClassification(crop_size=96, resize_size=110)),
    ]:
        (pixels,) = pixel_batches(ImageFiles([tmp_path / "a.jpg"], ours))
        std = torch.tensor(ours.std)[:, None, None]
        levels = (ours.normalize(pixels)[0] - reference(theirs)).abs() * std * 255  # (3, S, S)
        assert levels.max() < 2.1 and (levels > 0.1).float().mean() < 0.02


@pytest.mark.parametrize("orientation", [1, 6])
def test_large_jpegs_are_unpacked_smaller_within_the_tolerance(orientation):
    """Half a level of 255 on average, 3 levels for 99 pixels of 100, as also measured on photographs."""
    noisy = picture(1600, 1200).resize((800, 600)).resize((3200, 2400), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(noisy, "JPEG", quality=90, exif=exif)
    for preprocess in (clip_preprocess(224), images.vgg16_preprocess(224), clip_preprocess(64)):
        fast = decode(content, preprocess).astype(int)
        exact = images.transform(open_rgb(content), preprocess).astype(int)
        assert open_rgb(content, enough=600).size in [(800, 600), (600, 800)]
        difference = np.abs(fast - exact)
        assert 0 < difference.mean() < 0.5 and np.percentile(difference, 99) <= 3
    odd = encoded(picture(1601, 1201), "JPEG")
    assert open_rgb(odd, enough=100).size == (1601, 1201)


def test_preprocess_survives_json_and_describes_itself():
    one = clip_preprocess(96)
    assert Preprocess.from_dict(one.to_dict()) == one
    assert Preprocess.from_dict({**one.to_dict(), "mean": list(one.mean)}) == one
    assert (
        "96" in one.describe()
        and "bicubic" in one.describe()
        and one.describe() != clip_preprocess(64).describe()
    )


def test_very_long_images_cost_no_memory_and_differ_by_little(monkeypatch):
    preprocess = clip_preprocess(64)
    assert decode(encoded(picture(60_000, 1), "PNG"), preprocess).shape == (64, 64, 3)
    image = picture(1200, 100)
    whole = images.transform(image, preprocess).astype(int)
    monkeypatch.setattr(images, "LONGEST_RATIO", 2)  # cuts the ends off, as for a longer one
    assert np.abs(images.transform(image, preprocess).astype(int) - whole).max() <= 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_large_files_are_read_whole_with_pillows_own_pixels(kind, tmp_path):
    options = {"progressive": True} if kind == "JPEG" else {}
    (tmp_path / "a").write_bytes(encoded(picture(1200, 800), kind, **options))
    content = read_content(tmp_path / "a")
    assert len(content) > 2 * 65_536 and content == (tmp_path / "a").read_bytes()
    assert np.array_equal(np.asarray(open_rgb(tmp_path / "a")), np.asarray(Image.open(tmp_path / "a")))
    with pytest.raises(ImageFault, match="truncated"):
        open_rgb(content[: len(content) // 2])


def test_every_mode_becomes_rgb():
    image = picture(40, 30)
    rgb = np.asarray(image).astype(int)
    for mode, kind in [("RGB", "PNG"), ("RGB", "WEBP"), ("RGB", "BMP"), ("RGB", "TIFF"), ("RGB", "PPM")]:
        options = {"lossless": True} if kind == "WEBP" else {}
        assert np.array_equal(np.asarray(open_rgb(encoded(image.convert(mode), kind, **options))), rgb), kind
    grey = np.asarray(open_rgb(encoded(image.convert("L"), "PNG")))
    assert np.array_equal(grey, np.asarray(image.convert("L").convert("RGB")))
    palette = image.quantize(64)
    assert np.array_equal(np.asarray(open_rgb(encoded(palette, "GIF"))), np.asarray(palette.convert("RGB")))
    assert open_rgb(encoded(image.convert("1"), "PNG")).mode == "RGB"
    cmyk = np.asarray(open_rgb(encoded(image.convert("CMYK"), "TIFF")))
    assert np.array_equal(cmyk, np.asarray(image.convert("CMYK").convert("RGB")))
    stereo = encoded(image, "MPO", save_all=True, append_images=[image])  # as some phones write it
    assert np.array_equal(np.asarray(open_rgb(stereo)), np.asarray(open_rgb(encoded(image, "JPEG"))))
    deep = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    assert np.array_equal(np.asarray(open_rgb(encoded(deep, "PNG"))), grey)


def test_transparent_parts_are_white():
    image = picture(40, 30).convert("RGBA")
    alpha = np.zeros((30, 40), np.uint8)
    alpha[:, 20:] = 255
    image.putalpha(Image.fromarray(alpha))
    for content in (encoded(image, "PNG"), encoded(image, "WEBP", lossless=True)):
        rgb = np.asarray(open_rgb(content))
        assert (rgb[:, :20] == 255).all()
        assert np.array_equal(rgb[:, 20:], np.asarray(image)[:, 20:, :3])
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    assert (np.asarray(open_rgb(encoded(palette, "PNG", transparency=1))) == 255).all()
    assert (np.asarray(open_rgb(encoded(Image.new("LA", (3, 3), (0, 0)), "PNG"))) == 255).all()


def test_exif_orientation_is_respected_and_broken_exif_ignored():
    image = picture(40, 30)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: right is up
    turned = open_rgb(encoded(image, "PNG", exif=exif))
    assert turned.size == (30, 40)
    assert np.array_equal(np.asarray(turned), np.rot90(np.asarray(image), -1))
    assert open_rgb(encoded(image, "JPEG", exif=b"Exif\0\0II*\0" + b"\xff" * 40)).size == (40, 30)


def bomb(side: int) -> bytes:
    """A PNG of a few bytes that claims to have side x side pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header, body = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0), zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_hostile_files_are_faults_that_name_the_file(tmp_path):
    jpeg, png = encoded(picture(300, 200), "JPEG"), encoded(picture(300, 200), "PNG")
    cases = {
        "empty.jpg": (b"", "is empty"),
        "text.jpg": (b"<html>404</html>", "known format"),
        "postscript.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "known format"),
        "cut.jpg": (jpeg[: len(jpeg) // 2], "truncated"),
        "cut.png": (png[: len(png) // 2], "truncated"),
        "header.jpg": (jpeg[:10], "header.jpg"),
        "bomb.png": (bomb(11_000), "more than"),
        "bigger.png": (bomb(60_000), "pixels"),
    }
    for name, (content, fault) in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ImageFault, match=fault) as caught:
            decode(path, clip_preprocess(32))
        assert str(path) in str(caught.value)
    os.mkfifo(tmp_path / "pipe.jpg")
    for name, fault in [
        ("pipe.jpg", "not a regular file"),
        (".", "not a regular file"),
        ("no.jpg", "does not exist"),
    ]:
        with pytest.raises(ImageFault, match=fault):
            decode(tmp_path / name, clip_preprocess(32))


@pytest.mark.parametrize(
    ("dtype", "white"),
    [("f4", 1), ("f4", 255), ("f4", 65_535), ("i4", 255), ("u4", 65_535), ("u4", 2**32 - 1)],
)
def test_deep_greys_keep_their_levels_whatever_number_is_white(dtype, white):
    grey = np.linspace(0, 255, 40 * 30).reshape(30, 40)
    values = (grey * (white / 255)).astype(dtype)
    content = encoded(Image.fromarray(values if dtype != "u4" else values.view("i4")), "TIFF")
    if dtype == "u4":  # Pillow writes signed integers; this is the tag for the sign
        content = content.replace(b"\x53\1\3\0\1\0\0\0\2\0", b"\x53\1\3\0\1\0\0\0\1\0")
    seen = np.asarray(open_rgb(content)).astype(float)
    assert np.abs(seen - grey[..., None]).max() <= 1.01
    strange = np.where(grey < 9, np.nan, grey - 300).astype("f4")  # heights, with holes in them
    seen = np.asarray(open_rgb(encoded(Image.fromarray(strange), "TIFF")))
    assert seen.min() < 60 and seen.max() > 200 and len(np.unique(seen)) > 100


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"]), st.data())
def test_damaged_files_decode_or_are_faults(kind, data):
    content = bytearray(encoded(picture(24, 20), kind))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        assert decode(content, clip_preprocess(16)).shape == (16, 16, 3)
    except ImageFault as fault:
        assert "\n" not in str(fault)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(23):
        picture(60 + i, 90 - i, seed=i).save(folder / f"{i:02}.jpg")
    return sorted(folder.glob("*.jpg"))


def test_batches_keep_the_order_whatever_the_workers(folder):
    preprocess = clip_preprocess(32)
    files = ImageFiles(folder, preprocess)
    alone = list(pixel_batches(files, batch_size=5, workers=0))
    assert [tuple(batch.shape) for batch in alone] == [(5, 3, 32, 32)] * 4 + [(3, 3, 32, 32)]
    assert all(batch.dtype == torch.uint8 for batch in alone)
    for batch_size in (5, 20):  # in one part, and in several
        beside = torch.cat(list(pixel_batches(files, batch_size, workers=2)))
        assert torch.equal(torch.cat(alone), beside)
    assert torch.equal(alone[1][2], torch.from_numpy(decode(folder[7], preprocess).copy()).permute(2, 0, 1))


@pytest.mark.parametrize("workers, batch_size", [(0, 5), (2, 5), (2, 20)])
def test_a_bad_file_stops_the_batches_after_the_good_ones(folder, workers, batch_size, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    paths = [*folder[:11], tmp_path / "bad.jpg", *folder[11:]]
    seen = 0
    with pytest.raises(ImageFault, match=r"bad\.jpg is not an image") as caught:
        for batch in pixel_batches(ImageFiles(paths, clip_preprocess(32)), batch_size, workers):
            seen += len(batch)
    assert seen == 11 and "\n" not in str(caught.value)


def test_a_file_that_changed_since_prepare_is_a_fault(folder):
    sha256s = [hashlib.sha256(path.read_bytes()).hexdigest() for path in folder]
    assert len(list(pixel_batches(ImageFiles(folder, clip_preprocess(32), sha256s), 8))) == 3
    sha256s[4] = "0" * 64
    with pytest.raises(ImageFault, match=r"04\.jpg has changed"):
        list(pixel_batches(ImageFiles(folder, clip_preprocess(32), sha256s), 8))


def test_pixel_store_in_memory_and_streaming_agree(folder):
    preprocess = clip_preprocess(32)
    kept = PixelStore(folder, preprocess, workers=1)
    streamed = PixelStore(folder, preprocess, workers=2, max_bytes=1000)
    assert kept.pixels is not None and streamed.pixels is None and len(kept) == len(streamed) == 23
    indices = torch.tensor([20, 3, 3, 0])
    assert kept.batch(indices).shape == (4, 3, 32, 32)
    assert torch.equal(kept.batch(indices), streamed.batch(indices.tolist()))
    assert torch.equal(
        kept.batch([5])[0], torch.from_numpy(decode(folder[5], preprocess).copy()).permute(2, 0, 1)
    )
