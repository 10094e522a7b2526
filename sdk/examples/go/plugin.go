// Picks the example that the configuration names.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"

	"headworks.dev/headworks"
)

type examples struct{ headworks.Plugin }

func (plugin *examples) UnmarshalJSON(config []byte) error {
	members := map[string]json.RawMessage{}
	if err := json.Unmarshal(config, &members); err != nil {
		return err
	}
	var name string
	if err := json.Unmarshal(members["example"], &name); err != nil {
		return fmt.Errorf("example: %w", err)
	}
	switch name {
	case "drop-bots":
		plugin.Plugin = &dropBots{}
	case "split-order":
		plugin.Plugin = &splitOrder{}
	case "tidy-order":
		plugin.Plugin = &tidyOrder{}
	default:
		return fmt.Errorf("nobody knows the example %q", name)
	}
	delete(members, "example")
	rest, err := json.Marshal(members)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(rest))
	decoder.DisallowUnknownFields()
	return decoder.Decode(plugin.Plugin)
}

func (plugin *examples) Configure() error {
	if configurer, ok := plugin.Plugin.(headworks.Configurer); ok {
		return configurer.Configure()
	}
	return nil
}

func init() { headworks.Register(&examples{}) }

func main() {}
