"""Clients that forge who they are, or ask for data of others. No service may believe them, or break."""

import asyncio
import json

from edge_api.contract import id_from_key
from edge_api.contract.headers import IDEMPOTENCY_KEY
from tests.abuse.assault import Assault, attack
from tests.abuse.framing import REFRESH, TODO
from tests.abuse.wire import Answer, request, submit
from tests.abuse.world import API_RATE
from todos.operations.schedules import POLL_TASK

LINE = "2026-01-01 00:00:00,000 ERROR forged:"  # as a line of the log begins
BREAKS = ("%0a", "%0d%0a", "%C2%85", "%E2%80%A8")  # as some viewer takes them
ESCAPE = "%1b[31m"
FOREIGN_TASKS = ("os.system", "celery.map", "celery.backend_cleanup")


@attack("line breaks and ESC in a path, ESC in headers, a wrong Host", "edge", "web")
async def log_lines(assault: Assault) -> None:
    mark, stack, side = f"{assault.rng.getrandbits(64):x}", assault.world.stack, assault.target.side
    seen = len(stack.log_of(side))
    for line_break in BREAKS:
        target = f"/x{line_break}{LINE.replace(' ', '%20')}%20{mark}{ESCAPE}"
        await assault.ask(request("GET", target, "Connection: close"))
    await assault.ask(request("GET", "/", "Connection: close", f"User-Agent: \x1b[31m{mark}", "X-Request-ID: \x1b[31m"))
    answer = await assault.ask(request("GET", "/api/todos/", "Connection: close", host=f"{mark}.example"))
    written = stack.log_of(side)[seen:]
    lines = [line for line in written.splitlines() if mark in line]
    assault.expect(not any(line.startswith(f"{LINE} {mark}") for line in lines), "a line of the log was forged")
    odd = sorted({repr(character) for character in written if not character.isprintable() and character != "\n"})
    assault.expect(not odd, f"the log has {', '.join(odd)}")
    if side == "web":
        assault.expect(answer is not None and answer.status in (400, 421), f"a wrong Host: {answer and answer.status}")
        about = sum(f"{mark}.example" in line for line in lines)
        assault.expect(about <= 1, f"a wrong Host wrote {about} lines")
        assault.expect("Traceback" not in written, "a wrong Host wrote a traceback")


@attack("requests of one address under addresses that are none", "web")
async def junk_addresses(assault: Assault) -> None:
    statuses: set[int] = set()
    for _ in range(6):
        refreshes = [
            request("POST", "/api/token/refresh/", f"X-Forwarded-For: {assault.rng.getrandbits(64):x}", body=REFRESH)
            for _ in range(API_RATE // 4)
        ]
        statuses |= {answer.status for answer in await assault.all_at_once(refreshes) if answer}
    assault.expect(429 in statuses, f"{6 * (API_RATE // 4)} requests a minute passed a limit of {API_RATE}: {statuses}")


@attack("receipts for the key of another owner, and for an unused key", "web")
async def foreign_receipts(assault: Assault) -> None:
    owner, stranger = await assault.new_person(), await assault.new_person()
    key, edge = f"{assault.rng.getrandbits(64):x}", assault.world.targets["edge"]
    post = request("POST", "/new/", owner.authorization, f"{IDEMPOTENCY_KEY}: {key}", body=TODO)
    accepted = await assault.ask(post, port=edge.port)
    if accepted is None or accepted.status != 202:
        assault.expect(False, f"the owner's todo was not accepted: {accepted and accepted.status}")
        return
    position = json.loads(accepted.body)
    receipts = [
        f"/api/receipts/{todo_id}/{position['partition']}-{position['offset']}/"
        for todo_id in (position["id"], id_from_key(owner.subject, f"not {key}"))
    ]
    for stage in ("before", "after"):
        if stage == "after":  # healthy clients post meanwhile, so a poll ends with its budget only
            await asyncio.to_thread(assault.world.stack.manage, "poll_todos", "--time-budget-seconds", "10")
        used, unused = [_told(await assault.ask(request("GET", path, stranger.authorization))) for path in receipts]
        assault.expect(used == unused, f"{stage} the todo is stored, a used key shows {used}, an unused one {unused}")
    own = _told(await assault.ask(request("GET", receipts[0], owner.authorization)))
    assault.expect(own == (200, "stored"), f"the owner's own receipt is {own}")


def _told(answer: Answer | None) -> tuple[int, str] | None:
    return (answer.status, json.loads(answer.body)["status"]) if answer else None


@attack("schedules that name os.system and tasks of Celery", "web")
async def foreign_schedules(assault: Assault) -> None:
    rows = assault.world.stack.rows
    ((interval, *_), *_) = rows("SELECT id FROM django_celery_beat_intervalschedule")
    for task in (*FOREIGN_TASKS, POLL_TASK):
        name = f"{task} {assault.rng.getrandbits(64):x}"
        fields = {"name": name, "regtask": "", "task": task, "interval": str(interval), "args": "[]", "kwargs": "{}"}
        path = "/admin/django_celery_beat/periodictask/add/"
        answer = await assault.ask(submit(path, fields | {"headers": "{}", "enabled": "on"}, assault.world.operator))
        is_saved = bool(rows("SELECT 1 FROM django_celery_beat_periodictask WHERE name = %s", name))
        assault.expect(
            is_saved == (task == POLL_TASK),
            f"{task}: {'saved' if is_saved else f'refused, {answer and answer.status}'}",
        )
        rows("DELETE FROM django_celery_beat_periodictask WHERE name = %s", name)


@attack("an operator's filters and choices that are none", "web")
async def odd_admin_queries(assault: Assault) -> None:
    todos, operator = "/admin/todos/todo/", assault.world.operator
    for query in ("owner=%00", "title__regex=(((", "title__iregex=%5B", "q=%00", "created_at__year=x", "o=999", "p=-1"):
        answer = await assault.ask(request("GET", f"{todos}?{query}", f"Cookie: {operator}"))
        assault.expect(answer is not None and answer.status < 500, f"?{query}: {answer and answer.status}")
    for chosen in ("xyz", "\0", "1"):
        fields = {"action": "delete_selected", "_selected_action": chosen}
        answer = await assault.ask(submit(todos, fields, operator))
        assault.expect(
            answer is not None and answer.status < 500, f"_selected_action={chosen!r}: {answer and answer.status}"
        )


@attack("paths of operators, in every spelling", "edge", "web", needs_proxy=True)
async def operator_paths(assault: Assault) -> None:
    for path in ("/metrics", "/readyz", "/readyz/pipeline"):
        spellings = (path, f"/%{ord(path[1]):x}{path[2:]}", f"/{path}", f"{path}/", f"/x/..{path}", f"/.{path}")
        for spelling in (*spellings, f"{path}?x", f"{path};x", f"http://localhost{path}"):
            answer = await assault.ask(request("GET", spelling, "Connection: close"))
            status = answer and answer.status
            assault.expect(status in (400, 403, 404), f"{spelling} was routed: {status}")
