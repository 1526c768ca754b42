// Package silent owns a logger that discards everything.
package silent

// Logger implements every logger interface of this module.
type Logger struct{}

// Criticalf does nothing.
func (Logger) Criticalf(string, ...any) {}

// Errorf does nothing.
func (Logger) Errorf(string, ...any) {}

// Warningf does nothing.
func (Logger) Warningf(string, ...any) {}

// Infof does nothing.
func (Logger) Infof(string, ...any) {}

// Debugf does nothing.
func (Logger) Debugf(string, ...any) {}

// Tracef does nothing.
func (Logger) Tracef(string, ...any) {}

// IsTraceEnabled returns false.
func (Logger) IsTraceEnabled() bool { return false }
