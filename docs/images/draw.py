"""Draws attention.png, the picture of the README: `make picture`, which trains the demo first.

The images are the drawn birds of the embedded benchmark, which anybody may show.
"""

import sys
from pathlib import Path

from msdn_lit.analysis.figures.style import save_figure
from msdn_lit.attention.maps import attention_rows
from msdn_lit.attention.plots import plot_attention
from msdn_lit.build.load import load_run

_DPI = 150  # less than 400 kB


def main(run: Path) -> None:
    """Draws one image that the run predicts right and one that it does not."""
    loaded = load_run(run)
    rows = attention_rows(
        loaded.task, loaded.data, num_images=2, num_attributes=3, right_and_wrong=True
    )
    save_figure(plot_attention(rows), Path(__file__).with_name("attention.png"), _DPI)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
