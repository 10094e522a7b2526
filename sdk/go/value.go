package headworks

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
)

type kind uint8

const (
	kindNull kind = iota
	kindBoolean
	kindInteger
	kindNumber
	kindText
	kindJSON
)

// Value is what stands at a pointer: nothing, or a JSON value.
type Value struct {
	there   bool
	kind    kind
	boolean bool
	integer int64
	number  float64
	// Text, or JSON text.
	text string
}

// There tells whether anything stands there; null is something.
func (value Value) There() bool { return value.there }

// IsNull tells whether null, or nothing, stands there.
func (value Value) IsNull() bool { return !value.there || value.kind == kindNull }

// Text gives a text.
func (value Value) Text() (string, bool) {
	return value.text, value.there && value.kind == kindText
}

// Integer gives an integer.
func (value Value) Integer() (int64, bool) {
	return value.integer, value.there && value.kind == kindInteger
}

// Number gives a number; an integer is one.
func (value Value) Number() (float64, bool) {
	switch {
	case !value.there:
		return 0, false
	case value.kind == kindInteger:
		return float64(value.integer), true
	default:
		return value.number, value.kind == kindNumber
	}
}

// Boolean gives true or false.
func (value Value) Boolean() (bool, bool) {
	return value.boolean, value.there && value.kind == kindBoolean
}

// JSON gives the value as JSON text; "null" where nothing is there.
func (value Value) JSON() string {
	if value.there {
		switch value.kind {
		case kindJSON:
			return value.text
		case kindBoolean:
			return fmt.Sprint(value.boolean)
		case kindInteger:
			return fmt.Sprint(value.integer)
		case kindNumber, kindText:
			var scalar any = value.text
			if value.kind == kindNumber {
				scalar = value.number
			}
			text, _ := json.Marshal(scalar)
			return string(text)
		}
	}
	return "null"
}

func (value Value) describe() string {
	switch {
	case !value.there:
		return "nothing is there"
	case value.kind == kindNull:
		return "is null"
	case value.kind == kindBoolean:
		return "is true or false"
	case value.kind == kindInteger, value.kind == kindNumber:
		return "is a number"
	case value.kind == kindText:
		return "is text"
	default:
		return "is an array, an object or a number of its own size"
	}
}

// into stores the value in what target points to.
func (value Value) into(pointer string, target reflect.Value) error {
	if target.Kind() == reflect.Pointer {
		if value.IsNull() {
			target.SetZero()
			return nil
		}
		target.Set(reflect.New(target.Type().Elem()))
		return value.into(pointer, target.Elem())
	}
	if direct, ok := target.Addr().Interface().(*Value); ok {
		*direct = value
		return nil
	}
	mismatch := func(wanted string) error {
		reason := value.describe()
		if value.there {
			reason += ", not " + wanted
		}
		return &DataError{pointer, reason}
	}
	if value.IsNull() {
		return mismatch(target.Type().String())
	}
	switch target.Kind() {
	case reflect.String:
		text, ok := value.Text()
		if !ok {
			return mismatch("text")
		}
		target.SetString(text)
	case reflect.Bool:
		boolean, ok := value.Boolean()
		if !ok {
			return mismatch("true or false")
		}
		target.SetBool(boolean)
	case reflect.Float32, reflect.Float64:
		number, ok := value.Number()
		if !ok {
			return mismatch("a number")
		}
		target.SetFloat(number)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		integer, ok := value.Integer()
		if !ok || target.OverflowInt(integer) {
			return mismatch("an " + target.Type().String())
		}
		target.SetInt(integer)
	default:
		if err := json.Unmarshal([]byte(value.JSON()), target.Addr().Interface()); err != nil {
			return &DataError{pointer, err.Error()}
		}
	}
	return nil
}

// valueOf makes a JSON value of anything that encoding/json writes.
func valueOf(given any) (Value, error) {
	switch given := given.(type) {
	case nil:
		return Value{there: true}, nil
	case Value:
		given.there = true
		return given, nil
	case bool:
		return Value{there: true, kind: kindBoolean, boolean: given}, nil
	case string:
		return Value{there: true, kind: kindText, text: given}, nil
	case int:
		return Value{there: true, kind: kindInteger, integer: int64(given)}, nil
	case int64:
		return Value{there: true, kind: kindInteger, integer: given}, nil
	case float64:
		if math.IsNaN(given) || math.IsInf(given, 0) {
			return Value{}, fmt.Errorf("%v is no JSON value", given)
		}
		return Value{there: true, kind: kindNumber, number: given}, nil
	default:
		text, err := json.Marshal(given)
		if err != nil {
			return Value{}, err
		}
		return Value{there: true, kind: kindJSON, text: string(text)}, nil
	}
}
