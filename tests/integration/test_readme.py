"""Every command of the README and of the pages of docs/, in order, on a copy of the project with its own ports."""

import json
import os
import re
import signal
import subprocess

from devstack.environment import ROOT
from tests.support.make_run import Run, processes_of
from tests.support.waiting import eventually

README = (ROOT / "README.md").read_text()
PAGES = [(ROOT / "docs" / name).read_text() for name in ("api.md", "lifecycle.md", "runbook.md", "scaling.md")]
COMMANDS = "".join(re.findall(r"```bash\n(.*?)```", "".join([README, *PAGES]), re.DOTALL)).splitlines()
# They say nothing when all is well.
SILENT = "make postgres"
POSTED = re.search(r"```json\n(.*?)```", README, re.DOTALL)


def as_here(run: Run, command: str) -> str:
    return command.replace("localhost:7007", f"localhost:{run.edge}").replace("localhost:7008", f"localhost:{run.web}")


def output_of(run: Run, command: str) -> str:
    shell = ["bash", "-c", f"set -o pipefail; {as_here(run, command)}"]
    done = subprocess.run(shell, cwd=run.project, env=run.env, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def test_every_command_of_the_readme_works(run: Run) -> None:
    assert POSTED is not None
    start, post, read, post_batch, replay, test, *others = COMMANDS
    assert (start, test) == ("make run", "make test")  # the latter is what runs this test
    runner = run.start_until("Ready.", *start.split())

    answer = json.loads(output_of(run, post))
    assert list(answer) == list(json.loads(POSTED[1]))
    assert answer["url"] == f"http://localhost:{run.web}/api/todos/{answer['id']}/"
    eventually(lambda: "Finish pending homeworks" in output_of(run, read), seconds=20, what="the todo")
    assert "Do homework" in output_of(run, f"curl --fail {answer['url']}")
    receipt = json.loads(output_of(run, f"curl --fail {answer['receipt']}?wait=10"))
    assert ("stored", answer["url"]) == (receipt["status"], receipt["todo"])

    batch = json.loads(output_of(run, post_batch))
    assert [202, 422, 202] == [result["status"] for result in batch["results"]]
    assert "Buy milk" in output_of(run, f"curl --retry 10 --retry-all-errors --fail {batch['results'][2]['url']}")

    ids = re.findall(r'"id":"([^"]+)"', output_of(run, replay))
    assert (2, 1) == (len(ids), len(set(ids)))

    for command in others:
        assert output_of(run, command).strip() or command.startswith(SILENT), command
    for page in re.findall(r"<http://(localhost:[^>]+)>", README):
        output_of(run, f"curl --fail --location {page}")

    os.killpg(runner.pid, signal.SIGINT)  # Ctrl-C in the first terminal
    runner.wait(60)
    assert processes_of(run.project) == []
