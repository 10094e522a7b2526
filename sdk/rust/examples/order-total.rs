//! The example of the README: renames, reads two numbers in one call, computes a third.

use headworks_plugin::{Event, Failure, Output, Plugin, host, plugin, rejected};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct OrderTotal {
    currency: String,
}

impl Plugin for OrderTotal {
    type Config = OrderTotal;

    fn configure(config: OrderTotal) -> Result<Self, String> {
        if config.currency.len() == 3 {
            Ok(config)
        } else {
            Err("currency is a code of three letters, such as KRW".to_owned())
        }
    }

    fn transform(&self, mut event: Event) -> Result<Vec<Output>, Failure> {
        let (price, quantity): (f64, Option<u32>) = event.data.get_many(["/price", "/quantity"])?;
        if price < 0.0 {
            return Err(rejected("/price is below zero"));
        }
        event.data.rename("/order_no", "/order/id");
        event
            .data
            .set("/order/total", price * f64::from(quantity.unwrap_or(1)));
        event.data.set("/order/currency", self.currency.as_str());
        host::count("orders", 1);
        Ok(vec![event.data.into()])
    }
}

plugin!(OrderTotal);

fn main() {
    let plugin: OrderTotal =
        headworks_plugin::testing::configure(r#"{"currency": "KRW"}"#).expect("a code of three letters");
    let event = headworks_plugin::testing::event(&serde_json::json!({
        "data": {"order_no": "A-1", "price": 12500, "quantity": 2}
    }));
    println!(
        "{:#}",
        headworks_plugin::testing::records(plugin.transform(event))
    );
}
