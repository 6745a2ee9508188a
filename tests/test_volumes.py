"""Tomograms: reading, writing, grey levels and resampling."""

import bz2
import gzip
import json
from pathlib import Path

import cv2
import mrcfile
import numpy as np
import pytest
import tifffile
from examples import examples
from hypothesis import example, given, strategies as st
from hypothesis.extra import numpy as hnp

from motors import geometry
from motors.kaggle.competition import incomplete
from motors.volumes import formats, resampling, slices, tomogram
from motors.volumes.levels import percentiles, to_uint8, unwrap
from motors.volumes.mrc import open_mrc, write_mrc
from motors.volumes.prepared import open_prepared, write_prepared
from motors.volumes.slices import slice_paths, stack_shape, write_slices
from motors.volumes.tomogram import Tomogram, check_spacing

REFERENCE = Path(__file__).parent / "reference" / "resample"
CASES = json.loads((REFERENCE / "cases.json").read_text())
SHAPE = (5, 24, 40)
GREY = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9))


def noise(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> np.ndarray:
    """Return uint8 noise."""
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def smooth(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Return a uint8 volume that JPEG keeps nearly as it is: every plane its own ramp."""
    z, y, x = np.indices(shape)
    return (10 * z + 2 * y + x).astype(np.uint8)


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """A folder of five slices."""
    return write_slices(tmp_path / "tomo_000001", np.asfortranarray(smooth()))


# slices


def test_slices_come_back_nearly_as_written(stack: Path):
    """JPEG changes a smooth picture by two grey levels at most, and neither order nor shape."""
    found = formats.read(stack, spacing=13.1)
    assert (found.name, found.spacing, found.voxels.shape, found.voxels.dtype) == ("tomo_000001", 13.1, SHAPE, np.uint8)
    assert np.abs(found.voxels.astype(int) - smooth()).max() <= 2


def test_slices_are_numbered_from_zero_without_a_gap(stack: Path):
    """The names are those of the competition."""
    assert [path.name for path in slice_paths(stack)] == [f"slice_000{k}.jpg" for k in range(5)]


def test_a_stack_of_more_than_ten_thousand_slices_stays_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Numbers decide, not the alphabet."""
    paths = [tmp_path / f"slice_{k:04d}.jpg" for k in range(10_002)]
    monkeypatch.setattr(Path, "glob", lambda *_: reversed(paths))
    assert slice_paths(tmp_path) == paths


def test_the_shape_of_a_stack_is_known_from_its_first_slice(stack: Path):
    """The others are counted, not opened."""
    (stack / "slice_0004.jpg").write_bytes(b"")
    assert stack_shape(stack) == SHAPE


def test_a_stack_from_a_mac_is_found_by_the_name_in_its_table(stack: Path):
    """There an accent is a letter of its own; in tables it is one with its vowel."""
    there, here = stack.rename(stack.with_name("e\u0301")), stack.with_name("\u00e9")
    assert stack_shape(here) == SHAPE
    assert formats.parts(here) == slice_paths(there)
    assert incomplete(stack.parent, {here.name: SHAPE}).empty


def test_a_missing_slice_is_named(stack: Path):
    """A gap in the numbers is a copy that went wrong."""
    (stack / "slice_0002.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"slice_0002\.jpg is missing among 4 JPEG files"):
        formats.read(stack)


def test_a_jpeg_of_another_name_is_refused(stack: Path):
    """Nobody knows where it belongs."""
    (stack / "slice_0001.jpg").rename(stack / "slab_0001.jpg")
    with pytest.raises(FileNotFoundError, match=r"slab_0001\.jpg is called otherwise than slice_0000\.jpg"):
        formats.read(stack)


def test_a_folder_without_slices_is_refused(tmp_path: Path):
    """An empty folder is no tomogram, and the only file in a folder is given itself."""
    for _ in range(2):
        with pytest.raises(FileNotFoundError, match=r"holds no JPEG slices.* or a file"):
            formats.read(tmp_path)
        (tmp_path / "cell.mrc").touch()


@pytest.mark.parametrize("lost", [1, 20, 300])
def test_a_slice_that_is_cut_short_is_refused(stack: Path, lost: int, monkeypatch: pytest.MonkeyPatch):
    """Some versions of OpenCV fill it up and say nothing."""
    monkeypatch.setattr(cv2, "imdecode", lambda *_: smooth()[0])
    path = stack / "slice_0003.jpg"
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(ValueError, match=r"slice_0003\.jpg is cut short or no JPEG file"):
        formats.read(stack)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_slice_that_ends_early_is_refused_and_a_plain_one_is_not(tmp_path, share):
    """The end mark of a JPEG says nothing about the picture: what is lacking is made up in grey."""
    voxels = np.random.default_rng(0).integers(0, 256, (4, 61, 83)).astype(np.uint8)
    voxels[3] = 128
    write_slices(tmp_path / "a", voxels)
    assert slices.read_slices(tmp_path / "a").shape == voxels.shape
    path = tmp_path / "a" / "slice_0002.jpg"
    content = path.read_bytes()
    begin = content.index(b"\xff\xda")
    path.write_bytes(content[: begin + int((len(content) - begin) * share)] + b"\xff\xd9")
    with pytest.raises(ValueError, match=r"slice_0002\.jpg ends before its picture does"):
        slices.read_slices(tmp_path / "a")


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\x00\x01\xff\xd9"])
def test_a_slice_that_is_no_jpeg_is_refused(stack: Path, content: bytes):
    """Whatever the file holds instead, its name is said."""
    (stack / "slice_0000.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=r"slice_0000\.jpg is cut short or no JPEG file"):
        formats.read(stack)


def test_a_slice_of_another_size_is_refused(stack: Path):
    """All slices of a volume have one size."""
    cv2.imwrite(str(stack / "slice_0004.jpg"), smooth()[0, :-1])
    with pytest.raises(ValueError, match=r"slice_0004\.jpg is \(23, 40\), but slice_0000\.jpg is \(24, 40\)"):
        formats.read(stack)


def test_a_slice_in_colour_is_refused(stack: Path):
    """Three channels are no grey levels."""
    cv2.imwrite(str(stack / "slice_0001.jpg"), np.full((24, 40, 3), (0, 90, 180), np.uint8))
    with pytest.raises(ValueError, match=r"slice_0001\.jpg is a JPEG picture of mode RGB, not in grey levels"):
        formats.read(stack)


def test_slices_are_not_written_over_others(stack: Path):
    """Slices of two tomograms must not mix."""
    with pytest.raises(FileExistsError, match="is not empty"):
        write_slices(stack, smooth())


# files of other programs


@given(GREY.filter(lambda grey: 1 not in grey.shape), st.floats(1, 50).map(lambda value: round(value, 2)))
@examples(25)
def test_an_mrc_file_gives_back_what_was_written(tmp_path_factory: pytest.TempPathFactory, voxels, spacing: float):
    """Grey levels and spacing survive, although the format has no unsigned bytes."""
    path = write_mrc(tmp_path_factory.mktemp("mrc") / "a.mrc", voxels, spacing)
    found = formats.read(path)
    assert np.array_equal(found.voxels, voxels) and found.spacing == pytest.approx(spacing, abs=2e-4)


@pytest.mark.parametrize("ending", [".mrc", ".rec", ".map", ".MRC"])
@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.uint16, np.float16, np.float32])
def test_every_real_mode_of_mrc_is_read(tmp_path: Path, ending: str, dtype: type):
    """What is not grey levels already is stretched between the two percentiles."""
    voxels = (noise().astype(np.float32) - 128).astype(dtype) if dtype is not np.uint16 else noise().astype(dtype) * 9
    found = formats.read(write_mrc(tmp_path / f"a.b{ending}", voxels, 10.5))
    assert (found.name, found.spacing) == ("a.b", 10.5)
    assert np.array_equal(found.voxels, to_uint8(voxels))


@pytest.mark.parametrize(("ending", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress)])
def test_a_compressed_mrc_file_reads_like_the_plain_one(tmp_path: Path, ending: str, pack):
    """Compression changes nothing, and is noticed even where the name hides it."""
    plain = write_mrc(tmp_path / "a.mrc", noise(), 10.5)
    for name in (f"b.mrc{ending}", "c.map"):
        (tmp_path / name).write_bytes(pack(plain.read_bytes()))
        found = formats.read(tmp_path / name)
        assert found.name == name[0] and found.spacing == 10.5
        assert np.array_equal(found.voxels, noise())


def test_a_plain_mrc_file_stays_on_disk(tmp_path: Path):
    """Only what is looked at is read."""
    path = write_mrc(tmp_path / "a.mrc", noise().astype(np.float32), 10.5)
    voxels = open_mrc(path).voxels
    assert isinstance(voxels, np.memmap)


def imod_bytes(path: Path, flags: int) -> Path:
    """Write bytes as IMOD does, 200 everywhere but once 0 if they have no sign, and say so in the header."""
    with mrcfile.new(path) as file:
        file.set_data(np.full(SHAPE, 200, np.uint8).view(np.int8))
        file.data[0, 0, 0] = 0
        file.voxel_size = 10.5
        extra = np.zeros(21, np.int32)
        extra[10:12] = 1146047817, flags
        file.header.extra2 = extra.tobytes()
    return path


def test_bytes_without_sign_are_read_as_imod_means_them(tmp_path: Path):
    """Read as signed they would wrap around at the middle grey."""
    voxels = formats.read(imod_bytes(tmp_path / "a.rec", flags=0)).voxels
    assert voxels[0, 0, 0] == 0 and set(voxels.ravel()[1:]) == {200}


def test_bytes_with_sign_are_read_as_imod_means_them(tmp_path: Path):
    """Here the same bytes mean -56 and once zero, which is no contrast between the percentiles."""
    with pytest.raises(ValueError, match="nearly all voxels are -56"):
        formats.read(imod_bytes(tmp_path / "a.rec", flags=1))


@pytest.mark.parametrize("size", [(0, 0, 0), (10, 0, 10), (np.nan, 10, 10)])
def test_an_mrc_header_without_spacing_is_refused_unless_one_is_given(tmp_path: Path, size):
    """Zero is what some programs write when they do not know."""
    path = write_mrc(tmp_path / "a.mrc", noise(), 10)
    with mrcfile.open(path, "r+") as file:
        file.voxel_size = size
    with pytest.raises(ValueError, match=r"a\.mrc.*states a spacing of .* give the true one as spacing="):
        formats.read(path)
    assert formats.read(path, spacing=13.1).spacing == 13.1


def test_an_mrc_header_with_two_spacings_is_refused_unless_one_is_given(tmp_path: Path):
    """One per cent between axes is rounding, more is another volume than the networks know."""
    path = write_mrc(tmp_path / "a.mrc", noise(), 10)
    for z, accepted in ((10.05, True), (10.2, False)):
        with mrcfile.open(path, "r+") as file:
            file.voxel_size = (10, 10, z)
        if accepted:
            assert formats.read(path).spacing == pytest.approx(10.0167, abs=1e-4)
            continue
        with pytest.raises(ValueError, match="which differ: give one as spacing="):
            formats.read(path)
        assert formats.read(path, spacing=10).spacing == 10


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("kept", [100, 1024, 2000])
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_an_mrc_file_that_is_cut_short_is_refused(tmp_path: Path, kept: int, ending: str):
    """Half a volume is not a volume."""
    content = write_mrc(tmp_path / "a.mrc", noise(), 10).read_bytes()
    path = tmp_path / f"b.mrc{ending}"
    path.write_bytes(content[:kept] if not ending else gzip.compress(content)[: kept // 2])
    with pytest.raises(ValueError, match=r"b\.mrc.* cannot be read as a tomogram"):
        formats.read(path)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("ending", [".mrc", ".mrc.gz", ".tif", ".npy"])
@pytest.mark.parametrize("content", [b"", b"<html>not found</html>" * 100])
def test_a_file_that_is_something_else_is_refused(tmp_path: Path, ending: str, content: bytes):
    """A failed download is named."""
    path = tmp_path / f"a{ending}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\..* cannot be read as a tomogram"):
        formats.read(path)


@pytest.mark.parametrize(
    ("name", "place", "changed"),
    [
        ("a.mrc.gz", 60, b"\xff" * 40),
        ("a.mrc.bz2", 60, b"\xff" * 40),
        ("a.tif", b"x\x9c", b"xx"),
        ("a.ome.tif", b"</Pixels", b"<<Pixels"),
        ("a.npy", b"}", b"{"),
        ("a.zarr/0/0.0.0", 0, b"\xff" * 100),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_with_changed_bytes_is_refused(tmp_path: Path, name: str, place: int | bytes, changed: bytes):
    """Each reader has its own way to stumble over them: decompressors, and parsers of headers."""
    plain = write_mrc(tmp_path / "b.mrc", noise(), 10).read_bytes()
    (tmp_path / "a.mrc.gz").write_bytes(gzip.compress(plain))
    (tmp_path / "a.mrc.bz2").write_bytes(bz2.compress(plain))
    tifffile.imwrite(tmp_path / "a.tif", smooth(), photometric="minisblack", compression="zlib")
    tifffile.imwrite(tmp_path / "a.ome.tif", noise(), ome=True, metadata={"axes": "ZYX"})
    np.save(tmp_path / "a.npy", noise())
    if ".zarr" in name:
        zarr_image(tmp_path / "a.zarr", multiscales=[{"axes": NAMED, "datasets": SCALED}])
    path = tmp_path / name.partition("/")[0]
    formats.read(path, spacing=10)
    content = bytearray((tmp_path / name).read_bytes())
    begin = place if isinstance(place, int) else content.index(place)
    content[begin : begin + len(changed)] = changed
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read as a tomogram"):
        formats.read(path, spacing=10)


def test_a_file_that_is_no_mrc_takes_no_memory(tmp_path: Path):
    """Text read as a header promises gigabytes."""
    (tmp_path / "a.mrc").write_bytes(b"not found " * 200)
    with pytest.raises(ValueError, match="it is not an MRC file, or damaged: copy it again"):
        formats.read(tmp_path / "a.mrc")


def test_a_file_of_unknown_kind_is_refused_with_the_known_ones(tmp_path: Path):
    """The sentence says what would do."""
    (tmp_path / "a.hdf5").touch()
    with pytest.raises(ValueError, match=r"a\.hdf5 .*is of an unknown kind.*convert it to one of \.mrc .*\.tif"):
        formats.read(tmp_path / "a.hdf5")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        formats.read(tmp_path / "b.mrc")
    (tmp_path / "c.n5").mkdir()
    (tmp_path / "c.n5" / "attributes.json").write_text('{"n5": "2.5.0"}')
    with pytest.raises(ValueError, match=r"c\.n5 .* it is not a Zarr \(convert N5\)"):
        formats.read(tmp_path / "c.n5")


@pytest.mark.parametrize("shape", [(24, 40), (2, 5, 24, 40), (0, 24, 40)])
def test_what_is_no_volume_is_refused(tmp_path: Path, shape):
    """A picture, a film and nothing are no tomogram."""
    np.save(tmp_path / "a.npy", np.zeros(shape, np.float32))
    with pytest.raises(ValueError, match=r"a\.npy.*(is not a volume|2 along image: choose one)"):
        formats.read(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.zeros(SHAPE, np.complex64))
    with pytest.raises(ValueError, match=r"complex64 is not a volume"):
        formats.read(tmp_path / "b.npy")


def test_a_tiff_file_without_metadata_has_no_spacing(tmp_path: Path):
    """Nothing is made up; the caller may know."""
    tifffile.imwrite(tmp_path / "a.tif", noise(), photometric="minisblack")
    found = formats.read(tmp_path / "a.tif")
    assert found.spacing is None and np.array_equal(found.voxels, noise()) and isinstance(found.voxels, np.memmap)
    assert formats.read(tmp_path / "a.tif", spacing=12, name="b").spacing == 12


@pytest.mark.parametrize(
    ("unit", "angstrom"), [("nm", 10), ("\\u00c5", 1), ("\\u212B", 1), ("micron", 10_000), ("pixel", None)]
)
def test_a_tiff_file_of_imagej_states_its_spacing(tmp_path: Path, unit: str, angstrom: float | None):
    """Resolution counts pixels per unit in the plane, and the planes have a distance."""
    metadata = {"spacing": 1.25, "unit": unit, "axes": "ZYX"}
    tifffile.imwrite(tmp_path / "a.tiff", noise(), imagej=True, resolution=(0.8, 0.8), metadata=metadata)
    found = formats.read(tmp_path / "a.tiff")
    assert np.array_equal(found.voxels, noise())
    assert found.spacing == (None if angstrom is None else pytest.approx(1.25 * angstrom))


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize(("unit", "size"), [("Å", 13.1), ("nm", 1.31), ("µm", 1.31e-3), (None, 1.31e-3)])
def test_an_ome_tiff_file_states_its_spacing(tmp_path: Path, compression: str | None, unit: str | None, size: float):
    """Micrometres go without saying in OME."""
    metadata = {"axes": "ZYX"}
    for axis in "XYZ":
        metadata |= {f"PhysicalSize{axis}": size} | ({f"PhysicalSize{axis}Unit": unit} if unit else {})
    tifffile.imwrite(tmp_path / "a.ome.tif", noise(), ome=True, metadata=metadata, compression=compression)
    found = formats.read(tmp_path / "a.ome.tif")
    assert found.spacing == pytest.approx(13.1) and np.array_equal(found.voxels, noise())


def test_an_array_stays_on_disk_and_has_no_spacing(tmp_path: Path):
    """Grey levels need no copy."""
    np.save(tmp_path / "a.npy", noise())
    found = formats.read(tmp_path / "a.npy")
    assert found.spacing is None and isinstance(found.voxels, np.memmap) and np.array_equal(found.voxels, noise())


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_the_finest_level_of_an_ome_zarr_image_is_read(tmp_path: Path, version: str):
    """Scale and unit are those of the last three axes, and a lone channel is dropped."""
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2 if version == "0.4" else 3)
    units = [{"name": "c", "type": "channel"}, *({"name": n, "type": "space", "unit": "nanometer"} for n in "zyx")]
    levels = [
        {"path": p, "coordinateTransformations": [{"type": "scale", "scale": s}]}
        for p, s in (("0", [1, 0.5, 0.5, 0.5]), ("1", [1, 1, 1, 1]))
    ]
    steps = [{"type": "scale", "scale": [1, 2, 2, 2]}]
    image = {
        "multiscales": [{"version": version, "axes": units, "datasets": levels, "coordinateTransformations": steps}]
    }
    group.attrs.update(image if version == "0.4" else {"ome": image})
    for path, voxels in (("0", noise()), ("1", noise()[::2, ::2, ::2])):
        group.create_array(path, data=np.ascontiguousarray(voxels[None], np.float32), chunks=(1, 4, 16, 16))
    found = formats.read(tmp_path / "a.zarr")
    assert (found.name, found.spacing) == ("a", 10) and np.array_equal(found.voxels, to_uint8(noise() * 1.0))


def zarr_image(path: Path, **attributes) -> Path:
    """Write a Zarr group with an array called 0, and whatever attributes."""
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.attrs.update(attributes)
    group.create_array("0", data=noise().astype(np.float32), chunks=(4, 16, 16))
    return path


SCALED = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 1]}]}]
SHIFTED = [{"path": "0", "coordinateTransformations": [{"type": "translation", "translation": [1, 1, 1]}]}]
NAMED = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]


@pytest.mark.parametrize(
    ("axes", "levels"),
    [(["z", "y", "x"], [{"path": "0"}]), (["z", "y", "x"], SCALED), (NAMED, SHIFTED)],
    ids=["version 0.3", "axes without units", "no scale"],
)
def test_an_ome_zarr_image_that_states_no_lengths_has_no_spacing(tmp_path: Path, axes: list, levels: list):
    """Before version 0.4 axes were names, and levels had no scale."""
    path = zarr_image(tmp_path / "a.zarr", multiscales=[{"axes": axes, "datasets": levels}])
    found = formats.read(path)
    assert found.spacing is None and np.array_equal(found.voxels, to_uint8(noise() * 1.0))


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ({}, "it lacks the attribute multiscales"),
        ({"ome": None}, "its metadata describe no OME-Zarr image .TypeError.*: copy it again, or take MRC"),
        ({"multiscales": []}, "its metadata describe no OME-Zarr image .IndexError"),
        ({"multiscales": [{"axes": NAMED, "datasets": []}]}, r"its metadata list no level \(datasets\)"),
        ({"multiscales": [{"datasets": SCALED}]}, "its axes are '...': give one letter for each as axes="),
        ({"multiscales": [{"axes": [1, 2, 3], "datasets": SCALED}]}, "describe no OME-Zarr image .AttributeError"),
        ({"multiscales": [{"axes": NAMED, "datasets": [{"path": "9"}]}]}, "its level '9' is missing"),
        ({"multiscales": [{"axes": NAMED, "datasets": [{"path": ""}]}]}, "its finest level '' is not an array"),
    ],
    ids=["nothing", "null", "no image", "no level", "no axes", "numbers as axes", "no such level", "a group"],
)
def test_a_zarr_folder_that_is_no_image_is_refused(tmp_path: Path, attributes: dict, sentence: str):
    """Without its attributes nobody knows which array to take."""
    with pytest.raises(ValueError, match=rf"a\.zarr cannot be read as a tomogram: .*{sentence}"):
        formats.read(zarr_image(tmp_path / "a.zarr", **attributes))


# grey levels


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f4", np.int16])
def test_percentiles_become_black_and_white(dtype):
    """The original solution: clip to two percentiles, stretch, truncate."""
    voxels = np.random.default_rng(0).normal(1000, 300, SHAPE).astype(dtype)
    low, high = np.percentile(voxels.astype(np.float64), (0.87910068792905, 99.06423106440042))
    expected = (np.clip(voxels, low, high) - low) / (high - low) * 255
    found = to_uint8(voxels)
    assert found.dtype == np.uint8 and (found.min(), found.max()) == (0, 255)
    assert np.abs(found - np.trunc(expected)).max() <= 1 and (found != np.trunc(expected)).mean() < 1e-3


@given(
    hnp.arrays(np.float32, st.tuples(*[st.integers(1, 6)] * 3), elements=st.floats(-(2.0**99), 2.0**99, width=32)),
    st.floats(0, 100),
)
@examples(50)
def test_counting_gives_the_percentiles_that_sorting_gives(voxels: np.ndarray, percent: float):
    """For any distribution, with zeros of both signs and repeated numbers."""
    expected = np.percentile(voxels.astype(np.float64), percent)
    reach = np.abs(voxels).max().astype(np.float64)
    assert np.isclose(percentiles(voxels, (percent,))[0], expected, rtol=1e-6, atol=1e-6 * reach + 1e-44)


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int32, np.int64])
def test_the_contrast_of_counts_does_not_depend_on_what_they_are_multiplied_with(dtype):
    """0 to 19 would be all but black if they were taken for grey levels."""
    counts = np.random.default_rng(0).poisson(6, SHAPE)
    assert np.array_equal(to_uint8(counts.astype(dtype)), to_uint8(100.0 * counts))


def test_uint8_is_not_copied():
    """Grey levels are what was wanted."""
    voxels = noise()
    assert to_uint8(voxels) is voxels


@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
def test_one_voxel_that_is_not_finite_is_noticed(tmp_path: Path, bad: float):
    """It would make the percentiles meaningless."""
    voxels = noise().astype(np.float32)
    voxels[3, 7, 11] = bad
    np.save(tmp_path / "a.npy", voxels)
    with pytest.raises(ValueError, match=r"a\.npy.*some voxels are NaN or infinite"):
        formats.read(tmp_path / "a.npy")


def test_the_largest_numbers_are_finite():
    """The ends of single precision are no infinities."""
    ends = np.finfo(np.float32)
    voxels = np.linspace(-1, 1, 240, dtype=np.float32).reshape(4, 6, 10)
    voxels[0, 0, 0], voxels[0, 0, 1] = ends.min, ends.max
    assert to_uint8(voxels).max() == 255


def test_a_volume_without_contrast_is_refused():
    """There is nothing to stretch."""
    with pytest.raises(ValueError, match="nearly all voxels are 3, so there is no contrast"):
        to_uint8(np.full(SHAPE, 3.0))


def test_unwrapping_adds_modulo_256():
    """127 and 1 make 128; 200 and 127 make 71."""
    voxels = np.array([0, 1, 128, 129, 200, 255], np.uint8).reshape(1, 2, 3)
    assert unwrap(voxels).ravel().tolist() == [127, 128, 255, 0, 71, 126]


@given(GREY, st.integers(0, 255))
@examples(25)
def test_unwrapping_back_undoes_unwrapping(voxels: np.ndarray, offset: int):
    """Modulo 256 nothing is lost."""
    assert np.array_equal(unwrap(unwrap(voxels, offset), -offset), voxels)


# resampling


def sampled(voxels: np.ndarray, shape, step, shift: float) -> np.ndarray:
    """Return float64 voxels at `(i + shift) * step - shift`, one axis after the other; a slow and independent way."""
    for axis, (side, stride) in enumerate(zip(shape, step, strict=True)):
        at = (np.arange(side) + shift) * stride - shift
        line = np.arange(voxels.shape[axis])
        voxels = np.apply_along_axis(lambda values, at=at, line=line: np.interp(at, line, values), axis, voxels)
    return voxels


@pytest.mark.parametrize("case", CASES["cases"], ids=lambda case: case["key"])
def test_resampling_is_that_of_the_original_solution(case: dict):
    """Equal but for rounding before truncation, which may move one voxel in a thousand by one."""
    golden = np.load(REFERENCE / "cases.npz")
    voxels, expected = golden[case["volume"]], golden[f"{case['key']}_infer"]
    found = resampling.resample(voxels, tuple(case["spacing"]), tuple(case["target"]))
    assert found.shape == expected.shape and found.dtype == np.uint8
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert (found != expected).sum() <= max(1, 1e-3 * expected.size)


@pytest.mark.parametrize("key", CASES["with_monai"])
def test_training_of_the_original_solution_sampled_half_a_voxel_of_difference_elsewhere(key: str):
    """It laid first voxel on first voxel; the library has one convention, which lays corner on corner."""
    case = next(case for case in CASES["cases"] if case["key"] == key)
    golden = np.load(REFERENCE / "cases.npz")
    voxels, step = golden[case["volume"]], np.divide(case["target"], case["spacing"])
    monai, ours = golden[f"{key}_monai"], resampling.resample(voxels, tuple(case["spacing"]), tuple(case["target"]))
    inside = tuple(slice(0, int((n - 1) // s) + 1) for n, s in zip(voxels.shape, step, strict=True))
    assert np.abs(sampled(voxels, monai.shape, step, shift=0) - monai)[inside].max() < 2e-3
    assert np.abs(np.trunc(sampled(voxels, ours.shape, step, shift=0.5) + 1e-4) - ours).mean() < 1e-3


SPACINGS = st.tuples(*[st.floats(5, 30) | st.sampled_from([8, 15.9, 16, 16.1, 32])] * 3)


@given(hnp.arrays(np.uint8, st.tuples(*[st.integers(7, 12)] * 3)), SPACINGS, SPACINGS)
@examples(30)
def test_resampling_interpolates_along_each_axis(voxels: np.ndarray, spacing, target):
    """Any spacings, one per axis: what `numpy.interp` gives, up to truncation."""
    found = resampling.resample(voxels, spacing, target)
    expected = sampled(voxels, found.shape, np.divide(target, spacing), shift=0.5)
    assert found.shape == geometry.resampled_shape(voxels.shape, spacing, target)
    assert (found - expected).max() < 1e-3 and (expected - found).max() < 1 + 1e-3


@given(st.integers(0, 255), st.floats(5, 20), st.floats(5, 20))
@examples(30)
def test_a_volume_of_one_grey_level_keeps_it(level: int, spacing: float, target: float):
    """Truncation takes nothing from whole numbers."""
    assert set(np.unique(resampling.resample(np.full((7, 9, 12), level, np.uint8), spacing, target))) == {level}


def test_halving_the_spacing_and_doubling_it():
    """By hand: at half the spacing voxels lie a quarter inside; at twice the spacing they are means of pairs."""
    voxels = np.array([0, 100, 40, 60], np.uint8).reshape(1, 1, 4)
    assert resampling.resample(voxels, (1, 1, 2), (1, 1, 1)).ravel().tolist() == [0, 25, 75, 85, 55, 45, 55, 60]
    assert resampling.resample(voxels, (1, 1, 1), (1, 1, 2)).ravel().tolist() == [50, 50]


def test_a_spacing_that_is_almost_the_same_still_moves_voxels():
    """OpenCV would copy a plane whose sides stay the same after rounding."""
    voxels = noise((6, 24, 40))
    found = resampling.resample(voxels, 16.0, (16.0, 16.1, 16.2))
    expected = sampled(voxels, (6, 23, 39), (1, 16.1 / 16, 16.2 / 16), shift=0.5)
    assert found.shape == expected.shape and np.abs(found - expected + 0.5).max() < 0.501


def test_a_point_moves_as_the_volume_does():
    """The middle of a bright ball stays its middle."""
    z, y, x = np.indices((48, 64, 96))
    centre = np.array([[20, 40, 30]])
    ball = np.clip(255 - 4 * ((z - 20) ** 2 + (y - 40) ** 2 + (x - 30) ** 2), 0, 255).astype(np.uint8)
    found = resampling.resample(ball, 13.1, 16.0).astype(np.float64)
    middle = [(np.indices(found.shape)[axis] * found).sum() / found.sum() for axis in range(3)]
    assert np.abs(middle - geometry.voxel_between(centre, 13.1, 16.0)).max() < 0.05


@given(hnp.arrays(np.uint8, st.tuples(*[st.integers(7, 12)] * 3)), st.tuples(*[st.floats(1, 3)] * 3))
@example(noise((7, 8, 9)), (1.0, 1.0, 1.06))  # sides that stay the same after rounding: OpenCV would copy the plane
@examples(30)
def test_a_coarser_voxel_can_be_the_mean_of_what_it_covers(voxels: np.ndarray, factors):
    """Along each axis: the integral over its length, by hand from cumulative sums; up to truncation."""
    found = resampling.resample(voxels, 1.0, factors, by="mean")
    expected = voxels.astype(np.float64)
    for axis, factor in enumerate(factors):
        total = np.insert(np.moveaxis(expected, axis, 0).cumsum(0), 0, 0, axis=0)
        edges = np.arange(found.shape[axis] + 1) * factor
        at = np.apply_along_axis(lambda line, edges=edges: np.interp(edges, np.arange(len(line)), line), 0, total)
        expected = np.moveaxis(np.diff(at, axis=0) / factor, 0, axis)
    assert (found - expected).max() < 0.02 and (expected - found).max() < 1.02


def test_means_let_less_noise_through_than_interpolation():
    """White noise of standard deviation 1 keeps 0.30 of it at 1.83 times the spacing, and 0.54 when interpolated."""
    voxels = np.random.default_rng(0).normal(128, 20, (66, 88, 110)).clip(0, 255).astype(np.uint8)
    spread = {by: resampling.resample(voxels, 13.1, 24.0, by=by).std() / voxels.std() for by in ("linear", "mean")}
    assert spread == pytest.approx({"linear": (2 / 3) ** 1.5, "mean": 0.30}, rel=0.05)


def test_an_unknown_way_of_resampling_is_refused():
    """The sentence names the two there are."""
    with pytest.raises(ValueError, match="by linear or mean, not by 'cubic'"):
        resampling.resample(noise(), 13.1, 16.0, by="cubic")


def test_equal_spacings_leave_the_volume_alone():
    """Not even a copy is made."""
    voxels = noise()
    assert resampling.resample(voxels, 16, (16.0, 16.0, 16.0)) is voxels


def test_resampling_does_not_depend_on_how_many_planes_are_in_work(monkeypatch: pytest.MonkeyPatch):
    """The same bytes from one thread and from many, and from any part of the planes in z."""
    voxels = noise((31, 48, 64))
    whole = resampling.resample(voxels, 13.1, 16.0)
    monkeypatch.setattr(tomogram, "THREADS", 1)
    assert np.array_equal(resampling.resample(voxels, 13.1, 16.0), whole)
    part = resampling.resample(voxels[10:], (16, 13.1, 13.1), 16.0)
    assert np.array_equal(part, resampling.resample(voxels, (16, 13.1, 13.1), 16.0)[10:])


def test_views_and_volumes_on_disk_are_resampled_like_copies(tmp_path: Path):
    """Strides and read-only memory do not matter."""
    voxels = noise((12, 24, 40))
    write_prepared(tmp_path, "a", voxels)
    expected = resampling.resample(voxels[::-1, ::2, ::-1].copy(), 13.1, 16.0)
    assert np.array_equal(resampling.resample(voxels[::-1, ::2, ::-1], 13.1, 16.0), expected)
    assert np.array_equal(resampling.resample(open_prepared(tmp_path, "a")[::-1, ::2, ::-1], 13.1, 16), expected)


def test_a_tomogram_shows_what_it_is_and_not_its_voxels():
    """A notebook had filled pages with them."""
    tomogram = Tomogram("cell", np.zeros((4, 5, 6), np.uint8), 13.1)
    assert repr(tomogram) == "Tomogram('cell', voxels (4, 5, 6), spacing=13.1)"


@pytest.mark.parametrize("bad", [0, -13.1, np.nan, np.inf, (13.1, 0, 13.1)])
def test_a_spacing_that_is_no_length_is_refused(bad):
    """On either side, and in a tomogram."""
    for spacing, target in ((bad, 16.0), (13.1, bad)):
        with pytest.raises(ValueError, match="is not above zero throughout: give ångström per voxel"):
            resampling.resample(noise(), spacing, target)
    if not isinstance(bad, tuple):
        with pytest.raises(ValueError, match="is not above zero throughout"):
            Tomogram("a", noise(), bad)
        with pytest.raises(ValueError, match=f"^spacing {bad} is not"):
            check_spacing((bad,))


def test_resampling_to_less_than_a_voxel_is_refused():
    """Five planes of 13 Å are not one of 100 Å."""
    with pytest.raises(ValueError, match=r"nothing is left of \(5, 24, 40\) voxels"):
        resampling.resample(noise(), 13.0, 100.0)


def test_only_grey_levels_are_resampled():
    """Anything else goes through `to_uint8` first."""
    with pytest.raises(ValueError, match="convert them with to_uint8"):
        resampling.resample(noise().astype(np.float32), 13.1, 16.0)


# the prepared store


@given(voxels=GREY)
@examples(25)
def test_prepared_voxels_come_back_read_only(tmp_path_factory: pytest.TempPathFactory, voxels: np.ndarray):
    """What was written, still on disk, in C order whatever came."""
    folder = tmp_path_factory.mktemp("prepared") / "new"
    assert write_prepared(folder, "a", np.asfortranarray(voxels)) == folder / "a.npy"
    found = open_prepared(folder, "a")
    assert isinstance(found, np.memmap) and np.array_equal(found, voxels)
    assert found.flags.c_contiguous and not found.flags.writeable
    assert [path.name for path in folder.iterdir()] == ["a.npy"]


def test_a_tomogram_that_was_not_prepared_is_named(tmp_path: Path):
    """The sentence says what to run first."""
    with pytest.raises(FileNotFoundError, match="prepare tomogram a first"):
        open_prepared(tmp_path, "a")


def test_a_write_that_fails_leaves_nothing_and_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Neither half a file nor a temporary one; a second try works."""
    write_prepared(tmp_path, "a", noise())

    def fail(where, *_):
        if isinstance(where, Path):
            where.write_bytes(b"half")
        raise OSError("no space left")

    with monkeypatch.context() as broken:
        broken.setattr(np, "save", fail)
        broken.setattr(cv2, "imencode", fail)
        with pytest.raises(OSError, match="no space left"):
            write_prepared(tmp_path, "a", noise(seed=1))
        with pytest.raises(OSError, match="no space left"):
            write_slices(tmp_path / "b", noise())
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]
    assert np.array_equal(open_prepared(tmp_path, "a"), noise())
    write_slices(tmp_path / "b", noise())


# real tomograms

RENDERED = ["tomo_0a8f05_coarse_stack", "tomo_fd5b38_coarse_stack", "byu_weird_tomo_3_gif", "czportal_run6355_gif"]


@pytest.mark.parametrize("name", RENDERED)
def test_real_tomograms_survive_jpeg(real: Path, tmp_path: Path, name: str):
    """At quality 95 by less than two grey levels on average, and nowhere by more than thirty."""
    voxels = np.load(real / "volumes" / f"{name}.npz")["volume"]
    found = formats.read(write_slices(tmp_path / name, voxels)).voxels
    error = np.abs(found.astype(int) - voxels)
    assert found.shape == voxels.shape and error.mean() < 2 and error.max() <= 30


def test_a_real_microtubule_survives_every_format(real: Path, tmp_path: Path):
    """From TIFF to MRC and to the prepared store nothing changes, the spacing of 10.52 Å included."""
    tubule = formats.read(real / "volumes" / "13pf_MT.tif")
    assert (tubule.name, tubule.spacing, tubule.voxels.shape) == ("13pf_MT", 10.52, (36, 206, 94))
    found = formats.read(write_mrc(tmp_path / "13pf_MT.mrc", tubule.voxels, tubule.spacing))
    assert (found.name, found.spacing) == (tubule.name, tubule.spacing) and np.array_equal(found.voxels, tubule.voxels)
    write_prepared(tmp_path, tubule.name, tubule.voxels)
    assert np.array_equal(open_prepared(tmp_path, tubule.name), tubule.voxels)


def test_stacks_that_are_not_whole_are_named(tmp_path):
    """A missing last slice, a gap, a slice cut short, a picture of another size, and no folder at all."""
    shapes = dict.fromkeys(("whole", "unknown", "short", "gap", "cut", "size", "none"), (4, 6, 8))
    for name in list(shapes)[:-1]:
        write_slices(tmp_path / name, np.zeros((4, 6, 8), np.uint8))
    (tmp_path / "short" / "slice_0003.jpg").unlink()
    (tmp_path / "gap" / "slice_0002.jpg").unlink()
    path = tmp_path / "cut" / "slice_0002.jpg"
    path.write_bytes(path.read_bytes()[:-9])
    path = tmp_path / "whole" / "slice_0002.jpg"
    path.write_bytes(path.read_bytes() + bytes(100))  # as readable as without
    found = incomplete(tmp_path, shapes | {"unknown": None, "size": (4, 8, 6)}).set_index("tomo_id")["problem"]
    assert found.index.tolist() == ["cut", "gap", "none", "short", "size"]
    assert "slice_0002.jpg is cut short" in found["cut"]
    assert "slice_0002.jpg is missing among 3" in found["gap"]
    assert "holds no JPEG slices" in found["none"]
    assert "is (3, 6, 8), its label says (4, 6, 8)" in found["short"]
    assert "is (4, 6, 8), its label says (4, 8, 6)" in found["size"]
