package interrex

// Logger is what agents and clients log to. A loggo.Logger is one. Its methods
// are called from several goroutines.
type Logger interface {
	// Criticalf logs that a part of an agent has stopped permanently.
	Criticalf(format string, args ...any)
	// Errorf logs what an operator must fix.
	Errorf(format string, args ...any)
	// Warningf logs what may become an error, or has recovered by itself.
	Warningf(format string, args ...any)
	// Infof logs what happens rarely.
	Infof(format string, args ...any)
	// Debugf logs what is useful only for debugging.
	Debugf(format string, args ...any)
}
