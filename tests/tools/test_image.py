"""The image, built by buildah from a base made of the Python and the libraries of this machine."""

from __future__ import annotations

import functools
import http.server
import importlib.metadata
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pip
import pytest
from server import ROOT, Server, free_port, review_of, wait_until

from handler.version import VERSION as HANDLER

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("buildah") is None, reason="buildah is not installed"),
    pytest.mark.skipif(
        not sys.platform.startswith("linux") or os.geteuid() != 0,
        reason="only root can mount the image's files",
    ),
]

VERSION, REVISION = "1.2.3", "0123456789abcdef0123456789abcdef01234567"
USER = 65532
# What wheels for Linux expect (PEP 600), of what these use.
WHEELS = (
    *("libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0", "librt.so.1", "libutil.so.1"),
    *("libgcc_s.so.1", "libstdc++.so.6"),
)
LDD = shutil.which("ldd") or "ldd"
# Files that nothing here imports or reads, 3300 of them, and that take long to install.
UNUSED = re.compile(
    r"(aiohttp|anyio|attr|cffi|charset_normalizer|click|cryptography|dateutil|flask|gunicorn|idna"
    r"|jinja2|kubernetes|multidict|oauthlib|packaging|pycparser|pydantic/v1|requests|tzdata|urllib3"
    r"|uvicorn|watchdog|websocket|werkzeug|yarl)/(?!__init__)"
)
COMPILED = "json"  # the package of the standard library that the build has to compile
PINNED = re.findall(
    r"^([a-z0-9-]+)==([^ ;\n]+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE
)
UNLIKELY = ("ensurepip", "idlelib", "lib2to3", "pip", "setuptools", "test", "tkinter", "turtledemo")


def run(*command: str | Path) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{command}\n{result.stdout[-3000:]}{result.stderr[-3000:]}"
    return result.stdout


def _libraries(files: list[Path]) -> set[Path]:
    """The shared libraries that these need, and the loader."""
    needed = re.findall(r"(?:=> |^\t)(/\S+) \(", run(LDD, *files), re.MULTILINE)
    found = {Path(path) for path in needed}
    known = run("/sbin/ldconfig", "-p")
    for name in WHEELS:
        found |= {Path(path) for path in re.findall(rf"{re.escape(name)} .*=> (\S+)", known)[:1]}
    return found


def _base(root: Path) -> None:
    """Lay out what an image of Python has, without a shell and without a distribution."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    library = Path(sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix}))
    large = ("*.opt-*", "_bundled", "_tkinter*", "config-*", "idle_test", "site-packages", "test*")
    for name in ("dev", "etc", "proc", "sys", "tmp", "usr/bin", "usr/lib", "usr/local/bin"):
        (root / name).mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    shutil.copytree(
        library,
        root / "usr/local/lib" / version,
        ignore=shutil.ignore_patterns(*large),
    )
    # An image of Python has no bytecode. Here one package has none, since compiling all takes long.
    shutil.rmtree(root / "usr/local/lib" / version / COMPILED / "__pycache__", ignore_errors=True)
    packages = root / "usr/local/lib" / version / "site-packages"
    shutil.copytree(Path(pip.__file__).parent, packages / "pip")
    (root / "usr/local/bin/pip").touch()
    python = Path(sys.base_prefix, "bin", version).resolve()
    shutil.copy2(python, root / "usr/local/bin" / version)
    for name in ("python", "python3"):
        (root / "usr/local/bin" / name).symlink_to(version)
    for path in _libraries([python, *root.glob("usr/local/lib/*/lib-dynload/*.so")]):
        # The loader has to be where programs name it, the libraries where it looks for them.
        target = path.parent if path.name.startswith("ld-") else Path("/usr/lib")
        (root / target.relative_to("/")).mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, root / target.relative_to("/") / path.name)


def _wheels(folder: Path) -> None:
    """Make a wheel (PEP 427) of each installed package that requirements.txt pins.

    They are neither compressed nor downloaded, which would take longer than all else of the build.
    """
    for name, version in PINNED:
        try:
            package = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:  # for another Python, by its marker
            continue
        if package.version != version:
            continue
        made, record = f"{name.replace('-', '_')}-{version}", []
        about = package.read_text("WHEEL") or ""
        tags = [tag.split("-") for tag in re.findall(r"^Tag: (\S+)", about, re.MULTILINE)]
        tag = "-".join(".".join(sorted(set(part))) for part in zip(*tags, strict=True))
        with zipfile.ZipFile(folder / f"{made}-{tag}.whl", "w") as wheel:
            for file in package.files or ():
                path = str(file)
                # Not what pip has made or added: scripts, bytecode, its notes.
                if path.startswith("../") or path.endswith(".pyc") or UNUSED.match(path):
                    continue
                if file.name in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json"):
                    continue
                wheel.write(file.locate(), path)
                record.append(f"{path},,\n")
            information = next(
                path.partition("/")[0] for path in wheel.namelist() if ".dist-info/" in path
            )
            wheel.writestr(f"{information}/RECORD", "".join(record))


class Index(http.server.SimpleHTTPRequestHandler):
    """A package index (PEP 503) of the wheels in a folder."""

    asked: set[str]

    def do_GET(self) -> None:
        if match := re.fullmatch(r"/simple/([a-z0-9-]+)/", self.path):
            self.asked.add(match[1])
            wheels = (wheel.name for wheel in Path(self.directory).glob("*.whl"))
            links = "".join(
                f'<a href="/{wheel}">{wheel}</a>\n'
                for wheel in wheels
                if re.sub(r"[-_.]+", "-", wheel.split("-")[0]).lower() == match[1]
            )
            self.send_response(200 if links else 404)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(links.encode())
        else:
            super().do_GET()

    def log_message(self, *_: Any) -> None:
        pass


@dataclass
class Image:
    """An image's configuration, its files, and the packages that its build asked the index for."""

    config: dict[str, Any]
    root: Path
    asked: set[str]

    @property
    def environment(self) -> dict[str, str]:
        return dict(each.split("=", 1) for each in self.config["Env"])

    def command(self, *command: str) -> list[str]:
        """A command in the image as a container runtime starts it: read-only, as its user."""
        user, group = self.config["User"].split(":")
        enter = (
            'mount --bind "$0" "$0" && mount --rbind /proc "$0/proc" && mount --rbind /dev "$0/dev"'
            ' && mount -o remount,bind,ro "$0" && exec "$@"'
        )
        unshare = str(shutil.which("unshare"))
        within = [unshare, f"--root={self.root}", f"--wd={self.config['WorkingDir']}"]
        within += [f"--setgid={group}", f"--setuid={user}", *command]
        # The image's PATH doesn't lead to this machine's mount.
        script = f"PATH=/usr/sbin:/usr/bin:/sbin:/bin; {enter}"
        within = [str(shutil.which("env")), f"PATH={self.environment['PATH']}", *within]
        return [unshare, "--mount", "/bin/sh", "-c", script, str(self.root), *within]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    folder = tmp_path_factory.mktemp("image")
    wheels = folder / "wheels"
    wheels.mkdir()
    _wheels(wheels)
    buildah: list[str | Path] = [str(shutil.which("buildah")), "--runroot", folder / "run"]
    # Overlay, or a slower driver where that is not supported. It is found out in another folder,
    # since buildah refuses one in which overlay was tried in vain.
    about = json.loads(run(*buildah, "--root", folder / "tried", "info"))
    driver = about["store"]["GraphDriverName"]
    buildah += ["--root", folder / "storage", "--storage-driver", driver]
    handler = type("Asked", (Index,), {"asked": set()})
    index = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=str(wheels))
    )
    threading.Thread(target=index.serve_forever).start()
    base = "mirror.example.com/python:base"
    try:
        container = run(*buildah, "from", "scratch").strip()
        _base(Path(run(*buildah, "mount", container).strip()))
        run(*buildah, "config", "--env", "PATH=/usr/local/bin", container)
        run(*buildah, "commit", "--rm", container, base)
        arguments = {
            "BASE": base,
            "PIP_INDEX_URL": f"http://127.0.0.1:{index.server_port}/simple",
            "VERSION": VERSION,
            "REVISION": REVISION,
        }
        given = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        bud = ("bud", "--isolation", "chroot", "--pull-never")
        run(*buildah, *bud, *given, "--tag", "eci-profile", ROOT)
        inspected = json.loads(run(*buildah, "inspect", "--type", "image", "eci-profile"))
        container = run(*buildah, "from", "--pull-never", "eci-profile").strip()
        root = Path(run(*buildah, "mount", container).strip())
        yield Image(inspected["OCIv1"]["config"], root, handler.asked)  # type: ignore[attr-defined]
    finally:
        index.shutdown()
        index.server_close()
        run(*buildah, "rm", "--all")
        shutil.rmtree(folder, ignore_errors=True)  # hundreds of MB


def test_it_is_built_from_the_base_and_the_index_that_are_named(image: Image) -> None:
    assert image.asked <= {name for name, _ in PINNED}
    assert {"granian", "kubernetes", "pydantic"} <= image.asked


def test_labels_name_the_version_and_the_revision(image: Image) -> None:
    labels = image.config["Labels"]
    assert labels["org.opencontainers.image.version"] == VERSION
    assert labels["org.opencontainers.image.revision"] == REVISION


def test_it_has_nothing_that_run_time_does_not_need(image: Image) -> None:
    files = [path.relative_to(image.root) for path in image.root.rglob("*")]
    assert not [path for path in files if path.name in UNLIKELY and "venv" not in path.parts[0]]
    assert not [path for path in files if re.match(r"(pip|2to3|idle|pydoc)[\d.]*$", path.name)]
    packages = next(image.root.glob("venv/lib/python3*/site-packages"))
    assert not {"pip", "setuptools", "wheel"} & {path.name for path in packages.iterdir()}
    assert {path.name for path in (image.root / "app").iterdir()} == {"LICENSE", "handler"}
    caches = {*(ROOT / "handler").rglob("__pycache__"), *(ROOT / "handler").rglob("*.pyc")}
    sources = {path.relative_to(ROOT) for path in (ROOT / "handler").rglob("*")} - {
        path.relative_to(ROOT) for path in caches
    }
    within = (image.root / "app/handler").rglob("*")
    copied = {path.relative_to(image.root / "app") for path in within}
    assert {path for path in copied if "__pycache__" not in path.parts} == sources


def test_python_finds_bytecode_of_all(image: Image) -> None:
    """Since it can't write any."""
    (library,) = image.root.glob("usr/local/lib/python3*")
    (packages,) = image.root.glob("venv/lib/python3*/site-packages")
    for folder in (library / COMPILED, packages / "starlette", image.root / "app/handler"):
        modules = {path.stem for path in folder.glob("*.py")}
        assert modules
        assert {path.name.partition(".")[0] for path in folder.glob("__pycache__/*")} == modules


def test_it_serves_read_only_as_its_user(image: Image, tmp_path: Path) -> None:
    assert image.config["User"] == f"{USER}:{USER}"
    port = free_port()
    environment = {
        **image.environment,
        "PORT": str(port),
        "ECI_PROFILE_PROVIDER": "file",
        "ECI_PROFILE_FILE": "/proc/self/fd/0",
        "ECI_PROFILE_DRAIN": "0",
    }
    with (
        (ROOT / "k8s/sample/profile.yaml").open("rb") as profile,
        (tmp_path / "log").open("w+b") as log,
        subprocess.Popen(
            image.command(*image.config["Cmd"]), env=environment, stdin=profile, stderr=log
        ) as process,
    ):
        try:
            server = Server(port, process, log)
            wait_until(lambda: _ready(server), 60)
            status = dict(
                line.split(":\t", 1)
                for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
            )
            assert {*status["Uid"].split(), *status["Gid"].split()} == {str(USER)}
            assert int(status["CapEff"], 16) == 0
            pod = json.loads((ROOT / "k8s/sample/review.json").read_text())
            assert "patch" in server.post(pod).json["response"]
            assert server.post(review_of({"metadata": {}})).json["response"]["allowed"]
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()
            log.seek(0)
            sys.stderr.write(log.read().decode())


def _ready(server: Server) -> bool:
    assert server.process.poll() is None
    try:
        return server.request("GET", "/readyz").status == 200
    except OSError:
        return False


def test_nothing_in_it_can_be_written(image: Image) -> None:
    for where in ("/app/x", "/venv/x", "/tmp/x", "/x"):  # noqa: S108
        program = f"open({where!r}, 'w')"
        result = subprocess.run(
            image.command("python", "-c", program),
            env=image.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 1
        assert "Read-only file system" in result.stderr


def test_the_tools_are_in_it(image: Image) -> None:
    command = image.command("python", "-m", "handler", "--version")
    result = subprocess.run(
        command, env=image.environment, capture_output=True, text=True, check=True
    )
    assert result.stdout.split()[-1] == HANDLER
