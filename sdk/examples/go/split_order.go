package main

import "headworks.dev/headworks"

// A record for each product of an order.
type splitOrder struct {
	Topic string `json:"topic"`
}

type product struct {
	SKU      string `json:"sku"`
	Price    uint64 `json:"price"`
	Quantity uint64 `json:"quantity"`
}

type line struct {
	Order    string `json:"order"`
	Position int    `json:"position"`
	SKU      string `json:"sku"`
	Amount   uint64 `json:"amount"`
}

func (plugin *splitOrder) Transform(event *headworks.Event) ([]headworks.Output, error) {
	var order struct {
		ID       string    `at:"/order_no"`
		Products []product `at:"/products"`
	}
	if err := event.Data.Read(&order); err != nil {
		return nil, err
	}
	outputs := make([]headworks.Output, 0, len(order.Products))
	for position, product := range order.Products {
		record, err := headworks.From(line{order.ID, position, product.SKU, product.Price * product.Quantity})
		if err != nil {
			return nil, err
		}
		outputs = append(outputs, headworks.Output{Body: record, Topic: plugin.Topic, Key: product.SKU})
	}
	return outputs, nil
}
