"""Plain JPEGs on the network's device: how they are recognized, and that the device gives a processor's
pixels.

torchvision's decoder reads them on a processor as it has a GPU read them; the rest is the same code on every
device.
"""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from test_images import encoded, picture

from captioning.core.pictures import ImageFault
from captioning.features import jpeg
from captioning.features.images import clip_preprocess, decode, vgg16_preprocess
from captioning.features.jpeg import Plain, batches_on, decoding, unpack
from captioning.features.pixels import ImageFiles, pixel_batches
from models import vgg16

CPU = torch.device("cpu")
IMAGE = picture(60, 44)


def with_exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(IMAGE, "JPEG", exif=exif)


@pytest.mark.parametrize(
    "content",
    [
        encoded(IMAGE, "JPEG"),
        encoded(IMAGE, "JPEG", subsampling=0, comment=b"a dog", icc_profile=b"x" * 70_000),
        encoded(IMAGE, "JPEG", subsampling=1, restart_marker_blocks=2),
        encoded(IMAGE, "JPEG") + b"what some programs append",
        with_exif(1),
    ],
)
def test_plain_jpegs_are_those_of_which_decoders_make_the_same(content):
    plain = Plain.of(content)
    assert plain == (content, 44, 60)
    (found,) = jpeg._unpack([plain], CPU)
    assert torch.equal(found, torch.from_numpy(np.array(Image.open(io.BytesIO(content)))).permute(2, 0, 1))


def test_other_files_are_not_plain():
    jpeg_bytes = encoded(IMAGE, "JPEG")
    thumbnail = Image.Exif()
    thumbnail[0x010E] = "\xff\xd9"
    frame = jpeg_bytes.index(b"\xff\xc0")
    others = {
        "no image": b"",
        "another format": encoded(IMAGE, "PNG"),
        "grey": encoded(IMAGE.convert("L"), "JPEG"),
        "CMYK": encoded(IMAGE.convert("CMYK"), "JPEG"),
        "RGB": encoded(IMAGE, "JPEG", keep_rgb=True),
        "progressive": encoded(IMAGE, "JPEG", progressive=True),
        "gigantic": jpeg_bytes[: frame + 5] + b"\x30\0\x30\0" + jpeg_bytes[frame + 9 :],
        "turned": with_exif(6),
        "turned by XMP": encoded(IMAGE, "JPEG", xmp=b'<x tiff:Orientation="6"/>'),
        "two pictures": encoded(IMAGE, "MPO", save_all=True, append_images=[IMAGE]),
        "a line": encoded(picture(510, 10), "JPEG"),
        "cut short": encoded(IMAGE, "JPEG", exif=thumbnail)[:-200],
        "12 bits": jpeg_bytes[: frame + 4] + b"\x0c" + jpeg_bytes[frame + 5 :],
        "arithmetic": jpeg_bytes[: frame + 1] + b"\xc9" + jpeg_bytes[frame + 2 :],
        "no height": jpeg_bytes[: frame + 5] + b"\0\0" + jpeg_bytes[frame + 7 :],
    }
    assert [name for name, content in others.items() if Plain.of(content)] == []
    for cut in range(len(jpeg_bytes)):
        assert Plain.of(jpeg_bytes[:cut]) is None


@pytest.mark.parametrize(
    ("preprocess", "height", "width", "reducible"),
    [
        (clip_preprocess(96), 3840, 5120, True),
        (clip_preprocess(96), 3841, 3841, False),
        (replace(clip_preprocess(96), resize=None), 96, 3841, False),  # the whole picture becomes a square
        (clip_preprocess(96), 96, 4800, True),
        (vgg16_preprocess(96), 40 * 110, 5000, True),
    ],
)
def test_pictures_that_shrink_too_much_are_left_to_the_processor(preprocess, height, width, reducible):
    assert Plain(b"", height, width).is_reducible(preprocess) == reducible


def test_a_large_picture_is_decoded_by_the_processor(monkeypatch, tmp_path):
    path = tmp_path / "large.jpg"
    path.write_bytes(encoded(picture(330, 330), "JPEG"))
    monkeypatch.setattr(jpeg, "MOST_REDUCED", 10)
    files, seen = ImageFiles([path], clip_preprocess(32)), []
    monkeypatch.setattr(jpeg, "_unpack", lambda plain, device: seen.append(plain))
    (batch,) = batches_on(CPU, files, 1, 0)
    assert not seen and torch.equal(batch, next(iter(pixel_batches(files))))


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Photograph-like files: plain ones of two sizes, large ones, and other kinds that a folder may hold."""
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(27):
        size = [(500, 375), (375, 500), (1600, 1200)][i % 9 // 3 if i < 18 else 0]
        image = picture(size[0] // 8, size[1] // 8, seed=i).resize(size, Image.Resampling.BICUBIC)
        content = encoded(image, "PNG") if i % 5 == 4 else encoded(image, "JPEG", progressive=bool(i % 2))
        (folder / f"{i:02}.jpg").write_bytes(with_exif(6) if i == 7 else content)
    return sorted(folder.glob("*.jpg"))


@pytest.mark.parametrize("preprocess", [clip_preprocess(96), vgg16_preprocess(96)])
@pytest.mark.parametrize("workers", [0, 3])
def test_the_device_sees_what_a_processor_sees(paths, preprocess, workers, monkeypatch):
    monkeypatch.setattr(jpeg, "PIXELS_AT_ONCE", 1600 * 1200)  # of which only some fit into a part
    files = ImageFiles(paths, preprocess)
    fed = list(batches_on(CPU, files, 10, workers))
    assert [len(batch) for batch in fed] == [10, 10, 7] and all(batch.dtype == torch.uint8 for batch in fed)
    assert all(batch.is_contiguous(memory_format=torch.channels_last) for batch in fed)
    pixels, expected = torch.cat(fed).int(), torch.cat(list(pixel_batches(files, 10))).int()
    difference = (pixels - expected).abs().flatten(1).float()  # (27, 3 * S * S)
    assert difference.mean(dim=1).max() < 0.5 and difference.quantile(0.99, dim=1).max() <= 3
    assert torch.equal(pixels[4], expected[4]) and torch.equal(pixels[7], expected[7])  # PNG; turned
    network = vgg16.VGG16(vgg16.VGG16Config(96, 0.25, True)).eval()
    with torch.no_grad():
        features, theirs = (network.fc7(preprocess.normalize(x.byte())) for x in (pixels, expected))
    assert F.cosine_similarity(features, theirs).min() > 0.999


def test_what_the_engine_refuses_is_left_to_pillow_alone(paths, monkeypatch):
    whole, preprocess = jpeg._unpack, clip_preprocess(96)
    paths = [paths[i] for i in (0, 2, 6)]
    plain = [Plain.of(path.read_bytes()) for path in paths]
    expected = unpack(plain, preprocess, CPU, paths)

    def refuses(files, device):
        if plain[1] in files:
            raise RuntimeError("not supported")
        return whole(files, device)

    monkeypatch.setattr(jpeg, "_unpack", refuses)
    found = unpack(plain, preprocess, CPU, list(map(str, paths)))
    assert torch.equal(found[0], expected[0]) and torch.equal(found[2], expected[2])
    assert torch.equal(found[1].permute(1, 2, 0), torch.from_numpy(decode(paths[1], preprocess).copy()))


def test_running_out_of_memory_is_no_files_fault(monkeypatch):
    """Otherwise a row's decoder would depend on the memory that is free."""

    def unpacked(files, device):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(jpeg, "_unpack", unpacked)
    with pytest.raises(torch.OutOfMemoryError):
        unpack([Plain.of(encoded(IMAGE, "JPEG"))] * 2, clip_preprocess(32), CPU, ["a", "b"])


@pytest.mark.parametrize("at", [0, 3, 10, 13])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_fault_comes_after_the_pixels_of_all_before_it(paths, at, workers, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    files, seen = ImageFiles([*paths[:at], tmp_path / "bad.jpg", *paths[at:]], clip_preprocess(32)), 0
    with pytest.raises(ImageFault, match=r"bad\.jpg is not an image"):
        for batch in batches_on(CPU, files, 10, workers):
            seen += len(batch)
    assert seen == at


def test_a_processors_store_names_no_rule():
    assert decoding(CPU) == {}


@pytest.mark.parametrize(
    ("milliseconds", "printed"), [(0.13, ""), (0.57, "by threads, not by the GPU: it takes 0.57 ms")]
)
def test_a_gpu_s_decoder_is_used_if_it_is_an_engine(milliseconds, printed, monkeypatch, capsys):
    def timed(files, device):
        return milliseconds / 1000 * len(files), jpeg._unpack(files[:1], CPU)[0]

    monkeypatch.setattr(jpeg, "_timed", timed)
    assert jpeg._has_engines.__wrapped__() == (not printed)
    assert printed in capsys.readouterr().out


def test_a_decoder_of_other_pixels_is_not_used(monkeypatch, capsys):
    monkeypatch.setattr(jpeg, "_timed", lambda files, device: (0.0, torch.full((3, 384, 512), 254)))
    assert not jpeg._has_engines.__wrapped__()
    assert "what is white does not come out white" in capsys.readouterr().out


def test_a_decoder_that_fails_is_not_used(monkeypatch, capsys):
    def fails(files, device):
        raise RuntimeError("nvjpegCreate failed: 3\nand more lines")

    monkeypatch.setattr(jpeg, "_timed", fails)
    assert not jpeg._has_engines.__wrapped__()
    assert capsys.readouterr().out.endswith("not by the GPU: nvjpegCreate failed: 3\n")
