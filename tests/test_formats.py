"""Files of other programs mean what they say: grey levels, axes, spacing, parts and names are followed or refused."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import os
import re
import shutil
import struct
import unicodedata
import warnings
from contextlib import nullcontext
from pathlib import Path

import cv2
import mrcfile
import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage
from toys import in_files

from motors.volumes import formats, tiff, tomogram
from motors.volumes.levels import percentiles, to_uint8
from motors.volumes.mrc import write_mrc
from motors.volumes.slices import write_slices
from motors.volumes.sources import collect
from motors.volumes.tomogram import TomogramWarning, check_memory, doubts

SHAPE = (9, 24, 40)
BLOBS = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=SHAPE), 2)
LEVELS = np.round((BLOBS - BLOBS.min()) / np.ptp(BLOBS) * 255).astype(np.uint8)  # smooth, from 0 to 255
SIGNED = (LEVELS.astype(int) - 128).astype(np.int8)
WIDE = LEVELS.astype(np.uint16) * 200 + 300
PAIR = np.stack([LEVELS, 255 - LEVELS], axis=1)  # two channels in each plane

pytestmark = pytest.mark.filterwarnings("ignore:.*a motor alone is 45:motors.volumes.tomogram.TomogramWarning")


def read(path: Path, **options) -> np.ndarray:
    """Return the voxels of a file whose spacing does not matter."""
    return formats.read(path, **{"spacing": 13.1} | options).voxels


def mrc(path: Path, voxels: np.ndarray, spacing=13.1, **header) -> Path:
    """Write an MRC file whose header says something else."""
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(voxels)
        file.voxel_size = spacing
        for name, value in header.items():
            setattr(file.header, name, value)
    return path


def zarr_image(path: Path, voxels: np.ndarray, axes: str = "zyx", unit: str | None = "angstrom", **array) -> Path:
    """Write an OME-Zarr image of version 0.4, or 0.5 if it is sharded."""
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(path, mode="w", zarr_format=3 if "shards" in array else 2)
    group.create_array("0", data=voxels, **{"chunks": tuple(min(8, side) for side in voxels.shape)} | array)
    kinds = {"t": "time", "c": "channel"}
    about = [{"name": n, "type": kinds.get(n, "space")} | ({"unit": unit} if unit and n in "zyx" else {}) for n in axes]
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.31] * len(axes)}]}
    image = {"multiscales": [{"version": "0.4", "axes": about, "datasets": [level]}]}
    group.attrs.update({"ome": image} if "shards" in array else image)
    return path


def pictures(folder: Path, name: str, encode, planes: np.ndarray = LEVELS, start: int = 0) -> Path:
    """Write one picture a plane."""
    folder.mkdir(parents=True)
    for k, plane in enumerate(planes):
        (folder / name.format(k + start)).write_bytes(encode(plane))
    return folder


def opencv(ending: str):
    """Return what encodes a plane as OpenCV does."""
    return lambda plane: cv2.imencode(ending, plane)[1].tobytes()


def pillow(mode: str, kind: str, **options):
    """Return what encodes a plane as Pillow does."""

    def encode(plane: np.ndarray) -> bytes:
        file = io.BytesIO()
        Image.fromarray(plane).convert(mode).save(file, kind, **options)
        return file.getvalue()

    return encode


# grey levels


@pytest.mark.parametrize(
    ("voxels", "header", "expected"),
    [
        (LEVELS.view(np.int8), {"dmin": 0, "dmax": 255}, LEVELS),
        (SIGNED, {"dmin": -128, "dmax": 127}, to_uint8(SIGNED)),
        (WIDE.view(np.int16), {"dmin": 300, "dmax": 51300}, to_uint8(WIDE)),
        (WIDE.astype(">u2"), {}, to_uint8(WIDE)),
        (WIDE.view(np.int16), {"dmin": 0, "dmax": 0}, to_uint8(WIDE)),
        ((SIGNED * np.int16(90)).view(np.uint16), {"dmin": -11520, "dmax": 11430}, to_uint8(SIGNED * np.int16(90))),
        (SIGNED * np.int16(90), {"dmin": 0, "dmax": 0}, to_uint8(SIGNED * np.int16(90))),
        (WIDE, {"dmin": -3.2, "dmax": 5.1}, to_uint8(WIDE)),
        (SIGNED * np.int16(90), {"dmin": 0, "dmax": 70_000}, to_uint8(SIGNED * np.int16(90))),
        (SIGNED * np.int16(90), {"dmin": 0, "dmax": 40_000}, to_uint8(SIGNED * np.int16(90))),
        (WIDE.view(np.int16), {"dmin": 2_000, "dmax": 49_000}, to_uint8(WIDE)),
    ],
    ids=[
        "unsigned bytes",
        "signed bytes",
        "u2 in mode 1",
        "big-endian",
        "u2 in mode 1, no range",
        "i2 in mode 6",
        "i2",
        "u2 with the range of other numbers",
        "i2 with the range of other numbers",
        "i2 with a range that it leaves",
        "u2 in mode 1, range of a sample",
    ],
)
def test_the_sign_in_an_mrc_file_is_that_of_the_range_in_its_header(tmp_path, voxels, header, expected):
    """Where there is no stamp of IMOD, the range is the only statement, unless it is that of other numbers."""
    assert np.array_equal(read(mrc(tmp_path / "a.mrc", voxels, **header)), expected)


@pytest.mark.parametrize(("voxels", "expected"), [(LEVELS.view(np.int8), LEVELS), (SIGNED, to_uint8(SIGNED))])
def test_where_a_header_is_silent_neighbours_tell_the_sign_and_that_is_said(tmp_path, voxels, expected):
    """Under the wrong one, neighbours jump by 255 at the middle grey."""
    with pytest.warns(TomogramWarning, match="does not say whether its numbers have a sign: taken as"):
        found = read(mrc(tmp_path / "a.mrc", voxels, dmin=0, dmax=-1))
    assert np.array_equal(found, expected)
    with pytest.warns(TomogramWarning, match="taken as"):  # a range that is left over from other numbers says nothing
        assert np.array_equal(read(mrc(tmp_path / "c.mrc", voxels, dmin=-4.2, dmax=6.6)), expected)
    noise = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8).view(np.int8)
    with pytest.raises(ValueError, match="does not say whether its numbers have a sign"):
        read(mrc(tmp_path / "b.mrc", noise, dmin=0, dmax=0))


@pytest.mark.parametrize(
    ("voxels", "low", "high", "expected"),
    [
        (SIGNED, 0, 255, to_uint8(SIGNED.view(np.uint8).astype(int))),
        (LEVELS.view(np.int8), -128, 127, to_uint8(LEVELS.view(np.int8))),
        (WIDE, -32768, 32767, to_uint8(WIDE)),
        (SIGNED * np.int16(90), 0, 65535, to_uint8(SIGNED * np.int16(90))),
    ],
    ids=["signed bytes", "unsigned bytes", "u2", "i2"],
)
def test_a_range_that_every_number_lies_in_is_no_proof_of_its_sign(tmp_path, voxels, low, high, expected):
    """Where neighbours speak against it, that is said; the mode of 16 bits goes before it, that of bytes says less."""
    with pytest.warns(TomogramWarning, match=f"its range {low} to {high} and its voxels contradict each other"):
        assert np.array_equal(read(mrc(tmp_path / "a.mrc", voxels, dmin=low, dmax=high)), expected)


def test_few_grey_levels_survive_our_own_files_and_counts_in_bytes_are_stretched(tmp_path):
    """The label that `write_mrc` leaves tells them apart."""
    dark = LEVELS // 14
    assert np.array_equal(read(write_mrc(tmp_path / "a.mrc", dark, 13.1)), dark)
    np.save(tmp_path / "a.npy", dark)
    assert np.array_equal(read(tmp_path / "a.npy"), to_uint8(100.0 * dark))
    with mrcfile.open(tmp_path / "a.mrc", "r+") as file:
        file.add_label("clip: multiplied")  # by a program that keeps ours
    assert np.array_equal(read(tmp_path / "a.mrc"), to_uint8(100.0 * dark))


@pytest.mark.parametrize(("voxels", "expected"), [(LEVELS, 255 - LEVELS), (WIDE, to_uint8(65535 - WIDE))])
def test_a_tiff_file_in_which_white_is_zero_is_turned(tmp_path, voxels, expected):
    """Whatever the number of bits."""
    tifffile.imwrite(tmp_path / "a.tif", voxels, photometric="miniswhite")
    assert np.array_equal(read(tmp_path / "a.tif"), expected)


def test_a_tiff_file_that_says_nothing_about_white_is_taken_as_its_viewers_do_and_that_is_said(tmp_path):
    """The tag is required, but some writers leave it out, and tifffile then tells white."""
    tifffile.imwrite(tmp_path / "a.tif", LEVELS, photometric="minisblack", metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        places = [page.tags[tiff.PHOTOMETRIC].offset for page in file.pages]
    content = bytearray((tmp_path / "a.tif").read_bytes())
    for place in places:
        content[place : place + 2] = struct.pack("<H", 65500)  # a tag that nobody knows
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.warns(TomogramWarning, match="a.tif: it does not say whether zero is black"):
        assert np.array_equal(read(tmp_path / "a.tif"), LEVELS)


@pytest.mark.parametrize(
    ("said", "photometric", "expected"),
    [
        ("cf=0\nc0=255\nc1=-1\n", "minisblack", 255 - LEVELS),
        ("cf=0\nc0=255\nc1=-1\n", "miniswhite", 255 - LEVELS),
        ("cf=0\nc0=-128\nc1=2\n", "minisblack", LEVELS),
        ("cf=20\n", "minisblack", LEVELS),
        ("cf=21\n", "minisblack", None),
    ],
    ids=["falling", "falling and inverted", "rising", "none", "density"],
)
def test_a_line_by_which_imagej_calibrates_is_followed_and_a_curve_refused(tmp_path, said, photometric, expected):
    """A line that falls makes high numbers mean less, as an inverted look-up table does: one turn does for both."""
    about = f"ImageJ=1.53t\nimages=9\nslices=9\n{said}"
    tifffile.imwrite(tmp_path / "a.tif", LEVELS, description=about, metadata=None, photometric=photometric)
    if expected is None:
        with pytest.raises(ValueError, match="calibrates its numbers by a curve .cf=21"):
            read(tmp_path / "a.tif")
    else:
        assert np.array_equal(read(tmp_path / "a.tif"), expected)


@pytest.mark.parametrize("up", [True, False])
def test_a_palette_of_greys_is_followed_and_one_of_colours_refused(tmp_path, up: bool):
    """The numbers in the file are places in the palette, no grey levels."""
    planes = [Image.fromarray(plane) for plane in LEVELS]
    for plane in planes:
        plane.putpalette([level for k in range(256) for level in [k if up else 255 - k] * 3])
    planes[0].save(tmp_path / "a.tif", save_all=True, append_images=planes[1:])
    assert np.array_equal(read(tmp_path / "a.tif"), LEVELS if up else 255 - LEVELS)
    levels = np.arange(256)[:: 1 if up else -1]  # of 8 bits in place of 16, as some programs write them
    about = {"photometric": "palette", "colormap": np.stack([levels] * 3).astype(np.uint16)}
    tifffile.imwrite(tmp_path / "c.tif", LEVELS, **about)
    assert np.array_equal(read(tmp_path / "c.tif"), LEVELS if up else 255 - LEVELS)
    planes[3].putpalette([level for k in range(256) for level in [255 - k if up else k] * 3])
    planes[0].save(tmp_path / "d.tif", save_all=True, append_images=planes[1:])
    with pytest.raises(ValueError, match="palettes of their own"):
        read(tmp_path / "d.tif")
    for plane in planes:
        plane.putpalette([level for k in range(256) for level in (k, 0, 255 - k)])
    planes[0].save(tmp_path / "b.tif", save_all=True, append_images=planes[1:])
    with pytest.raises(ValueError, match="palette of colours"):
        read(tmp_path / "b.tif")


def test_transparency_is_no_axis_and_ome_metadata_know_the_sign(tmp_path):
    """Both are stated beside the numbers."""
    clear = np.stack([LEVELS, np.full_like(LEVELS, 255)], axis=-1)
    about = {"photometric": "minisblack", "planarconfig": "contig"}
    tifffile.imwrite(tmp_path / "a.tif", clear, extrasamples=["unassalpha"], **about)
    assert np.array_equal(read(tmp_path / "a.tif"), LEVELS)
    tifffile.imwrite(tmp_path / "a.ome.tif", SIGNED.view(np.uint8), metadata={"axes": "ZYX"})
    said = tifffile.tiffcomment(tmp_path / "a.ome.tif").replace('Type="uint8"', 'Type="int8"')
    tifffile.tiffcomment(tmp_path / "a.ome.tif", said.encode())
    assert np.array_equal(read(tmp_path / "a.ome.tif"), to_uint8(SIGNED))


@pytest.mark.parametrize(
    ("voxels", "options", "reason"),
    [
        (LEVELS > 120, {}, "bool is not a volume"),
        (LEVELS.astype(np.complex64), {}, "complex64 is not a volume"),
        (np.stack([LEVELS, LEVELS, 255 - LEVELS], -1), {"photometric": "rgb"}, "colour picture"),
        (LEVELS[0], {"photometric": "minisblack"}, "z is missing"),
    ],
    ids=["mask", "complex", "colours", "picture"],
)
def test_a_tiff_file_of_something_else_is_refused_for_what_it_is(tmp_path, voxels, options, reason):
    """Copying it again would not help."""
    tifffile.imwrite(tmp_path / "a.tif", voxels, **options)
    with pytest.raises(ValueError, match=reason) as error:
        read(tmp_path / "a.tif")
    assert "copy it again" not in str(error.value)


@pytest.mark.parametrize(
    ("mode", "word"),
    [
        (3, "complex"),
        (4, "complex"),
        (16, "colours"),
        (101, "mode 101"),
        (7, "mode 7"),
        (2002, "2002 holds packed"),
    ],
)
def test_an_mrc_mode_without_real_numbers_is_named(tmp_path, mode: int, word: str):
    """So is one that nobody knows."""
    path = mrc(tmp_path / "a.mrc", LEVELS.astype(np.int16))
    content = bytearray(path.read_bytes())
    content[12:16] = struct.pack("<i", mode)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=word):
        read(path)


def test_bytes_of_two_voxels_each_are_named_where_only_a_flag_of_imod_says_so(tmp_path):
    """Their mode is that of whole bytes."""
    path = mrc(tmp_path / "a.mrc", LEVELS.view(np.int8))
    content = bytearray(path.read_bytes())
    content[152:160] = struct.pack("<ii", 1_146_047_817, 16)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="mode 0 holds two voxels a byte"):
        read(path)


@pytest.mark.parametrize(
    ("mode", "kind"), [("RGB", "PNG"), ("RGBA", "PNG"), ("P", "PNG"), ("1", "PNG"), ("RGB", "JPEG"), ("CMYK", "JPEG")]
)
def test_slices_that_are_not_grey_are_refused(tmp_path, mode: str, kind: str):
    """Colour, palettes and masks, in both kinds of pictures, of 16 bits too."""
    name = "slice_{:04d}." + ("png" if kind == "PNG" else "jpg")
    coloured = np.stack([LEVELS, LEVELS, 255 - LEVELS], axis=-1)
    with pytest.raises(ValueError, match=f"is a {kind} picture of mode {mode}, not in grey levels"):
        read(pictures(tmp_path / "a", name, pillow(mode, kind), coloured))
    deep = np.stack([WIDE, WIDE, WIDE + 1], axis=-1)
    with pytest.raises(ValueError, match="is a PNG picture of mode RGB, not in grey levels"):
        read(pictures(tmp_path / "b", "slice_{:04d}.png", opencv(".png"), deep))


@pytest.mark.parametrize("kind", ["PNG", "GIF", "JPEG", "WEBP"])
def test_a_slice_of_several_pictures_or_of_another_kind_than_its_name_says_is_refused_as_such(tmp_path, kind: str):
    """Animated ones show a volume in each slice; a grey picture of another kind is no coloured one."""
    more = {"save_all": True, "append_images": [Image.fromarray(LEVELS[0])]} if kind != "JPEG" else {}
    count = 1 if kind == "JPEG" else 2
    with pytest.raises(ValueError, match=rf"slice_0000\.png holds {count} picture\(s\) of the kind {kind}: save each"):
        read(pictures(tmp_path / "a", "slice_{:04d}.png", pillow("L", kind, **more), LEVELS[1:]))


@pytest.mark.parametrize(
    ("mode", "kind"), [("RGB", "PNG"), ("RGBA", "PNG"), ("LA", "PNG"), ("P", "PNG"), ("RGB", "JPEG"), ("RGB", "TIFF")]
)
def test_greys_that_were_saved_in_colours_are_read(tmp_path, mode: str, kind: str):
    """As viewers and tools that make files small leave them; in TIFF, also as one stack."""
    name = "slice_{:04d}." + {"JPEG": "jpg", "TIFF": "tif"}.get(kind, "png")
    found = read(pictures(tmp_path / "a", name, pillow(mode, kind)))
    assert np.abs(found.astype(int) - LEVELS).max() <= (8 if kind == "JPEG" else 0)
    if kind == "PNG":
        for k, samples in enumerate(([WIDE] * 3, [*[WIDE] * 3, np.full_like(WIDE, 65535)])):
            deep = pictures(tmp_path / f"deep{k}", name, opencv(".png"), np.stack(samples, axis=-1))
            assert np.array_equal(read(deep), to_uint8(WIDE)), "16 bits, with and without transparency"
    if kind == "TIFF":
        for planar in ("contig", "separate"):
            voxels = np.stack([LEVELS] * 3, axis=-1 if planar == "contig" else 1)
            tifffile.imwrite(tmp_path / "a.tif", voxels, photometric="rgb", planarconfig=planar)
            assert np.array_equal(read(tmp_path / "a.tif"), LEVELS)
        assert list(collect(tmp_path / "a")[0]) == ["a"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_a_picture_that_is_to_be_turned_is_refused(tmp_path, kind: str):
    """EXIF or a tag says so; orientation 1 says that it is as it should be."""
    for turn in (1, 6):
        exif = Image.Exif()
        exif[0x0112] = turn
        name = f"slice_{{:04d}}.{'jpg' if kind == 'JPEG' else 'png'}"
        if kind == "TIFF":
            (tmp_path / str(turn)).mkdir()
            tags = [(0x0112, "H", 1, turn, True)]
            tifffile.imwrite(tmp_path / str(turn) / "a.tif", LEVELS, photometric="minisblack", extratags=tags)
        else:
            pictures(tmp_path / str(turn), name, pillow("L", kind, exif=exif.tobytes()))
    ending = "a.tif" if kind == "TIFF" else "."
    assert read(tmp_path / "1" / ending).shape == SHAPE
    with pytest.raises(ValueError, match="orientation 6"):
        read(tmp_path / "6" / ending)
    with tifffile.TiffWriter(tmp_path / "b.tif") as file:
        for k, plane in enumerate(LEVELS):
            tags = [(0x0112, "H", 1, 3 if k == 5 else 1, False)]
            file.write(plane, photometric="minisblack", metadata=None, extratags=tags)
    with pytest.raises(ValueError, match="orientation 3"):
        read(tmp_path / "b.tif")


@pytest.mark.parametrize("far", [2_000_000_000 + LEVELS.astype(np.int32), 1e9 + LEVELS])
def test_contrast_on_a_high_background_keeps_its_digits(tmp_path, far):
    """Between 2 and 4 milliards, float32 knows every 256th number only."""
    np.save(tmp_path / "a.npy", far)
    assert np.array_equal(read(tmp_path / "a.npy"), to_uint8(LEVELS.astype(np.float64)))


@pytest.mark.parametrize(
    ("share", "fill", "left"),
    [(0.0, 0, None), (0.25, 1000, None), (0.25, 850, None), (0.04, 500, 113), (0.25, 0, 62), (0.25, 5000, 17)],
)
def test_padding_that_takes_the_contrast_is_said(tmp_path, share: float, fill: float, left: int | None):
    """Noise of 1000 ± 50, white at 1118: its darkest thousandth at 845 is of level 255 * 845 / 1118 if 0 is black."""
    voxels = np.random.default_rng(0).normal(1000, 50, (30, 40, 50)).astype(np.float32)
    voxels[:, : round(40 * share)] = fill
    np.save(tmp_path / "a.npy", voxels)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        read(tmp_path / "a.npy")
    said = [re.search(r"which has (\d+) of 256 intensities", str(each.message)) for each in seen]
    assert [int(each[1]) for each in said if each] == ([pytest.approx(left, abs=4)] if left else [])
    pictures(tmp_path / "a", "{:02d}.png", opencv(".png"), voxels.astype(np.uint16))
    with pytest.warns(TomogramWarning, match="of 256 intensities") if left else nullcontext():
        read(tmp_path / "a")
    for few in (np.random.default_rng(0).poisson(0.5, voxels.shape), voxels > 1050):
        np.save(tmp_path / "b.npy", few.astype(np.int16))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", ".*a motor alone")
            read(tmp_path / "b.npy")


def test_inverted_contrast_is_turned_when_told(tmp_path):
    """Dense becomes dark again."""
    np.save(tmp_path / "a.npy", LEVELS)
    assert np.array_equal(read(tmp_path / "a.npy", invert=True), 255 - LEVELS)


# axes


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (1, 3, 2), (2, 1, 3), (2, 3, 1), (3, 1, 2), (0, 0, 0)])
def test_the_axes_of_an_mrc_file_follow_its_header(tmp_path, order):
    """Columns, rows and sections are x, y and z by number; zeros are of a time before."""
    names = [" xyz"[number] for number in reversed(order)] if any(order) else list("zyx")
    stored = np.ascontiguousarray(LEVELS.transpose(["zyx".index(name) for name in names]), np.float32)
    path = mrc(tmp_path / "a.mrc", stored, **dict(zip(("mapc", "mapr", "maps"), order, strict=True)))
    assert np.array_equal(read(path), to_uint8(LEVELS.astype(np.float32)))


@pytest.mark.parametrize("ending", ["st", "ali", "mrcs", "st.gz"])
def test_what_is_called_as_tilt_series_are_is_said_to_be(tmp_path, ending: str):
    """IMOD's raw and aligned ones, RELION's pictures of particles, packed or not; a reconstruction is none."""
    content = mrc(tmp_path / "a.rec", WIDE).read_bytes()
    path = tmp_path / f"a.{ending}"
    path.write_bytes(gzip.compress(content) if ending.endswith("gz") else content)
    with pytest.warns(TomogramWarning, match="make sure that it is a volume, no tilt series"):
        read(path)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*tilt series")
        read(tmp_path / "a.rec")


def test_an_order_of_axes_that_cannot_be_is_refused(tmp_path):
    """Two axes are x."""
    with pytest.raises(ValueError, match="axis order maps, mapr, mapc"):
        read(mrc(tmp_path / "a.mrc", WIDE, mapc=1, mapr=1))


def test_one_of_several_volumes_channels_and_times_is_chosen(tmp_path):
    """By number; without one, the choice is asked for, and a number too high is refused."""
    mrc(tmp_path / "a.mrc", np.stack([LEVELS, 255 - LEVELS]).astype(np.float32))
    tifffile.imwrite(tmp_path / "a.tif", PAIR, imagej=True, metadata={"axes": "ZCYX"})
    tifffile.imwrite(tmp_path / "b.ome.tif", PAIR, metadata={"axes": "ZCYX"})
    zarr_image(tmp_path / "a.zarr", PAIR.swapaxes(0, 1).copy(), "tzyx")
    files = {"a.mrc": "image", "a.tif": "channel", "b.ome.tif": "channel", "a.zarr": "time"}
    for name, word in files.items():
        found = read(tmp_path / name, **{word: 1})
        assert np.corrcoef(found.ravel(), (255.0 - LEVELS).ravel())[0, 1] > 0.99
        for wrong in ({}, {word: 2}, {word: -1}, {word: "1"}, {word: 0.5}):
            with pytest.raises(ValueError, match=f"2 along {word}"):
                read(tmp_path / name, **wrong)


@pytest.mark.parametrize("axes", ["CYX", "TYX"])
def test_channels_and_times_are_no_slices_unless_the_caller_says_so(tmp_path, axes: str):
    """ImageJ often calls slices times."""
    tifffile.imwrite(tmp_path / "a.tif", LEVELS, imagej=True, metadata={"axes": axes})
    with pytest.raises(ValueError, match="say axes='zyx'"):
        read(tmp_path / "a.tif")
    assert np.array_equal(read(tmp_path / "a.tif", axes="zyx"), LEVELS)


@pytest.mark.parametrize("axes", ["xyz", "yxz", "zxy"])
def test_the_axes_of_ome_zarr_follow_their_names(tmp_path, axes: str):
    """Whatever their order."""
    stored = np.ascontiguousarray(LEVELS.transpose(["zyx".index(name) for name in axes]))
    assert np.array_equal(read(zarr_image(tmp_path / "a.zarr", stored, axes)), LEVELS)


@pytest.mark.parametrize(
    "stored",
    [LEVELS[None], LEVELS[..., None], LEVELS[None, None], np.asfortranarray(LEVELS), WIDE.astype(">u2")],
    ids=["leading one", "trailing one", "two ones", "Fortran", "big-endian"],
)
def test_arrays_of_numpy_are_read_whatever_their_layout(tmp_path, stored):
    """Axes of length one are no axes."""
    np.save(tmp_path / "a.npy", stored)
    assert np.array_equal(read(tmp_path / "a.npy"), to_uint8(stored.reshape(SHAPE) if stored.ndim > 3 else stored))


def test_a_thin_axis_that_is_not_z_is_said_and_can_be_permuted(tmp_path):
    """As IMOD's tilt leaves it: y is the depth."""
    np.save(tmp_path / "a.npy", LEVELS.transpose(1, 0, 2))
    with pytest.warns(TomogramWarning, match="thin axis is y, not z.*axes='yzx'"):
        assert read(tmp_path / "a.npy").shape == (24, 9, 40)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".*a motor alone")
        for axes in ("yzx", "Y, Z, X", ["y", "z", "x"], ("Y", "Z", "X")):
            assert np.array_equal(read(tmp_path / "a.npy", axes=axes), LEVELS)
    for axes in ("123", " ", 3):
        with pytest.raises(ValueError, match="give one letter for each as axes="):
            read(tmp_path / "a.npy", axes=axes)


# spacing


@pytest.mark.parametrize(
    ("shape", "spacing", "word"),
    [
        ((120, 400, 400), 1.0, "a motor alone"),
        ((300, 960, 928), 1.31, "a motor alone"),
        ((300, 960, 928), 131.0, "no ice"),
        ((300, 960, 928), 13.1, None),
        ((500, 4096, 4096), 2.1, None),
        ((300, 960, 928), None, None),
    ],
)
def test_a_spacing_at_which_no_cell_could_be_is_said(shape, spacing, word):
    """Nanometres taken for ångström, and the other way around."""
    found = doubts(shape, spacing)
    assert (len(found) == 1 and word in found[0]) if word else found == []


def test_the_spacing_of_the_caller_wins_and_a_contradiction_is_said(tmp_path):
    """One per cent is rounding; where the file says nothing, there is nothing to contradict."""
    for stated, said in ((10.0, True), (13.15, False), (0.0, False)):
        mrc(tmp_path / "a.mrc", WIDE, stated)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            assert formats.read(tmp_path / "a.mrc", spacing=13.1).spacing == 13.1
        assert any("the given 13.1 Å is taken" in str(each.message) for each in seen) == said


@pytest.mark.parametrize("stated", [1.31e-9, 0.0007123])
def test_a_spacing_in_metres_or_millimetres_keeps_its_digits(tmp_path, stated):
    """It is doubted as too small, and not taken for zero, which would be refused without the name of the file."""
    with pytest.warns(TomogramWarning, match=f"a.mrc: at a spacing of {stated:g} Å it measures"):
        assert formats.read(mrc(tmp_path / "a.mrc", WIDE, stated)).spacing == stated


@pytest.mark.parametrize("bad", ["13.1", "abc", True, [13.1], b"13"])
def test_a_spacing_that_is_no_number_is_refused_as_such(tmp_path, bad):
    """The file is whole."""
    np.save(tmp_path / "a.npy", LEVELS)
    with pytest.raises(ValueError, match="spacing is .*, not a number"):
        formats.read(tmp_path / "a.npy", spacing=bad)


@pytest.mark.parametrize("kind", ["float32", "float64", "int16"])
def test_a_spacing_may_be_a_number_of_numpy_as_headers_give_it(tmp_path, kind: str):
    """`voxel_size.x` of mrcfile is an array without axes."""
    np.save(tmp_path / "a.npy", LEVELS)
    for given in (np.array(13, kind), np.array(13, kind)[()]):
        found = formats.read(tmp_path / "a.npy", spacing=given).spacing
        assert found == 13 and type(found) is float
    with mrcfile.open(mrc(tmp_path / "a.mrc", WIDE, 13.5)) as file:
        assert formats.read(tmp_path / "a.npy", spacing=file.voxel_size.x).spacing == 13.5
        with pytest.raises(ValueError, match="not a number"):
            formats.read(tmp_path / "a.npy", spacing=file.voxel_size)
    with pytest.raises(ValueError, match="above zero"):
        formats.read(tmp_path / "a.npy", spacing=np.array(-13.1))


def test_contrast_is_not_inverted_by_a_word(tmp_path):
    """Which is true, whatever it says."""
    np.save(tmp_path / "a.npy", LEVELS)
    with pytest.raises(ValueError, match="invert is 'false'"):
        read(tmp_path / "a.npy", invert="false")
    assert np.array_equal(read(tmp_path / "a.npy", invert=np.True_), 255 - LEVELS)


@pytest.mark.parametrize(
    ("unit", "expected"),
    [("nanometer", 13.1), ("micrometer", 13100), ("picometer", 0.0131), ("pixel", None), (None, None)],
)
def test_lengths_of_ome_are_in_the_unit_that_they_name(tmp_path, unit, expected):
    """One without a unit is no length; one below zero is that of a mirrored axis."""
    assert formats.read(zarr_image(tmp_path / "a.zarr", LEVELS, unit=unit)).spacing == expected if expected else True
    assert expected or formats.read(zarr_image(tmp_path / "b.zarr", LEVELS, unit=unit)).spacing is None
    sizes = {f"PhysicalSize{axis}": -1.31 if axis == "Y" else 1.31 for axis in "ZYX"}
    short = {"nanometer": "nm", "micrometer": "µm", "picometer": "pm", "pixel": "pixel", None: "reference frame"}[unit]
    units = {f"PhysicalSize{axis}Unit": short for axis in "ZYX"}
    tifffile.imwrite(tmp_path / "a.ome.tif", LEVELS, metadata={"axes": "ZYX", **sizes, **units})
    assert formats.read(tmp_path / "a.ome.tif").spacing == expected


# parts


@pytest.mark.parametrize("ending", [".mrc", ".npy", ".tif", ".TIFF"])
@pytest.mark.parametrize("change", [-700, 700])
def test_a_file_that_is_shorter_or_longer_than_it_says_is_refused(tmp_path, ending: str, change: int):
    """Half a tomogram, or one with all its voxels moved."""
    path = tmp_path / f"a{ending}"
    if ending == ".mrc":
        mrc(path, WIDE)
    elif ending == ".npy":
        np.save(path, LEVELS)
    else:
        tifffile.imwrite(path, LEVELS, photometric="minisblack")
    content = path.read_bytes()
    if change > 0 and ending.lower().startswith(".tif"):
        pytest.skip("what follows the pages of a TIFF file belongs to nobody")
    path.write_bytes(content[:change] if change < 0 else content + bytes(change))
    with pytest.raises(ValueError, match="cannot be read as a tomogram"):
        read(path)


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"compression": "zlib"}, {"byteorder": ">"}], ids=str)
def test_a_tiff_file_whose_chain_of_pages_breaks_is_refused(tmp_path, options):
    """The pages before would be read as if they were all."""
    with tifffile.TiffWriter(
        tmp_path / "a.tif", bigtiff="bigtiff" in options, byteorder=options.get("byteorder")
    ) as file:
        for plane in LEVELS:
            file.write(plane, photometric="minisblack", compression=options.get("compression"), contiguous=False)
    assert np.array_equal(read(tmp_path / "a.tif"), LEVELS)
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="cannot be read as a tomogram"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"compression": "zlib"}, {"byteorder": ">"}], ids=str)
def test_a_tiff_file_without_the_end_of_what_it_says_is_refused(tmp_path, options):
    """OME metadata often stand there: without them, channels would be slices."""
    tifffile.imwrite(tmp_path / "a.ome.tif", PAIR, photometric="minisblack", metadata={"axes": "ZCYX"}, **options)
    assert np.array_equal(read(tmp_path / "a.ome.tif", channel=0), LEVELS)
    (tmp_path / "a.ome.tif").write_bytes((tmp_path / "a.ome.tif").read_bytes()[:-60])
    with pytest.raises(ValueError, match="what its page 0 says lies behind its end, it is cut short: copy it again"):
        read(tmp_path / "a.ome.tif")


def test_planes_and_chunks_that_are_not_there_are_missed(tmp_path):
    """Readers fill them with zeros and say nothing."""
    tifffile.imwrite(tmp_path / "a.ome.tif", LEVELS, metadata={"axes": "ZYX"})
    said = tifffile.tiffcomment(tmp_path / "a.ome.tif")
    tifffile.tiffcomment(tmp_path / "a.ome.tif", said.replace('SizeZ="9"', 'SizeZ="18"').encode())
    with pytest.raises(ValueError, match="9 of its 18 planes are missing"):
        read(tmp_path / "a.ome.tif")
    for name, more in (("a.zarr", {}), ("b.zarr", {"chunks": (3, 8, 8), "shards": (9, 8, 40)})):
        path = zarr_image(tmp_path / name, LEVELS + 1, **more)
        assert read(path).shape == SHAPE
        files = [
            each for each in path.rglob("*") if each.is_file() and not each.name.endswith((".json", "s", "y", "p"))
        ]
        for each in (files[0], *files[1:]):
            each.unlink()
            with pytest.raises(ValueError, match=r" of its \d+ chunks are missing: copy it again, with all its files"):
                read(path)


def test_chunks_that_were_left_empty_have_the_fill_value_if_there_is_one(tmp_path):
    """As the specification of Zarr says; an empty file is no chunk, and leftovers beside chunks are none."""
    voxels = LEVELS.copy()
    voxels[:, 5:20, 12:27] = 77
    path = zarr_image(tmp_path / "a.zarr", voxels, fill_value=77)
    (path / "0" / "@eaDir").mkdir()
    for name in ("._0.0.0", "Thumbs.db", "@eaDir/0.0.0@SynoEAStream"):
        (path / "0" / name).write_bytes(b"leftover")
    assert not (path / "0" / "0.1.2").exists(), "zarr leaves it out"
    with pytest.warns(TomogramWarning, match="taken as 77"):
        found = read(path)
    assert np.array_equal(found, voxels)
    (path / "0" / "0.1.2").touch()
    with pytest.raises(ValueError, match=r"chunk 0\.1\.2 is cut short"):
        read(path)
    (path / "0" / "0.1.2").unlink()
    (path / "0" / "0.1.2").symlink_to(tmp_path / "store")
    with pytest.raises(ValueError, match=r"chunk 0\.1\.2 is a pipe or device, no file, or a link to nothing"):
        read(path)
    (path / "0" / "0.1.2").unlink()
    about = json.loads((path / "0" / ".zarray").read_text())
    (path / "0" / ".zarray").write_text(json.dumps(about | {"fill_value": None}))
    with pytest.raises(ValueError, match="2 of its 30 chunks are missing"):
        read(path)


@pytest.mark.parametrize("dtype", ["<u1", ">u1", "<i1", ">i1", "|u1"])
def test_bytes_of_zarr_may_have_an_order(tmp_path, dtype: str):
    """As JZarr, with which bioformats2raw wrote, and Zarr.jl call theirs: it means nothing."""
    for path in (tmp_path / "a.zarr", tmp_path / "b.zarr" / "0"):
        zarr_image(path, LEVELS if "u" in dtype else SIGNED)
        about = json.loads((path / "0" / ".zarray").read_text())
        (path / "0" / ".zarray").write_text(json.dumps(about | {"dtype": dtype}))
        expected = LEVELS if "u" in dtype else to_uint8(SIGNED)
        assert np.array_equal(read(path), expected)
        assert "u" not in dtype or formats.read(path).spacing == 1.31


def test_a_chunk_that_is_lost_is_told_by_the_voxels_around_it(tmp_path):
    """Where more than half of the 64 voxels beside a face of it are no fill, it was not left empty. Nothing is NaN."""
    lost = "1 of its 30 chunks are missing: copy it again, with all its files, or write empty chunks, too"
    for fill, voxels in ((0.0, BLOBS), (np.nan, BLOBS)):
        path = zarr_image(tmp_path / f"{fill}.zarr", voxels.astype(np.float32), fill_value=fill)
        (path / "0" / "1.0.4").unlink()
        with pytest.raises(ValueError, match=lost):
            read(path)
    corner = LEVELS + np.uint8(1)
    corner[:9, :9, :9] = 0
    corner[8, :4, :8] = 9
    path = zarr_image(tmp_path / "corner.zarr", corner)
    with pytest.warns(TomogramWarning, match="1 of its 30 chunks are not there, taken as 0"):
        read(path)
    corner[8, 4, 0] = 9
    zarr_image(path, corner)
    with pytest.raises(ValueError, match=lost):
        read(path)


@pytest.mark.kernel  # no smaller sides make sense in both orders
def test_bytes_of_a_big_endian_file_are_no_giant(tmp_path):
    """Where all sides are multiples of 256, both orders of bytes make sense; only one of them is of this world."""
    voxels = np.random.default_rng(0).integers(0, 99, (256, 256, 512), dtype=np.int8)
    header = bytearray(1024)
    struct.pack_into(">10i", header, 0, 512, 256, 256, 0, 0, 0, 0, 512, 256, 256)
    (tmp_path / "a.mrc").write_bytes(bytes(header) + voxels.tobytes())
    assert np.array_equal(read(tmp_path / "a.mrc"), to_uint8(voxels))


def test_contrast_of_png_does_not_depend_on_its_kind_either(tmp_path):
    """Few grey levels in pictures are stretched as those of TIFF are."""
    counts = np.random.default_rng(0).poisson(6, SHAPE).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", counts)
    found = read(pictures(tmp_path / "a", "{:02d}.png", opencv(".png"), counts))
    assert found.std() > 20
    assert np.array_equal(found, read(tmp_path / "a.tif"))


@pytest.mark.parametrize(
    "other",
    [
        {"photometric": "miniswhite"},
        {"compression": "deflate"},
        {"dtype": "u2"},
        {"dtype": "i1"},
        {"rows": 11},
    ],
    ids=["white is zero", "compressed", "16 bits", "signed", "rows"],
)
def test_a_page_of_another_kind_does_not_hide_among_the_rest(tmp_path, other):
    """tifffile looks at the first, the last and one in the middle, and reads all in the way of the first."""
    form, rows = np.dtype(other.pop("dtype", "u1")), other.pop("rows", 24)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for k, plane in enumerate(LEVELS):
            options = {"photometric": "minisblack", "metadata": None} | (other if k == 5 else {})
            file.write(plane[:rows].astype(form) if k == 5 else plane, **options)
    with pytest.raises(ValueError, match="its page 5 is of another kind than the first"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize("other", [np.zeros((9, 30), np.uint8), np.zeros(LEVELS.shape[1:], np.int32)])
def test_a_page_of_another_size_is_no_second_image(tmp_path, other):
    """Whoever chose the first image would have a stack without one of its slices."""
    pages = [Image.fromarray(other if k == 1 else plane) for k, plane in enumerate(LEVELS)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    for image in (None, 0):
        with pytest.raises(ValueError, match="its page 1 is of another size or kind than the rest"):
            read(tmp_path / "a.tif", image=image)


def test_a_picture_says_that_it_is_to_be_turned_wherever_it_says_so(tmp_path):
    """A profile of colours may come first."""
    exif = Image.Exif()
    exif[0x0112] = 6

    def encode(plane):
        file = io.BytesIO()
        Image.fromarray(plane).save(file, "JPEG", icc_profile=bytes(9000))
        head, about = file.getvalue(), exif.tobytes()
        end = head.index(b"\xff\xdb")
        return head[:end] + b"\xff\xe1" + struct.pack(">H", len(about) + 2) + about + head[end:]

    with pytest.raises(ValueError, match="to be turned"):
        read(pictures(tmp_path / "a", "slice_{:04d}.jpg", encode))


@pytest.mark.parametrize(
    ("unit", "others", "spacing"),
    [
        ("nm", {"spacing": 0.00131, "zunit": "micron"}, 13.1),
        ("nm", {"spacing": -1.31}, 13.1),
        ("nanometers", {"spacing": 1.31}, 13.1),
        ("angstroms", {"spacing": 1.31}, 1.31),
        ("pixel", {"spacing": 1.31}, None),
    ],
)
def test_imagej_has_units_for_each_axis_and_depths_below_zero(tmp_path, unit, others, spacing):
    """Its z may count downwards; units come in the plural."""
    about = {"axes": "ZYX", "unit": unit, **others}
    tifffile.imwrite(tmp_path / "a.tif", LEVELS, imagej=True, resolution=(1 / 1.31, 1 / 1.31), metadata=about)
    assert formats.read(tmp_path / "a.tif").spacing == pytest.approx(spacing, abs=1e-3)


def test_planes_that_imagej_left_without_pages_are_counted(tmp_path):
    """Over 4 GB it writes one page and leaves all planes behind it; fewer than are there are not all."""
    tifffile.imwrite(tmp_path / "a.tif", LEVELS[:1], imagej=True, metadata={"axes": "ZYX", "Info": "x" * 300})
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        begin, place = file.pages[0].dataoffsets[0], file.pages[0].tags["ImageDescription"].valueoffset
        text = file.pages[0].description
    reasons = {7: "it has 7 planes, 2 more are there", 12: "it has 12 planes, 9 are there"}
    for stated, spare, reason in ((9, 0, None), (9, 7, None), (7, 0, reasons[7]), (12, 3, reasons[12])):
        said = text.replace("images=1", f"images={stated}\nslices={stated}").encode()
        content = bytearray((tmp_path / "a.tif").read_bytes()[:begin] + LEVELS.tobytes() + bytes(spare))
        content[place : place + len(said) + 1] = said + b"\0"
        (tmp_path / "b.tif").write_bytes(content)
        if reason:
            with pytest.raises(ValueError, match=reason):
                read(tmp_path / "b.tif")
        else:
            assert np.array_equal(read(tmp_path / "b.tif"), LEVELS)


@pytest.mark.parametrize(("kept", "compression"), [(8, None), (8, "zlib"), (4, "lzw"), (9, "lzw")])
def test_pages_that_another_program_took_out_of_an_imagej_stack_are_missed(tmp_path, kept: int, compression):
    """It may keep the description, by which tifffile goes: half a tomogram would be read as if it were all."""
    about = "ImageJ=1.53t\nimages=9\nslices=9\n"
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for k, plane in enumerate(LEVELS[-kept:]):
            said = {"description": about} if k == 0 else {}
            file.write(
                plane, photometric="minisblack", metadata=None, compression=compression, contiguous=False, **said
            )
    with pytest.raises(ValueError, match=f"has 9 planes, {kept} are there") if kept < 9 else nullcontext():
        assert np.array_equal(read(tmp_path / "a.tif"), LEVELS)


def test_pages_that_metadata_pass_over_and_stacks_that_do_not_divide_are_refused(tmp_path):
    """Half a tomogram would be read as if it were all."""
    tifffile.imwrite(tmp_path / "a.ome.tif", LEVELS, metadata={"axes": "ZYX"})
    said = tifffile.tiffcomment(tmp_path / "a.ome.tif")
    fewer = said.replace('SizeZ="9"', 'SizeZ="4"').replace('PlaneCount="9"', 'PlaneCount="4"')
    tifffile.tiffcomment(tmp_path / "a.ome.tif", fewer.encode())
    tifffile.imwrite(tmp_path / "a.tif", LEVELS, imagej=True, metadata={"axes": "ZYX"})
    more = tifffile.tiffcomment(tmp_path / "a.tif").replace("=9", "=18")
    tifffile.tiffcomment(tmp_path / "a.tif", more)
    mrc(tmp_path / "a.mrc", WIDE, ispg=401, mz=4)
    reasons = {
        "a.ome.tif": "fit 4 of its 9 pages",
        "a.tif": "has 18 planes, 9 are",
        "a.mrc": "4 sections, it has 9",
    }
    for name, reason in reasons.items():
        with pytest.raises(ValueError, match=reason):
            read(tmp_path / name)
    for group in (0, 401):  # pictures, or volumes of one section each
        with pytest.warns(TomogramWarning, match=r"b\.mrc: its header calls it a stack of pictures"):
            assert np.array_equal(read(mrc(tmp_path / "b.mrc", WIDE, ispg=group, mz=1)), to_uint8(WIDE))


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("<?xml version='1.0'?><OME xmlns='x'><Image><Pixels SizeC='3'", "OME metadata are cut short"),
        ("SCIFIO=0.42.0\naxes=X,Y,Z,Channel\nlengths=40,24,3,3\nimages=9\nchannels=3\nslices=3\n", "X,Y,Z,Ch"),
        ("SCIFIO=0.42.0\naxes=X,Y,Z,Channel\nlengths=40,24,9,1\nimages=9\nslices=9\n", None),
    ],
    ids=["OME that is cut", "SCIFIO, z before channels", "SCIFIO, one channel"],
)
def test_an_order_of_planes_that_is_not_followed_is_no_order_of_slices(tmp_path, said, reason):
    """Channels would be slices, or slices of several channels one volume."""
    tifffile.imwrite(tmp_path / "a.tif", LEVELS, description=said, metadata=None, photometric="minisblack")
    if reason:
        for channel in (None, 0):
            with pytest.raises(ValueError, match=reason):
                read(tmp_path / "a.tif", channel=channel)
    else:
        assert np.array_equal(read(tmp_path / "a.tif"), LEVELS)


def test_a_page_whose_voxels_lie_nowhere_is_missed(tmp_path):
    """At offset 0 lies the head of the file."""
    tifffile.imwrite(tmp_path / "a.tif", LEVELS, photometric="minisblack", metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        file.pages[5].tags["StripOffsets"].overwrite([0])
    with pytest.raises(ValueError, match="pieces of its pages are missing"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"rowsperstrip": 5}, {"tile": (16, 16)}], ids=str)
def test_a_page_of_fewer_pieces_than_it_needs_is_no_darker_page(tmp_path, options):
    """What has no piece would be zeros, or rows of the next page."""
    tifffile.imwrite(tmp_path / "a.tif", LEVELS, photometric="minisblack", metadata=None, **options)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        for page in file.pages:
            page.tags["ImageLength"].overwrite(33)
    with pytest.raises(ValueError, match="pieces of its pages are missing|shorter than its pages need"):
        read(tmp_path / "a.tif")


def test_chunks_and_shards_are_counted_as_files_and_those_that_blosc_packed_are_whole(tmp_path):
    """Blosc reads on in memory where a file ends too early; shards may reach over the end of a volume."""
    numcodecs = pytest.importorskip("numcodecs")
    assert np.array_equal(read(zarr_image(tmp_path / "a.zarr", LEVELS, chunks=(3, 8, 8), shards=(6, 16, 16))), LEVELS)
    (zarr_image(tmp_path / "c.zarr", LEVELS, compressors=None) / "0" / "0.0.0").write_bytes(b"short")
    with pytest.raises(ValueError, match="it is damaged"):
        read(tmp_path / "c.zarr")
    path = zarr_image(tmp_path / "d.zarr", LEVELS, compressors=numcodecs.LZMA())
    (path / "0" / "0.1.2").write_bytes((path / "0" / "0.1.2").read_bytes()[:-9])
    with pytest.raises(ValueError, match="it is damaged .LZMAError"):
        read(path)
    path = zarr_image(tmp_path / "b.zarr", LEVELS, compressors=numcodecs.Blosc())
    assert np.array_equal(read(path), LEVELS)
    content = (path / "0" / "0.1.2").read_bytes()
    (path / "0" / "0.1.2").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"its chunk 0\.1\.2 is cut short"):
        read(path)
    (path / "0" / "0.1.2").write_bytes(content[:4] + struct.pack("<i", -5) + content[8:])
    with pytest.raises(ValueError, match="it is damaged .SystemError"):
        read(path)


@pytest.mark.parametrize("fill", [-1, 256])
def test_a_fill_value_that_cannot_be_is_no_crash(tmp_path, fill: int):
    """One that bytes do not hold, as writers in other languages leave it."""
    path = zarr_image(tmp_path / "a.zarr", LEVELS)
    about = json.loads((path / "0" / ".zarray").read_text())
    (path / "0" / ".zarray").write_text(json.dumps(about | {"fill_value": fill}))
    with pytest.raises(ValueError, match="describe no OME-Zarr image .OverflowError"):
        read(path)


def test_chunks_of_other_names_than_the_metadata_say_are_not_called_lost(tmp_path):
    """Older writers laid them in folders and did not say so."""
    path = zarr_image(tmp_path / "a.zarr", LEVELS, chunk_key_encoding={"name": "v2", "separator": "/"})
    assert np.array_equal(read(path), LEVELS)
    about = json.loads((path / "0" / ".zarray").read_text())
    for other in (about | {"dimension_separator": "."}, {k: about[k] for k in about if k != "dimension_separator"}):
        (path / "0" / ".zarray").write_text(json.dumps(other))
        with pytest.raises(ValueError, match="not called as its metadata say: set dimension_separator to /"):
            read(path)


@pytest.mark.parametrize(
    "step",
    [
        {"type": "scale", "path": "lengths"},
        {"type": "scale", "scale": [13.1, 13.1]},
        {"type": "affine"},
        {"scale": [9] * 3},
    ],
)
def test_lengths_that_cannot_be_followed_are_none_and_hinder_nobody_who_states_his_own(tmp_path, step):
    """So do axes that nobody named, once somebody does; and one image need not be in a list."""
    path = zarr_image(tmp_path / "a.zarr", LEVELS)
    about = json.loads((path / ".zattrs").read_text())
    about["multiscales"][0]["datasets"][0]["coordinateTransformations"] = [step]
    (path / ".zattrs").write_text(json.dumps(about))
    assert formats.read(path).spacing is None
    assert np.array_equal(read(path), LEVELS)
    del about["multiscales"][0]["axes"]
    (path / ".zattrs").write_text(json.dumps(about | {"multiscales": about["multiscales"][0]}))
    with pytest.raises(ValueError, match="give one letter for each as axes="):
        read(path)
    assert np.array_equal(read(path, axes="zyx"), LEVELS)


def test_the_finest_level_must_be_there(tmp_path):
    """A coarse one is not taken in its place."""
    path = zarr_image(tmp_path / "a.zarr", LEVELS)
    about = json.loads((path / ".zattrs").read_text())
    scale = [{"type": "scale", "scale": [2.62] * 3}]
    about["multiscales"][0]["datasets"].append({"path": "1", "coordinateTransformations": scale})
    shutil.copytree(path / "0", path / "1")
    (path / ".zattrs").write_text(json.dumps(about))
    assert formats.read(path).spacing == 1.31
    shutil.rmtree(path / "1")
    zarr_image(tmp_path / "half", LEVELS[::2, ::2, ::2].copy())
    shutil.copytree(tmp_path / "half" / "0", path / "1")
    assert np.array_equal(formats.read(path).voxels, LEVELS)
    about["multiscales"][0]["datasets"].reverse()
    (path / ".zattrs").write_text(json.dumps(about).replace("2.62", "0.5"))
    with pytest.raises(ValueError, match="level '1' has the finest scale but not the most voxels"):
        formats.read(path)
    (path / ".zattrs").write_text(json.dumps(about))
    shutil.rmtree(path / "0")
    with pytest.raises(ValueError, match="level '0' is missing"):
        formats.read(path)


@pytest.mark.parametrize(
    ("steps", "spacing"),
    [
        ([{"type": "scale", "scale": [1.31, 1.31, 1.31]}], 13.1),
        ([{"type": "scale", "scale": [1.31, -1.31, 1.31]}], 13.1),
        ([{"type": "sequence", "transformations": [{"type": "scale", "scale": [1.31] * 3}]}], 13.1),
        ([{"type": "identity"}], None),
        ([{"type": "scale", "scale": [1.31, 1.31, 1.31]}, {"type": "mapAxis", "mapAxis": [2, 1, 0]}], "???"),
        ([{"type": "affine", "affine": [[0, 0, 1.31, 0], [0, 1.31, 0, 0], [1.31, 0, 0, 0]]}], "???"),
    ],
    ids=["scale", "mirrored", "sequence", "identity", "axes mapped", "axes turned"],
)
@pytest.mark.parametrize("version", ["0.5", "0.6"])
def test_the_axes_of_ome_zarr_stand_in_its_first_system_and_what_turns_them_is_not_followed(
    tmp_path, steps, spacing, version: str
):
    """Since version 0.6 they stand there alone. A coarse level does not become the finest by a scale below zero."""
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
    for path, voxels in (("0", LEVELS), ("1", LEVELS[::2, ::2, ::2])):
        group.create_array(path, data=np.ascontiguousarray(voxels.transpose(2, 0, 1)), chunks=(8, 8, 8))
    coarse = json.loads(json.dumps(steps).replace("1.31", "2.62"))
    levels = [{"path": path, "coordinateTransformations": each} for path, each in (("0", steps), ("1", coarse))]
    axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "xzy"]
    where = {"axes": axes} if version == "0.5" else {"coordinateSystems": [{"name": "intrinsic", "axes": axes}]}
    group.attrs["ome"] = {"version": version, "multiscales": [where | {"datasets": levels}]}
    if spacing == "???" and version == "0.6":
        with pytest.raises(ValueError, match="its axes are '...': give one letter for each"):
            formats.read(tmp_path / "a.zarr")
        assert np.array_equal(read(tmp_path / "a.zarr", axes="xzy"), LEVELS)
    else:
        found = formats.read(tmp_path / "a.zarr")
        assert found.spacing == (None if spacing == "???" else spacing) and np.array_equal(found.voxels, LEVELS)


@pytest.mark.parametrize(
    ("omero", "said"),
    [({"channels": [{"inverted": True}]}, True), ({"channels": [{"inverted": False}]}, False), (None, False)],
)
def test_an_ome_zarr_image_that_is_shown_inverted_is_said_to_be(tmp_path, omero, said: bool):
    """How a viewer shows it may be a taste, or that dense is bright."""
    zarr = pytest.importorskip("zarr")
    zarr_image(tmp_path / "a.zarr", LEVELS)
    zarr.open_group(tmp_path / "a.zarr", mode="a", zarr_format=2).attrs["omero"] = omero
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert np.array_equal(read(tmp_path / "a.zarr"), LEVELS)
    assert any("a.zarr: its metadata say that it is shown inverted" in str(each.message) for each in seen) == said


def test_images_in_one_file_are_chosen(tmp_path):
    """In OME-TIFF, and in the layout of bioformats2raw."""
    zarr = pytest.importorskip("zarr")
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        file.write(LEVELS[:4, :12], metadata={"axes": "ZYX"})
        file.write(LEVELS, metadata={"axes": "ZYX"})
    for number, voxels in enumerate((LEVELS[:4, :12].copy(), LEVELS)):
        zarr_image(tmp_path / "a.zarr" / str(number), voxels)
    zarr.open_group(tmp_path / "a.zarr", mode="a", zarr_format=2).attrs["bioformats2raw.layout"] = 3
    for name in ("a.ome.tif", "a.zarr"):
        assert np.array_equal(read(tmp_path / name, image=1), LEVELS)
        for wrong in ({}, {"image": 2}):
            with pytest.raises(ValueError, match="holds 2 images"):
                read(tmp_path / name, **wrong)
    assert np.array_equal(read(tmp_path / "a.zarr" / "1"), LEVELS)
    with pytest.raises(ValueError, match="one level of an OME-Zarr image"):
        read(tmp_path / "a.zarr" / "1" / "0")
    zarr.open_group(tmp_path / "a.zarr" / "OME", mode="w", zarr_format=2).attrs["series"] = ["1", "0"]
    assert np.array_equal(read(tmp_path / "a.zarr", image=0), LEVELS)
    tifffile.imwrite(tmp_path / "a.tif", np.stack([255 - LEVELS, LEVELS]), photometric="minisblack")
    assert np.array_equal(read(tmp_path / "a.tif", axes="vzyx", image=1), LEVELS)
    shutil.rmtree(tmp_path / "a.zarr" / "0")
    with pytest.raises(ValueError, match="lacks its image '0'"):
        read(tmp_path / "a.zarr", image=1)
    shutil.rmtree(tmp_path / "a.zarr" / "OME")
    shutil.rmtree(tmp_path / "a.zarr" / "1")
    with pytest.raises(ValueError, match="lacks its images"):
        read(tmp_path / "a.zarr")


def test_axes_without_names_are_z_and_before_it_images_and_those_of_one_are_none(tmp_path):
    """As tifffile and numpy write arrays of four and five dimensions; a sixth has to be named."""
    both = np.stack([LEVELS, 255 - LEVELS])
    for ending, write in ((".tif", lambda path, voxels: tifffile.imwrite(path, voxels)), (".npy", np.save)):
        write(tmp_path / f"a{ending}", both)
        write(tmp_path / f"b{ending}", LEVELS[None, None])
        write(tmp_path / f"c{ending}", np.stack([both, both]))
        np.testing.assert_array_equal(read(tmp_path / f"a{ending}", image=1), 255 - LEVELS)
        np.testing.assert_array_equal(read(tmp_path / f"b{ending}"), LEVELS)
        np.testing.assert_array_equal(read(tmp_path / f"c{ending}", axes="ctzyx", channel=0, time=1), 255 - LEVELS)
        for name, word in (("a", "choose one of them, image=0"), ("c", "give one letter for each")):
            with pytest.raises(ValueError, match=word):
                read(tmp_path / f"{name}{ending}")
        with pytest.raises(ValueError, match="image=1 is not there"):
            read(tmp_path / f"b{ending}", image=1)


@pytest.mark.parametrize("kind", ["mrc", "zarr", "ome.tif"])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, monkeypatch, kind: str):
    """Half of it may be of before; a chunk and the file of another plane count too."""
    path = write_mrc(tmp_path / "a.mrc", LEVELS, 13.1)
    writes = path
    if kind == "zarr":
        path = zarr_image(tmp_path / "a.zarr", LEVELS)
        writes = path / "0" / "1.0.0"
    elif kind == "ome.tif":
        path, _, writes = in_files(tmp_path / "set", LEVELS[:3])
        assert np.array_equal(read(path), LEVELS[:3])
    monkeypatch.setattr(formats, "as_zyx", lambda stored, *_, **__: os.utime(writes, (1, 1)) or stored.voxels)
    with pytest.raises(ValueError, match="changed while it was read"):
        read(path)


def test_planes_in_several_files_are_one_tomogram(tmp_path):
    """Each of the files would be read as all of them."""
    in_files(tmp_path / "set", LEVELS[:3])
    tifffile.imwrite(tmp_path / "set" / "other.ome.tif", LEVELS, metadata={"axes": "ZYX"})
    for paths in (tmp_path / "set", str(tmp_path / "set" / "*.tif"), sorted((tmp_path / "set").iterdir())):
        assert set(collect(paths)[0]) == {"cell_0", "other"}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert np.array_equal(formats.read(tmp_path / "set" / "cell_1.ome.tif").voxels, LEVELS[:3])
    assert not [each for each in said if "closed file" in str(each.message)]


@pytest.mark.parametrize("stated", ["1,31", "13.1 A"])
@pytest.mark.parametrize("kind", ["ome", "imagej"])
def test_a_size_that_is_no_number_hinders_only_who_needs_it(tmp_path, kind: str, stated: str):
    """The spacing of the caller wins over whatever is there."""
    sizes = {f"PhysicalSize{axis}": 1.5 for axis in "XYZ"} | {f"PhysicalSize{axis}Unit": "nm" for axis in "XYZ"}
    own = sizes if kind == "ome" else {"spacing": 1.5, "unit": "nm"}
    options = {kind: True, "metadata": {"axes": "ZYX"} | own, "resolution": (1 / 1.5, 1 / 1.5)}
    path = tmp_path / ("a.ome.tif" if kind == "ome" else "a.tif")
    tifffile.imwrite(path, LEVELS, **options)
    with tifffile.TiffFile(path) as file:
        text = file.pages[0].description.replace('"1.5"', f'"{stated}"').replace("=1.5", f"={stated}")
    options = {"resolution": (1 / 1.5, 1 / 1.5), "metadata": None}
    tifffile.imwrite(path, LEVELS, description=text, **options)
    assert np.array_equal(read(path), LEVELS)
    with pytest.raises(ValueError, match="give the true one as spacing="):
        formats.read(path)


def test_a_scale_of_ome_zarr_that_is_no_number_hinders_only_who_needs_it(tmp_path):
    """Numbers may be words, as in metadata that were put together as text."""
    pytest.importorskip("zarr")
    for stated, spacing in (('"13.1"', 13.1), ('"13,1"', None), ('""', None), ("null", None), ("[13.1]", None)):
        path = zarr_image(tmp_path / f"a{stated}.zarr", LEVELS)
        text = (path / ".zattrs").read_text().replace("1.31", stated)
        (path / ".zattrs").write_text(text)
        assert np.array_equal(read(path, spacing=20), LEVELS)
        if spacing:
            assert formats.read(path).spacing == spacing
        else:
            with pytest.raises(ValueError, match="give the true one as spacing="):
                formats.read(path)


@pytest.mark.parametrize("ending", [".tf2", ".TF8", ".btf", ".ome.btf"])
def test_big_tiff_files_have_endings_of_their_own(tmp_path, ending: str):
    """By which OME-TIFF calls them."""
    with (tmp_path / f"cell{ending}").open("wb") as file:
        tifffile.imwrite(file, LEVELS, bigtiff=True, metadata={"axes": "ZYX"})
    tomogram = formats.read(tmp_path / f"cell{ending}", spacing=13.1)
    assert (tomogram.name, set(collect(tmp_path)[0])) == ("cell", {"cell"})
    assert np.array_equal(tomogram.voxels, LEVELS)


def test_metadata_of_zarr_that_are_old_or_gone(tmp_path):
    """What is summed up beside may be of before; first versions had five axes and did not name them."""
    zarr = pytest.importorskip("zarr")
    path = zarr_image(tmp_path / "a.zarr", LEVELS[:8].copy())
    zarr.consolidate_metadata(path, zarr_format=2)
    summed = (path / ".zmetadata").read_bytes()
    (zarr_image(path, LEVELS) / ".zmetadata").write_bytes(summed)
    assert np.array_equal(read(path), LEVELS), "the last plane is there"
    path = zarr_image(tmp_path / "b.zarr", LEVELS[None, None], axes="tczyx")
    (path / ".zattrs").write_text(json.dumps({"multiscales": [{"datasets": [{"path": "0"}]}]}))
    assert np.array_equal(read(path), LEVELS)
    (path / ".zattrs").write_text(json.dumps({"multiscales": [{"datasets": [{"path": "0"}, {"path": "1"}]}]}))
    with pytest.raises(ValueError, match="level '1' is missing, or of another Zarr version"):
        read(path)
    for place in (0, "./0"):
        (path / ".zattrs").write_text(json.dumps({"multiscales": [{"datasets": [{"path": place}]}]}))
        assert np.array_equal(read(path), LEVELS)
    (path / ".zattrs").write_bytes('{"multiscales": "Å"}'.encode("latin-1"))
    with pytest.raises(ValueError, match="it is damaged .UnicodeDecodeError"):
        read(path)
    shutil.make_archive(str(tmp_path / "c"), "zip", path)
    (tmp_path / "c.zip").rename(tmp_path / "c.zarr")
    (tmp_path / "d.mrc.xz").touch()
    for name in ("c.zarr", "d.mrc.xz"):
        with pytest.raises(ValueError, match=r"unpack an archive \(an OME-Zarr is a folder\)"):
            read(tmp_path / name)


def test_an_array_of_zarr_is_read_like_one_of_numpy_unless_it_is_a_level(tmp_path):
    """Its axes are z, y, x, or those that it names; a level of an image would lack its spacing."""
    zarr = pytest.importorskip("zarr")
    zarr.save_array(tmp_path / "a.zarr", LEVELS[None])
    turned = np.ascontiguousarray(LEVELS.T)
    zarr.create_array(tmp_path / "b.zarr", data=turned, dimension_names=("x", "y", "z"))
    group = zarr.open_group(tmp_path / "c.zarr", mode="w", zarr_format=2)
    group.create_array("rows", data=turned, chunks=turned.shape).attrs["_ARRAY_DIMENSIONS"] = ["x", "y", "z"]
    group.create_array("deep", data=LEVELS, chunks=SHAPE).attrs["_ARRAY_DIMENSIONS"] = ["dim_0", "dim_1", "dim_2"]
    for name in ("a.zarr", "b.zarr", "c.zarr/rows", "c.zarr/deep"):
        found = formats.read(tmp_path / name)
        assert np.array_equal(found.voxels, LEVELS) and found.spacing is None
    for names in (["time", "y", "x"], ["channel", "y", "x"]):  # which could be slices, but nobody says so
        group["rows"].attrs["_ARRAY_DIMENSIONS"] = names
        with pytest.raises(ValueError, match="its axes are .yx, .* say axes='zyx' if one of them is z"):
            read(tmp_path / "c.zarr" / "rows")
        assert read(tmp_path / "c.zarr" / "rows", axes="xyz").shape == SHAPE
    with pytest.raises(ValueError, match="lacks the attribute multiscales .* or of one array"):
        read(tmp_path / "c.zarr")
    zarr_image(tmp_path / "d.zarr", LEVELS)
    with pytest.raises(ValueError, match="one level of an OME-Zarr image"):
        read(tmp_path / "d.zarr" / "0")


def test_an_array_that_calls_its_axes_otherwise_than_its_image_leaves_them_open(tmp_path):
    """Both would make a volume; names of another kind contradict nothing."""
    zarr = pytest.importorskip("zarr")
    path = zarr_image(tmp_path / "a.zarr", LEVELS)
    array = zarr.open_group(path, mode="a")["0"]
    for names, read_as in ((["z", "y", "x"], None), (["dim_0", "dim_1", "dim_2"], None), (["x", "y", "z"], "zyx")):
        array.attrs["_ARRAY_DIMENSIONS"] = names
        if read_as:
            with pytest.raises(ValueError, match="its axes are '...': give one letter for each"):
                read(path)
        assert np.array_equal(read(path, axes=read_as), LEVELS)
    (path / "0" / ".zarray").write_text((path / "0" / ".zarray").read_text() + ",")
    with pytest.raises(ValueError, match="describe no OME-Zarr image .JSONDecodeError"):
        read(path)


def test_of_levels_with_one_scale_the_largest_is_the_finest(tmp_path):
    """Some writers give all of them the scale of the first."""
    zarr = pytest.importorskip("zarr")
    path = zarr_image(tmp_path / "a.zarr", LEVELS)
    group = zarr.open_group(path, mode="a")
    group.create_array("1", data=LEVELS[::2, ::2, ::2].copy(), chunks=(5, 12, 20))
    image = dict(group.attrs["multiscales"][0])
    image["datasets"] = [image["datasets"][0] | {"path": each} for each in "10"]
    group.attrs["multiscales"] = [image]
    assert np.array_equal(read(path), LEVELS) and formats.read(path).spacing == pytest.approx(1.31)


def test_a_tomogram_larger_than_memory_is_refused_with_the_figure(tmp_path, monkeypatch):
    """Before it is read."""
    with pytest.raises(ValueError, match=r"takes 1048576\.0 GiB of memory"):
        check_memory(1 << 50)
    zarr_image(tmp_path / "a.zarr", LEVELS)
    monkeypatch.setattr("motors.volumes.ome_zarr.check_memory", lambda _: tomogram.check_memory(1 << 50))
    with pytest.raises(ValueError, match="GiB of memory"):
        read(tmp_path / "a.zarr")


# variants that are as good


@pytest.mark.parametrize("planes", [LEVELS, LEVELS[:, None]])
def test_pages_that_were_written_one_by_one_are_one_volume(tmp_path, planes):
    """Each as a picture, or as a volume of one slice."""
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for plane in planes:
            file.write(plane, photometric="minisblack")
    assert np.array_equal(read(tmp_path / "a.tif"), LEVELS)


def test_what_is_wrong_with_the_file_of_another_plane_or_a_compression_is_said(tmp_path):
    """Copying a whole file again would not help, nor would choosing another image."""
    paths = in_files(tmp_path / "set", LEVELS[:3])
    tifffile.imwrite(paths[2], LEVELS[2, :11])
    with pytest.raises(ValueError, match="or a file that belongs to it .*: copy it again"):
        read(paths[0])
    tifffile.imwrite(tmp_path / "a.tif", LEVELS, photometric="minisblack", compression="zlib", metadata=None)
    content = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        for page in file.pages:
            struct.pack_into("<H", content, page.tags["Compression"].valueoffset, 34661)  # of faxes
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(ValueError, match="its compression cannot be read .*JBIG"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize("tag", ["RowsPerStrip", "BitsPerSample", "ImageLength"])
def test_a_page_whose_tags_are_damaged_is_said_to_be_wherever_it_lies(tmp_path, tag: str):
    """Pages are read when they are looked at: a tag of no values, or of two, comes up late."""
    tifffile.imwrite(tmp_path / "a.tif", LEVELS, photometric="minisblack", metadata=None)
    whole = (tmp_path / "a.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        places = [page.tags[tag].offset for page in file.pages]
    refused = []
    for place, count in itertools.product(places, (0, 2)):
        content = bytearray(whole)
        struct.pack_into("<I", content, place + 4, count)
        (tmp_path / "a.tif").write_bytes(content)
        try:
            assert np.array_equal(read(tmp_path / "a.tif"), LEVELS)
        except ValueError as error:
            refused.append(str(error))
    assert len(refused) >= len(places) and all("cannot be read as a tomogram" in each for each in refused)
    path = zarr_image(tmp_path / "a.zarr", LEVELS)
    about = json.loads((path / "0" / ".zarray").read_text())
    (path / "0" / ".zarray").write_text(json.dumps(about | {"chunks": [0, 8, 8]}))
    with pytest.raises(ValueError, match="it is damaged"):
        read(path)


def test_arrays_that_are_none_say_why(tmp_path):
    """Objects are no damage."""
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="objects of Python, not real numbers: save it as numbers"):
        read(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", LEVELS)
    for content in ((tmp_path / "b.npy").read_bytes()[:-9], (tmp_path / "b.npy").read_bytes() + b"x", b"PK\3\4zip"):
        (tmp_path / "b.npy").write_bytes(content)
        with pytest.raises(ValueError, match="copy it again"):
            read(tmp_path / "b.npy")


@pytest.mark.parametrize("compression", ["lzw", "zlib", "zstd", "lzma", "packbits"])
def test_compressed_tiff_files_are_read(tmp_path, compression: str):
    """By imagecodecs, and those of Fiji and OpenCV without it, too."""
    pytest.importorskip("imagecodecs")
    tifffile.imwrite(tmp_path / "a.tif", LEVELS, photometric="minisblack", compression=compression)
    assert np.array_equal(read(tmp_path / "a.tif"), LEVELS)
    if compression in ("lzw", "zlib", "packbits"):
        with tifffile.TiffFile(tmp_path / "a.tif") as file:
            assert np.array_equal(tiff._by_pillow(tmp_path / "a.tif", file.series[0], "no imagecodecs"), LEVELS)


@pytest.mark.parametrize(
    ("voxels", "options"),
    [
        (LEVELS, {"photometric": "miniswhite"}),
        (SIGNED, {}),
        (WIDE.astype(np.float32), {"byteorder": ">"}),
        (WIDE.astype(np.uint32) << 16, {}),
        (WIDE.astype(float), {}),
    ],
    ids=["white is zero", "signed bytes", "big-endian fractions", "32 bits", "doubles"],
)
def test_what_pillow_reads_otherwise_than_it_is_meant_needs_imagecodecs(tmp_path, voxels, options):
    """It turned white a second time, took bytes as unsigned, and big-endian fractions as little-endian."""
    tifffile.imwrite(tmp_path / "a.tif", voxels, **{"photometric": "minisblack", "compression": "lzw"} | options)
    with tifffile.TiffFile(tmp_path / "a.tif") as file, pytest.raises(ValueError, match="pip install imagecodecs"):
        tiff._by_pillow(tmp_path / "a.tif", file.series[0], "it is compressed")


@pytest.mark.parametrize(
    "name", ["slice_{}.jpg", "img{:03d}.png", "SLICE_{:04d}.JPG", "z-{:02d}.jpeg", "a ({}).png", "{:03d}_tomo.png"]
)
@pytest.mark.parametrize("start", [0, 1])
def test_slices_may_have_other_names(tmp_path, name: str, start: int):
    """Numbers from 0 or 1 on, in order of the numbers."""
    many = np.concatenate([LEVELS, LEVELS[::-1]])[:12]
    ending = "." + name.rpartition(".")[2].lower()
    found = read(pictures(tmp_path / "a", name, opencv(ending), many, start))
    assert np.abs(found.astype(int) - many).max() <= (0 if ending == ".png" else 8)


@pytest.mark.parametrize(("start", "advice"), [(1, "copy it again$"), (2, "or number them from 1 on if they are all$")])
def test_slices_from_the_middle_of_a_tomogram_are_told_what_to_do(tmp_path, start: int, advice: str):
    """Nobody can tell those that somebody cut out from those whose first are lost."""
    folder = pictures(tmp_path / "a", "s{:02d}.png", opencv(".png"), start=start)
    if start == 1:
        (folder / "s05.png").unlink()
    with pytest.raises(FileNotFoundError, match=advice):
        read(folder)


def test_a_jpeg_that_cannot_be_read_is_called_what_it_is(tmp_path):
    """To copy it again would not help."""
    imagecodecs = pytest.importorskip("imagecodecs")
    deep = pictures(tmp_path / "a", "{}.jpg", lambda plane: imagecodecs.jpeg_encode(plane, bitspersample=12), WIDE >> 4)
    with pytest.raises(ValueError, match=r"0\.jpg is cut short or of 12 bits, which only PNG and TIFF may be"):
        read(deep)
    with pytest.raises(
        ValueError, match=r"0\.jpg is cut short or no JPEG file: copy it again, or give it its true ending"
    ):
        read(pictures(tmp_path / "b", "{}.jpg", pillow("L", "WEBP")))


def test_a_slice_that_is_still_copied_or_a_link_to_nothing_is_missed(tmp_path):
    """What is left of one that has arrived since is not a slice and hinders nobody."""
    for name, half in (
        ("a", "s08.png.part"),
        ("b", "Unconfirmed 123.crdownload"),
        ("c", "s08.png.filepart"),
        ("d", ""),
    ):
        folder = pictures(tmp_path / name, "s{:02d}.png", opencv(".png"))
        if half:
            (folder / "s07.png.part").touch()
            assert np.array_equal(read(folder), LEVELS)
            (folder / "s08.png").rename(folder / half)
            with pytest.raises(FileNotFoundError, match=f"{half} was not copied to its end: copy it again"):
                read(folder)
    (folder / "s05.png").unlink()
    (folder / "s05.png").symlink_to(tmp_path / "store" / "s05.png")
    with pytest.raises(ValueError, match=r"s05\.png is a folder, pipe or device, no picture, or a link to nothing"):
        read(folder)


def test_a_slice_of_another_spelling_is_none_that_is_missing_and_a_stranger_is_named(tmp_path):
    """Endings may differ; a copy, a second channel and a picture without a number are what is wrong, no slice."""
    others = (
        ("a", "s05.PNG"),
        ("b", "s05 (1).png"),
        ("c", "t05.png"),
        ("d", "s5.png"),
        ("e", "s05.jpg"),
        ("g", "s.png"),
    )
    for name, new in others:
        folder = pictures(tmp_path / name, "s{:02d}.png", opencv(".png"))
        content = (folder / "s05.png").read_bytes()
        if name in "ad":
            (folder / "s05.png").unlink()
        (folder / new).write_bytes(content)
    for name in "ad":
        assert np.array_equal(read(tmp_path / name), LEVELS)
    folder = pictures(tmp_path / "f", "s{:02d}.jp2", pillow("L", "JPEG2000"))
    with pytest.raises(ValueError, match=r"s00\.jp2 is a slice of the kind \.jp2: save all of them"):
        read(folder)
    reasons = {
        name: f"{new} is called otherwise than s00" for name, new in (("b", r"s05 \(1\)\.png"), ("c", r"t05\.png"))
    }
    reasons |= {"e": r"s05\.png has the number of s05\.jpg", "g": r"s\.png has no number, as slices have"}
    for name, reason in reasons.items():
        with pytest.raises(FileNotFoundError, match=reason):
            read(tmp_path / name)


@pytest.mark.parametrize(("angles", "said"), [((90, 90, 120), True), ((0, 0, 0), False), ((90, 90, 90), False)])
def test_a_cell_that_is_no_box_is_said(tmp_path, angles, said):
    """Such a map is of a crystal, or its header damaged; some programs leave the angles 0."""
    cell = mrc(tmp_path / "a.mrc", WIDE)
    with mrcfile.open(cell, "r+", permissive=True) as file:
        file.header.cellb = np.array(angles, np.float32).view(file.header.cellb.dtype)[0]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        formats.read(cell)
    assert any("meet at 90, 90, 120 degrees" in str(each.message) for each in caught) == said


@pytest.mark.parametrize(
    "form", ["z{:03d}_bin4.png", "2x_{}of9_v1.png", "tomo12_z{:02d}_13.1A.png", "z{}_c0_t1_24x40_13.1A.png"]
)
def test_the_number_of_a_slice_is_the_last_that_is_not_the_same_in_all(tmp_path, form):
    """What stands behind it may have numbers of its own: of a binning, a spacing, a version."""
    folder = pictures(tmp_path / "a", form, opencv(".png"))
    assert np.array_equal(read(folder), LEVELS)
    (folder / form.format(4)).unlink()
    with pytest.raises(FileNotFoundError, match=f"{re.escape(form.format(4))} is missing among 8"):
        read(folder)


@pytest.mark.parametrize(
    ("planes", "options"),
    [
        (LEVELS, {"compression": "lzw"}),
        (255 - LEVELS, {"photometric": "miniswhite"}),
        (WIDE.astype(">u2"), {"byteorder": ">"}),
        (BLOBS.astype(np.float32), {}),
    ],
    ids=["LZW", "white is zero", "16 bits", "float"],
)
def test_tiff_slices_are_read_like_the_pages_of_one_file(tmp_path, planes, options):
    """As Fiji, Amira and Dragonfly export them; `collect` takes their folder for one tomogram."""
    (tmp_path / "cell").mkdir()
    for k, plane in enumerate(planes, start=1):
        tifffile.imwrite(tmp_path / "cell" / f"z{k}.tif", plane, **options)
    tifffile.imwrite(tmp_path / "one.tif", planes, **options)
    assert np.array_equal(read(tmp_path / "cell"), read(tmp_path / "one.tif"))
    assert np.ptp(read(tmp_path / "cell")) > 250
    assert set(collect(tmp_path / "cell")[0]) == {"cell"}
    (tmp_path / "cell" / "z5.tif").unlink()
    with pytest.raises(FileNotFoundError, match=r"z5\.tif is missing among 8"):
        read(*collect(tmp_path / "cell")[0].values())


def test_tiff_files_that_are_no_slices_are_tomograms_of_their_own_and_named(tmp_path):
    """So are those beside another kind of tomogram; colours, cut files and other types are no slices."""
    for name in ("a", "b", "c", "d"):
        (tmp_path / name).mkdir()
        for k, plane in enumerate(LEVELS):
            tifffile.imwrite(tmp_path / name / f"z{k}.tif", LEVELS if name == "a" else plane, photometric="minisblack")
    assert len(collect(tmp_path / "a")[0]) == 9
    mrc(tmp_path / "b" / "cell.mrc", WIDE)
    assert len(collect(tmp_path / "b")[0]) == 10
    (tmp_path / "c" / "z4.tif").write_bytes((tmp_path / "c" / "z4.tif").read_bytes()[:-9])
    tifffile.imwrite(tmp_path / "d" / "z4.tif", WIDE[4])
    reasons = {"a": r"z0\.tif is not a slice: its axes are \w+, shape", "c": r"z4\.tif is not a slice: it is shorter"}
    for name, reason in (reasons | {"d": r"z4\.tif is uint16, but z0\.tif is uint8"}).items():
        with pytest.raises(ValueError, match=reason):
            read(tmp_path / name)


def test_slices_may_be_of_either_byte_order(tmp_path):
    """Values are the same."""
    (tmp_path / "a").mkdir()
    for k, plane in enumerate(WIDE):
        order = "<>"[k % 2]
        tifffile.imwrite(tmp_path / "a" / f"z{k}.tif", plane, byteorder=order, photometric="minisblack")
    assert np.array_equal(read(tmp_path / "a"), to_uint8(WIDE))


def test_a_picture_inside_a_tiff_file_has_an_end(tmp_path):
    """What a JPEG lacks, its decoders make up in grey."""
    pytest.importorskip("imagecodecs")
    large = np.kron(LEVELS, np.ones((1, 4, 4), np.uint8))
    tifffile.imwrite(tmp_path / "a.tif", large, photometric="minisblack", compression="jpeg")
    assert np.abs(read(tmp_path / "a.tif").astype(int) - large).max() < 30
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        page = file.pages[4]
        page.tags["StripByteCounts"].overwrite([page.databytecounts[0] // 2])
    with pytest.raises(ValueError, match="it lacks the end of a picture: copy it again"):
        read(tmp_path / "a.tif")


def test_slices_may_be_ome_tiff_unless_another_file_says_how_they_belong_together(tmp_path):
    """A companion file knows the order; without it, the numbers do."""
    for name, companion in (("a", False), ("b", True)):
        (tmp_path / name).mkdir()
        for k, plane in enumerate(LEVELS):
            only = {
                "description": '<OME xmlns="x"><BinaryOnly MetadataFile="c.companion.ome"/></OME>',
                "metadata": None,
            }
            tifffile.imwrite(tmp_path / name / f"z{k}.ome.tif", plane, photometric=1, **(only if companion else {}))
    assert np.array_equal(read(tmp_path / "a"), LEVELS) and list(collect(tmp_path / "a")[0]) == ["a"]
    for path in collect(tmp_path / "b")[0].values():
        with pytest.raises(
            ValueError, match=r"what it is stands in c\.companion\.ome, which is not read: save all of it"
        ):
            read(path)
    (tmp_path / "a" / "z4.ome.tif").unlink()
    with pytest.raises(FileNotFoundError, match=r"z4\.ome\.tif is missing among 8 picture files"):
        read(tmp_path / "a")


def test_a_channel_that_imagej_shows_inverted_is_said_to_be(tmp_path):
    """In a composite each channel has a table of its own, which changes no numbers."""
    ramp = np.tile(np.arange(256, dtype=np.uint8), (3, 1))
    for name, table in (("a", ramp), ("b", ramp[:, ::-1])):
        about = {"axes": "ZCYX", "mode": "composite", "LUTs": [ramp, table]}
        tifffile.imwrite(tmp_path / f"{name}.tif", PAIR, imagej=True, metadata=about)
        with warnings.catch_warnings(record=True) as said:
            assert np.array_equal(read(tmp_path / f"{name}.tif", channel=0), LEVELS)
        assert any("show a channel inverted: invert it" in str(each.message) for each in said) == (name == "b")


def test_one_picture_is_no_volume_in_any_format(tmp_path):
    """Times that are called so, with one z, may be meant as slices."""
    mrc(tmp_path / "a.mrc", WIDE[:1])
    np.save(tmp_path / "a.npy", LEVELS[:1])
    zarr_image(tmp_path / "a.zarr", LEVELS[:1])
    pictures(tmp_path / "a", "slice_{:04d}.jpg", opencv(".jpg"), LEVELS[:1])
    for name in ("a.mrc", "a.npy", "a.zarr", "a"):
        with pytest.raises(ValueError, match="is not a volume: z is missing, slices in TIFF, PNG or JPEG"):
            read(tmp_path / name)
    for lost, flat in (("y", LEVELS[:, :1]), ("x", LEVELS[:, :, :1])):
        np.save(tmp_path / "b.npy", flat)
        with pytest.raises(ValueError, match=f"is not a volume: {lost} is missing"):
            read(tmp_path / "b.npy")
    tifffile.imwrite(tmp_path / "b.tif", LEVELS[:, None], imagej=True, metadata={"axes": "TZYX"})
    with pytest.raises(ValueError, match="is not a volume: say axes='zyx'"):
        read(tmp_path / "b.tif")
    assert np.array_equal(read(tmp_path / "b.tif", axes="zyx"), LEVELS)


def test_samples_that_are_slices_can_be_named(tmp_path):
    """As programs write them that put all slices into one page."""
    tifffile.imwrite(tmp_path / "a.tif", LEVELS, photometric="minisblack", planarconfig="separate")
    with pytest.raises(ValueError, match="9 samples a pixel.*or say axes="):
        read(tmp_path / "a.tif")
    assert np.array_equal(read(tmp_path / "a.tif", axes="zyx"), LEVELS)


def test_png_slices_of_16_bits_are_stretched(tmp_path):
    """Their upper byte is not all there is."""
    for name in ("{:02d}.png", "#{:02d}.png", "$z{:02d}.png"):
        assert np.array_equal(read(pictures(tmp_path / name, name, opencv(".png"), WIDE)), to_uint8(WIDE))


def test_leftovers_of_systems_and_editors_are_no_slices(tmp_path):
    """None of them counts, and none of them hides a slice that is missing."""
    write_slices(tmp_path / "a", LEVELS)
    names = "._slice_0000.jpg .DS_Store Thumbs.db desktop.ini slice_0001.jpg~ notes.txt ~$a_0000.jpg #a_0000.jpg#"
    for name in names.split():
        (tmp_path / "a" / name).write_bytes(b"\0\5\x16\7")
    (tmp_path / "a" / ".ipynb_checkpoints").mkdir()
    assert read(tmp_path / "a").shape == SHAPE
    (tmp_path / "a" / "slice_0004.jpg").rename(tmp_path / "a" / "._slice_0004.jpg")
    with pytest.raises(FileNotFoundError, match=r"slice_0004\.jpg is missing among 8"):
        read(tmp_path / "a")
    before = formats.parts(zarr_image(tmp_path / "a.zarr", LEVELS))
    for name in (".DS_Store", "0/._0.0.0", "0/Thumbs.db"):
        (tmp_path / "a.zarr" / name).touch()
    assert formats.parts(tmp_path / "a.zarr") == before
    assert {each.name for each in before} > {".zgroup", ".zattrs", ".zarray", "0.0.0"}


# names


def test_every_way_to_say_a_folder_gives_its_name(tmp_path, monkeypatch):
    """A dot, a slash at the end, letters that macOS writes as two, bytes, and what a folder lists."""
    write_slices(tmp_path / unicodedata.normalize("NFD", "zé"), LEVELS)
    monkeypatch.chdir(tmp_path / unicodedata.normalize("NFD", "zé"))
    for path in (".", "./", os.getcwd() + "/", f"../{Path.cwd().name}/", b".", next(os.scandir(".."))):
        assert formats.read(path).name == unicodedata.normalize("NFC", "zé")
    with pytest.raises(ValueError, match="path of a tomogram is empty"):
        formats.read("")  # which is no dot


@pytest.mark.parametrize("name", ["cell.1.ome.tif", "cell.1.TIF", "cell.1.mrc", "cell.1.ome.zarr", "cell.1.zarr/0"])
def test_endings_are_no_part_of_a_name(tmp_path, name: str):
    """The rest is, with its points."""
    path = tmp_path / name
    if ".zarr" in name:
        path.parent.mkdir(exist_ok=True)
        zarr_image(path, LEVELS)
    elif name.endswith("mrc"):
        write_mrc(path, LEVELS, 13.1)
    else:
        tifffile.imwrite(path, LEVELS, photometric="minisblack", metadata={"axes": "ZYX"})
    assert formats.read(path).name == "cell.1"


def test_percentiles_of_a_sample_are_those_of_all_within_a_thousandth():
    """Every n-th voxel, from all rows and columns."""
    voxels = np.random.default_rng(0).normal(100, 20, (40, 120, 96)).astype(np.float32)
    found, expected = (percentiles(voxels, (1.0, 50.0, 99.0), most=most) for most in (50_000, 1 << 26))
    assert np.abs(found - expected).max() < 0.6  # a thirtieth of the spread, at a ninth of the voxels
    assert np.array_equal(expected, np.percentile(voxels, (1, 50, 99)).astype(np.float32))
    voxels[3, 5, 7] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        percentiles(voxels, (1.0,), most=1000)
