"""How the benchmark shows figures."""

from pathlib import Path

import pytest
from tables import Goal, Report, file_system, measured, new_table, verdict

MOUNTS = """\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 21 0:25 / /srv rw - xfs /dev/sdb1 rw
31 30 0:26 / /srv/inbound\\040box rw shared:7 master:1 - nfs4 server:/box rw
"""


@pytest.mark.parametrize(
    ("goal", "figure", "told"),
    [
        (Goal(0.8, at_least=True), 0.8, ">= 0.8: met"),
        (Goal(0.8, at_least=True), 0.79, ">= 0.8: NOT met"),
        (Goal(150), 150.0, "<= 150: met"),
        (Goal(150), 150.1, "<= 150: NOT met"),
    ],
)
def test_a_goal_is_told_with_whether_it_is_met(goal: Goal, figure: float, told: str) -> None:
    """At the limit it is met, beyond it is not, in either direction."""
    assert goal.told(figure) == told


def test_a_figure_without_a_goal_has_no_verdict() -> None:
    """Nothing stands beside it, rather than that a goal is met."""
    assert not verdict("throughput_per_s_50kb", 1.0)


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/srv/inbound box/one", "nfs4"), ("/srv/inbound", "xfs"), ("/srvx", "ext4"), ("/", "ext4")],
)
def test_a_path_lies_on_the_innermost_mount(path: str, kind: str) -> None:
    """A name that only begins alike is another folder, and a space is written as octal digits there."""
    assert file_system(Path(path), MOUNTS) == kind


def test_one_failure_spoils_no_other_figure() -> None:
    """What can be measured is, and what cannot is told with its cause."""
    broken = OSError("no room")

    def measure(name: str) -> dict[str, float]:
        if name == "second":
            raise broken
        return {name: 1.0}

    figures, failures = measured(["first", "second", "third", "fourth"], measure, lambda name: name == "third")
    assert figures == {"first": 1.0, "fourth": 1.0}
    assert [(each.name, each.error) for each in failures] == [("second", broken)]


def test_tables_can_be_had_as_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    """What is printed comes as Markdown too, with the machine below each table."""
    report = Report("two cores")
    table = new_table("Idle", "", "s", note="Watched for long.")
    table.add_row("CPU", "5.4")
    report.print(table)
    assert report.markdown() == "### Idle\n\n|  | s |\n| --- | ---: |\n| CPU | 5.4 |\n\nWatched for long.\ntwo cores.\n"
    assert "Watched for long.\ntwo cores." in capsys.readouterr().out
