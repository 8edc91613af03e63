"""What a person reads while something works: a line of the terminal, lines of a log, headers."""

import io
import logging
import os
import re
import shlex
import sys
import threading

import pytest

from msdn_lit.callbacks import EvaluationHistory
from msdn_lit.callbacks.history import evaluation_line
from msdn_lit.commands.data import extract
from msdn_lit.commands.train import evaluate, train
from msdn_lit.progress import (
    IMAGES,
    MEGABYTES,
    STEPS,
    ConsoleHandler,
    ProgressLine,
    Surroundings,
    duration,
    fitting,
    progress_among,
)
from msdn_lit.sweeps.lines import SweepLines, rough_duration
from msdn_lit.sweeps.trials import Trial
from msdn_lit.texts import comma_lines
from msdn_lit.training.header import passes_text

WIDEST_STEP = 123_456
NOISE = (
    "GPU available",
    "TPU",
    "litlogger",
    "LOCAL_RANK",
    "num_workers",
    "Epoch",
    "v_num",
)
OFF = ("~callbacks.progress", "+trainer.enable_progress_bar")


class Clock:
    """A clock that the test sets."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def history(scores_at, **settings):
    made = EvaluationHistory(**{"report_peaks": True} | settings)
    made.scores_at = scores_at
    return made


def scores(t1, u, s, h):
    return dict(
        zip(("acc_czsl", "acc_unseen", "acc_seen", "harmonic_mean"), (t1, u, s, h), strict=True)
    )


class TestEvaluationLine:
    def test_as_in_the_documentation(self):
        found = history({100: scores(0.3, 0.2, 0.1, 0.25), 200: scores(0.507, 0.427, 0.28, 0.338)})
        line = "step 200  T1 50.7  U 42.7  S 28.0  H 33.8  best 33.8"
        assert evaluation_line([found], 200) == line

    def test_it_has_at_most_60_characters(self):
        for objective in (None, "test/acc_czsl", "val/acc_seen"):
            found = history({WIDEST_STEP: scores(1, 1, 1, 1)}, objective=objective)
            assert len(evaluation_line([found], WIDEST_STEP)) <= 60

    def test_the_best_value_is_that_of_the_objective(self):
        at = {5: scores(0.9, 0.2, 0.1, 0.15), 10: scores(0.8, 0.3, 0.4, 0.35)}
        found = history(at, objective="test/acc_czsl")
        assert evaluation_line([found], 10) == "step 10  U 30.0  S 40.0  H 35.0  T1 80.0  best 90.0"

    def test_there_is_no_best_without_peaks(self):
        found = history({5: scores(0.9, 0.2, 0.1, 0.15)}, report_peaks=False)
        assert evaluation_line([found], 5) == "step 5  T1 90.0  U 20.0  S 10.0  H 15.0"

    def test_scores_that_do_not_exist_are_left_out(self):
        assert evaluation_line([history({5: {"acc_czsl": 0.5}})], 5) == "step 5  T1 50.0"

    def test_seeds_have_their_means(self):
        two = [
            history({5: scores(0.2, 0.2, 0.2, h), 9: scores(0.4, 0.4, 0.4, 0.1)})
            for h in (0.2, 0.6)
        ]
        assert evaluation_line(two, 9) == "step 9  T1 40.0  U 40.0  S 40.0  H 10.0  best 40.0"


class TestLinesOfALog:
    @pytest.fixture
    def paced(self):
        clock, said = Clock(), []
        line = ProgressLine(
            STEPS, 2000, say=lambda text: said.append((clock.now - 1000, text)), clock=clock
        )
        return line, clock, said

    def test_one_early_then_one_a_minute(self, paced):
        line, clock, said = paced
        for second in range(1, 201):
            clock.now = 1000 + second
            line.update(5 * second, lambda: ["loss 2.1", "H 60.2"])
        assert [time for time, _ in said] == [10, 70, 130, 190]
        assert said[1][1] == "step 350/2000  ETA 5:30  5 step/s  loss 2.1  H 60.2"

    def test_details_are_computed_only_for_a_line(self, paced):
        line, clock, said = paced
        computed = []
        for second in range(1, 61):
            clock.now = 1000 + second
            line.update(second, lambda: computed.append(1) or ["x"])
        assert len(computed) == len(said) == 1

    def test_the_speed_follows_the_last_quarter_of_the_time(self, paced):
        line, clock, said = paced
        for second in range(1, 601):  # 1 a second for 5 minutes, then 5 a second
            clock.now = 1000 + second
            line.update(second if second <= 300 else 300 + 5 * (second - 300))
        assert said[-1][1] == "step 1550/2000  ETA 1:30  5 step/s"

    def test_phases_and_unknown_totals(self):
        clock, said = Clock(), []
        line = ProgressLine(MEGABYTES, None, say=said.append, seconds_between_lines=0, clock=clock)
        line.restart("a.tgz: downloading", 10**9, 5 * 10**8)
        clock.now += 10
        line.update(6 * 10**8)
        line.restart("a.tgz: unpacking", None)
        clock.now += 2
        line.update(10**6)
        assert said == [
            "a.tgz: downloading  600/1000 MB  ETA 0:40  10 MB/s",
            "a.tgz: unpacking  1 MB  0.5 MB/s",
        ]

    def test_a_label_of_the_surroundings(self):
        said = []
        with progress_among(Surroundings("trial 3 of 12", has_terminal=False)):
            line = ProgressLine(
                IMAGES, 7, label="evaluating", say=said.append, seconds_between_lines=0
            )
        line.update(0)
        assert said == ["trial 3 of 12  evaluating  0/7 images"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (38.4, "0:38"), (3599.6, "1:00:00"), (3723, "1:02:03")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "about 1 s"), (89, "about 89 s"), (1200, "about 20 min"), (10800, "about 3 h")],
)
def test_rough_durations(seconds, text):
    assert rough_duration(seconds) == text


@pytest.mark.parametrize(
    ("passes", "text"),
    [
        (0.0004, "under 0.01 passes"),
        (0.142, "0.14 passes"),
        (141 * 50 / 7057, "1 pass"),
        (2.5, "2.5 passes"),
        (282 * 50 / 7057, "2 passes"),
        (9.996, "10 passes"),
        (4234 * 50 / 7057, "30 passes"),
        (12345.6, "12,346 passes"),
    ],
)
def test_passes(passes, text):
    assert passes_text(passes) == text


def test_a_header_is_broken_between_its_parts():
    parts = ["CUB", f"{'x' * 40} in disk: 7,057 trainval", "1,764 test_seen", "2,967 test_unseen"]
    first, second = comma_lines(parts)
    assert first == f"CUB, {'x' * 40} in disk: 7,057 trainval,"
    assert second == "  1,764 test_seen, 2,967 test_unseen"
    assert comma_lines(["a" * 78, "b"]) == ["a" * 78 + ",", "  b"]
    assert comma_lines(["a" * 75, "b"]) == ["a" * 75 + ", b"]


def test_a_narrow_terminal_keeps_the_first_parts():
    parts = ["step 575/2000", "ETA 0:38", "37 step/s", "loss 2.1", "H 60.2"]
    assert fitting(parts, 80) == "step 575/2000  ETA 0:38  37 step/s  loss 2.1  H 60.2"
    assert fitting(parts, 40) == "step 575/2000  ETA 0:38  37 step/s"
    assert fitting(parts, 5) == "step 575/2000"


@pytest.fixture
def terminal(monkeypatch):
    """A function that makes standard output a terminal of 80 columns.

    It returns a function that closes the terminal and returns all that was written to it.
    """
    leader, follower = os.openpty()
    received = []

    def receive():
        try:
            while data := os.read(leader, 4096):
                received.append(data)
        except OSError:  # the other end is closed
            pass

    stream = os.fdopen(follower, "w", buffering=1)
    reader = threading.Thread(target=receive)
    reader.start()

    def close():
        if not stream.closed:
            stream.close()
            reader.join()
        return b"".join(received).decode()

    def begin():  # in the test: pytest gives each phase another standard output
        for name, value in (("COLUMNS", "80"), ("TERM", "xterm")):
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "stdout", stream)
        return close

    yield begin
    close()
    os.close(leader)


def screen(text):
    """Lines that a terminal shows after it received a text, as far as our lines use it."""
    rows, row, column = [""], 0, 0
    pattern = r"\x1b\[(\??\d*(?:;\d+)*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)"
    for number, code, control, printed in re.findall(pattern, text):
        if code == "A":
            row -= int(number)
        elif code == "K":
            rows[row] = "" if number == "2" else rows[row][:column]
        elif control == "\r":
            column = 0
        elif control == "\n":
            row += 1
            rows += [""] * (row == len(rows))
        elif printed:
            before = rows[row][:column].ljust(column)
            rows[row] = before + printed + rows[row][column + len(printed) :]
            column += len(printed)
        else:
            assert code in ("m", "h", "l")  # colours; the cursor is shown or not
    return [line.rstrip() for line in rows]


class TestTerminal:
    def test_what_is_printed_meanwhile_stays_above_the_line(self, terminal):
        read, clock = terminal(), Clock()
        logger = logging.getLogger("tests.progress")
        logger.addHandler(handler := ConsoleHandler())
        logger.setLevel(logging.INFO)
        logger.propagate = False  # the root logger may have the handler of a command
        with ProgressLine(STEPS, 100, clock=clock) as line:
            for step in range(1, 101):
                clock.now += 0.1
                line.update(step, lambda: ["loss 2.1"])
                if step % 40 == 0:
                    logger.info("evaluation %d", step)
                if step == 50:
                    print("printed")
        logger.removeHandler(handler)
        sys.stdout.write("the end\n")
        text = read()
        assert screen(text)[:-1] == ["evaluation 40", "printed", "evaluation 80", "the end"]
        assert "step 100/100  ETA 0:00  10 step/s  loss 2.1" in text
        assert text.count("step ") < 60  # four times a second

    def test_a_training(self, terminal, monkeypatch, mini_overrides, tmp_path):
        words = [word for word in mini_overrides if not word.startswith(OFF)]
        monkeypatch.setattr(sys, "argv", ["msdn-train", *words])
        read = terminal()
        train.main()
        shown = screen(read())
        header, evaluations = shown[:3], shown[3:6]
        assert header[0].startswith("msdn-lit ")
        assert header[0].endswith(", paper protocol, run")
        assert all(re.match(r"step \d+  T1 [\d.]+  U .*  best [\d.]+$", e) for e in evaluations)
        assert [line.split()[1] for line in evaluations] == ["5", "10", "12"]
        assert all(len(line) <= 80 for line in shown)
        assert shown[6].startswith("MINI, mini, msdn, paper protocol, seed ")
        assert not any("step 12/12" in line for line in shown)

    @pytest.mark.fault("processes")
    def test_an_error_removes_the_line(self, terminal):
        read = terminal()
        with pytest.raises(ValueError, match="x"), ProgressLine(STEPS, 10) as line:
            line.update(1)
            raise ValueError("x")
        text = read()
        assert "1/10" in text
        assert not any(screen(text))

    def test_a_dumb_terminal_has_lines(self, terminal, monkeypatch):
        terminal()
        assert ProgressLine(STEPS, 10).is_live
        monkeypatch.setenv("TERM", "dumb")
        assert not ProgressLine(STEPS, 10).is_live


def test_a_pipe_is_no_terminal_even_if_colours_are_asked_for(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert not ProgressLine(STEPS, 10).is_live


@pytest.fixture
def plain_words(mini_overrides):
    """The words of a short training whose progress is said after each step."""
    words = [word for word in mini_overrides if not word.startswith(OFF)]
    return [*words, "callbacks.progress.seconds_between_lines=0"]


class TestLogOfATraining:
    def test_header_steps_evaluations_and_next(self, command, plain_words, tmp_path):
        code, out, err = command(train, *plain_words)
        assert code == 0
        assert all("those of guessing" in line for line in err.splitlines())
        lines = out.splitlines()
        assert lines[1].startswith("MINI, mini in ram: ")
        assert lines[1].endswith(" test_unseen")
        assert re.match(
            r"msdn, loss msdn, rmsprop, batch 10, 12 steps \([\d.]+ passes\), cpu, 32-true$",
            lines[2],
        )
        steps = [line for line in lines if re.match(r"step \d+/12", line)]
        assert re.search(r"step 12/12  ETA 0:00  [\d.]+ step/s  loss [\d.]+  T1 .*  H ", out)
        assert len(steps) >= 12
        assert len([line for line in lines if re.match(r"step \d+  T1", line)]) == 3
        assert lines[-2:] == ["Next: msdn report run", "      msdn evaluate run"]
        assert not any(word in out for word in NOISE)
        logged = (tmp_path / "run" / "train.log").read_text().splitlines()
        dated = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (.*)")
        table = next(n for n, line in enumerate(lines) if line.startswith("MINI, mini, msdn"))
        assert [dated.fullmatch(line)[1] for line in logged] == lines[:table]

    @pytest.mark.parametrize("off", ["~callbacks.progress", "trainer.enable_progress_bar=false"])
    def test_without_progress(self, command, plain_words, off):
        words = plain_words[:-1]
        more = [] if off.startswith("~") else ["callbacks.progress.seconds_between_lines=0"]
        code, out, err = command(train, *words, off, *more)
        assert code == 0, err
        assert "step 12  T1" in out
        assert "step 12/12" not in out

    def test_evaluating(self, command, plain_words):
        command(train, *plain_words, "paths.run_dir='with space/run'")
        code, out, err = command(evaluate, "with space/run", "--accelerator", "cpu")
        assert (code, err) == (0, "")
        assert out.splitlines()[0].endswith("checkpoint last of with space/run")
        assert not any(word in out for word in NOISE)

    def test_a_folder_with_a_space_is_quoted(self, command, plain_words):
        _, out, _ = command(train, *plain_words, "paths.run_dir='with space/run'")
        line = next(line for line in out.splitlines() if line.startswith("Next: "))
        assert shlex.split(line) == ["Next:", "msdn", "report", "with space/run"]


class TestNextOfAnExtraction:
    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            (["experiment=demo"], ["experiment=demo"]),
            (["data=awa2", "paths.data_dir=a b"], ["experiment=awa2_gzsl", "paths.data_dir=a b"]),
            (["data=cub"], ["data=cub"]),
            (["data=folder", "data.folder=x", "data.benchmark=MINE"], None),
        ],
    )
    def test_it_trains_with_the_settings_of_the_benchmark(
        self, monkeypatch, load_config, words, expected
    ):
        quoted = [word.replace("=a b", "='a b'") for word in words]
        cfg = load_config(*quoted, name="extract")
        monkeypatch.setattr(sys, "argv", ["msdn extract", *words])
        found = extract._training_words(cfg)
        assert found == ["msdn", "train", *(expected or words)]


class TestSweep:
    def test_lines_of_trials_and_of_a_sweep_that_continues(self, sweep, folder):
        code, out, _ = sweep("seed=0,1", "callbacks=default")
        assert code == 0
        lines = out.splitlines()
        assert re.fullmatch(r"msdn-lit \S+, sweep of 2 trials, logs/sweeps/trial", lines[0])
        assert lines[1] == "trial 1 of 2: seed=0"
        names = {path.parent.name for path in folder.glob("*/trial.json")}
        end = r"trial (\d) of 2  T1 [\d.]+  U [\d.]+  S [\d.]+  H [\d.]+  (\w{12})  seed=(\d)"
        found = [re.fullmatch(end, line) for line in lines]
        assert [match[1] + match[3] for match in found if match] == ["10", "21"]
        assert {match[2] for match in found if match} == names
        assert sum(bool(re.match(r"trial 2 of 2, about \d+ s left: seed=1", x)) for x in lines) == 1
        assert sum(line.startswith("step ") for line in lines) == 0  # they are in train.log
        assert "Next: msdn report logs/sweeps/trial" in lines

        _, out, _ = sweep("seed=0,1,2", "callbacks=default")
        lines = out.splitlines()
        assert re.match(r"2 of 3 trials are finished and skipped: \w{12}, \w{12}$", lines[1])
        assert re.match(r"trial 3 of 3, about \d+ s left: seed=2", lines[2])


def test_a_trial_beyond_the_number_of_a_search(tmp_path):
    """A search that is resumed with a smaller n_trials has more trials than it says."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "trial.json").write_text('{"overrides": []}')
    (tmp_path / "one" / "result.json").write_text('{"wall_time_s": 60}')
    lines = SweepLines(total=10, first=10)
    assert lines.start(1, Trial(tmp_path / "two", ())).startswith("trial 11 of 10, ")
