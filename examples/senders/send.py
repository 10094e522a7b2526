import json
import os
import random
import time
import urllib.error
import urllib.request


def send(event_type, event_id, data, tries=6):
    request = urllib.request.Request(
        f"{os.environ['HEADWORKS_EVENTS']}/v1/events/{event_type}",
        data=json.dumps(data).encode(),
        headers={
            "Authorization": f"Bearer {os.environ['HEADWORKS_KEY']}",
            "Content-Type": "application/json",
            "ce-id": event_id,
        },
    )
    for attempt in range(tries):
        wait = min(60, 2**attempt) * random.uniform(0.5, 1)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refusal:
            problem = refusal.read().decode()
            if refusal.code not in (408, 429, 503):
                raise RuntimeError(problem)
            wait = max(wait, float(refusal.headers.get("Retry-After", 0)))
        except OSError:
            pass
        time.sleep(wait)
    raise RuntimeError("the gateway cannot take the event now; keep it and send it later")


print(send("order.paid", "order-1001-paid", {"order": "1001", "total": 12.5})["status"])
