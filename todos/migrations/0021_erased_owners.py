import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """Remember erased owners, and count the records of theirs that the ingest skips."""

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("todos", "0020_log_identity"),
    ]

    operations = [
        migrations.CreateModel(
            name="ErasedOwner",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("erased_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "finished_at",
                    models.DateTimeField(help_text="Empty while rows of the owner may be left.", null=True),
                ),
                (
                    "deletes_user",
                    models.BooleanField(db_default=False, default=False, help_text="The user is deleted at the end."),
                ),
                (
                    "user",
                    models.ForeignKey(
                        help_text="Empty when it is finished.",
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={"ordering": ["erased_at", "id"], "permissions": [("erase_owner", "Can erase an owner")]},
        ),
    ] + [
        migrations.AddField(
            model_name=model,
            name="erased",
            field=models.PositiveIntegerField(
                db_default=0, default=0, help_text="Records of erased owners, not stored."
            ),
        )
        for model in ("batch", "pollrun")
    ] + [
        migrations.AddField(
            model_name="partitionledger",
            name="erased_total",
            field=models.PositiveBigIntegerField(db_default=0, default=0),
        ),
        migrations.AlterField(
            model_name="deadletter",
            name="status",
            field=models.CharField(
                choices=[
                    ("open", "open"),
                    ("redriven", "redriven"),
                    ("discarded", "discarded"),
                    ("erased", "erased with its owner"),
                ],
                db_default="open",
                default="open",
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="deadletterevent",
            name="action",
            field=models.CharField(
                choices=[
                    ("edited", "Edited"),
                    ("redriven", "Redriven"),
                    ("discarded", "Discarded"),
                    ("reopened", "Reopened"),
                    ("erased", "Erased"),
                ],
                max_length=16,
            ),
        ),
    ]
