// Package logs owns how an agent logs: levels, the format of lines, and the limit on
// repeated lines.
package logs

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

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/limits"
)

// New returns a new context that writes to w: text, or one JSON object per line. Its
// levels are those of l.
func New(w io.Writer, asJSON bool, l config.Logging) (*loggo.Context, error) {
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

// SetLevels sets the levels of a context to those of a configuration.
func SetLevels(loggers *loggo.Context, l config.Logging) error {
	level, ok := loggo.ParseLevel(cmp.Or(l.Level, "info"))
	if !ok {
		return fmt.Errorf("logging.level: %q is not a level", l.Level)
	}
	levels, err := loggo.ParseConfigString(l.Config)
	if err != nil {
		return fmt.Errorf("logging.config: %w", err)
	}
	loggers.ResetLoggerLevels()
	loggers.ApplyConfig(loggo.Config{"": level})
	for module, set := range levels {
		// The default of logging.config adds nothing to level.
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

// Default returns a context that writes warnings and errors to standard error.
func Default() *loggo.Context {
	loggers := loggo.NewContext(loggo.WARNING)
	// The name is new in a new context.
	_ = loggers.AddWriter("stderr", loggo.NewSimpleWriter(os.Stderr, textLine))
	return loggers
}

// textLine returns a line without control characters. Further lines of a message are
// indented, so that none is taken for a message of its own.
func textLine(e loggo.Entry) string {
	message := strings.ReplaceAll(limits.Escaped(e.Message, "\n\t"), "\n", "\n\t")
	return fmt.Sprintf("%s %-7s %s: %s", e.Timestamp.UTC().Format("2006-01-02T15:04:05.000Z"), e.Level, e.Module, message)
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
	return limits.Escaped(string(line), "")
}

// Slog returns a context that passes everything to a slog.Logger, whose handler decides
// what is shown. The module is an attribute.
func Slog(to *slog.Logger) *loggo.Context {
	loggers := loggo.NewContext(loggo.TRACE)
	_ = loggers.AddWriter("slog", slogWriter{to.Handler()})
	return loggers
}

type slogWriter struct{ to slog.Handler }

// Write passes one entry on.
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
