from django.db import migrations, models


class Migration(migrations.Migration):
    """Give halts a reason, a time and an epoch. The text keeps its column, which the release before reads and writes."""

    dependencies = [
        ("todos", "0014_owners_order"),
    ]

    operations = [
        migrations.AlterField(
            model_name="partitionledger",
            name="alarm",
            field=models.TextField(
                blank=True,
                db_column="alarm",
                db_default="",
                default="",
                help_text="Why it is halted, and what to do. Empty while it is not.",
            ),
        ),
        migrations.RenameField(model_name="partitionledger", old_name="alarm", new_name="halt_text"),
        migrations.AddField(
            model_name="partitionledger",
            name="halt_reason",
            field=models.CharField(
                blank=True,
                choices=[
                    ("log_diverged", "Kafka's log is not the one that was stored"),
                    ("topic_recreated", "the topic was deleted and created again"),
                    ("ledger_edited", "the ledger is not where its batches end"),
                    ("unreadable", "Kafka cannot return the next record"),
                    ("unsupported_version", "the next record needs a newer worker"),
                    ("too_many_dead_letters", "too many records cannot be stored"),
                    ("store_refused", "the database refuses to store the records"),
                ],
                db_default="",
                default="",
                help_text="Why it is halted.",
                max_length=32,
            ),
        ),
        migrations.AddField(
            model_name="partitionledger",
            name="halted_since",
            field=models.DateTimeField(blank=True, help_text="When it was halted.", null=True),
        ),
        migrations.AddField(
            model_name="partitionledger",
            name="halt_epoch",
            field=models.PositiveBigIntegerField(
                blank=True, help_text="The epoch in which it was halted.", null=True
            ),
        ),
    ]
