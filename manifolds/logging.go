package manifolds

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/juju/loggo"
	"github.com/juju/worker/v3"

	"github.com/interrex/interrex/config"
)

// NewLoggers makes a context of its own that writes to w: text, or one JSON
// object a line. Levels are those of l.
func NewLoggers(w io.Writer, asJSON bool, l config.Logging) (*loggo.Context, error) {
	loggers := loggo.NewContext(loggo.INFO)
	writer := loggo.Writer(loggo.NewSimpleWriter(w, textLine))
	if asJSON {
		writer = loggo.NewSimpleWriter(w, jsonLine)
	}
	if err := loggers.AddWriter("out", writer); err != nil {
		return nil, fmt.Errorf("cannot log: %w", err)
	}
	return loggers, SetLevels(loggers, l)
}

// SetLevels sets the levels of a context from a configuration.
func SetLevels(loggers *loggo.Context, l config.Logging) error {
	level, ok := loggo.ParseLevel(cmp.Or(l.Level, "info"))
	if !ok {
		return fmt.Errorf("logging.level: %q is no level", l.Level)
	}
	levels, err := loggo.ParseConfigString(l.Config)
	if err != nil {
		return fmt.Errorf("logging.config: %w", err)
	}
	loggers.ResetLoggerLevels()
	loggers.ApplyConfig(loggo.Config{"": level})
	for module, set := range levels {
		// The default of logging.config says nothing that level has not said.
		if module == "" && set == loggo.INFO {
			continue
		}
		if module != "" && !strings.HasPrefix(module, "interrex") {
			module = "interrex." + module
		}
		loggers.ApplyConfig(loggo.Config{module: set})
	}
	return nil
}

func defaultLoggers() *loggo.Context {
	loggers := loggo.NewContext(loggo.WARNING)
	// The name is new in a new context.
	_ = loggers.AddWriter("stderr", loggo.NewSimpleWriter(os.Stderr, textLine))
	return loggers
}

func textLine(e loggo.Entry) string {
	return fmt.Sprintf("%s %-7s %s: %s", e.Timestamp.UTC().Format("2006-01-02T15:04:05.000Z"), e.Level, e.Module, e.Message)
}

func jsonLine(e loggo.Entry) string {
	line, err := json.Marshal(struct {
		Time    time.Time `json:"time"`
		Level   string    `json:"level"`
		Module  string    `json:"module"`
		Message string    `json:"message"`
	}{e.Timestamp.UTC(), e.Level.String(), e.Module, e.Message})
	if err != nil {
		return textLine(e)
	}
	return string(line)
}

// Slog makes a context that hands everything to a slog.Logger, whose handler
// decides what is shown. The module is an attribute.
func Slog(to *slog.Logger) *loggo.Context {
	loggers := loggo.NewContext(loggo.TRACE)
	_ = loggers.AddWriter("slog", slogWriter{to.Handler()})
	return loggers
}

type slogWriter struct{ to slog.Handler }

// Write hands one entry on.
func (w slogWriter) Write(e loggo.Entry) {
	level := slogLevel(e.Level)
	if !w.to.Enabled(context.Background(), level) {
		return
	}
	r := slog.NewRecord(e.Timestamp, level, e.Message, 0)
	r.AddAttrs(slog.String("module", e.Module))
	// A log that cannot be written has nowhere to be reported.
	_ = w.to.Handle(context.Background(), r)
}

func slogLevel(l loggo.Level) slog.Level {
	switch l {
	case loggo.CRITICAL, loggo.ERROR:
		return slog.LevelError
	case loggo.WARNING:
		return slog.LevelWarn
	case loggo.INFO:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

// startLogging takes up changed levels while everything goes on.
func (s *Set) startLogging(u *unit) (worker.Worker, error) {
	before, changed := s.Configuration.Current()
	u.follow(changed, func() <-chan struct{} {
		now, next := s.Configuration.Current()
		if now.Logging != before.Logging {
			if err := SetLevels(s.loggers, now.Logging); err != nil {
				s.logger("logging").Errorf("%v", err)
			}
		}
		before = now
		return next
	})
	return nil, nil
}
