from rest_framework import mixins, viewsets

from todos.api.serializers import TodoSerializer
from todos.models import Todo


class TodoViewSet(
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.UpdateModelMixin,
    mixins.DestroyModelMixin,
    viewsets.GenericViewSet[Todo],
):
    """Todos, newest first. To create one, POST it to the edge."""

    queryset = Todo.objects.all()
    serializer_class = TodoSerializer
