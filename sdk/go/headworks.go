// Package headworks is for writing transform plugins of the Headworks event gateway in Go.
//
// A plugin is a type that makes records of events. The route's configuration is read into it, with encoding/json:
//
//	type orderTotal struct {
//		Currency string `json:"currency"`
//	}
//
//	func (p *orderTotal) Transform(event *headworks.Event) ([]headworks.Output, error) {
//		var order struct {
//			Price    float64 `at:"/price"`
//			Quantity *int64  `at:"/quantity"`
//		}
//		if err := event.Data.Read(&order); err != nil {
//			return nil, err
//		}
//		…
//		event.Data.Set("/order/currency", p.Currency)
//		return []headworks.Output{{Body: event.Data}}, nil
//	}
//
//	func init() { headworks.Register(&orderTotal{}) }
//
//	func main() {}
//
// `headworks plugin build` makes the component.
package headworks

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
)

// Version is the SDK's own.
const Version = "0.1.0"

// Plugin makes records of events. It is a pure function: the same event and configuration give the same records, on
// every node and on every replay. Keep nothing between events, and sort what you range over a map for.
type Plugin interface {
	// Transform makes records of an event. No outputs: the event is dropped on purpose, and counted. An error made by
	// Reject, or a *DataError, puts the event into quarantine; any other error, and a panic, says that the plugin is
	// at fault.
	Transform(event *Event) ([]Output, error)
}

// Configurer is for a Plugin that checks its configuration after it was read.
type Configurer interface {
	// Configure is called once for each instance. An error refuses the configuration; its text is shown to whoever
	// registers the route.
	Configure() error
}

// Event was checked by the gateway against the schema of its type and app version. The attributes are CloudEvents
// 1.0's.
type Event struct {
	ID     string
	Source string
	Type   string
	// Subject is empty where there is none.
	Subject string
	// Time is RFC 3339, as sent, or the time of receipt where the sender gave none. time.Now gives it too.
	Time string
	// AppVersion is the version of the app that sent the event, as sent, or empty.
	AppVersion string
	Partner    string
	// Schema is TYPE@SINCE of the schema that the data was checked against.
	Schema string
	Data   *Document
}

// Random gives random numbers that are seeded by the event's id: the same on every node and on every replay.
func (event *Event) Random() *rand.Rand {
	hash := fnv.New64a()
	_, _ = io.WriteString(hash, event.ID)
	return rand.New(rand.NewPCG(hash.Sum64(), 0))
}

// Output is one record to deliver. What is empty is taken from the route.
type Output struct {
	// Destination is the name of one of the route's destinations; empty: all of them.
	Destination string
	// Topic is a Kafka topic or a Kinesis stream.
	Topic string
	// Key keeps the order of the records that have the same.
	Key     string
	Headers []Header
	// Body is the record's value, where Bytes is nil.
	Body *Document
	// Bytes need be no JSON.
	Bytes []byte
}

// Header is one header of a record.
type Header struct{ Name, Value string }

type rejection struct{ reason string }

func (rejection rejection) Error() string { return rejection.reason }

// Reject says that the event cannot be transformed: it goes to quarantine with this text.
func Reject(format string, arguments ...any) error {
	return rejection{fmt.Sprintf(format, arguments...)}
}

// DataError says that what stands at a pointer is not of the type that was asked for, or that nothing is there.
type DataError struct{ Pointer, Reason string }

func (err *DataError) Error() string { return err.Pointer + ": " + err.Reason }

func isRejection(err error) bool {
	var rejected rejection
	var data *DataError
	return errors.As(err, &rejected) || errors.As(err, &data)
}

var registered Plugin

// Register makes a plugin known to the gateway. Call it once, in a func init.
func Register(plugin Plugin) {
	if registered != nil {
		panic("headworks.Register is called twice: a component is one plugin")
	}
	registered = plugin
}

// configure reads the route's configuration into the registered plugin.
func configure(config string) error {
	if registered == nil {
		return errors.New("no plugin is registered: call headworks.Register in a func init")
	}
	decoder := json.NewDecoder(bytes.NewReader([]byte(config)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(registered); err != nil {
		return err
	}
	if configurer, ok := registered.(Configurer); ok {
		return configurer.Configure()
	}
	return nil
}

func describePanic(panicked any) error {
	if err, ok := panicked.(error); ok {
		return fmt.Errorf("panic: %w", err)
	}
	return fmt.Errorf("panic: %v", panicked)
}
