package unit

import (
	"fmt"
	"reflect"
)

// Assign sets *out to value when the types allow it: out may point to value's
// own type or to an interface that it has.
func Assign(out, value any) bool {
	target := reflect.ValueOf(out)
	if target.Kind() != reflect.Pointer || target.IsNil() || value == nil {
		return false
	}
	v := reflect.ValueOf(value)
	if !v.Type().AssignableTo(target.Elem().Type()) {
		return false
	}
	target.Elem().Set(v)
	return true
}

// wanted is the type of what out points to.
func wanted(out any) string {
	if t := reflect.TypeOf(out); t != nil && t.Kind() == reflect.Pointer {
		return t.Elem().String()
	}
	return fmt.Sprintf("%T, which is no pointer", out)
}
