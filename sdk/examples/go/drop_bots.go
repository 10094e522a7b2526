package main

import (
	"errors"
	"strings"

	"headworks.dev/headworks"
)

// What bots look at is nobody's interest: dropped and counted. All else passes as it was sent.
type dropBots struct {
	// Words of their user agents, in lower case.
	Words []string `json:"words"`
}

func (plugin *dropBots) Configure() error {
	if len(plugin.Words) == 0 {
		return errors.New("words is empty: nothing would be dropped")
	}
	return nil
}

func (plugin *dropBots) Transform(event *headworks.Event) ([]headworks.Output, error) {
	var view struct {
		Agent *string `at:"/user_agent"`
	}
	if err := event.Data.Read(&view); err != nil {
		return nil, err
	}
	if view.Agent != nil {
		agent := strings.ToLower(*view.Agent)
		for _, word := range plugin.Words {
			if strings.Contains(agent, word) {
				headworks.Count("bots", 1)
				return nil, nil
			}
		}
	}
	return []headworks.Output{{Body: event.Data}}, nil
}
