import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    """Keep with each move which record of the log was the last one, and where another log took its place."""

    dependencies = [
        ("todos", "0019_set_aside"),
    ]

    operations = [
        migrations.AddField(
            model_name="partitionledger",
            name="last_offset",
            field=models.PositiveBigIntegerField(
                blank=True, help_text="The last record that was read.", null=True
            ),
        ),
        migrations.AddField(
            model_name="partitionledger",
            name="last_checksum",
            field=models.PositiveBigIntegerField(
                blank=True, help_text="CRC-32 of that record's content.", null=True
            ),
        ),
        migrations.AddField(
            model_name="partitionledger",
            name="last_leader_epoch",
            field=models.IntegerField(blank=True, help_text="Kafka's leader epoch of that record.", null=True),
        ),
        migrations.AddField(
            model_name="batch",
            name="last_offset",
            field=models.PositiveBigIntegerField(help_text="Its last record; None if it has none.", null=True),
        ),
        migrations.AddField(
            model_name="batch",
            name="last_checksum",
            field=models.PositiveBigIntegerField(help_text="CRC-32 of that record's content.", null=True),
        ),
        migrations.AddField(
            model_name="batch",
            name="last_leader_epoch",
            field=models.IntegerField(help_text="Kafka's leader epoch of that record.", null=True),
        ),
        migrations.CreateModel(
            name="LogDivergence",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("topic", models.CharField(max_length=249)),
                ("partition", models.PositiveIntegerField()),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "generation",
                    models.PositiveIntegerField(help_text="The partition's chain of batches when it was seen."),
                ),
                ("first_offset", models.PositiveBigIntegerField(help_text="The logs agree up to here.")),
                (
                    "next_offset",
                    models.PositiveBigIntegerField(
                        help_text="No offset from here on had been used when it was resolved."
                    ),
                ),
                ("detail", models.TextField(help_text="How it was seen.")),
                (
                    "resolved_at",
                    models.DateTimeField(blank=True, help_text="When an operator rewound the partition.", null=True),
                ),
                (
                    "resumed_at",
                    models.PositiveBigIntegerField(blank=True, help_text="The offset it was rewound to.", null=True),
                ),
            ],
            options={
                "ordering": ["-id"],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("resolved_at", None)),
                        fields=("topic", "partition"),
                        name="log_divergence_one_unresolved",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("next_offset__gt", models.F("first_offset"))),
                        name="log_divergence_not_empty",
                    ),
                ],
            },
        ),
        migrations.AlterField(
            model_name="batch",
            name="lost",
            field=models.PositiveBigIntegerField(
                default=0, help_text="Offsets that were never stored; see the offset losses."
            ),
        ),
    ]
