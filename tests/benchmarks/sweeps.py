"""Launcher overhead: seconds per job, and seconds of a sweep whose trials are all finished.

    python -m tests.benchmarks.sweeps [--jobs 64] [--launchers serial joblib ray submitit_local]

A job sleeps for a second and writes a result. The time beyond `jobs / slots` seconds is overhead of
the launcher: its start, the imports of its workers, the composition of configs. The overhead of "a
further job" is the slope between half of the jobs and all jobs, which excludes the start. Each job
records its process, and whether torch was already imported there.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SLOTS = {"serial": 1, "joblib": 2, "ray": 2, "submitit_local": 2}
OPTIONS = {
    "ray": ["+hydra.launcher.base_launcher.init.num_cpus=2"],
    "submitit_local": ["hydra.sweeper.max_batch_size=2"],  # it would start all jobs at once
}
FEWER = {"submitit_local": 4}  # divisor of the number of jobs; each job starts a process
PACKAGES = {
    "joblib": "hydra_plugins.hydra_joblib_launcher",
    "ray": "ray",
    "submitit_local": "submitit",
}


def sleep(cfg):
    """Runs a job of one second, after the import of torch."""
    was_warm = "torch" in sys.modules
    import torch  # noqa: F401 - its time is overhead of each worker

    time.sleep(float(os.environ.get("SWEEP_SECONDS", "1")))
    content = {"scores": {"last": {}}, "objective": None, "pid": os.getpid(), "was_warm": was_warm}
    (Path(cfg.paths.run_dir) / "result.json").write_text(json.dumps(content))


def sweep(folder: Path, name, launcher, jobs):
    """Runs a sweep of that many seeds; returns its seconds."""
    options = [
        f"trial_launcher={launcher}",
        f"hydra.launcher.max_parallel={SLOTS[launcher]}",
        *OPTIONS.get(launcher, []),
    ]
    options += [
        "experiment=demo",
        f"seed=range({jobs})",
        f"paths.log_dir={folder}",
        f"sweep_name={name}",
    ]
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": path}
    command = [sys.executable, "-m", "tests.benchmarks.sweeps", "--job", "-m", *options]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    seconds = time.perf_counter() - start
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return seconds


def results(folder: Path):
    return [json.loads(path.read_text()) for path in folder.glob("*/result.json")]


def overhead(folder: Path, launcher, jobs):
    """Prints the overhead of a job, with the launcher's start and without."""
    slots = SLOTS[launcher]
    half, whole = (
        sweep(folder, f"{launcher}_{number}", launcher, number) for number in (jobs // 2, jobs)
    )
    done = results(folder / "sweeps" / f"{launcher}_{jobs}")
    assert len(done) == jobs
    processes = len({job["pid"] for job in done})
    imports = sum(not job["was_warm"] for job in done)
    each = (slots * whole - jobs) / jobs
    further = (slots * (whole - half) - jobs / 2) / (jobs / 2)
    print(f"{launcher}: {jobs} jobs on {slots} slots in {whole:.1f} s", end="; ")
    print(f"overhead {each:.2f} s per job, {further:.2f} s per further job", end="; ")
    print(f"{processes} processes, torch imported {imports} times", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=64)
    parser.add_argument("--finished", type=int, default=200)
    parser.add_argument("--launchers", nargs="*", default=list(SLOTS))
    args = parser.parse_args()
    print(
        f"load of the machine at the start: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for launcher in args.launchers:
            if launcher in PACKAGES and importlib.util.find_spec(PACKAGES[launcher]) is None:
                print(f"{launcher}: not measured, {PACKAGES[launcher]} is not installed")
            elif args.jobs:
                overhead(folder, launcher, args.jobs // FEWER.get(launcher, 1))
        if args.finished:
            os.environ["SWEEP_SECONDS"] = "0"
            sweep(folder, "finished", "serial", args.finished)
            times = [sweep(folder, "finished", "serial", args.finished) for _ in range(3)]
            found = f"{min(times):.1f} to {max(times):.1f} s to find no unfinished trial"
            print(f"{args.finished} finished trials: {found}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--job"]:
        from msdn_lit.commands._hydra import command

        sys.argv[:2] = ["msdn-train"]
        command("train", sleep, ())()
    else:
        main()
