
# Appended to the snippet: judges JSON lines.
import json, sys

for line in sys.stdin:
    case = json.loads(line)
    body = base64.b64decode(case["body"])
    print("genuine" if is_genuine(case["secret"], case["headers"], body) else "refused")
