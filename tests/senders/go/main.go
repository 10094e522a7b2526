// Sends two events with the CloudEvents SDK, one in each of its modes: cloudevents SDK URL KEY. Ends with 0 where the SDK took
// the answers for a success.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	cloudevents "github.com/cloudevents/sdk-go/v2"
)

func main() {
	url, key := os.Args[2], os.Args[3]
	client, err := cloudevents.NewClientHTTP(
		cloudevents.WithTarget(url+"/v1/events"),
		cloudevents.WithHeader("Authorization", "Bearer "+key),
	)
	if err != nil {
		log.Fatal(err)
	}
	modes := []func(context.Context) context.Context{
		cloudevents.WithEncodingBinary, cloudevents.WithEncodingStructured,
	}
	for number, mode := range modes {
		event := cloudevents.NewEvent()
		event.SetID(fmt.Sprintf("ce-%d", number))
		event.SetSource("/go")
		event.SetType("order.paid")
		event.SetSubject("u-1")
		event.SetExtension("appversion", "5.2.0")
		if err := event.SetData(cloudevents.ApplicationJSON, map[string]any{"total": 12.5}); err != nil {
			log.Fatal(err)
		}
		if result := client.Send(mode(context.Background()), event); !cloudevents.IsACK(result) {
			log.Fatal(result)
		}
	}
}
