package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"time"
)

var client = &http.Client{Timeout: 30 * time.Second}

func send(eventType, id string, data any) (string, error) {
	body, err := json.Marshal(data)
	if err != nil {
		return "", err
	}
	for attempt := range 6 {
		wait := time.Duration(float64(min(60, 1<<attempt)) * (0.5 + rand.Float64()/2) * float64(time.Second))
		url := os.Getenv("HEADWORKS_EVENTS") + "/v1/events/" + eventType
		request, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			return "", err
		}
		request.Header.Set("Authorization", "Bearer "+os.Getenv("HEADWORKS_KEY"))
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("ce-id", id)
		if answer, err := client.Do(request); err == nil {
			text, err := io.ReadAll(answer.Body)
			answer.Body.Close()
			switch {
			case err != nil:
			case answer.StatusCode == http.StatusAccepted:
				var result struct{ Status string }
				err := json.Unmarshal(text, &result)
				return result.Status, err
			case answer.StatusCode != 408 && answer.StatusCode != 429 && answer.StatusCode != 503:
				return "", errors.New(string(text))
			}
			seconds, _ := strconv.Atoi(answer.Header.Get("Retry-After"))
			wait = max(wait, time.Duration(seconds)*time.Second)
		}
		time.Sleep(wait)
	}
	return "", errors.New("the gateway cannot take the event now; keep it and send it later")
}

func main() {
	status, err := send("order.paid", "order-1001-paid", map[string]any{"order": "1001", "total": 12.5})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(status)
}
