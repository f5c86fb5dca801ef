"""Much work for little: bodies, pipelines, tokens, searches and passwords, from many clients at once."""

import asyncio
import json
import time
from urllib.parse import urlencode

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings

from edge_api.contract import MAX_BATCH_TODOS, TITLE_MAX
from tests.abuse.assault import Assault, attack
from tests.abuse.wire import SMALL_WINDOW, Answer, request, submit
from tests.support.tokens import PASSWORD, Signer

CLIENTS = 64
REPEATED = 20
FIELDS = 6_500
CONNECTIONS, PIPELINED = 20, 10_000
SEARCHERS, HOSTILE_TITLES = 24, 10_000
GUESSES, TRIES = 40, 30
JUDGED = "SELECT coalesce(sum(failures_since_start), 0) FROM axes_accessattempt WHERE username = %s"


@attack(f"{PIPELINED:,} requests on each of {CONNECTIONS} connections, answers unread", "edge", "web", holds=True)
async def pipelining(assault: Assault) -> None:
    for wire in await assault.open_all(CONNECTIONS, receive_buffer=SMALL_WINDOW):
        assault.in_background(wire.send(request("GET", "/healthz") * PIPELINED))
    await asyncio.sleep(2 * assault.seconds)  # a slow server notices only when it has filled the buffers


@attack(f"{CLIENTS} clients with bodies of {FIELDS:,} unknown fields", "edge")
async def unknown_fields(assault: Assault) -> None:
    body = json.dumps({"title": "x"} | {f"f{number:x}": 0 for number in range(FIELDS)}, separators=(",", ":")).encode()
    post = request("POST", "/new/", assault.world.people[0].authorization, body=body)
    answers = await assault.flood(CLIENTS, lambda: post)
    _expect_only(assault, answers, 400, 413, 422, 429, 503)


@attack(f"{CLIENTS} clients with batches of nested arrays", "edge")
async def nested_batches(assault: Assault) -> None:
    item = f"[{','.join(['[]'] * 340)}]"
    body = f"[{','.join([item] * MAX_BATCH_TODOS)}]".encode()
    post = request("POST", "/new/batch/", assault.world.people[0].authorization, body=body)
    answers = await assault.flood(CLIENTS, lambda: post)
    _expect_only(assault, answers, 400, 408, 413, 422, 429, 503)


@attack(f"{CLIENTS} clients with tokens of unknown keys", "edge")
async def unknown_keys(assault: Assault) -> None:
    private = Ed25519PrivateKey.generate()

    def post(kid: str = "") -> bytes:
        token = Signer(kid or f"{assault.rng.getrandbits(128):x}", private).token()
        return request("POST", "/new/", f"Authorization: Bearer {token}", body=b'{"title": "x"}')

    answers = await assault.flood(CLIENTS, post)
    _expect_only(assault, answers, 401, 429, 503)
    begin = time.monotonic()
    for _ in range(REPEATED):
        await assault.ask(post("unknown"), source=assault.new_address())
    seconds = time.monotonic() - begin
    assault.expect(seconds < REPEATED / 2, f"{REPEATED} tokens of one unknown key waited for it for {seconds:.1f} s")


@attack(f"{SEARCHERS} clients that search where each comparison is slow", "web")
async def searches(assault: Assault) -> None:
    person = await assault.new_person(HOSTILE_TITLES, title="a" * TITLE_MAX)
    query = urlencode({"search": "a" * (TITLE_MAX // 2) + "b"})
    get = request("GET", f"/api/todos/?{query}", person.authorization)
    answers = await assault.flood(SEARCHERS, lambda: get)
    _expect_only(assault, answers, 200, 400, 429, 503)


# --- Passwords


def sign_in(form: str, name: str, password: str) -> bytes:
    """Return the sign-in of a user at the API or, by a form, at the admin."""
    fields = {"username": name, "password": password}
    if form == "api":
        return request("POST", "/api/token/", body=json.dumps(fields).encode())
    return submit("/admin/login/", fields | {"next": "/admin/"})


@attack(f"{CLIENTS} clients with wrong passwords at /api/token/", "web")
async def token_passwords(assault: Assault) -> None:
    await _wrong_passwords(assault, "api", 401)


@attack(f"{CLIENTS} clients with wrong passwords at /admin/login/", "web")
async def admin_passwords(assault: Assault) -> None:
    await _wrong_passwords(assault, "admin", 200)


async def _wrong_passwords(assault: Assault, form: str, wrong: int) -> None:
    answers = await assault.flood(CLIENTS, lambda: sign_in(form, f"{assault.rng.getrandbits(64):x}", "wrong"))
    _expect_only(assault, answers, wrong, 429, 503)


@attack(f"{GUESSES} guesses at one user at once, at /api/token/", "web")
async def token_guesses(assault: Assault) -> None:
    await _guess(assault, "api", right=200)


@attack(f"{GUESSES} guesses at one user at once, at /admin/login/", "web")
async def admin_guesses(assault: Assault) -> None:
    await _guess(assault, "admin", right=302)


async def _guess(assault: Assault, form: str, *, right: int) -> None:
    person = await assault.new_person()
    await assault.all_at_once([sign_in(form, person.name, f"wrong {number}") for number in range(GUESSES)])
    # Statuses do not tell: a guess can be judged and still get a 429.
    ((judged,),) = assault.world.stack.rows(JUDGED, person.name)
    limit = settings.AXES_FAILURE_LIMIT
    assault.expect(judged <= limit, f"{judged} of {GUESSES} guesses were judged; the limit is {limit}")
    answer = await _sign_in_patiently(assault, sign_in(form, person.name, PASSWORD), assault.new_address())
    assault.expect(answer == right, f"the user cannot sign in at another address: {answer}")


@attack("four wrong passwords and the right one, again and again", "web")
async def honest_mistakes(assault: Assault) -> None:
    for form, right in (("api", 200), ("admin", 302)):
        person = await assault.new_person()
        for password in (["wrong"] * (settings.AXES_FAILURE_LIMIT - 1) + [PASSWORD]) * 2:
            status = await _sign_in_patiently(assault, sign_in(form, person.name, password), assault.address)
        assault.expect(status == right, f"{form}: a right password did not end the count of wrong ones: {status}")


async def _sign_in_patiently(assault: Assault, data: bytes, source: str) -> int:
    """Return the status, that of another try if the server was busy with other passwords."""
    for _ in range(TRIES):
        answer = await assault.ask(data, source=source)
        if answer is None or answer.status not in (429, 503) or int(answer.headers.get("retry-after", 0)) > TRIES:
            break
        await asyncio.sleep(1)
    return answer.status if answer else 0


@attack("names of users that no database takes", "web")
async def odd_usernames(assault: Assault) -> None:
    for name in ("x" * 256, "x" * 10_000, "a\0b", "\ud800"):
        for form in ("api", "admin"):
            answer = await assault.ask(sign_in(form, name, "wrong"))
            status = answer and answer.status
            assault.expect(status is not None and status < 500, f"{form}: {name[:9]!r}: {status}")


def _expect_only(assault: Assault, answers: list[Answer], *statuses: int) -> None:
    """Expect these statuses, and a Retry-After with each 429 and 503."""
    assault.expect(bool(answers), "no attacker got an answer")
    others = sorted({answer.status for answer in answers} - {*statuses})
    assault.expect(not others, f"attackers got {others}")
    patient = all("retry-after" in answer.headers for answer in answers if answer.status in (429, 503))
    assault.expect(patient, "a 429 or 503 without Retry-After")
