package gate

// Flag is a condition that others depend on, such as leadership or a held
// lease. A worker offers one whose answer is constant for its own life: when
// the condition changes, that worker ends, and so do those who depend on it.
type Flag interface {
	// Check reports whether the condition holds. It never blocks.
	Check() bool
}
