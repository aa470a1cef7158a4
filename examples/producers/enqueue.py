"""Asks for a mail over HTTP and waits for nothing: the answer is the job's id."""
import json
import os
import urllib.error
import urllib.request

job = {
    "id": "boiler-2041-hot",  # the same id within 24 hours is the same job
    "action": {
        "type": "email-smtp",
        "smtp_secret": "MAIL_PROD",
        "from": "alerts@example.test",
        "to": "ops@example.test",
        "subject": "Boiler too hot",
        "message": "$VARIABLE$ is $VALUE$ $UNIT$",
    },
    "data": [{"variable": "temperature", "value": 97, "unit": "C"}],
}

request = urllib.request.Request(
    os.environ.get("SEALPOST_URL", "http://127.0.0.1:8080") + "/jobs",
    data=json.dumps(job).encode(),
    headers={"Content-Type": "application/json", "token": os.environ["SEALPOST_TOKEN"]},
)
try:
    with urllib.request.urlopen(request, timeout=10) as answer:
        print(json.load(answer)["result"]["id"])
except urllib.error.HTTPError as refused:  # the message says what to do
    raise SystemExit(json.load(refused)["message"])
