package manifolds

import "reflect"

// assign sets *out to value when the types allow it: out may point to value's
// own type or to an interface that it has.
func assign(out, value any) bool {
	target := reflect.ValueOf(out)
	if target.Kind() != reflect.Pointer || value == nil {
		return false
	}
	v := reflect.ValueOf(value)
	if !v.Type().AssignableTo(target.Elem().Type()) {
		return false
	}
	target.Elem().Set(v)
	return true
}
