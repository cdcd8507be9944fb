
// Appended to the snippet: judges JSON lines.
while ($line = fgets(STDIN)) {
    ["secret" => $secret, "headers" => $headers, "body" => $body] = json_decode($line, true);
    echo is_genuine($secret, $headers, base64_decode($body)) ? "genuine\n" : "refused\n";
}
