"""Writes a project of one's own: a usual Dagster project around the declarations. All of it, or nothing."""

import errno
import importlib.util
import keyword
import re
import shutil
import sys
import tempfile
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path, PurePosixPath
from string import Template

from pipeline_assets.declarations.problems import suggestion
from pipeline_assets.private import make_folder, protect
from pipeline_assets.project import ENV_FILE, is_project
from pipeline_assets.settings import DAGSTER_FILE, PACKAGE_DIR, Settings
from pipeline_assets.staging.landing import is_passed_over
from pipeline_assets.starting.declaring import (
    conversion_yaml,
    currencies_yaml,
    funnel_yaml,
    retention_yaml,
    source_yaml,
)
from pipeline_assets.starting.guessing import Guess, Wishes, guess, source_of
from pipeline_assets.starting.samples import Sample, SampleError, read_samples
from pipeline_assets.starting.trying import Trial, try_source
from pipeline_assets.storage_urls import parse_place

_TEMPLATES = Path(__file__).with_name("templates")
_TAKEN_MODULES = frozenset({"data", "tests", "defs", "docs"})
# Files that are guessed from, and that the guess is tried on.
_LOOKED_AT = 5
_TRIED_FILES = 100
_TRIED_BYTES = 512 << 20
_LANDING_KEPT = "data/landing/.keep"
# Some file systems know no links, and landing may be another one than the project's.
_NO_LINKS = {errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
_COMPRESSED = (".gz", ".gzip", ".zst", ".zstd", ".bz2", ".bzip2")


class StartError(ValueError):
    """A project cannot be begun like that; the message says why and what to do. Nothing was written."""


@dataclass(frozen=True)
class Found:
    """A source that was guessed and tried.

    Attributes:
        name: the source's name.
        path: its pattern below landing.
        files: the sample, and where below landing each of its files goes; None where it lies there already.
        tried: how many of them it was tried on.
        sample: what they are like.
        guess: the declaration.
        trial: what came of it.
    """

    name: str
    path: str
    files: Mapping[Path, str | None]
    tried: int
    sample: Sample
    guess: Guess
    trial: Trial


@dataclass(frozen=True)
class Start:
    """What is to be written.

    Attributes:
        folder: the project's folder.
        module: the project's Python package.
        is_new: whether the project is, or only a source of it.
        texts: file below the folder -> its text.
        copies: file below the folder -> the file that is copied there.
        found: the first source, if there was a sample.
        remarks: what else to know: of names, and of what is left to do.
    """

    folder: Path
    module: str
    is_new: bool
    texts: Mapping[str, str]
    copies: Mapping[str, Path] = field(default_factory=dict)
    found: Found | None = None
    remarks: tuple[str, ...] = ()

    @property
    def funnel(self) -> str | None:
        """The table of the example funnel, if there is one."""
        return f"{self.found.name}_funnel" if self.is_new and self.found and self.found.trial.steps else None

    def write(self) -> None:
        """Write it beside its place and move it there: a project that is half written is not left behind.

        Raises:
            StartError: it cannot be written, or something is there already.
        """
        made = _missing(self.folder)
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=_nearest(self.folder), prefix=".pipeline-init-") as draft:
                for name, text in self.texts.items():
                    file = Path(draft) / name
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_text(text, encoding="utf-8")
                for name, original in self.copies.items():
                    file = Path(draft) / name
                    file.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(original, file)
                self._move(Path(draft))
        except OSError as error:
            for folder in made:
                with suppress(OSError):
                    folder.rmdir()
            place = error.filename or self.folder
            raise StartError(f"{place}: {error.strerror or error}. Nothing was written.") from error

    def _move(self, draft: Path) -> None:
        moved: list[Path] = []
        made: list[Path] = []
        # Code is shared with a team; passwords, and what people did, are not.
        data = {name for name in (*self.texts, *self.copies) if name in self.copies or name == _LANDING_KEPT}
        try:
            for name in (*self.texts, *self.copies):
                target = self.folder / name
                made += _missing(target.parent)
                if name in data:
                    self.folder.mkdir(parents=True, exist_ok=True)
                    make_folder(target.parent)
                else:
                    target.parent.mkdir(parents=True, exist_ok=True)
                _place(draft / name, target)
                moved.append(target)
                if name in data or name == ENV_FILE:
                    protect(target)
        except BaseException:
            for file in moved:
                file.unlink(missing_ok=True)
            for folder in made:
                with suppress(OSError):
                    folder.rmdir()
            raise


def plan(
    folder: Path,
    samples: Sequence[Path],
    wishes: Wishes,
    *,
    source: str | None = None,
    clone: Path | None = None,
) -> Start:
    """What `pipeline-assets init` would write; nothing is written yet.

    Args:
        folder: the new project's folder, or that of a project that gets another source.
        samples: files of the first source, or folders with them.
        wishes: what was said about them.
        source: the source's name; by default that of the sample.
        clone: the folder of the clone that the package runs from, if it does.

    Raises:
        StartError: there cannot be a project in this folder, or such a source in it.
        SampleError: no source can be guessed from the sample.
    """
    folder = folder.expanduser().absolute()
    folder = folder.resolve() if folder.exists() else folder
    if folder == clone:
        raise StartError(f"{folder} is the clone of pipeline-assets; choose a folder outside of it")
    if is_project(folder):
        return _addition(folder, samples, wishes, source)
    _check_place(folder, clone)
    module, remarks = module_name(folder)
    files = list(_files(samples))
    timezone = wishes.zone or wishes.default_zone
    texts: dict[str, str] = {}
    copies: dict[str, Path] = {}
    found = None
    first_day = Settings.first_day
    if files:
        settings = Settings.for_data_dir(folder / "data", timezone=timezone, first_day=date(1990, 1, 1))
        found = _find(files, wishes, settings, source)
        if found.trial.first is not None and found.trial.first.date() < first_day:
            first_day = date(found.trial.first.year, 1, 1)
        texts = {f"{module}/defs/{name}/defs.yaml": text for name, text in _declarations(found).items()}
        copies = {f"data/landing/{name}": file for file, name in found.files.items() if name}
    else:
        texts[f"{module}/defs/events/defs.yaml.example"] = _template("defs.yaml.example")
        # Something to drop files into.
        texts[_LANDING_KEPT] = ""
    names = {
        "module": module,
        "title": folder.name,
        "timezone": timezone,
        "first_day": first_day.isoformat(),
        "first_day_mark": "" if first_day != Settings.first_day else "# ",
        "sources": _about(found, module),
    }
    env = _template("env", names)
    texts |= {
        "pyproject.toml": _template("pyproject.toml", names),
        "workspace.yaml": _template("workspace.yaml", names),
        DAGSTER_FILE: (PACKAGE_DIR / DAGSTER_FILE).read_text(encoding="utf-8"),
        ".env": env,
        ".env.example": env,
        ".gitignore": _template("gitignore"),
        "README.md": _template("README.md", names),
        f"{module}/__init__.py": f'"""User-behaviour data of {folder.name}, as Dagster assets."""\n',
        f"{module}/definitions.py": _template("definitions.py.txt"),
    }
    return Start(folder, module, True, texts, copies, found, remarks)


def _addition(folder: Path, samples: Sequence[Path], wishes: Wishes, source: str | None) -> Start:
    """Another source of a project."""
    settings = Settings.for_project(folder)
    defs = settings.defs_dir
    if defs is None or not defs.is_relative_to(folder):
        raise StartError(
            f"{folder} is a project already, and its PIPELINE_DEFS_DIR names no folder in it that a source could go "
            "into. In a Dagster project `dg scaffold defs pipeline_assets.components.EventPipeline NAME` makes it; or "
            "choose another folder for a new project"
        )
    if not samples:
        raise StartError(
            f"{folder} is a project already. Give it another source with --sample FILE, or choose another folder"
        )
    # People of one project write their times in the zone in which they report.
    wishes = replace(wishes, default_zone=settings.timezone)
    found = _find(list(_files(samples)), wishes, settings, source)
    landing = parse_place(settings.landing_url)
    target = defs / found.name
    if target.exists():
        raise StartError(f"{target} is there already. Give the source another name: --source NAME")
    file = (target / "defs.yaml").relative_to(folder).as_posix()
    copies = {name: path for path, name in found.files.items() if name}
    remarks: tuple[str, ...] = ()
    if not isinstance(landing, Path):
        # What is in a bucket is for those who deliver.
        copies, place = {}, f"{settings.landing_url.rstrip('/')}/{PurePosixPath(found.path).parent}/"
        remarks = (f"Nothing was put into the bucket. Deliver the sample, and what follows, below {place}",)
    elif copies and not landing.is_relative_to(folder):
        raise StartError(
            f"landing is {landing}, outside of {folder}: put the sample there first, and give --sample the file that "
            "lies there"
        )
    return Start(
        folder,
        defs.parent.name,
        False,
        {file: source_yaml(found.guess, path=found.path)},
        {(settings.landing_dir / name).relative_to(folder).as_posix(): path for name, path in copies.items()},
        found,
        remarks,
    )


# -- where, and what it is called -------------------------------------------------------------------------------------


def _check_place(folder: Path, clone: Path | None) -> None:
    if folder.exists():
        if not folder.is_dir():
            raise StartError(f"{folder} is a file; choose another folder")
        if any(folder.iterdir()):
            raise StartError(f"{folder} is not empty, and nothing in it is touched; choose another folder")
    for above in folder.parents:
        if is_project(above) or above == clone:
            raise StartError(
                f"{folder} lies within the project {above}; choose a folder outside of it, such as "
                f"{above.parent / folder.name}"
            )


def module_name(folder: Path) -> tuple[str, tuple[str, ...]]:
    """The name of a project's Python package, and what to say about it.

    Raises:
        StartError: no name can be made of the folder's.
    """
    plain = unicodedata.normalize("NFKD", folder.name).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    if not name:
        raise StartError(f"no name of a Python package can be made of {folder.name!r}; choose one with Latin letters")
    if not name[0].isalpha():
        name = f"project_{name}"
    words = keyword.iskeyword(name) or keyword.issoftkeyword(name)
    if words or name in _TAKEN_MODULES or _is_installed(name, folder):
        why = "a word of Python's" if words else "the name of another Python module that is installed"
        why = "the name of a folder of projects" if name in _TAKEN_MODULES else why
        return f"{name}_project", (f"The project's Python package is called {name}_project: {name} is {why}.",)
    if name != folder.name:
        return name, (f"The project's Python package is called {name}.",)
    return name, ()


def _is_installed(name: str, folder: Path) -> bool:
    if name in sys.stdlib_module_names:
        return True
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return True
    if spec is None:
        return False
    # A folder of that name here is not a package but what is to become one.
    places = [Path(place) for place in spec.submodule_search_locations or [spec.origin or ""]]
    return not all(place.absolute().parent == folder.parent for place in places)


def _place(draft: Path, target: Path) -> None:
    """Put a file where nothing is.

    Raises:
        FileExistsError: something is there; it stays.
    """
    try:
        # A link does not replace what is there, as a rename would.
        target.hardlink_to(draft)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with draft.open("rb") as original, target.open("xb") as copy:
            try:
                shutil.copyfileobj(original, copy)
            except OSError:
                target.unlink(missing_ok=True)
                raise


def _missing(folder: Path) -> list[Path]:
    """The folders that must be made for a folder to be there, the innermost first."""
    return [part for part in (folder, *folder.parents) if not part.exists()]


def _nearest(folder: Path) -> Path:
    return next(part for part in (folder, *folder.parents) if part.is_dir())


# -- the source -------------------------------------------------------------------------------------------------------


def _files(samples: Sequence[Path]) -> Iterator[Path]:
    """The files of samples, those in folders included, but for what is hidden.

    Raises:
        StartError: one is not there, or cannot be read.
    """
    for sample in samples:
        given = sample.expanduser()
        if given.is_dir():
            inside = sorted(
                path
                for path in given.rglob("*")
                if path.is_file() and not any(part.startswith((".", "_")) for part in path.relative_to(given).parts)
            )
            if not inside:
                raise StartError(f"--sample {sample}: there are no files in it")
            yield from inside
        elif given.is_file():
            yield given
        else:
            raise StartError(f"--sample {sample}: there is no such file or folder")


def _find(files: Sequence[Path], wishes: Wishes, settings: Settings, name: str | None) -> Found:
    """Guess a source from files, and try it on them."""
    source = _source_name(name, files)
    sample = read_samples(_spread(files, _LOOKED_AT))
    guessed = guess(sample, wishes, name=source)
    landing = parse_place(settings.landing_url)
    placed, path = _placed(files, landing if isinstance(landing, Path) else None, source)
    tried = _affordable(files)
    declared = source_of(guessed, name=source, path=path)
    trial = try_source(declared, tried, settings)
    if trial.error is not None:
        raise SampleError(f"the sample cannot be read: {trial.error}")
    if not trial.landed:
        reasons = ", ".join(f"{reason} ({count})" for reason, count in list(trial.reasons.items())[:5])
        raise SampleError(
            f"none of the {trial.lines:,} records would become an event: {reasons or 'all are blank'}. Name the "
            "columns: --time COLUMN, --visitor COLUMN, --event COLUMN"
        )
    return Found(source, path, placed, len(tried), sample, guessed, trial)


def _spread(files: Sequence[Path], count: int) -> list[Path]:
    """Some of the files, the first and the last among them."""
    if len(files) <= count:
        return list(files)
    step = (len(files) - 1) / (count - 1)
    return [files[round(place * step)] for place in range(count)]


def _affordable(files: Sequence[Path]) -> list[Path]:
    chosen: list[Path] = []
    size = 0
    for file in files[:_TRIED_FILES]:
        size += file.stat().st_size
        if chosen and size > _TRIED_BYTES:
            break
        chosen.append(file)
    return chosen


def _source_name(name: str | None, files: Sequence[Path]) -> str:
    if name is not None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise StartError(f"--source {name}: a name has lower-case letters, digits and _, a letter first")
        return name
    # Of a name with a date, what is before it; of several files what they have in common.
    stem = files[0].name.split(".")[0] if len(files) == 1 else files[0].absolute().parent.name
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode().lower()
    words = [word for word in re.split(r"[^a-z0-9]+", plain) if word and not word.isdigit()]
    # What is called after it, too, has a place in a database's 63 bytes.
    found = "_".join(words)[:40].rstrip("_")
    return found if re.match("[a-z]", found) else "events"


def _placed(files: Sequence[Path], landing: Path | None, source: str) -> tuple[dict[Path, str | None], str]:
    """Where below landing, if it is a folder, the files go, and the pattern that matches them and those that follow."""
    if landing is not None and all(file.resolve().is_relative_to(landing.resolve()) for file in files):
        own = [file.resolve().relative_to(landing.resolve()) for file in files]
        for path in own:
            if is_passed_over(path):
                raise StartError(f"{landing / path}: files and folders of such names are passed over; rename it")
        parent = own[0].parent if len({path.parent for path in own}) == 1 else Path(own[0].parts[0], "**")
        return dict.fromkeys(files), (PurePosixPath(parent.as_posix()) / _pattern(files)).as_posix()
    placed: dict[Path, str | None] = {}
    taken: set[str] = set()
    for file in files:
        base = name = _shown_name(file)
        number = 1
        while name in taken:
            number += 1
            name = f"{number}_{base}"
        taken.add(name)
        placed[file] = f"{source}/{name}"
    return placed, f"{source}/{_pattern([Path(name) for name in taken])}"


def _shown_name(file: Path) -> str:
    """The name of a file, or where a file of that name would be passed over, one that is not."""
    name = file.name
    while is_passed_over(PurePosixPath(name)):
        name = name[1:] if name[0] in "._" else PurePosixPath(name).stem
    return name if PurePosixPath(name).parts else "sample"


def _pattern(files: Sequence[Path]) -> str:
    suffixes = {_suffix(file) for file in files}
    suffix = suffixes.pop()
    plain = not suffixes and re.fullmatch(r"\.[A-Za-z0-9]+", suffix)
    return f"*{suffix}*" if plain else "*"


def _suffix(file: Path) -> str:
    name = Path(file.name)
    return Path(name.stem).suffix if name.suffix.lower() in _COMPRESSED else name.suffix


def _declarations(found: Found) -> dict[str, str]:
    """The declarations of a new project: name of the folder -> `defs.yaml`."""
    texts = {found.name: source_yaml(found.guess, path=found.path)}
    if found.trial.steps:
        texts[f"{found.name}_funnel"] = funnel_yaml(found.trial.steps)
        texts[f"{found.name}_retention"] = retention_yaml()
    if found.trial.filled.get("revenue"):
        if found.trial.earning is not None:
            texts[_other("purchase", texts)] = conversion_yaml(found.trial.earning)
        if found.guess.currencies:
            texts[_other("currencies", texts)] = currencies_yaml(found.guess.currencies)
    return texts


def _other(name: str, taken: Mapping[str, str]) -> str:
    return name if name not in taken else f"{name}_of_all"


def _about(found: Found | None, module: str) -> str:
    if found is None:
        return (
            f"There is no source yet: see `{module}/defs/events/defs.yaml.example`, or have one guessed from a file, "
            "as below.\n"
        )
    lines = [
        f"The source `{found.name}` was guessed from a sample that lies in `data/landing`; it takes all files there "
        f"that\nmatch `{found.path}`. Drop further ones beside it.\n"
    ]
    if found.trial.steps:
        command = f'pipeline-assets sql "select * from marts.{found.name}_funnel order by 1"'  # noqa: S608 - for people
        lines.append(
            f"The table of the example funnel, and those of other analyses, are asked for in the same way:\n\n"
            f"```sh\n{command}\n```\n"
        )
    return "\n".join(lines)


def _template(name: str, names: Mapping[str, str] | None = None) -> str:
    text = (_TEMPLATES / name).read_text(encoding="utf-8")
    return text if names is None else Template(text).substitute(names)


def checked_zone(zone: str, known: Collection[str]) -> str:
    """A time zone that is known.

    Raises:
        StartError: it is none.
    """
    if zone in known:
        return zone
    near = suggestion(zone, sorted(known))
    raise StartError(
        f"--time-zone {zone}: there is no such time zone{near or '; an IANA name such as Europe/Berlin is one'}"
    )
