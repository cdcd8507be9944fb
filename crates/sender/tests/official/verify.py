"""Lets the official library of Standard Webhooks judge requests: JSON lines in, a word or a reason out for each."""

import json
import sys

from standardwebhooks import Webhook

for line in sys.stdin:
    case = json.loads(line)
    try:
        Webhook(case["secret"]).verify(case["body"].encode(), case["headers"], json_parse=False)
        print("genuine")
    except Exception as error:
        print(f"refused: {error}".replace("\n", " "))
