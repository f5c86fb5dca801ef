"""GET /api/receipts/<todo id>/<partition>-<offset>/: the outcome of one request to add a todo."""

from typing import Any
from uuid import UUID

from django.conf import settings
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse
from rest_framework.views import APIView

from edge_api.shared.problems import shown_errors
from todos.api import openapi
from todos.api.query import ReceiptQuery
from todos.owners import request_owner
from todos.receipts.lookup import Receipt, ReceiptKey, ReceiptStatus, find_receipt
from todos.receipts.waiter import LedgerWatch

RETRY_AFTER_SECONDS = 1

# Half of this process's threads may wait; the others keep answering.
watch = LedgerWatch(settings.KAFKA.topic, max_waiting=settings.WEB_THREADS // 2)


class ReceiptView(APIView):
    """The outcome of one request: pending, stored, rejected, conflict, deleted, lost or unknown."""

    @openapi.read_receipt
    def get(self, request: Request, todo_id: UUID, partition: int, offset: int) -> Response:
        query = ReceiptQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        key, seconds = ReceiptKey(settings.KAFKA.topic, todo_id, partition, offset), query.validated_data["wait"]
        owner = request_owner(request)
        receipt = find_receipt(key, owner)
        if receipt.status is ReceiptStatus.PENDING and seconds:
            watch.wait(partition, offset, seconds)
            receipt = find_receipt(key, owner)
        headers = {"Cache-Control": "no-store"}
        if receipt.status is ReceiptStatus.PENDING:
            headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        return Response(_body(receipt, request), headers=headers)


def _body(receipt: Receipt, request: Request) -> dict[str, Any]:
    todo = receipt.todo
    return {
        "status": receipt.status,
        "todo": reverse("todo-detail", [todo.id], request=request) if todo else None,
        "reason": receipt.reason or None,
        "errors": shown_errors(receipt.errors),
    }
