
// Appended to the snippet: judges JSON lines.
for (const line of require("node:fs").readFileSync(0, "utf8").trimEnd().split("\n")) {
  const { secret, headers, body } = JSON.parse(line);
  console.log(isGenuine(secret, headers, Buffer.from(body, "base64")) ? "genuine" : "refused");
}
