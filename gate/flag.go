package gate

// Flag is a condition that others depend on, such as leadership or a held lease.
// A worker offers one whose value is constant for its own lifetime: when the
// condition changes, that worker ends, and so do its dependents.
type Flag interface {
	// Check reports whether the condition holds. It never blocks.
	Check() bool
}
