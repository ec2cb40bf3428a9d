"""Files to features: the same by any thread; an error comes after the features before it."""

import numpy as np
import pytest
import torch
from PIL import Image

from captioning.core.pictures import ImageFault
from captioning.features.encode import encode, images_at_once, on_device, steady
from captioning.features.encoders import load_vgg16, save_vgg16
from captioning.features.images import vgg16_preprocess
from captioning.features.pixels import ImageFiles
from models import vgg16

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vgg16")
    torch.manual_seed(0)
    save_vgg16(folder, vgg16.VGG16(vgg16.VGG16Config(32, 0.1, True, 3)), vgg16_preprocess(32))
    return load_vgg16(folder, precision="fp32", device=CPU)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(27):
        noise = np.random.default_rng(i).integers(0, 256, (50, 60 + i, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{i:02}.png")
    return sorted(folder.glob("*.png"))


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_features_do_not_depend_on_the_number_of_cores(encoder, paths, threads):
    files, found = ImageFiles(paths, encoder.preprocess), {}
    for cores in (1, 2, 3):
        threads(cores)
        parts = [features for features, _ in encode(encoder, files, images_at_once(encoder, 64), workers=0)]
        assert [len(part) for part in parts] == [8, 8, 8, 3]
        assert torch.get_num_threads() == cores
        found[cores] = np.concatenate(parts)
    assert len(np.unique(found[1], axis=0)) == 27
    assert all(np.array_equal(found[1], features) for features in found.values())


@pytest.mark.parametrize("workers, engines", [(0, False), (3, False), (0, True), (3, True)])
def test_a_device_that_is_fed_computes_the_same(encoder, paths, workers, engines):
    files = ImageFiles(paths, encoder.preprocess)
    fed = [features for features, _ in on_device(encoder, files, 10, workers, engines)]
    assert [len(part) for part in fed] == [10, 10, 7]
    cores = [features for features, _ in encode(encoder, files, 8, workers)]
    np.testing.assert_allclose(np.concatenate(fed), np.concatenate(cores), rtol=1e-4, atol=1e-5)


def test_a_fault_comes_after_the_features_of_all_before_it(encoder, paths, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    files = ImageFiles([*paths[:13], tmp_path / "bad.png", *paths[13:]], encoder.preprocess)
    for made in (
        encode(encoder, files, 6, 2),
        on_device(encoder, files, 6, 2),
        on_device(encoder, files, 6, 2, True),
    ):
        seen = 0
        with pytest.raises(ImageFault, match=r"bad\.png is not an image"):
            for features, seconds in made:
                seen += len(features)
                assert seconds > 0
        assert seen == 13


def test_a_processors_core_takes_few_images_at_once(encoder):
    assert images_at_once(encoder, 256) == 8 and images_at_once(encoder, 3) == 3


class Uneven:
    """An encoder that rounds the last row of some batches differently, as MKL does on processors with only
    AVX2."""

    device = CPU
    preprocess = vgg16_preprocess(32)

    def __init__(self, *sizes: int) -> None:
        self.sizes = sizes

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        rows = pixels.flatten(1).float()
        rows[-1] += 1e-6 * (len(rows) in self.sizes) * rows[-1]
        return rows


def test_a_batch_in_which_places_differ_is_not_used(threads):
    threads(2)
    assert steady(Uneven(), 8) == 8
    assert steady(Uneven(8), 8) == 16
    assert steady(Uneven(8, 16), 8) == 1
    assert torch.get_num_threads() == 2
