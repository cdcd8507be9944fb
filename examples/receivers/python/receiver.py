"""Receives webhooks with Flask and the Standard Webhooks library: verifies, drops repeats, prints.
Run it:  pip install -r requirements.txt && WEBHOOK_SECRET=... python receiver.py     (PORT=9000 unless said otherwise)
"""

import os
import threading

from flask import Flask, request
from standardwebhooks import Webhook, WebhookVerificationError
from werkzeug.serving import make_server

webhook = Webhook(os.environ["WEBHOOK_SECRET"])
seen = {}  # ids handled lately, oldest first; where a repeat would do harm, a table in your database
lock = threading.Lock()
app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 1 << 20


@app.post("/hooks")
def hook():
    try:  # The signature covers the bytes as they came, so nothing may parse them first.
        event = webhook.verify(request.get_data(), dict(request.headers))
    except (WebhookVerificationError, ValueError) as error:
        return f"{error}\n", 400
    with lock:
        if (event_id := request.headers["webhook-id"]) not in seen:
            handle(event)
            seen[event_id] = True  # after the work, so that what failed comes again
            if len(seen) > 100_000:
                del seen[next(iter(seen))]
    return "OK\n"  # within seconds: long work belongs into a queue


def handle(event):
    data = event["data"]
    told = [f"{event['type']}.{event['event']}", data.get("mediaAssetId") or data.get("feedId"), data.get("seq")]
    print(*filter(None, told), flush=True)


if __name__ == "__main__":
    server = make_server("127.0.0.1", int(os.environ.get("PORT", 9000)), app, threaded=True)
    print(f"Receiving webhooks at http://127.0.0.1:{server.port}/hooks", flush=True)
    server.serve_forever()
