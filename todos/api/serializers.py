from rest_framework import serializers

from todos.models import Todo


class TodoSerializer(serializers.ModelSerializer[Todo]):
    """A todo; title, description and is_done may be changed."""

    class Meta:
        model = Todo
        fields = [
            "id",
            "title",
            "description",
            "is_done",
            "created_at",
            "stored_at",
            "updated_at",
            "source_partition",
            "source_offset",
        ]
        read_only_fields = ["updated_at"]
