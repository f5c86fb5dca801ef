import pytest
from django.db import connection
from django.test import Client


@pytest.mark.django_db(transaction=True)
def test_without_its_database_the_web_process_lives_but_is_not_ready(client: Client) -> None:
    port = connection.settings_dict["PORT"]
    connection.close()
    connection.settings_dict["PORT"] = 9
    try:
        ready, alive = client.get("/readyz"), client.get("/healthz")
    finally:
        connection.settings_dict["PORT"] = port
        connection.close()

    assert (ready.status_code, alive.status_code) == (503, 200)
    assert client.get("/readyz").status_code == 200
