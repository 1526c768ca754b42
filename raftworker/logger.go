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

type discard struct{}

func (discard) Tracef(string, ...any)   {}
func (discard) Debugf(string, ...any)   {}
func (discard) Infof(string, ...any)    {}
func (discard) Warningf(string, ...any) {}
func (discard) Errorf(string, ...any)   {}
func (discard) IsTraceEnabled() bool    { return false }
