"""A record for each product of an order."""

from dataclasses import dataclass

from headworks_plugin import Event, Output


@dataclass
class SplitOrder:
    topic: str

    def transform(self, event: Event) -> list[Output]:
        order, products = event.data.get_many(("/order_no", str), ("/products", list))
        return [
            Output(
                {
                    "order": order,
                    "position": position,
                    "sku": product["sku"],
                    "amount": product["price"] * product["quantity"],
                },
                topic=self.topic,
                key=product["sku"],
            )
            for position, product in enumerate(products)
        ]
