// Eight reads and six edits, or none.
package main

import "headworks.dev/headworks"

type edits struct {
	Edits bool `json:"edits"`
}

func (plugin *edits) Transform(event *headworks.Event) ([]headworks.Output, error) {
	data := event.Data
	if plugin.Edits {
		var found struct {
			User     string `at:"/user_id"`
			Platform string `at:"/platform"`
			URL      string `at:"/url"`
			Version  string `at:"/device/os_version"`
			Number   int64  `at:"/session/number"`
			Screen   string `at:"/screen/name"`
			Network  string `at:"/network/type"`
			LoadMs   int64  `at:"/load_ms"`
		}
		if err := data.Read(&found); err != nil {
			return nil, err
		}
		data.Rename("/occurred_at", "/viewed_at")
		data.Rename("/anonymous_id", "/visitor_id")
		data.Remove("/consent")
		data.Set("/page", found.Screen+" "+found.URL)
		data.Set("/os", found.Platform+" "+found.Version+" "+found.Network)
		data.Set("/is_slow", found.Number > 1 && found.LoadMs > 400 && found.User != "")
	}
	return []headworks.Output{{Body: data}}, nil
}

func init() { headworks.Register(&edits{}) }

func main() {}
