"""`python -m devstack`: run the stack, or run a command against the stack that runs."""

import argparse
import errno
import os
import sys

from devstack import environment, kafka, postgres
from devstack.process import ServiceError
from devstack.run import run

NOT_WRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m devstack")
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("run", help="start the services, then the programs of the Procfile")
    execute = actions.add_parser("exec", help="run a command in the environment of the running stack")
    execute.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND ...")
    tool = actions.add_parser("tool", help="run one of Kafka's or PostgreSQL's own tools, as: tool kafka-topics --list")
    tool.add_argument("command", nargs=argparse.REMAINDER, metavar="TOOL ...")
    chosen = parser.parse_args()
    if chosen.action != "run" and not chosen.command:
        parser.error(f"{chosen.action}: nothing to run")
    try:
        if chosen.action == "run":
            run()
        else:
            _replace_by(chosen.command, is_tool=chosen.action == "tool")
    except ServiceError as exc:
        sys.exit(str(exc))
    except OSError as exc:
        if exc.errno not in NOT_WRITABLE:
            raise
        sys.exit(f"{exc.filename}: {exc.strerror}; `make run` needs a folder of your own that it may write to")


def _replace_by(command: list[str], *, is_tool: bool) -> None:
    env = environment.load_running()
    if is_tool and command[0] in postgres.TOOLS:
        command, env = postgres.tool_command(*command), env | postgres.tool_env(env["DATABASE_URL"])
    elif is_tool:
        command = kafka.tool_command(command[0], env["KAFKA_BOOTSTRAP_SERVERS"], *command[1:])
    try:
        os.execvpe(command[0], command, env)  # noqa: S606 - the caller's own command
    except FileNotFoundError:
        raise ServiceError(f"{command[0]}: no such program") from None


if __name__ == "__main__":
    main()
