package inbound

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/juju/clock"
)

// notes keeps warnings.
type notes struct{ lines []string }

func (n *notes) Debugf(string, ...any) {}
func (n *notes) Warningf(format string, args ...any) {
	n.lines = append(n.lines, fmt.Sprintf(format, args...))
}

func TestWhatPassesByItselfIsNoWarning(t *testing.T) {
	log := &notes{}
	r := Refusals{Clock: clock.WallClock, Logger: log}
	for _, reason := range []error{ErrNotNow, io.EOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE} {
		r.Note("b", fmt.Errorf("in the midst: %w", reason), "refused")
	}
	if len(log.lines) > 0 {
		t.Errorf("it warns: %q", log.lines)
	}
	r.Note("b", errors.New("a stranger"), "refused")
	if len(log.lines) != 1 {
		t.Errorf("of a stranger it warns %d times", len(log.lines))
	}
}

func TestWhatAStrangerWritesIsOneShortLine(t *testing.T) {
	log := &notes{}
	r := Refusals{Clock: clock.WallClock, Logger: log}
	r.Note("b", errors.New("one\nWARNING two\x1b[2J"+strings.Repeat("x", 10*MaxReason)), "refused %s", strings.Repeat("y", 10*MaxReason))
	line := log.lines[0]
	if strings.ContainsAny(line, "\n\x1b") || !strings.Contains(line, "one WARNING two") || len(line) > 3*MaxReason {
		t.Errorf("%d bytes: %.80q", len(line), line)
	}
	for who, logged := range r.logged {
		if len(who)+len(strings.Join(logged.reasons, "")) > 3*MaxReason {
			t.Error("all of it is remembered")
		}
	}
}
