from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema_view
from rest_framework import mixins, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from todos.api import docs
from todos.api.bulk import BulkSerializer, act
from todos.api.etags import check_match, tagged, unless_known
from todos.api.serializers import TodoSerializer
from todos.models import Todo
from todos.owners import request_owner

CHANGING = {"update", "partial_update", "destroy"}


@extend_schema_view(
    list=docs.listed, retrieve=docs.read, update=docs.replaced, partial_update=docs.changed, destroy=docs.deleted
)
class TodoViewSet(
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.UpdateModelMixin,
    mixins.DestroyModelMixin,
    viewsets.GenericViewSet[Todo],
):
    """Your todos, newest first. To create one, POST it to the edge."""

    queryset = Todo.objects.none()  # for the router and the pages; get_queryset() knows whose are asked for
    serializer_class = TodoSerializer

    def get_queryset(self) -> QuerySet[Todo]:
        return Todo.objects.of_owner(request_owner(self.request))

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """What is to be changed stays as it was read until it is: the row is locked."""
        todos = super().filter_queryset(queryset)
        return todos.select_for_update() if self.action in CHANGING else todos

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return unless_known(request, super().retrieve(request, *args, **kwargs))

    @transaction.atomic
    def update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return tagged(super().update(request, *args, **kwargs))

    def perform_update(self, serializer: BaseSerializer[Todo]) -> None:
        self._check_match(serializer.instance)
        super().perform_update(serializer)

    @transaction.atomic
    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().destroy(request, *args, **kwargs)

    def perform_destroy(self, instance: Todo) -> None:
        self._check_match(instance)
        super().perform_destroy(instance)

    def _check_match(self, todo: Todo | None) -> None:
        check_match(self.request, TodoSerializer(todo).data)

    @docs.bulk
    @action(detail=False, methods=["post"], serializer_class=BulkSerializer, pagination_class=None)
    def bulk(self, request: Request) -> Response:
        """Marks or deletes up to 1,000 todos, all in one transaction; each of them gets a result."""
        asked = self.get_serializer(data=request.data)
        asked.is_valid(raise_exception=True)
        return Response({"results": list(act(self.get_queryset(), **asked.validated_data))})
