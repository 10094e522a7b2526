//! A record for each product of an order.

use headworks_plugin::{Document, Event, Failure, Output, Plugin};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitOrder {
    topic: String,
}

#[derive(Deserialize)]
struct Product {
    sku: String,
    price: u64,
    quantity: u64,
}

impl Plugin for SplitOrder {
    type Config = SplitOrder;

    fn configure(config: SplitOrder) -> Result<Self, String> {
        Ok(config)
    }

    fn transform(&self, event: Event) -> Result<Vec<Output>, Failure> {
        let (order, products): (String, Vec<Product>) = event.data.get_many(["/order_no", "/products"])?;
        let record = |(position, product): (usize, Product)| {
            let line = json!({
                "order": order,
                "position": position,
                "sku": product.sku,
                "amount": product.price * product.quantity,
            });
            let output = Output::new(Document::from_serialize(&line)?);
            Ok(output.topic(self.topic.as_str()).key(product.sku))
        };
        products.into_iter().enumerate().map(record).collect()
    }
}
