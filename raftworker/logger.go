package raftworker

import (
	"fmt"
	"io"
	"log"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/interrex/interrex"
)

// Logger is an interrex.Logger that takes what hashicorp/raft traces, too. A
// loggo.Logger is one.
type Logger interface {
	interrex.Logger
	Tracef(format string, args ...any)
	IsTraceEnabled() bool
}

// NewHCLogger returns a logger for hashicorp's libraries that writes to ours. Their
// key and value pairs follow the message as key=value.
func NewHCLogger(name string, to Logger) hclog.Logger {
	return &hcLogger{name: name, to: to}
}

type hcLogger struct {
	name    string
	to      Logger
	implied []any
}

var _ hclog.Logger = (*hcLogger)(nil)

func (l *hcLogger) Log(level hclog.Level, msg string, args ...any) {
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

// Everything goes one level down, since what makes raft useless here ends the
// worker, and that is logged as the error it is. An error of a peer goes to debug:
// it is repeated several times a second as long as the peer is away, which is an
// alarm.
// Their info is no news to an operator, and their debug is far too much for ours.
func (l *hcLogger) Trace(msg string, args ...any) {
	if l.to.IsTraceEnabled() {
		l.to.Tracef("%s", l.line(msg, args))
	}
}
func (l *hcLogger) Debug(msg string, args ...any) { l.Trace(msg, args...) }
func (l *hcLogger) Info(msg string, args ...any)  { l.to.Debugf("%s", l.line(msg, args)) }
func (l *hcLogger) Warn(msg string, args ...any) {
	if l.ofPeer(args) {
		l.Info(msg, args...)
		return
	}
	l.to.Infof("%s", l.line(msg, args))
}
func (l *hcLogger) Error(msg string, args ...any) {
	if l.ofPeer(args) {
		l.Info(msg, args...)
		return
	}
	l.to.Warningf("%s", l.line(msg, args))
}

// transportLogger names the logger of the streams between peers.
const transportLogger = "transport"

// ofPeer reports whether a line is about what a peer does, or does not.
func (l *hcLogger) ofPeer(args []any) bool {
	return l.name == transportLogger || slices.ContainsFunc(args, func(key any) bool { return key == "peer" || key == "target" || key == "server-id" })
}

func (l *hcLogger) IsTrace() bool { return l.to.IsTraceEnabled() }
func (l *hcLogger) IsDebug() bool { return l.to.IsTraceEnabled() }
func (l *hcLogger) IsInfo() bool  { return true }
func (l *hcLogger) IsWarn() bool  { return true }
func (l *hcLogger) IsError() bool { return true }

func (l *hcLogger) ImpliedArgs() []any { return l.implied }
func (l *hcLogger) Name() string       { return l.name }

func (l *hcLogger) With(args ...any) hclog.Logger {
	return &hcLogger{name: l.name, to: l.to, implied: append(l.implied[:len(l.implied):len(l.implied)], args...)}
}

func (l *hcLogger) Named(name string) hclog.Logger {
	if l.name != "" {
		name = l.name + "." + name
	}
	return l.ResetNamed(name)
}

func (l *hcLogger) ResetNamed(name string) hclog.Logger {
	return &hcLogger{name: name, to: l.to, implied: l.implied}
}

// SetLevel does nothing: the level is the one of the logger below.
func (l *hcLogger) SetLevel(hclog.Level)  {}
func (l *hcLogger) GetLevel() hclog.Level { return hclog.NoLevel }

func (l *hcLogger) StandardLogger(o *hclog.StandardLoggerOptions) *log.Logger {
	return log.New(l.StandardWriter(o), "", 0)
}

func (l *hcLogger) StandardWriter(*hclog.StandardLoggerOptions) io.Writer { return lineWriter{l} }

type lineWriter struct{ to *hcLogger }

func (w lineWriter) Write(p []byte) (int, error) {
	w.to.Info(strings.TrimRight(string(p), "\n"))
	return len(p), nil
}

func (l *hcLogger) line(msg string, args []any) string {
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

// readable shows a value as hclog would: Fmt is a format and its arguments.
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
