"""Sends two events with a real SDK: send.py SDK URL KEY. Ends with 0 where the SDK took it for a success."""

import logging
import sys

logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
sdk, url, key = sys.argv[1:4]
failures = []


def segment():
    from segment.analytics.client import Client

    client = Client(key, host=url, gzip=True, max_retries=0, on_error=lambda error, items: failures.append(error))
    client.track(user_id="u-1", event="Order Completed", properties={"total": 12.5}, context={"app": {"version": "5.2.0"}})
    client.identify(user_id="u-1", traits={"name": "Ada"})
    client.flush()


def rudderstack():
    from rudderstack.analytics.client import Client

    client = Client(key, host=url, gzip=True, max_retries=0, on_error=lambda error, items: failures.append(error))
    client.track(user_id="u-1", event="Order Completed", properties={"total": 12.5}, context={"app": {"version": "5.2.0"}})
    client.identify(user_id="u-1", traits={"name": "Ada"})
    client.flush()


def posthog():
    from posthog import Posthog

    client = Posthog(key, host=url, gzip=True, max_retries=0, on_error=lambda error, items: failures.append(error))
    client.capture("Order Completed", distinct_id="u-1", properties={"total": 12.5, "$app_version": "5.2.0"})
    client.capture("$pageview", distinct_id="u-1")
    client.flush()
    client.shutdown()


def mixpanel():
    from mixpanel import BufferedConsumer, Mixpanel

    consumer = BufferedConsumer(events_url=url + "/track", retry_limit=0)
    client = Mixpanel(key, consumer=consumer)
    client.track("u-1", "Order Completed", {"total": 12.5, "$app_version_string": "5.2.0"})
    client.track("u-1", "Page Viewed", {})
    consumer.flush()


def snowplow():
    from snowplow_tracker import Emitter, Subject, Tracker
    from snowplow_tracker import PageView, StructuredEvent

    subject = Subject()
    subject.set_user_id("u-1")
    failed = lambda count, events: failures.append(events)
    tracker = Tracker(
        namespace="t",
        emitters=Emitter(f"{url}/k/{key}", method="post", batch_size=2, on_failure=failed),
        subject=subject,
    )
    tracker.track(PageView(page_url="https://shop.example/"))
    tracker.track(StructuredEvent(category="shop", action="order"))
    tracker.flush()


def snowplow_get():
    from snowplow_tracker import Emitter, PageView, StructuredEvent, Subject, Tracker

    subject = Subject()
    subject.set_user_id("u-1")
    failed = lambda count, events: failures.append(events)
    tracker = Tracker(
        namespace="t",
        emitters=Emitter(f"{url}/k/{key}", method="get", batch_size=1, on_failure=failed),
        subject=subject,
    )
    tracker.track(PageView(page_url="https://shop.example/"))
    tracker.track(StructuredEvent(category="shop", action="order"))
    tracker.flush()


def amplitude():
    from amplitude import Amplitude, BaseEvent

    client = Amplitude(key)
    client.configuration.server_url = url + "/2/httpapi"
    client.configuration.flush_max_retries = 1

    def done(event, code, message=None):
        if code != 200:
            failures.append((code, message))

    client.configuration.callback = done
    for name in ("Order Completed", "Page Viewed"):
        client.track(BaseEvent(name, user_id="u-1", app_version="5.2.0", event_properties={"total": 12.5}))
    for flushed in client.flush():
        if flushed is not None:
            flushed.result(timeout=20)
    client.shutdown()


def cloudevents():
    import requests
    from cloudevents.core.bindings.http import to_binary_event, to_structured_event
    from cloudevents.core.v1.event import CloudEvent

    for number, form in enumerate((to_binary_event, to_structured_event)):
        event = CloudEvent(
            attributes={"id": f"ce-{number}", "source": "/py", "type": "order.paid", "appversion": "5.2.0",
                        "subject": "u-1", "specversion": "1.0"},
            data={"total": 12.5},
        )
        message = form(event)
        answer = requests.post(url + "/v1/events", data=message.body,
                               headers={**message.headers, "authorization": "Bearer " + key}, timeout=20)
        if answer.status_code != 202:
            failures.append(answer.text)


def standardwebhooks():
    """KEY is the key's id, a space and the secret."""
    import datetime

    import requests
    from standardwebhooks import Webhook

    key_id, secret = key.split(" ")
    for number in range(2):
        now = datetime.datetime.now(tz=datetime.timezone.utc)
        body = '{"total": 12.5}'
        identifier = f"msg_{number}"
        headers = {
            "content-type": "application/json",
            "webhook-id": identifier,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(secret).sign(identifier, now, body),
        }
        answer = requests.post(f"{url}/v1/events/order.paid?key_id={key_id}", data=body, headers=headers, timeout=20)
        if answer.status_code != 202:
            failures.append(answer.text)


globals()[sdk]()
for failure in failures:
    print(failure, file=sys.stderr)
sys.exit(1 if failures else 0)
