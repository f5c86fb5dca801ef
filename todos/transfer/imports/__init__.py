"""Files of todos into Kafka: `lines` reads them, `check` judges each line, `run` sends, `state` remembers how far."""
