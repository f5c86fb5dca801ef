"""GET /api/receipts/<todo id>/<partition>-<offset>/: what became of one request to add a todo."""

from math import isfinite
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse
from rest_framework.views import APIView

from todos.ledger_watch import LedgerWatch
from todos.models import Todo
from todos.receipts import Place, Receipt, Status, find_receipt

LONGEST_WAIT_SECONDS = 10.0
RETRY_AFTER_SECONDS = 1
MAX_ERRORS = 20  # as the edge shows

# The other half of this process' threads answers everybody else.
watch = LedgerWatch(settings.KAFKA.topic, most=settings.WEB_THREADS // 2)


class ReceiptView(APIView):
    """What became of one request: pending, stored, rejected, conflict, deleted or lost.

    `?wait=10` waits until it is known, for so many seconds at most. It answers at once, still pending and with
    Retry-After, where many wait already.
    """

    def get(self, request: Request, todo_id: UUID, partition: int, offset: int) -> Response:
        place, seconds = Place(settings.KAFKA.topic, todo_id, partition, offset), _seconds(request)
        receipt = find_receipt(place, self._visible())
        if receipt.status is Status.PENDING and seconds:
            watch.wait(partition, offset, seconds)
            receipt = find_receipt(place, self._visible())
        headers = {"Cache-Control": "no-store"}
        if receipt.status is Status.PENDING:
            headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        return Response(_shown(receipt, request), headers=headers)

    def _visible(self) -> QuerySet[Todo]:
        """The todos that whoever asks may see."""
        return Todo.objects.all()


def _seconds(request: Request) -> float:
    """Raises ValidationError."""
    try:
        seconds = float(request.query_params.get("wait", 0))
    except ValueError:
        seconds = -1.0
    if not isfinite(seconds) or not 0 <= seconds <= LONGEST_WAIT_SECONDS:
        raise ValidationError({"wait": [f"Must be a number of seconds from 0 to {LONGEST_WAIT_SECONDS:g}."]})
    return seconds


def _shown(receipt: Receipt, request: Request) -> dict[str, Any]:
    todo = receipt.todo
    return {
        "status": receipt.status,
        "todo": reverse("todo-detail", [todo.id], request=request) if todo else None,
        "reason": receipt.reason or None,
        "errors": [error._asdict() for error in receipt.errors[:MAX_ERRORS]],
    }
