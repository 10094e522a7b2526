//go:build !wasip1

package headworks

// Elsewhere than in the gateway a plugin compiles, so that editors and `go vet` can read it; documents and the log are
// the gateway's.

type handle struct{ there bool }

var gone = handle{}

const inGateway = "headworks: documents exist only in the gateway: run `headworks plugin test --local`"

func fromJSON(string) (handle, error)         { panic(inGateway) }
func lookup(table, key string) handle         { panic(inGateway) }
func (handle) getAll([]string) []Value        { panic(inGateway) }
func (handle) apply([]edit) error             { panic(inGateway) }
func (handle) copy() handle                   { panic(inGateway) }
func (handle) toJSON() string                 { panic(inGateway) }
func (handle) drop()                          { panic(inGateway) }
func hostLog(level Level, message string)     { panic(inGateway) }
func hostCount(counter string, amount uint64) { panic(inGateway) }
