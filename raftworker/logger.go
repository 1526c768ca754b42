package raftworker

// Logger is what is called of a loggo.Logger.
type Logger interface {
	Tracef(format string, args ...any)
	Debugf(format string, args ...any)
	Infof(format string, args ...any)
	Warningf(format string, args ...any)
	Errorf(format string, args ...any)
	IsTraceEnabled() bool
}
