//go:build wasip1

package headworks

import (
	"errors"
	"runtime/debug"
	"time"
	"unsafe"
)

// The contract's functions as the component model's canonical ABI lowers them. Results that are more than one number
// are written to memory that the caller names; texts and lists in them lie in memory that the gateway took by
// cabi_realloc, which is Go's and is freed by its collector.

//go:wasmimport headworks:plugin/host@0.2.0 log
func importLog(level uint32, text unsafe.Pointer, length uint32)

//go:wasmimport headworks:plugin/host@0.2.0 count
func importCount(text unsafe.Pointer, length uint32, amount uint64)

//go:wasmimport headworks:plugin/types@0.2.0 [static]document.from-json
func importFromJSON(text unsafe.Pointer, length uint32, result unsafe.Pointer)

//go:wasmimport headworks:plugin/types@0.2.0 [method]document.to-json
func importToJSON(document uint32, result unsafe.Pointer)

//go:wasmimport headworks:plugin/types@0.2.0 [method]document.copy
func importCopy(document uint32) uint32

//go:wasmimport headworks:plugin/types@0.2.0 [method]document.get-all
func importGetAll(document uint32, pointers unsafe.Pointer, count uint32, result unsafe.Pointer)

//go:wasmimport headworks:plugin/types@0.2.0 [method]document.apply
func importApply(document uint32, edits unsafe.Pointer, count uint32, result unsafe.Pointer)

//go:wasmimport headworks:plugin/types@0.2.0 [resource-drop]document
func importDrop(document uint32)

//go:wasmimport headworks:plugin/tables@0.2.0 lookup
func importLookup(table unsafe.Pointer, tableLength uint32, key unsafe.Pointer, keyLength uint32, result unsafe.Pointer)

// Of the adapter: see adapter.wat.

//go:wasmimport wasi_snapshot_preview1 headworks_begin
func adapterBegin(wall uint64, buffer unsafe.Pointer, capacity uint32)

//go:wasmimport wasi_snapshot_preview1 headworks_end
func adapterEnd()

type handle uint32

const gone handle = 0

// abiText is a string, or a list, as it lies in memory.
type abiText struct {
	at     uint32
	length uint32
}

// Addresses are 32 bits wide in memory, and 64 in Go's own types.
func address(of unsafe.Pointer) uint32 { return uint32(uintptr(of)) }

func pointer(at uint32) unsafe.Pointer {
	// Not one conversion: `go vet` cannot know that the gateway gives addresses.
	wide := uintptr(at)
	return *(*unsafe.Pointer)(unsafe.Pointer(&wide))
}

// Texts that were lowered in the running call: an address alone keeps none alive, nor off a stack that moves.
var lent []string

func lower(text string) abiText {
	lent = append(lent, text)
	return abiText{address(unsafe.Pointer(unsafe.StringData(text))), uint32(len(text))}
}

func (text abiText) lift() string {
	if text.length == 0 {
		return ""
	}
	return unsafe.String((*byte)(pointer(text.at)), int(text.length))
}

// What the gateway asked memory for in the running call. Nothing else points to it until it is lifted.
var received [][]uint64

//go:wasmexport cabi_realloc
func cabiRealloc(old unsafe.Pointer, oldSize, alignment, size uint32) unsafe.Pointer {
	words := make([]uint64, (size+7)/8+1)
	received = append(received, words)
	made := unsafe.Pointer(&words[0])
	if oldSize > 0 {
		copy(unsafe.Slice((*byte)(made), size), unsafe.Slice((*byte)(old), oldSize))
	}
	return made
}

type abiValue struct {
	kind    kind
	_       [7]byte
	payload [8]byte
}

type abiOptionalValue struct {
	there uint8
	_     [7]byte
	value abiValue
}

func (value *abiOptionalValue) lift() Value {
	if value.there == 0 {
		return Value{}
	}
	lifted := Value{there: true, kind: value.value.kind}
	payload := unsafe.Pointer(&value.value.payload)
	switch lifted.kind {
	case kindBoolean:
		lifted.boolean = *(*uint8)(payload) != 0
	case kindInteger:
		lifted.integer = *(*int64)(payload)
	case kindNumber:
		lifted.number = *(*float64)(payload)
	case kindText, kindJSON:
		lifted.text = (*abiText)(payload).lift()
	}
	return lifted
}

func (value *abiValue) lower(from Value) {
	value.kind = from.kind
	payload := unsafe.Pointer(&value.payload)
	switch from.kind {
	case kindBoolean:
		if from.boolean {
			*(*uint8)(payload) = 1
		}
	case kindInteger:
		*(*int64)(payload) = from.integer
	case kindNumber:
		*(*float64)(payload) = from.number
	case kindText, kindJSON:
		*(*abiText)(payload) = lower(from.text)
	}
}

type abiEdit struct {
	kind   editKind
	_      [7]byte
	first  abiText
	second abiValue
}

type abiResult struct {
	failed uint8
	_      [3]byte
	// A text, or a document's handle.
	payload abiText
}

func (result *abiResult) err() error {
	if result.failed == 0 {
		return nil
	}
	return errors.New(result.payload.lift())
}

func fromJSON(text string) (handle, error) {
	var result abiResult
	importFromJSON(unsafe.Pointer(unsafe.StringData(text)), uint32(len(text)), unsafe.Pointer(&result))
	if err := result.err(); err != nil {
		return gone, err
	}
	return handle(result.payload.at), nil
}

func lookup(table, key string) handle {
	var result struct {
		there    uint8
		_        [3]byte
		document uint32
	}
	importLookup(unsafe.Pointer(unsafe.StringData(table)), uint32(len(table)),
		unsafe.Pointer(unsafe.StringData(key)), uint32(len(key)), unsafe.Pointer(&result))
	if result.there == 0 {
		return gone
	}
	return handle(result.document)
}

func (document handle) getAll(pointers []string) []Value {
	asked := make([]abiText, len(pointers))
	for index, pointer := range pointers {
		asked[index] = lower(pointer)
	}
	var result abiText
	importGetAll(uint32(document), unsafe.Pointer(unsafe.SliceData(asked)), uint32(len(asked)), unsafe.Pointer(&result))
	values := make([]Value, result.length)
	if result.length > 0 {
		found := unsafe.Slice((*abiOptionalValue)(pointer(result.at)), int(result.length))
		for index := range found {
			values[index] = found[index].lift()
		}
	}
	return values
}

func (document handle) apply(edits []edit) error {
	lowered := make([]abiEdit, len(edits))
	for index := range edits {
		edit, target := &edits[index], &lowered[index]
		target.kind = edit.kind
		switch edit.kind {
		case editSet:
			target.first = lower(edit.target)
			target.second.lower(edit.value)
		case editRemove:
			target.first = lower(edit.target)
		case editMove:
			target.first = lower(edit.from)
			*(*abiText)(unsafe.Pointer(&target.second)) = lower(edit.target)
		}
	}
	var result abiResult
	importApply(uint32(document), unsafe.Pointer(unsafe.SliceData(lowered)), uint32(len(lowered)), unsafe.Pointer(&result))
	return result.err()
}

func (document handle) copy() handle { return handle(importCopy(uint32(document))) }

func (document handle) toJSON() string {
	var result abiText
	importToJSON(uint32(document), unsafe.Pointer(&result))
	return result.lift()
}

func (document handle) drop() { importDrop(uint32(document)) }

func hostLog(level Level, message string) {
	importLog(uint32(level), unsafe.Pointer(unsafe.StringData(message)), uint32(len(message)))
}

func hostCount(counter string, amount uint64) {
	importCount(unsafe.Pointer(unsafe.StringData(counter)), uint32(len(counter)), amount)
}

func init() {
	// Below the gateway's cap of 64 MiB: at Go's own pace a live set of half of it would end the instance.
	debug.SetMemoryLimit(48 << 20)
	// Endless recursion ends with its name, before it ends the memory.
	debug.SetMaxStack(16 << 20)
}

// A line that the plugin prints and has not ended.
var line [1024]byte

// answered is what the running call gave: the gateway reads it after the export has returned.
var answered struct {
	configured  abiResult
	transformed abiTransformed
	outputs     []abiOutput
	headers     [][]abiHeader
	given       []Output
	text        string
}

type abiHeader struct{ name, value abiText }

type abiOptionalText struct {
	there uint8
	_     [3]byte
	text  abiText
}

func (text *abiOptionalText) lift() string {
	if text.there == 0 {
		return ""
	}
	return text.text.lift()
}

func lowerOptional(text string) abiOptionalText {
	if text == "" {
		return abiOptionalText{}
	}
	return abiOptionalText{there: 1, text: lower(text)}
}

type abiOutput struct {
	destination, topic, key abiOptionalText
	headers                 abiText
	isBytes                 uint8
	_                       [3]byte
	// A list of bytes, or a document's handle.
	body abiText
}

type abiTransformed struct {
	failed uint8
	_      [3]byte
	// A list of outputs, or which failure it is and the first half of its text.
	payload [3]uint32
}

type abiEvent struct {
	id, source, eventType abiText
	subject               abiOptionalText
	time                  abiText
	appVersion            abiOptionalText
	partner, schema       abiText
	data                  uint32
}

//go:wasmexport configure
func exportConfigure(text unsafe.Pointer, length uint32) unsafe.Pointer {
	adapterBegin(0, unsafe.Pointer(&line), uint32(len(line)))
	err := guard(func() error { return configure(abiText{address(text), length}.lift()) })
	answered.configured = abiResult{}
	if err != nil {
		answered.text = err.Error()
		answered.configured = abiResult{failed: 1, payload: lower(answered.text)}
	}
	end()
	return unsafe.Pointer(&answered.configured)
}

//go:wasmexport transform
func exportTransform(raw unsafe.Pointer) unsafe.Pointer {
	event := (*abiEvent)(raw).lift()
	var wall uint64
	if parsed, err := time.Parse(time.RFC3339Nano, event.Time); err == nil {
		wall = uint64(parsed.UnixNano())
	}
	adapterBegin(wall, unsafe.Pointer(&line), uint32(len(line)))
	err := guard(func() error {
		outputs, err := registered.Transform(event)
		if err != nil {
			return err
		}
		return lowerOutputs(outputs)
	})
	if err != nil {
		answered.text = err.Error()
		text := lower(answered.text)
		var which uint32
		if !isRejection(err) {
			which = 1
		}
		answered.transformed = abiTransformed{failed: 1, payload: [3]uint32{which, text.at, text.length}}
	}
	end()
	return unsafe.Pointer(&answered.transformed)
}

func (event *abiEvent) lift() *Event {
	return &Event{
		ID:         event.id.lift(),
		Source:     event.source.lift(),
		Type:       event.eventType.lift(),
		Subject:    event.subject.lift(),
		Time:       event.time.lift(),
		AppVersion: event.appVersion.lift(),
		Partner:    event.partner.lift(),
		Schema:     event.schema.lift(),
		Data:       newDocument(handle(event.data)),
	}
}

func lowerOutputs(outputs []Output) error {
	answered.given = outputs
	answered.outputs = make([]abiOutput, len(outputs))
	answered.headers = make([][]abiHeader, len(outputs))
	released := make([]handle, 0, len(outputs))
	for index := range outputs {
		output, target := &outputs[index], &answered.outputs[index]
		target.destination = lowerOptional(output.Destination)
		target.topic = lowerOptional(output.Topic)
		target.key = lowerOptional(output.Key)
		headers := make([]abiHeader, len(output.Headers))
		for place, header := range output.Headers {
			headers[place] = abiHeader{lower(header.Name), lower(header.Value)}
		}
		answered.headers[index] = headers
		target.headers = abiText{address(unsafe.Pointer(unsafe.SliceData(headers))), uint32(len(headers))}
		switch {
		case output.Bytes != nil:
			target.isBytes = 1
			target.body = abiText{address(unsafe.Pointer(unsafe.SliceData(output.Bytes))), uint32(len(output.Bytes))}
		case output.Body != nil:
			document, err := output.Body.release()
			if err != nil {
				for _, document := range released {
					document.drop()
				}
				return err
			}
			released = append(released, document)
			target.body.at = uint32(document)
		default:
			return errors.New("an output has a Body or Bytes")
		}
	}
	answered.transformed = abiTransformed{payload: [3]uint32{
		address(unsafe.Pointer(unsafe.SliceData(answered.outputs))), uint32(len(answered.outputs)),
	}}
	return nil
}

// guard makes an error of a panic; the stack goes to the log.
func guard(call func() error) (err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = describePanic(panicked)
			hostLog(Error, err.Error()+"\n"+string(debug.Stack()))
		}
	}()
	return call()
}

// end leaves nothing of a call behind but its answer.
func end() {
	adapterEnd()
	dropDocuments()
	clear(received)
	received = received[:0]
	clear(lent)
	lent = lent[:0]
}
