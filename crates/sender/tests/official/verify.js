// Lets the official library of Standard Webhooks judge requests: JSON lines in, a word or a reason out for each.
const { Webhook } = require("standardwebhooks");

const lines = require("node:fs").readFileSync(0, "utf8").trimEnd().split("\n");
for (const { secret, headers, body } of lines.map((line) => JSON.parse(line))) {
  try {
    new Webhook(secret).verify(Buffer.from(body), headers, { jsonParse: false });
    console.log("genuine");
  } catch (error) {
    console.log(`refused: ${error.message}`.replaceAll("\n", " "));
  }
}
