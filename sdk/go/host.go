package headworks

import "fmt"

// Level tells how much a line of the log matters.
type Level uint32

const (
	Debug Level = iota
	Info
	Warn
	Error
)

// Logf writes a line to the gateway's log, tagged with plugin, partner and event id. What is printed to standard
// output and standard error is written there too. Never write personal data or secrets.
func Logf(level Level, format string, arguments ...any) {
	hostLog(level, fmt.Sprintf(format, arguments...))
}

// Count adds to a counter that the gateway exports under the plugin's name: a-z 0-9 _, at most 64 characters.
func Count(counter string, amount uint64) {
	hostCount(counter, amount)
}
