// Sends two events with the CloudEvents SDK, one in each of its modes, or both as a batch: cloudevents SDK URL KEY. Ends
// with 0 where the SDK took the answers for a success.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
)

func main() {
	url, key := os.Args[2]+"/v1/events", os.Args[3]
	events := []cloudevents.Event{event(0), event(1)}
	var err error
	if os.Args[1] == "cloudevents_batch" {
		err = sendBatch(url, key, events)
	} else {
		err = sendEach(url, key, events)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func event(number int) cloudevents.Event {
	event := cloudevents.NewEvent()
	event.SetID(fmt.Sprintf("ce-%d", number))
	event.SetSource("/go")
	event.SetType("order.paid")
	event.SetSubject("u-1")
	event.SetExtension("appversion", "5.2.0")
	if err := event.SetData(cloudevents.ApplicationJSON, map[string]any{"total": 12.5}); err != nil {
		log.Fatal(err)
	}
	return event
}

func sendEach(url, key string, events []cloudevents.Event) error {
	client, err := cloudevents.NewClientHTTP(
		cloudevents.WithTarget(url),
		cloudevents.WithHeader("Authorization", "Bearer "+key),
	)
	if err != nil {
		return err
	}
	modes := []func(context.Context) context.Context{
		cloudevents.WithEncodingBinary, cloudevents.WithEncodingStructured,
	}
	for number, mode := range modes {
		if result := client.Send(mode(context.Background()), events[number]); !cloudevents.IsACK(result) {
			return result
		}
	}
	return nil
}

func sendBatch(url, key string, events []cloudevents.Event) error {
	request, err := cehttp.NewHTTPRequestFromEvents(context.Background(), url, events)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+key)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusAccepted {
		text, _ := io.ReadAll(answer.Body)
		return fmt.Errorf("%s: %s", answer.Status, text)
	}
	return nil
}
