from django.urls import path
from rest_framework.routers import DefaultRouter

from todos.api.receipts import ReceiptView
from todos.api.views import TodoViewSet

router = DefaultRouter()
router.register("todos", TodoViewSet, basename="todo")

urlpatterns = [
    *router.urls,
    path("receipts/<uuid:todo_id>/<int:partition>-<int:offset>/", ReceiptView.as_view(), name="receipt"),
]
