"""msdn fetch as a user meets it: a miniature table, real HTTP, real archives."""

import fcntl
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from msdn_lit.commands.data import fetch
from msdn_lit.data.benchmarks.published import BENCHMARKS
from msdn_lit.data.download import archives
from msdn_lit.data.download import fetcher as fetching
from msdn_lit.data.download.sources import SOURCES
from tests.miniature_table import ALL, IMAGES, SPLITS, VECTORS, call, files, serve_table

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def server(tmp_path, monkeypatch):
    with serve_table(tmp_path / "server", monkeypatch) as server:
        yield server


@pytest.fixture
def run(monkeypatch, capsys):
    return lambda *arguments: call(arguments, monkeypatch, capsys)


def test_everything_arrives_and_the_next_command_is_named(server, run):
    code, out, err = run("cub")
    assert (code, err) == (0, "")
    assert files() == ALL
    assert "images.tgz: complete, 12 files\n" in out
    assert out.endswith(
        "cub is complete in data. Next: msdn extract data=cub paths.data_dir=data\n"
    )


def test_again_does_nothing(server, run):
    run("cub")
    server.log.clear()
    code, out, _ = run("cub", "sun")
    assert (code, server.log) == (0, [])
    assert "downloading" not in out
    assert "sun is complete" in out


def test_what_is_missing_is_fetched_and_what_is_not_is_left(server, run):
    run("cub")
    Path("data/CUB/images/1/2.jpg").unlink()
    Path("data/CUB/images/1/notes.txt").write_bytes(b"own")
    server.log.clear()
    assert run("cub")[0] == 0
    assert [name for _, name, _ in server.log] == ["images.tgz"]
    assert files() == ALL | {"CUB/images/1/notes.txt": b"own"}


def test_another_layout_is_taken_as_it_is(server, run):
    for name, data in IMAGES.items():
        path = Path("data", name.replace("CUB/images", "birds"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    assert run("cub")[0] == 0
    assert "images.tgz" not in [name for _, name, _ in server.log]


def test_all_is_every_benchmark_and_a_shared_archive_comes_once(server, run):
    code, out, _ = run("all", "--data-dir", "elsewhere")
    assert code == 0
    assert files("elsewhere") == ALL
    assert [name for _, name, _ in server.log] == ["images.tgz", "xlsa17.zip", "CUB_attribute.pkl"]
    assert out.count("is complete in elsewhere") == 2


def test_a_source_that_fails_does_not_stop_the_others(server, run):
    server.resources["images.tgz"].statuses = [404]
    code, out, err = run("cub", "sun")
    assert code == 2
    assert err.startswith("msdn fetch: images.tgz cannot be downloaded: found http://127.0.0.1")
    assert err.count("\n") == 1
    assert "cub is complete" not in out
    assert "sun is complete" in out
    assert files() == SPLITS | VECTORS


def test_a_changed_plain_file_is_not_overwritten(server, run):
    run("cub")
    Path("data/w2v/CUB_attribute.pkl").write_bytes(b"my own")
    code, _, err = run("cub")
    assert code == 2
    assert (
        "Remove data/w2v/CUB_attribute.pkl and run the same command again to download it, "
        "or accept the file with --accept-changed." in err
    )
    assert run("cub", "--accept-changed")[0] == 0
    assert files()["w2v/CUB_attribute.pkl"] == b"my own"


def test_an_interruption_says_how_to_go_on(server, run, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fetching, "unpack", interrupt)
        code, _, err = run("cub")
    assert (code, err) == (
        130,
        "msdn fetch: Interrupted; repeat the command to resume.\n",
    )
    server.log.clear()
    assert run("cub")[0] == 0
    assert "images.tgz" not in [name for _, name, _ in server.log]
    assert files() == ALL


def test_a_folder_that_was_being_filled_is_not_complete(server, run):
    run("cub")
    archives.scratch_folder("images.tgz", Path("data")).mkdir()
    server.log.clear()
    run("cub")
    assert [name for _, name, _ in server.log] == ["images.tgz"]
    assert files() == ALL


def test_leftovers_of_a_run_that_was_killed_at_the_very_end_are_removed(server, run):
    run("cub")
    for name in (
        "images.tgz",
        "images.tgz.partial",
        "images.tgz.partial.json",
        "CUB_attribute.pkl",
    ):
        Path("data/.msdn-fetch", name).write_bytes(b"left over")
    server.log.clear()
    assert run("cub")[0] == 0
    assert (files(), server.log) == (ALL, [])


def test_processes_at_the_same_time(server, tmp_path):
    """Each in an interpreter of its own, on the same folder."""
    for resource in server.resources.values():
        resource.rate = 20_000
    imports = [
        "msdn_lit.commands.data import fetch",
        "msdn_lit.data.download.sources import Source",
    ]
    code = "".join(f"from {name}; " for name in imports)
    code += f"fetch.SOURCES = {fetch.SOURCES!r}; fetch.main()"
    start = [sys.executable, "-c", code, "cub", "--data-dir", str(tmp_path / "data")]
    running = [
        subprocess.Popen(start, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    outputs = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert files() == ALL
    assert sum("downloading" in output for output in outputs) >= 1
    assert len([name for _, name, _ in server.log]) == 3  # nothing came twice


def test_a_second_process_says_that_it_waits(server, run):
    lock = Path("data/.msdn-fetch/.images.tgz.lock")
    lock.parent.mkdir(parents=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        threading.Timer(0.3, lambda: fcntl.flock(file, fcntl.LOCK_UN)).start()
        code, out, _ = run("cub")
    assert code == 0
    assert "images.tgz: waiting for another msdn fetch\n" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: cub|sun"),
        (["mnist"], "invalid choice: 'mnist'"),
        (["cub", "--nonsense"], "unrecognized arguments: --nonsense"),
        (
            ["cub", "--archive", "nowhere.tgz"],
            "nowhere.tgz is none of the files to fetch: expected images.tgz, xlsa17",
        ),
    ],
)
def test_wrong_arguments_end_in_one_line(server, run, arguments, message):
    code, out, err = run(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_a_data_folder_that_cannot_be_written_is_told_in_one_line(server, run):
    Path("data").touch()
    code, _, err = run("sun")
    assert (code, err.count("\n")) == (2, 1)
    assert "cannot be read or written" in err


def test_the_data_folder_of_the_environment(server, run, monkeypatch):
    monkeypatch.setenv("MSDN_DATA_DIR", "from_environment")
    run("sun")
    assert Path("from_environment/xlsa17").is_dir()


def test_help_is_instant():
    """It imports none of the slow libraries."""
    check = (
        "atexit.register(lambda: print({'torch', 'requests', 'rich', 'numpy'} & {*sys.modules}))"
    )
    code = f"import atexit, sys; {check}; from msdn_lit.commands.data import fetch; fetch.main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("set()\n")


def test_the_table_agrees_with_what_the_reader_expects():
    for name, sources in SOURCES.items():
        benchmark = BENCHMARKS[name.upper()]
        content = {
            pattern: wanted for source in sources for pattern, wanted in source.content.items()
        }
        assert f"xlsa17/data/{benchmark.name}/res101.mat" in content
        for layouts in benchmark.image_folders.values():
            (wanted,) = (
                wanted for pattern, wanted in content.items() if pattern.startswith(layouts[0])
            )
            assert (
                wanted == benchmark.sizes[-1] or name == "apy"
            )  # whose images are parts of pictures
        assert all(
            source.checksum is None or source.checksum[:4] in ("md5:", "sha2") for source in sources
        )


@pytest.mark.slow
@pytest.mark.fault("processes")
def test_killed_at_random_moments():
    command = [sys.executable, "-m", "tests.benchmarks.kill_fetch", "--kills", "5"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "lost or wrong files: 0\n" in done.stdout
