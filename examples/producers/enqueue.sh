#!/bin/sh
# Asks for a mail by writing the job to Redis. Partition 0 always exists.
# A job that Sealpost cannot accept becomes a dead letter with the reason
# (sealpost dead list), since nobody is there to be answered.
set -eu
redis-cli -u "${SEALPOST_REDIS_URL:-redis://127.0.0.1:6379/0}" \
  XADD 'sealpost:{q0}:jobs' '*' job '{
    "action": {"type": "email-smtp", "smtp_secret": "MAIL_PROD",
               "from": "alerts@example.test", "to": "ops@example.test",
               "subject": "Boiler too hot", "message": "$VARIABLE$ is $VALUE$ $UNIT$"},
    "data": [{"variable": "temperature", "value": 97, "unit": "C"}]
  }'
