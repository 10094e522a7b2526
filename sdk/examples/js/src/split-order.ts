// A record for each product of an order.
import { json, readConfig, text, type Event } from "headworks-plugin";

interface Product {
  sku: string;
  price: number;
  quantity: number;
}

export const splitOrder = {
  configure(config: unknown) {
    return readConfig(config, { topic: text() });
  },

  transform({ data }: Event, { topic }: { topic: string }) {
    const order = data.read({ id: text("/order_no"), products: json() });
    const products = order.products as unknown as Product[];
    return products.map(({ sku, price, quantity }, position) => ({
      topic,
      key: sku,
      data: { order: order.id, position, sku, amount: price * quantity },
    }));
  },
};
