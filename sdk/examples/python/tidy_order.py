"""An order as the warehouse wants it: one name for its id, its total a number, nothing personal."""

from dataclasses import dataclass

from headworks_plugin import Event, Output, Rejected


@dataclass
class TidyOrder:
    #: Of orders that name none.
    currency: str

    def transform(self, event: Event) -> list[Output]:
        order = event.data
        user, total, currency = order.get_many(("/user/id", str), ("/total", str), ("/currency", str, None))
        if not (total.isascii() and total.isdigit()):
            raise Rejected("/total is no amount")
        order.rename("/order_no", "/order/id").set("/total", int(total))
        if currency is None:
            order.set("/currency", self.currency)
        order.remove("/user/email").remove("/memo")
        return [Output(order, key=user)]
