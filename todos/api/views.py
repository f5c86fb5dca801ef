"""/api/todos/: list, read, replace, change, delete, and one action on many."""

from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema_view
from rest_framework import mixins, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from todos.api import openapi
from todos.api.bulk import BulkSerializer, apply_bulk
from todos.api.etags import not_modified_or, require_if_match, with_etag
from todos.api.serializers import TodoSerializer
from todos.models import Todo
from todos.owners import request_owner

CHANGING = {"update", "partial_update", "destroy"}


@extend_schema_view(
    list=openapi.list_todos,
    retrieve=openapi.read_todo,
    update=openapi.replace_todo,
    partial_update=openapi.change_todo,
    destroy=openapi.delete_todo,
)
class TodoViewSet(
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.UpdateModelMixin,
    mixins.DestroyModelMixin,
    viewsets.GenericViewSet[Todo],
):
    """Your todos, newest first. To create one, POST it to the edge."""

    queryset = Todo.objects.none()  # for the router and the browsable page; get_queryset() selects by owner
    serializer_class = TodoSerializer

    def get_queryset(self) -> QuerySet[Todo]:
        return Todo.objects.of_owner(request_owner(self.request))

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Lock the row before a change, so that it cannot change after If-Match was compared."""
        todos = super().filter_queryset(queryset)
        return todos.select_for_update() if self.action in CHANGING else todos

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return not_modified_or(super().retrieve(request, *args, **kwargs), request)

    @transaction.atomic
    def update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return with_etag(super().update(request, *args, **kwargs))

    def perform_update(self, serializer: BaseSerializer[Todo]) -> None:
        self._require_if_match(serializer.instance)
        super().perform_update(serializer)

    @transaction.atomic
    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().destroy(request, *args, **kwargs)

    def perform_destroy(self, instance: Todo) -> None:
        self._require_if_match(instance)
        super().perform_destroy(instance)

    def _require_if_match(self, todo: Todo | None) -> None:
        require_if_match(self.request, TodoSerializer(todo).data)

    @openapi.change_many
    @action(detail=False, methods=["post"], serializer_class=BulkSerializer, pagination_class=None)
    def bulk(self, request: Request) -> Response:
        """Mark or delete up to 1,000 todos in one transaction, and return a result for each of them."""
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        return Response({"results": list(apply_bulk(self.get_queryset(), **serializer.validated_data))})
