package main

import (
	"strconv"

	"headworks.dev/headworks"
)

// An order as the warehouse wants it: one name for its id, its total a number, nothing personal.
type tidyOrder struct {
	// Of orders that name none.
	Currency string `json:"currency"`
}

func (plugin *tidyOrder) Transform(event *headworks.Event) ([]headworks.Output, error) {
	var order struct {
		User     string  `at:"/user/id"`
		Total    string  `at:"/total"`
		Currency *string `at:"/currency"`
	}
	if err := event.Data.Read(&order); err != nil {
		return nil, err
	}
	total, err := strconv.ParseUint(order.Total, 10, 64)
	if err != nil {
		return nil, headworks.Reject("/total is no amount")
	}
	event.Data.Rename("/order_no", "/order/id")
	event.Data.Set("/total", total)
	if order.Currency == nil {
		event.Data.Set("/currency", plugin.Currency)
	}
	event.Data.Remove("/user/email")
	event.Data.Remove("/memo")
	return []headworks.Output{{Body: event.Data, Key: order.User}}, nil
}
