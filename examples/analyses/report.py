"""An analysis that reads a secret and a setting of its own.

    sealpost run --analysis report -- python3 report.py

Only the standard library is used. Each key of the environment is a variable;
T_ANALYSIS_ENV holds all of them, with those that cannot be variables.
"""

import json
import os
import sys


def report(environment, data):
    env = {entry["key"]: entry["value"] for entry in environment}
    if not env.get("DB_PASSWORD"):
        print("no policy grants this analysis the secret DB_PASSWORD", file=sys.stderr)
        return 1
    # A real analysis would log in with it. Printed under `sealpost run` it comes
    # out as [redacted].
    print("DB_PASSWORD:", env["DB_PASSWORD"])
    print("REGION:", env.get("REGION", "not set"))
    print("data:", json.dumps(data))
    return 0


def main():
    if "T_ANALYSIS_CONTEXT" not in os.environ:
        print("start me as: sealpost run --analysis NAME -- python3 report.py", file=sys.stderr)
        return 2
    environment = json.loads(os.environ.get("T_ANALYSIS_ENV", "[]"))
    return report(environment, json.loads(os.environ.get("T_ANALYSIS_DATA", "[]")))


if __name__ == "__main__":
    sys.exit(main())
