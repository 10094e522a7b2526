// What every SDK must do alike, in Go: each sample of ../cases names what is to be done.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"math"
	"math/big"
	"os"
	"sort"
	"time"

	"headworks.dev/headworks"
)

type conformance struct {
	Greeting string `json:"greeting"`
}

func (plugin *conformance) Configure() error {
	if plugin.Greeting == "" {
		return errors.New("greeting is empty")
	}
	return nil
}

func (plugin *conformance) Transform(event *headworks.Event) ([]headworks.Output, error) {
	var data struct {
		Do string `at:"/do"`
	}
	if err := event.Data.Read(&data); err != nil {
		return nil, err
	}
	if data.Do == "configured" {
		event.Data.Set("/greeting", plugin.Greeting)
		return whole(event)
	}
	action, ok := actions[data.Do]
	if !ok {
		return nil, fmt.Errorf("nobody knows %s", data.Do)
	}
	return action(event)
}

type action func(*headworks.Event) ([]headworks.Output, error)

var actions = map[string]action{
	"edits": edits,
	"untouched-bytes": func(event *headworks.Event) ([]headworks.Output, error) {
		event.Data.Set("/added", 1)
		return text(event)
	},
	"attributes": func(event *headworks.Event) ([]headworks.Output, error) {
		event.Data.Set("/seen", []string{event.ID, event.Source, event.Type, event.Subject, event.Time, event.AppVersion,
			event.Partner, event.Schema})
		return whole(event)
	},
	"output-fields": func(event *headworks.Event) ([]headworks.Output, error) {
		return []headworks.Output{{
			Bytes: []byte("plain, not JSON: 한 🙂"), Destination: "files", Topic: "orders", Key: "A-1",
			Headers: []headworks.Header{{Name: "one", Value: "1"}, {Name: "one", Value: "2"}},
		}, {Body: event.Data}}, nil
	},
	"drop":     func(*headworks.Event) ([]headworks.Output, error) { return nil, nil },
	"reject":   func(*headworks.Event) ([]headworks.Output, error) { return nil, headworks.Reject("not %s one", "this") },
	"missing":  price,
	"mistyped": price,
	"split":    split,
	"copy": func(event *headworks.Event) ([]headworks.Output, error) {
		copied, err := event.Data.Copy()
		if err != nil {
			return nil, err
		}
		copied.Set("/n", 2)
		event.Data.Set("/original", true)
		return []headworks.Output{{Body: copied}, {Body: event.Data}}, nil
	},
	"lookup":           lookup,
	"pointers":         pointers,
	"null-and-missing": nullAndMissing,
	"large-numbers":    largeNumbers,
	"new-document": func(*headworks.Event) ([]headworks.Output, error) {
		made, err := headworks.From(map[string]any{"made": []any{1, "two", nil, map[string]any{"three": 3.5}}})
		if err != nil {
			return nil, err
		}
		_, malformed := headworks.FromJSON("{")
		made.Set("/malformed", malformed != nil)
		return []headworks.Output{{Body: made}}, nil
	},
	"many-documents": func(*headworks.Event) ([]headworks.Output, error) {
		var made *headworks.Document
		for number := range 500 {
			var err error
			if made, err = headworks.From(map[string]int{"n": number}); err != nil {
				return nil, err
			}
		}
		return []headworks.Output{{Body: made}}, nil
	},
	"given-away": givenAway,
	"log": func(*headworks.Event) ([]headworks.Output, error) {
		headworks.Logf(headworks.Info, "a %s", "line")
		fmt.Println("two", 3)
		fmt.Print("not ended")
		log.SetFlags(0)
		log.Print("to standard error")
		headworks.Count("lines", 2)
		return nil, nil
	},
	"panic":       func(*headworks.Event) ([]headworks.Output, error) { panic("out of order") },
	"nil-pointer": func(event *headworks.Event) ([]headworks.Output, error) { event = nil; return whole(event) },
	"broken":      func(*headworks.Event) ([]headworks.Output, error) { return nil, errors.New("out of order") },
	"edit-refused": func(event *headworks.Event) ([]headworks.Output, error) {
		event.Data.Set("/price/of/text", 1)
		return whole(event)
	},
	"edit-refused-again":  editRefusedAgain,
	"edit-refused-caught": editRefusedCaught,
	"not-finite": func(event *headworks.Event) ([]headworks.Output, error) {
		event.Data.Set("/again", math.NaN())
		return whole(event)
	},
	"goroutine-panic": func(event *headworks.Event) ([]headworks.Output, error) {
		done := make(chan bool)
		go func() { panic("in a goroutine") }()
		<-done
		return nil, nil
	},
	"goroutines": func(event *headworks.Event) ([]headworks.Output, error) {
		sums := make(chan int)
		for number := range 10 {
			go func() { sums <- number }()
		}
		sum := 0
		for range 10 {
			sum += <-sums
		}
		event.Data.Set("/sum", sum)
		return whole(event)
	},
	"clock": func(event *headworks.Event) ([]headworks.Output, error) {
		begun := time.Now()
		time.Sleep(90 * time.Minute)
		event.Data.Set("/clock", []string{begun.UTC().Format(time.RFC3339), time.Since(begun).String()})
		return whole(event)
	},
	"random": func(event *headworks.Event) ([]headworks.Output, error) {
		random := event.Random()
		event.Data.Set("/drawn", []int{random.IntN(1e6), random.IntN(1e6)})
		return whole(event)
	},
	"file": func(event *headworks.Event) ([]headworks.Output, error) {
		_, err := os.ReadFile("/etc/hostname")
		return nil, err
	},
	"maps": func(event *headworks.Event) ([]headworks.Output, error) {
		names := make([]string, 0, 100)
		for name := range map[string]bool{"c": true, "a": true, "b": true} {
			names = append(names, name)
		}
		sort.Strings(names)
		event.Data.Set("/names", names)
		return whole(event)
	},
	"garbage": func(event *headworks.Event) ([]headworks.Output, error) {
		kept := make([]byte, 16<<20)
		sum := 0
		for range 40 {
			made := make([]byte, 1<<20)
			made[len(made)-1] = 1
			sum += int(made[len(made)-1])
		}
		event.Data.Set("/sum", sum+int(kept[0]))
		return whole(event)
	},
	"recursion": func(event *headworks.Event) ([]headworks.Output, error) {
		event.Data.Set("/deep", deeper(0))
		return whole(event)
	},
}

func deeper(n int) int { return 1 + deeper(n+1) }

func whole(event *headworks.Event) ([]headworks.Output, error) {
	return []headworks.Output{{Body: event.Data}}, nil
}

func text(event *headworks.Event) ([]headworks.Output, error) {
	written, err := event.Data.JSON()
	return []headworks.Output{{Bytes: []byte(written)}}, err
}

func price(event *headworks.Event) ([]headworks.Output, error) {
	var data struct {
		Price float64 `at:"/price"`
	}
	return nil, event.Data.Read(&data)
}

func edits(event *headworks.Event) ([]headworks.Output, error) {
	var order struct {
		Price float64 `at:"/price"`
		Note  string  `at:"/note"`
	}
	if err := event.Data.Read(&order); err != nil {
		return nil, err
	}
	data := event.Data
	data.Rename("/order_no", "/order/id")
	data.Set("/order/total", order.Price*2.5)
	data.Set("/order/gift", false)
	data.Set("/order/tags", []string{"a", "b"})
	data.Set("/order/nothing", nil)
	data.Remove("/note")
	data.Remove("/was/never/there")
	data.Rename("/nor/was/this", "/here")
	data.Set("/items/-", 3)
	return whole(event)
}

func split(event *headworks.Event) ([]headworks.Output, error) {
	type item struct {
		SKU   string `json:"sku"`
		N     int    `json:"n"`
		Index int    `json:"index"`
		Of    int    `json:"of"`
	}
	var data struct {
		Items []item `at:"/items"`
	}
	if err := event.Data.Read(&data); err != nil {
		return nil, err
	}
	var outputs []headworks.Output
	for index, item := range data.Items {
		item.Index, item.Of = index, len(data.Items)
		document, err := headworks.From(item)
		if err != nil {
			return nil, err
		}
		outputs = append(outputs, headworks.Output{Topic: "items", Key: item.SKU, Body: document})
	}
	return outputs, nil
}

func pointers(event *headworks.Event) ([]headworks.Output, error) {
	var found struct {
		Empty  string `at:"/"`
		Second string `at:"/list/1"`
	}
	if err := event.Data.Read(&found); err != nil {
		return nil, err
	}
	data := event.Data
	data.Rename("/a~1b/c~0d", "/moved")
	data.Remove("/")
	data.Remove("/list/1")
	data.Set("/empty", found.Empty)
	data.Set("/second", found.Second)
	return whole(event)
}

func editRefusedAgain(event *headworks.Event) ([]headworks.Output, error) {
	data := event.Data
	data.Set("/price/of/text", 1)
	_, first := data.JSON()
	data.Set("/n", 2)
	_, get := data.Get("/price")
	_, many := data.Get("/price", "/n")
	_, copied := data.Copy()
	_, again := data.JSON()
	var refused []bool
	for _, err := range []error{first, get, many, copied, again} {
		refused = append(refused, err != nil)
	}
	made, err := headworks.From(map[string]any{"refused": refused})
	return []headworks.Output{{Body: made}}, err
}

func editRefusedCaught(event *headworks.Event) ([]headworks.Output, error) {
	event.Data.Set("/price/of/text", 1)
	_, _ = event.Data.JSON()
	event.Data.Set("/n", 2)
	return whole(event)
}

func nullAndMissing(event *headworks.Event) ([]headworks.Output, error) {
	values, err := event.Data.Get("/empty", "/absent")
	if err != nil {
		return nil, err
	}
	var found []string
	for _, value := range values {
		switch {
		case !value.There():
			found = append(found, "missing")
		case value.IsNull():
			found = append(found, "null")
		default:
			found = append(found, "a value")
		}
	}
	event.Data.Set("/found", found)
	return whole(event)
}

func largeNumbers(event *headworks.Event) ([]headworks.Output, error) {
	var found struct {
		BeyondDouble int64           `at:"/beyond_double"`
		Most         int64           `at:"/most"`
		Unsigned     json.RawMessage `at:"/unsigned"`
	}
	if err := event.Data.Read(&found); err != nil {
		return nil, err
	}
	unsigned, _ := new(big.Int).SetString(string(found.Unsigned), 10)
	event.Data.Set("/again", []int{})
	event.Data.Set("/again/-", found.BeyondDouble)
	event.Data.Set("/again/-", found.Most)
	event.Data.Set("/again/-", unsigned)
	return text(event)
}

var kept []*headworks.Document

func givenAway(event *headworks.Event) ([]headworks.Output, error) {
	refused := true
	for _, document := range kept {
		if _, err := document.Get("/do"); err == nil {
			refused = false
		}
	}
	kept = []*headworks.Document{event.Data}
	event.Data.Set("/refused", refused)
	return whole(event)
}

func init() { headworks.Register(&conformance{}) }

func main() {}

func lookup(event *headworks.Event) ([]headworks.Output, error) {
	row, other := headworks.Lookup("shops", "1"), headworks.Lookup("shops", "2")
	row.Set("/seen", true)
	names, err := other.Get("/name")
	if err != nil {
		return nil, err
	}
	event.Data.Set("/absent", headworks.Lookup("shops", "none") == nil)
	event.Data.Set("/other", names[0])
	return []headworks.Output{{Body: row}, {Body: event.Data}}, nil
}
