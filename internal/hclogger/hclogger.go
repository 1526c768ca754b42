// Package hclogger owns the logger for hashicorp's libraries, which writes to an
// agent's log at lower levels.
package hclogger

import (
	"fmt"
	"io"
	"log"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// Logger is the part of a loggo.Logger that is used.
type Logger interface {
	Tracef(format string, args ...any)
	Debugf(format string, args ...any)
	Infof(format string, args ...any)
	Warningf(format string, args ...any)
	IsTraceEnabled() bool
}

// New returns a logger for hashicorp's libraries that writes to ours. Their
// key and value pairs follow the message as key=value.
func New(name string, to Logger) hclog.Logger {
	return &logger{name: name, to: to}
}

type logger struct {
	name    string
	to      Logger
	implied []any
}

var _ hclog.Logger = (*logger)(nil)

func (l *logger) Log(level hclog.Level, msg string, args ...any) {
	switch level {
	case hclog.Trace:
		l.Trace(msg, args...)
	case hclog.Info:
		l.Info(msg, args...)
	case hclog.Warn:
		l.Warn(msg, args...)
	case hclog.Error:
		l.Error(msg, args...)
	default:
		l.Debug(msg, args...)
	}
}

// Every message is logged one level lower: what makes raft useless here ends the
// worker, which is logged as an error. An error of a peer is logged at debug level:
// it is repeated several times a second while the peer is unreachable, for which
// there is an alarm. Info is of no interest to an operator, and debug is too much.
func (l *logger) Trace(msg string, args ...any) {
	if l.to.IsTraceEnabled() {
		l.to.Tracef("%s", l.line(msg, args))
	}
}
func (l *logger) Debug(msg string, args ...any) { l.Trace(msg, args...) }
func (l *logger) Info(msg string, args ...any)  { l.to.Debugf("%s", l.line(msg, args)) }
func (l *logger) Warn(msg string, args ...any) {
	if l.ofPeer(args) {
		l.Info(msg, args...)
		return
	}
	l.to.Infof("%s", l.line(msg, args))
}
func (l *logger) Error(msg string, args ...any) {
	if l.ofPeer(args) {
		l.Info(msg, args...)
		return
	}
	l.to.Warningf("%s", l.line(msg, args))
}

// Transport names the logger of the streams between peers.
const Transport = "transport"

// ofPeer reports whether a line is about a peer.
func (l *logger) ofPeer(args []any) bool {
	return l.name == Transport || slices.ContainsFunc(args, func(key any) bool { return key == "peer" || key == "target" || key == "server-id" })
}

func (l *logger) IsTrace() bool { return l.to.IsTraceEnabled() }
func (l *logger) IsDebug() bool { return l.to.IsTraceEnabled() }
func (l *logger) IsInfo() bool  { return true }
func (l *logger) IsWarn() bool  { return true }
func (l *logger) IsError() bool { return true }

func (l *logger) ImpliedArgs() []any { return l.implied }
func (l *logger) Name() string       { return l.name }

func (l *logger) With(args ...any) hclog.Logger {
	return &logger{name: l.name, to: l.to, implied: append(l.implied[:len(l.implied):len(l.implied)], args...)}
}

func (l *logger) Named(name string) hclog.Logger {
	if l.name != "" {
		name = l.name + "." + name
	}
	return l.ResetNamed(name)
}

func (l *logger) ResetNamed(name string) hclog.Logger {
	return &logger{name: name, to: l.to, implied: l.implied}
}

// SetLevel does nothing: the level is that of the underlying logger.
func (l *logger) SetLevel(hclog.Level)  {}
func (l *logger) GetLevel() hclog.Level { return hclog.NoLevel }

func (l *logger) StandardLogger(o *hclog.StandardLoggerOptions) *log.Logger {
	return log.New(l.StandardWriter(o), "", 0)
}

func (l *logger) StandardWriter(*hclog.StandardLoggerOptions) io.Writer { return lineWriter{l} }

type lineWriter struct{ to *logger }

func (w lineWriter) Write(p []byte) (int, error) {
	w.to.Info(strings.TrimRight(string(p), "\n"))
	return len(p), nil
}

func (l *logger) line(msg string, args []any) string {
	var b strings.Builder
	if l.name != "" {
		b.WriteString(l.name + ": ")
	}
	b.WriteString(msg)
	pairs := append(l.implied[:len(l.implied):len(l.implied)], args...)
	for i := 0; i+1 < len(pairs); i += 2 {
		fmt.Fprintf(&b, " %v=%v", pairs[i], readable(pairs[i+1]))
	}
	return b.String()
}

// readable formats a value as hclog would: Fmt is a format and its arguments.
func readable(v any) any {
	f, ok := v.(hclog.Format)
	if !ok || len(f) == 0 {
		return v
	}
	format, ok := f[0].(string)
	if !ok {
		return v
	}
	return fmt.Sprintf(format, f[1:]...)
}
