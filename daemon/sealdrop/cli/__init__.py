"""The command line: thin, over everything. Each command's docstring is what ``--help`` shows.

Exit codes, the same for every command: 0 all is well; 1 the answer is no (a check failed, nothing was found); 2 the
command was not understood; 70 the service stopped itself because what is on disk cannot be trusted; 78 the
configuration cannot be used (sysexits.h).
"""


def main() -> None:
    """Run the command line; end the process with the exit code that fits."""
    # Here, since each child of the service imports the program that it comes from: it would load all commands.
    from sealdrop.cli.app import main as run_commands

    run_commands()
