from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('todos', '0018_dead_letter_totals'),
    ]

    operations = [
        migrations.AlterField(
            model_name='deadletter',
            name='reason',
            field=models.CharField(choices=[('empty', 'no value'), ('invalid', 'not a valid TodoCreated event'), ('rejected', 'refused by the database'), ('undecodable', "not a record in Kafka's format"), ('conflict', 'another content came first under its Idempotency-Key'), ('set_aside', 'set aside by an operator: it needs a newer worker')], max_length=32),
        ),
    ]
