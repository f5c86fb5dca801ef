"""Names and grammar of the headers that clients, the edge and the consumer exchange.

HTTP header names are spelled as in documents; names of Kafka record headers are lower case.
"""

import re

# HTTP
X_REQUEST_ID, IDEMPOTENCY_KEY = "X-Request-ID", "Idempotency-Key"
TRACEPARENT = "traceparent"  # of W3C Trace Context; the record's header has the same name

# Kafka records; the last two are set when a dead letter is redriven.
REQUEST_ID, FINGERPRINT = "request-id", "fingerprint"
DEAD_LETTER_ID, DEAD_LETTER_REPLAYS = "dead-letter-id", "dead-letter-replays"

# Visible ASCII, because request ids and keys are written to logs and headers unchanged.
REQUEST_ID_PATTERN, IDEMPOTENCY_KEY_PATTERN = "[!-~]{1,128}", "[!-~]{1,255}"
FINGERPRINT_LENGTH = 16  # hexadecimal digits
VALID_REQUEST_ID = re.compile(REQUEST_ID_PATTERN.encode())
VALID_IDEMPOTENCY_KEY = re.compile(IDEMPOTENCY_KEY_PATTERN.encode())
VALID_FINGERPRINT = re.compile(rb"[0-9a-f]{%d}" % FINGERPRINT_LENGTH)
