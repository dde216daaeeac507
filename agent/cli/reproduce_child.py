"""A command of this program in a process of its own, which ends when the process that began it is gone.

    python -m lalm_agent.cli.reproduce_child ARGUMENTS

The parent holds the other end of stdin. When that closes, because the parent was killed, this process ends itself:
what it works on can go on from where it is, and nobody would wait for it.
"""

import os
import signal
import sys
import threading

PROGRAM = "lalm-agent"


def main() -> None:
    """Run `lalm-agent` with the arguments of this process."""
    threading.Thread(target=_end_with_parent, args=(sys.stdin.fileno(),), daemon=True).start()
    # What a run records as its command is what a user would type.
    sys.argv[0] = PROGRAM
    from lalm_agent.cli.main import main as run

    run(sys.argv[1:])


def _end_with_parent(stdin: int) -> None:
    """Wait for the end of stdin; nothing is ever written to it."""
    while os.read(stdin, 64):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
