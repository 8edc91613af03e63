"""Lists the studies of docs/results.md and runs what is missing of them.

python experiments/studies.py --data-dir DATA [--list] [STUDY ...] [KEY=VALUE ...]
"""

import argparse
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from msdn_lit.runs.layout import RESULT
from msdn_lit.texts import read_json

FILE = Path(__file__).with_name("studies.yaml")
APN = FILE.with_name("apn")  # the method of docs/add_a_method.md


class Study(NamedTuple):
    """A sweep that answers a question.

    Attributes:
        name: Name of the sweep.
        question: Question of the study.
        overrides: Arguments of `msdn train -m`.
        total: Number of trials.
        seconds: Duration of each finished trial on this machine.
        minutes: Duration of a trial as stated in the file.
    """

    name: str
    question: str
    overrides: Sequence[str]
    total: int
    seconds: Sequence[float]
    minutes: float

    @property
    def hours_left(self) -> float:
        """How long the missing trials take, by those that are finished or else by the file."""
        of_one = mean(self.seconds) / 60 if self.seconds else self.minutes
        return max(0, self.total - len(self.seconds)) * of_one / 60


def read_studies(log_dir: Path, names: Sequence[str] = ()) -> list[Study]:
    """Returns the studies of the file, with what is finished in a folder of logs.

    Args:
        log_dir: Folder of the logs, which holds sweeps/.
        names: Studies; empty for all.
    """
    content = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    unknown = sorted({*names} - {*content})
    if unknown:
        sys.exit(f"There is no study {', '.join(unknown)}. There are {', '.join(content)}.")
    studies = []
    for name in names or content:
        overrides = content[name]["trials"].split()
        results = [read_json(path) for path in log_dir.glob(f"sweeps/{name}/*/{RESULT}")]
        seconds = [float(result["wall_time_s"]) for result in results if result]
        total = content[name].get("number") or _number_of_trials(overrides)
        parts = content[name]["question"], overrides, total, seconds
        studies.append(Study(name, *parts, content[name]["minutes"]))
    return studies


def _number_of_trials(overrides: Sequence[str]) -> int:
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return math.prod(len([*o.sweep_iterator()]) for o in parsed if o.is_sweep_override())


def print_list(studies: Sequence[Study]) -> None:
    """Prints what is finished, and how long the rest takes."""
    for study in studies:
        done = f"{len(study.seconds)} of {study.total} trials"
        print(f"{study.name:<26}{done:>18}{study.hours_left:>8.1f} h left  {study.question}")
    print(f"{'all':<26}{'':>18}{sum(study.hours_left for study in studies):>8.1f} h left")


def main() -> None:
    """Lists, and runs unless told otherwise."""
    parser = argparse.ArgumentParser(description="Runs the studies of docs/results.md.")
    text = "studies (default: all), and further settings of all trials (KEY=VALUE)"
    parser.add_argument("words", nargs="*", metavar="STUDY", help=text)
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--log-dir", type=Path, default=Path("logs"))
    parser.add_argument("--list", action="store_true", help="run nothing")
    options = parser.parse_intermixed_args()
    further = [word for word in options.words if "=" in word]
    studies = read_studies(options.log_dir, [word for word in options.words if "=" not in word])
    print_list(studies)
    folders = [f"paths.data_dir={options.data_dir}", f"paths.log_dir={options.log_dir}"]
    path = os.pathsep.join(filter(None, (str(APN), os.environ.get("PYTHONPATH"))))
    for study in studies if not options.list else ():
        words = [*study.overrides, *folders, *further, f"sweep_name={study.name}"]
        command = [sys.executable, "-m", "msdn_lit", "train", "-m", *words]
        command += ["--config-dir", str(APN / "conf")]
        environment = {**os.environ, "PYTHONPATH": path}
        if code := subprocess.run(command, check=False, env=environment).returncode:
            sys.exit(code)


if __name__ == "__main__":
    main()
