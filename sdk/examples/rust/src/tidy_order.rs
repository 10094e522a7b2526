//! An order as the warehouse wants it: one name for its id, its total a number, nothing personal.

use headworks_plugin::{Event, Failure, Output, Plugin, rejected};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TidyOrder {
    /// Of orders that name none.
    currency: String,
}

impl Plugin for TidyOrder {
    type Config = TidyOrder;

    fn configure(config: TidyOrder) -> Result<Self, String> {
        Ok(config)
    }

    fn transform(&self, mut event: Event) -> Result<Vec<Output>, Failure> {
        let order = &mut event.data;
        let (user, total, currency): (String, String, Option<String>) =
            order.get_many(["/user/id", "/total", "/currency"])?;
        if !total.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(rejected("/total is no amount"));
        }
        let total: u64 = total.parse().map_err(|_| rejected("/total is no amount"))?;
        order.rename("/order_no", "/order/id");
        order.set("/total", total);
        if currency.is_none() {
            order.set("/currency", self.currency.as_str());
        }
        order.remove("/user/email");
        order.remove("/memo");
        Ok(vec![Output::new(event.data).key(user)])
    }
}
