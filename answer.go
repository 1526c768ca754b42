package interrex

// Answer is the response to an operation whose value is of type T.
type Answer[T any] struct {
	Value    T
	Replayed bool // an earlier attempt did it; nothing was done again
	Revision Revision
}
