"""Rules of Kaggle's client and servers for metadata of datasets and notebooks, checked before anything is sent."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from motors.workspace.files import once

OWNER = "OWNER"  # for the user name, in metadata files of the repository
DATASET = "dataset-metadata.json"
KERNEL = "kernel-metadata.json"

# Names that the client leaves out when they lie beside the metadata (upload_files in kaggle_api_extended.py, 2.2.4).
LEFT_OUT = re.compile(r"dataset-metadata|datapackage|kernel-metadata|model(-instance)?-metadata|dataset-cover-image\.")
HIDDEN = (".git", ".cache", ".huggingface")
ARCHIVES = tuple(".zip .tar .gz .tgz .bz2 .xz .7z .rar".split())  # Kaggle unpacks them: other names, other sizes
ODD = "&@"  # in file names, they make the creation of a dataset fail (Kaggle/kaggle-cli#430, #524)
LARGEST = 100 * 2**30  # bytes of a dataset: the private quota that an account has had for years

# As in docs/datasets_metadata.md of Kaggle/kaggle-cli.
LICENCES = frozenset(
    "CC0-1.0 CC-BY-SA-3.0 CC-BY-SA-4.0 CC-BY-NC-SA-4.0 GPL-2.0 ODbL-1.0 DbCL-1.0 copyright-authors other unknown"
    " CC-BY-4.0 CC-BY-NC-4.0 PDDL CC-BY-3.0 CC-BY-3.0-IGO US-Government-Works CC-BY-NC-SA-3.0-IGO CDLA-Permissive-1.0"
    " CDLA-Sharing-1.0 CC-BY-ND-4.0 CC-BY-NC-ND-4.0 ODC-BY-1.0 LGPL-3.0 AGPL-3.0 FDL-1.3 EU-ODP-Legal-Notice"
    " apache-2.0 GPL-3.0".split()
)

TEXT, TEXTS, OBJECTS = "a text", "a list of texts", "a list of objects such as {...}"
OF_DATASETS = {**dict.fromkeys(("id", "title", "subtitle"), TEXT), "licenses": OBJECTS, "resources": OBJECTS}
OF_DATASETS |= {"keywords": TEXTS}
SOURCES = tuple(f"{kind}_sources" for kind in ("dataset", "competition", "kernel", "model"))
OF_NOTEBOOKS = {"id": TEXT, "title": TEXT, "code_file": TEXT, **dict.fromkeys(SOURCES, TEXTS)}


def read(path: Path) -> dict[str, Any]:
    """Return a file's metadata; raises FileNotFoundError if missing, ValueError if invalid or with a field twice."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: every package has one")
    try:
        content = json.loads(path.read_text("utf-8-sig"), object_pairs_hook=once)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is not JSON ({error}): correct it") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object: write {{...}} with the fields in it")
    return content


def owned(content: Any, owner: str) -> Any:
    """Return metadata with the user name in place of OWNER."""
    return json.loads(json.dumps(content).replace(f'"{OWNER}/', f'"{owner}/'))


def check_dataset(about: dict[str, Any], slug: str, files: dict[str, int]) -> None:
    """Refuse a dataset that the client or the servers would refuse, or accept only in part.

    `about` is the content of its dataset-metadata.json, `slug` the name of its folder, `files` the sizes in bytes of
    all files to be sent, by path. Raises ValueError if a rule is broken; the message says which, and what to do.
    """
    _check_kinds(f"dataset {slug}", about, OF_DATASETS)
    licences = [str(each.get("name")) for each in about.get("licenses", [])]
    resources = [str(each.get("path")) for each in about.get("resources", [])]
    keywords, subtitle = about.get("keywords", []), about.get("subtitle", "")
    gone = [path for path in resources if path not in files]
    dropped = [path for path in files if LEFT_OUT.match(path) or path.split("/")[0] in HIDDEN]
    odd = [path for path in files if {*ODD} & {*path}]
    archives = [path for path in files if path.lower().endswith(ARCHIVES)]
    rules = (
        (_is_id(about.get("id"), slug), f"its id is {about.get('id')!r}: make it <user name>/{slug}"),
        (6 <= len(slug) <= 50, f"the slug {slug} has {len(slug)} characters: make it 6 to 50"),
        (6 <= len(about.get("title", "")) <= 50, "its title has to have 6 to 50 characters"),
        (not subtitle or 20 <= len(subtitle) <= 80, f"its subtitle has {len(subtitle)} characters: make it 20 to 80"),
        (len(licences) == 1, f"it has {len(licences)} licences: name exactly one"),
        (LICENCES.issuperset(licences), f"the licence {licences} is none of Kaggle's: see LICENCES, or say other"),
        (all(word == word.lower() for word in keywords), "its keywords have to be in lower case"),
        (not gone, f"its resources name {gone[:1]}, which is not there"),
        (any(path != "README.md" for path in files), "there is nothing in it: package it first"),
        (not dropped, f"the client would leave out {dropped[:1]}: give it another name"),
        (not archives, f"Kaggle would unpack {archives[:1]}: put the files themselves there"),
        (not odd, f"Kaggle takes no {' or '.join(ODD)} in names such as {odd[:1]}: rename it"),
        (all(files.values()), f"{[path for path, size in files.items() if not size][:1]} is empty"),
        (sum(files.values()) <= LARGEST, f"it has {sum(files.values()) / 2**30:.0f} GiB, more than {LARGEST >> 30}"),
    )
    _refuse(f"dataset {slug}", rules)


def check_kernel(about: dict[str, Any], folder: Path) -> None:
    """Raise ValueError, with advice, if a notebook's metadata would be refused or misread by the client."""
    from slugify import slugify  # the client's own

    _check_kinds(f"notebook {about.get('code_file')}", about, OF_NOTEBOOKS)
    slug, title = about.get("id", "").partition("/")[2], about.get("title", "")
    datasets = about.get("dataset_sources", [])
    rules = (
        (_is_id(about.get("id"), slug), f"its id is {about.get('id')!r}: make it <user name>/<slug>"),
        (5 <= len(title) <= 50, "its title has to have 5 to 50 characters"),
        (slugify(title) == slug, f"its title makes the slug {slugify(title)}, but its id says {slug}: make them agree"),
        ((folder / about.get("code_file", "")).is_file(), f"there is no {about.get('code_file')} beside it"),
        (about.get("language") == "python", "its language has to be python"),
        (about.get("kernel_type") == "notebook", "its kernel_type has to be notebook"),
        (about.get("enable_internet") is False, "enable_internet has to be false: the client takes silence for true"),
        (about.get("machine_shape") == "NvidiaTeslaT4", "its machine_shape has to be NvidiaTeslaT4: two T4"),
        (all(_is_id(ref, ref.partition("/")[2]) for ref in datasets), "dataset_sources have to be <user name>/<slug>"),
        (len({ref.partition("/")[2] for ref in datasets}) == len(datasets), "two of its dataset_sources have one slug"),
    )
    _refuse(f"notebook {about.get('code_file')}", rules)


def _is_id(ref: str | None, slug: str) -> bool:
    """Return whether `ref` is <owner>/<slug> with a real owner."""
    owner, _, name = (ref or "").partition("/")
    good = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*", owner) and re.fullmatch(r"[a-z0-9][a-z0-9-]*", name)
    return bool(good) and name == slug and owner != OWNER


def _check_kinds(what: str, about: Mapping[str, Any], kinds: Mapping[str, str]) -> None:
    """Refuse fields of a wrong type; missing fields are left to the rules."""
    for name in [name for name in kinds if name in about]:
        value, kind = about[name], kinds[name]
        items = value if isinstance(value, list) else [None]
        good = {TEXT: isinstance(value, str), TEXTS: all(isinstance(each, str) for each in items)}
        good[OBJECTS] = all(isinstance(each, dict) for each in items)
        if not good[kind]:
            raise ValueError(f"{what} cannot be sent: its {name} is {json.dumps(value)}: make it {kind}")


def _refuse(what: str, rules: Iterable[tuple[bool, str]]) -> None:
    for kept, sentence in rules:
        if not kept:
            raise ValueError(f"{what} cannot be sent: {sentence}")
