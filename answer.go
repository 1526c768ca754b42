package interrex

// Answer is the response to an operation: a value, whose type is struct{} where there is
// none, and what every write has.
type Answer[T any] struct {
	Value    T
	Replayed bool // an earlier attempt did it; nothing was done again
	Revision Revision
}
