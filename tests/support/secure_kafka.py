"""A broker that also listens with SASL over TLS, and its one user."""

from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from kafka import KafkaAdminClient
from kafka.admin import UserScramCredentialUpsertion
from pydantic import SecretStr

from devstack import Kafka
from devstack.ports import HOST, free_port
from devstack.process import Process
from edge_api.shared.kafka_settings import KafkaSettings

SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"
USER, PASSWORD = "todo", "only for tests"


class SecureKafka(Kafka):
    """`secure` are the settings of its listener with SCRAM-SHA-512 and TLS; the one of devstack is as ever."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.secure_address = f"{HOST}:{free_port()}"
        self.authority = directory / "authority.pem"

    @property
    def secure(self) -> KafkaSettings:
        return KafkaSettings(
            bootstrap_servers=self.secure_address,
            security_protocol="SASL_SSL",
            sasl_mechanism="SCRAM-SHA-512",
            sasl_username=USER,
            sasl_password=SecretStr(PASSWORD),
            ssl_cafile=self.authority,
        )

    def prepare(self) -> Process:
        process = super().prepare()
        keystore = self.directory / "keystore.pem"
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.authority)
        certificate = authority.issue_cert(HOST)
        key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # Kafka reads no other
        keystore.write_bytes(pem + b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        listeners = f"SASL_SSL://{self.secure_address}"
        properties = self.directory / "server.properties"
        settings = dict(line.split("=", 1) for line in properties.read_text().splitlines())
        settings["listeners"] += f",{listeners}"
        settings["advertised.listeners"] += f",{listeners}"
        settings["listener.security.protocol.map"] += ",SASL_SSL:SASL_SSL"
        settings |= {
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": f"{SCRAM} required;",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(keystore),
        }
        properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        return process

    def add_user(self) -> None:
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap_servers, api_version=(4, 0))
        try:
            refused = admin.alter_user_scram_credentials(
                [UserScramCredentialUpsertion(USER, "SCRAM-SHA-512", PASSWORD)]
            )
            assert {USER: None} == refused
        finally:
            admin.close()
