from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from labelgen.core.errors import UserError
from labelgen.core.files import sha256
from labelgen.pipeline.build import build
from labelgen.pipeline.executor import parallel_map, shut_down_workers


def square(x: int) -> int:
    return x * x


def deadly(x: int) -> int:
    """Kills its worker at 3, as the system does to one that takes too much memory."""
    if x == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return x * x


def deadly_once(item: tuple[int, str]) -> int:
    x, marker = item
    if x == 2 and not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return x


@pytest.mark.parametrize(("jobs", "backend"), [(1, "loky"), (2, "loky"), (2, "threading")])
def test_every_item_is_done_once(jobs: int, backend: str) -> None:
    results = list(parallel_map(square, range(12), jobs, backend))
    assert sorted(results) == [(i, i * i) for i in range(12)]


def test_a_task_that_kills_its_worker_costs_only_itself() -> None:
    results = dict(parallel_map(deadly, range(9), 2))
    assert results == {i: None if i == 3 else i * i for i in range(9)}


def test_a_worker_that_dies_once_costs_nothing(tmp_path: Path) -> None:
    items = [(i, str(tmp_path / "died")) for i in range(6)]
    assert dict(parallel_map(deadly_once, items, 2)) == {i: i for i in range(6)}


def test_nothing_to_do() -> None:
    assert list(parallel_map(square, [], 2)) == []


def worker(_: int) -> int:
    return os.getpid()


def until(condition: Callable[[], bool]) -> bool:
    return any(condition() or time.sleep(0.1) for _ in range(300))


def are_there(processes: Iterable[int]) -> bool:
    return any(Path(f"/proc/{pid}").exists() for pid in processes)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at /proc")
def test_workers_are_let_go_and_come_again() -> None:
    workers = set(dict(parallel_map(worker, range(6), 2)).values())
    assert os.getpid() not in workers
    assert are_there(workers)
    shut_down_workers(2, "loky")
    assert until(lambda: not are_there(workers))
    assert not workers & set(dict(parallel_map(worker, range(6), 2)).values())


def patient(folder: str) -> None:
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(60)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at /proc")
def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys; from labelgen.pipeline.executor import parallel_map;"
        "from tests.pipeline.test_executor import patient;"
        "list(parallel_map(patient, [sys.argv[1]] * 2, 2))"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], cwd=Path(__file__).parents[2]
    )

    assert until(lambda: len(list(tmp_path.iterdir())) == 2)
    workers = [int(path.name) for path in tmp_path.iterdir()]
    assert parent.pid not in workers
    parent.kill()
    parent.wait()
    assert until(lambda: not are_there(workers))


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A scheduler and two worker processes that a nanny restarts."""
    folder = tmp_path_factory.mktemp("dask")
    address = folder / "scheduler.json"
    with contextlib.ExitStack() as stack:
        for command in (
            ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"],
            ["worker", "--nworkers", "2", "--nthreads", "1", "--no-dashboard"],
        ):
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *command, "--scheduler-file", str(address)],
                cwd=folder,
                env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.enter_context(process)
            stack.callback(process.terminate)
        for _ in range(600):
            if address.exists():
                break
            time.sleep(0.1)
        yield json.loads(address.read_text())["address"]


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[str]:
    """Ray on this machine, two CPUs."""
    ray = pytest.importorskip("ray", reason="ray is not installed")
    context = ray.init(num_cpus=2, log_to_driver=False, include_dashboard=False)
    yield context.address_info["gcs_address"]
    ray.shutdown()


@pytest.fixture(params=["dask", "ray"])
def cluster(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Backend and address."""
    fixture = {"dask": "dask", "ray": "ray_cluster"}[request.param]
    return request.param, request.getfixturevalue(fixture)


def test_a_cluster_does_every_item_once(cluster: tuple[str, str]) -> None:
    results = list(parallel_map(square, range(12), None, *cluster))
    assert sorted(results) == [(i, i * i) for i in range(12)]
    assert list(parallel_map(square, [], None, *cluster)) == []


def test_on_a_cluster_a_task_that_kills_its_worker_costs_only_itself(
    cluster: tuple[str, str],
) -> None:
    results = dict(parallel_map(deadly, range(9), None, *cluster))
    assert results == {i: None if i == 3 else i * i for i in range(9)}


def test_workers_of_other_versions_or_without_the_folder_are_refused(
    cluster: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"does not see .*gone; build on a file system"):
        list(parallel_map(square, range(3), None, *cluster, folder=tmp_path / "gone"))
    monkeypatch.setattr("labelgen.pipeline.cluster.generator", lambda: "labelgen 99")
    with pytest.raises(UserError, match=r"has labelgen 0.* and this machine labelgen 99"):
        list(parallel_map(square, range(3), None, *cluster))


def test_a_dataset_made_by_a_cluster_has_the_same_bytes(
    cluster: tuple[str, str], raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, address = cluster
    monkeypatch.chdir(tmp_path)
    build(raw, tmp_path / "local.h5", jobs=2)
    build(raw, Path("far.h5"), backend=backend, scheduler=address)
    assert Path("far.h5").read_bytes() == Path("local.h5").read_bytes()


def test_parts_that_a_cluster_joins_have_the_same_bytes(
    cluster: tuple[str, str], raw: Path, tmp_path: Path
) -> None:
    backend, address = cluster
    near, far = tmp_path / "near", tmp_path / "far"
    for folder, how in ((near, {"jobs": 1}), (far, {"backend": backend, "scheduler": address})):
        folder.mkdir()
        build(raw, folder / "out.h5", part_bytes=8 << 20, **how)
    one, other = ({p.name: sha256(p) for p in f.glob("*.h5")} for f in (near, far))
    assert len(one) > 3
    assert one == other


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "nowhere:x", "a:99999"])
def test_a_ray_cluster_that_is_not_there_is_one_line(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray", reason="ray is not installed")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)  # by other tests
    with pytest.raises(UserError, match=rf"--scheduler {address}: no Ray cluster answers; start"):
        list(parallel_map(square, range(3), None, "ray", address))


def test_a_cluster_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="needs --scheduler tcp://HOST:8786"):
        list(parallel_map(square, range(3), None, "dask"))
    monkeypatch.setattr("labelgen.pipeline.cluster.PATIENCE_S", 1)
    with pytest.raises(UserError, match=r"tcp://127.0.0.1:9: no Dask scheduler answers"):
        list(parallel_map(square, range(3), None, "dask", "tcp://127.0.0.1:9"))
