// Receives webhooks with Express and the Standard Webhooks library: verifies, drops repeats, prints.
// Run it:  npm ci && WEBHOOK_SECRET=... node receiver.js     (PORT=9000 unless said otherwise)
const express = require("express");
const { Webhook } = require("standardwebhooks");

const webhook = new Webhook(process.env.WEBHOOK_SECRET);
const seen = new Set(); // ids handled lately; where a repeat would do harm, a table in your database

const app = express();
// The signature covers the bytes as they came, so nothing may parse them first.
app.post("/hooks", express.raw({ type: () => true, limit: "1mb" }), (request, response) => {
  let event;
  try {
    event = webhook.verify(request.body, request.headers);
  } catch (error) {
    return response.status(400).send(`${error.message}\n`);
  }
  const id = request.headers["webhook-id"];
  if (!seen.has(id)) {
    handle(event);
    seen.add(id); // after the work, so that what failed comes again
    if (seen.size > 100_000) seen.delete(seen.values().next().value);
  }
  response.send("OK\n"); // within seconds: long work belongs into a queue
});

function handle({ type, event, data }) {
  console.log([`${type}.${event}`, data.mediaAssetId ?? data.feedId, data.seq].filter(Boolean).join(" "));
}

const server = app.listen(process.env.PORT ?? 9000, "127.0.0.1", () => {
  console.log(`Receiving webhooks at http://127.0.0.1:${server.address().port}/hooks`);
});
