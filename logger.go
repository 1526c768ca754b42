package interrex

// Logger is what agents and clients log to. A loggo.Logger is one. Its methods
// are called from several goroutines.
type Logger interface {
	// Criticalf logs what ends a part of an agent for good.
	Criticalf(format string, args ...any)
	// Errorf logs what somebody has to mend.
	Errorf(format string, args ...any)
	// Warningf logs what may become an error, or has passed by itself.
	Warningf(format string, args ...any)
	// Infof logs what happens seldom.
	Infof(format string, args ...any)
	// Debugf logs what is of use only in the search for a fault.
	Debugf(format string, args ...any)
}
