package headworks

import (
	"errors"
	"fmt"
	"reflect"
)

// Document is a JSON document that the gateway has parsed. Paths are JSON Pointers (RFC 6901): /items/0/price; "" is
// the whole document. Changes are gathered and made together when the document is read next or given away. What is not
// touched keeps its bytes.
//
// Where a change cannot be made, none of those gathered with it is, and from then on every use of the document gives the
// same error: it cannot be read, copied or given away.
type Document struct {
	handle handle
	edits  []edit
	// Why changes could not be made. It stays: without them the document is not what the plugin takes it for.
	fault error
}

type editKind uint8

const (
	editSet editKind = iota
	editRemove
	editMove
)

type edit struct {
	kind   editKind
	from   string
	target string
	value  Value
}

var errGone = errors.New("the document was given away, or belongs to an earlier event")

// FromJSON makes a new document of JSON text.
func FromJSON(text string) (*Document, error) {
	made, err := fromJSON(text)
	if err != nil {
		return nil, err
	}
	return newDocument(made), nil
}

// From makes a new document of anything that encoding/json writes.
func From(given any) (*Document, error) {
	value, err := valueOf(given)
	if err != nil {
		return nil, err
	}
	return FromJSON(value.JSON())
}

// Get gives the values at pointers, in their order, in one call of the gateway.
func (document *Document) Get(pointers ...string) ([]Value, error) {
	if err := document.flush(); err != nil {
		return nil, err
	}
	return document.handle.getAll(pointers), nil
}

// Read fills the struct that target points to, in one call of the gateway. A field's tag `at` is its pointer. A
// pointer, as *int64, is nil where nothing or null is there; for all else that is a *DataError, which rejects the
// event.
func (document *Document) Read(target any) error {
	pointed := reflect.ValueOf(target)
	if pointed.Kind() != reflect.Pointer || pointed.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("Read takes a pointer to a struct, not %T", target)
	}
	fields := pointed.Elem()
	pointers := make([]string, 0, fields.NumField())
	indexes := make([]int, 0, fields.NumField())
	for index := range fields.NumField() {
		field := fields.Type().Field(index)
		pointer, ok := field.Tag.Lookup("at")
		if !ok || !field.IsExported() {
			return fmt.Errorf("field %s of %T needs a tag such as `at:\"/price\"`, and a capital letter", field.Name, target)
		}
		pointers = append(pointers, pointer)
		indexes = append(indexes, index)
	}
	values, err := document.Get(pointers...)
	if err != nil {
		return err
	}
	for place, value := range values {
		if err := value.into(pointers[place], fields.Field(indexes[place])); err != nil {
			return err
		}
	}
	return nil
}

// Set sets the value at a pointer to anything that encoding/json writes; missing parents are made, and "-" as the last
// token appends to an array.
func (document *Document) Set(pointer string, given any) {
	value, err := valueOf(given)
	if err != nil {
		if document.fault == nil {
			document.fault = fmt.Errorf("%s: %w", pointer, err)
		}
		return
	}
	document.edits = append(document.edits, edit{kind: editSet, target: pointer, value: value})
}

// Remove removes the value at a pointer, where one is there.
func (document *Document) Remove(pointer string) {
	document.edits = append(document.edits, edit{kind: editRemove, target: pointer})
}

// Rename moves the value at a pointer to another, where one is there.
func (document *Document) Rename(from, to string) {
	document.edits = append(document.edits, edit{kind: editMove, from: from, target: to})
}

// Copy gives a copy that is changed apart from this one.
func (document *Document) Copy() (*Document, error) {
	if err := document.flush(); err != nil {
		return nil, err
	}
	return newDocument(document.handle.copy()), nil
}

// JSON gives the document as JSON text.
func (document *Document) JSON() (string, error) {
	if err := document.flush(); err != nil {
		return "", err
	}
	return document.handle.toJSON(), nil
}

// flush makes the gathered changes. Its errors say that the plugin is at fault.
func (document *Document) flush() error {
	if document.handle == gone {
		return errGone
	}
	if document.fault != nil {
		return document.fault
	}
	if len(document.edits) == 0 {
		return nil
	}
	edits := document.edits
	document.edits = nil
	document.fault = document.handle.apply(edits)
	return document.fault
}

// release gives the handle away, with all changes made.
func (document *Document) release() (handle, error) {
	if err := document.flush(); err != nil {
		return gone, err
	}
	released := document.handle
	document.handle = gone
	return released, nil
}

// The documents of the running call: their finalizers would never run.
var live []*Document

func newDocument(made handle) *Document {
	document := &Document{handle: made}
	live = append(live, document)
	return document
}

func dropDocuments() {
	for index, document := range live {
		if document.handle != gone {
			document.handle.drop()
			document.handle = gone
		}
		live[index] = nil
	}
	live = live[:0]
}
