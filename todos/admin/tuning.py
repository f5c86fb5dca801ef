"""The form for tuning a poll's schedule: numbers with their ranges and costs instead of JSON."""

import json
from typing import Any

from annotated_types import Ge, Le
from django import forms
from django_celery_beat.models import PeriodicTask
from unfold.widgets import UnfoldAdminIntegerFieldWidget

from todos.bounds import interval_seconds
from todos.ingest.options import PollOptions
from todos.operations.schedules import POLL_TASK, faults_of, interval_of

MAX_INTERVAL_SECONDS = 3600
FIELDS = ["enabled", "every_seconds", *PollOptions.model_fields]


def _number(label: str, minimum: int, maximum: int, about: str) -> forms.IntegerField:
    widget = UnfoldAdminIntegerFieldWidget(attrs={"inputmode": "numeric"})
    help_text = f"{minimum:,} to {maximum:,}. {about}"
    return forms.IntegerField(label=label, min_value=minimum, max_value=maximum, widget=widget, help_text=help_text)


def _field(name: str) -> forms.IntegerField:
    option = PollOptions.model_fields[name]
    minimum: Any = next(limit.ge for limit in option.metadata if isinstance(limit, Ge))
    maximum: Any = next(limit.le for limit in option.metadata if isinstance(limit, Le))
    extra: Any = option.json_schema_extra
    return _number(str(option.title), minimum, maximum, f"{option.description} {extra['cost']}")


class PollNumbersForm(forms.Form):
    """The numbers alone, for a forecast."""

    every_seconds = _number(
        "Interval",
        1,
        MAX_INTERVAL_SECONDS,
        "Seconds between the starts of two polls. Time budget divided by interval is the number of concurrent polls."
        " With a shorter interval more polls share the partitions, and each occupies a worker process.",
    )
    timeout_ms = _field("timeout_ms")
    max_records = _field("max_records")
    time_budget_seconds = _field("time_budget_seconds")
    dead_letter_percent = _field("dead_letter_percent")

    def options(self) -> PollOptions:
        """Return the options; the form must be valid."""
        return PollOptions(**{name: self.cleaned_data[name] for name in PollOptions.model_fields})


class PollTuningForm(PollNumbersForm, forms.ModelForm):
    """The numbers and the switch of a stored schedule."""

    class Meta:
        model = PeriodicTask
        fields = ["enabled"]
        labels = {"enabled": "Polling"}
        help_texts = {"enabled": "Off pauses polling: todos wait in Kafka until its retention deletes them."}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        stored = json.loads(self.instance.kwargs or "{}") if self.instance.pk else {}
        options = PollOptions().model_dump() | {k: v for k, v in stored.items() if k in PollOptions.model_fields}
        self.initial.update(options)
        if self.instance.interval:
            self.initial["every_seconds"] = int(interval_seconds(self.instance.interval))

    def save(self, commit: bool = True) -> Any:
        self.instance.interval = interval_of(self.cleaned_data["every_seconds"])
        self.instance.expire_seconds = self.cleaned_data["every_seconds"]
        self.instance.expires = None
        self.instance.kwargs = json.dumps(self.options().model_dump())
        return super().save(commit)


def is_tunable(task: PeriodicTask | None) -> bool:
    """Return whether the tuning form can express the schedule: a poll at an interval of whole seconds."""
    return (
        task is not None
        and task.task == POLL_TASK
        and task.interval is not None
        and not task.one_off
        and interval_seconds(task.interval) % 1 == 0
        and 1 <= interval_seconds(task.interval) <= MAX_INTERVAL_SECONDS
        and not faults_of(task)
    )
