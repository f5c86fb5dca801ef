from django.db.models import QuerySet
from rest_framework import mixins, viewsets

from todos.api.serializers import TodoSerializer
from todos.models import Todo
from todos.tokens.authentication import asking_owner


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
        return Todo.objects.filter(owner=asking_owner(self.request))
