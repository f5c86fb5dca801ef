from django.db import migrations, models

# pg_restore inserts rows without a search path, so the function keeps the one of the migration.
# A statement's new rows alone: those that a rewound range brings again are not inserted, and so not counted again.
COUNT_INSERTS = """
    CREATE FUNCTION todos_count_dead_letters() RETURNS trigger LANGUAGE plpgsql
    SET search_path FROM CURRENT AS $$
    BEGIN
        INSERT INTO todos_deadlettertotal AS t (topic, partition, reason, letters)
        SELECT topic, partition, reason, count(*) FROM inserted GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
        ON CONFLICT (topic, partition, reason) DO UPDATE SET letters = t.letters + excluded.letters;
        RETURN NULL;
    END $$;
    CREATE TRIGGER todos_count_dead_letters AFTER INSERT ON todos_deadletter
    REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION todos_count_dead_letters();
"""
COUNT_NO_MORE = """
    DROP TRIGGER todos_count_dead_letters ON todos_deadletter;
    DROP FUNCTION todos_count_dead_letters();
"""
COUNT_EXISTING = """
    INSERT INTO todos_deadlettertotal (topic, partition, reason, letters)
    SELECT topic, partition, reason, count(*) FROM todos_deadletter GROUP BY 1, 2, 3
"""


class Migration(migrations.Migration):

    dependencies = [
        ('todos', '0017_clock_skew'),
    ]

    operations = [
        migrations.CreateModel(
            name='DeadLetterTotal',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('topic', models.CharField(max_length=249)),
                ('partition', models.PositiveIntegerField()),
                ('reason', models.CharField(max_length=32)),
                ('letters', models.PositiveBigIntegerField()),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('topic', 'partition', 'reason'), name='dead_letter_total_once_per_reason')],
            },
        ),
        migrations.RunSQL(COUNT_INSERTS, COUNT_NO_MORE),
        migrations.RunSQL(COUNT_EXISTING, migrations.RunSQL.noop),
    ]
