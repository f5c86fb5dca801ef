import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

# Only users of this moment keep their number, as the former owner: records in Kafka still name it.
CREATE_OWNERS = """
    INSERT INTO todos_owner (user_id, subject, former) SELECT id, gen_random_uuid(), id FROM auth_user
"""
MOVE_TODOS = "UPDATE todos_todo t SET owner = o.subject::text FROM todos_owner o WHERE t.owner = o.former::text"
MOVE_TODOS_BACK = "UPDATE todos_todo t SET owner = o.user_id::text FROM todos_owner o WHERE t.owner = o.subject::text"


class Migration(migrations.Migration):

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ('todos', '0015_halts'),
    ]

    operations = [
        migrations.CreateModel(
            name='Owner',
            fields=[
                ('user', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='owner', serialize=False, to=settings.AUTH_USER_MODEL)),
                ('subject', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('former', models.PositiveBigIntegerField(editable=False, help_text="The user's primary key, which was the owner before migration 0016. None for users created since.", null=True, unique=True)),
            ],
        ),
        migrations.RunSQL(CREATE_OWNERS, migrations.RunSQL.noop),
        migrations.RunSQL(MOVE_TODOS, MOVE_TODOS_BACK),
    ]
