// An order as the warehouse wants it: one name for its id, its total a number, nothing personal.
import { readConfig, reject, text, type Event } from "headworks-plugin";

export const tidyOrder = {
  configure(config: unknown) {
    // The currency of orders that name none.
    return readConfig(config, { currency: text() });
  },

  transform({ data }: Event, { currency }: { currency: string }) {
    const order = data.read({ user: text("/user/id"), total: text(), currency: text().or(undefined) });
    if (!/^[0-9]+$/.test(order.total)) {
      reject("/total is no amount");
    }
    data.rename("/order_no", "/order/id").set("/total", Number(order.total));
    if (order.currency === undefined) {
      data.set("/currency", currency);
    }
    data.remove("/user/email").remove("/memo");
    return { data, key: order.user };
  },
};
