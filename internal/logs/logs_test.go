package logs

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/limits"
)

// What a peer has sent may be in a message.
func TestAMessageNeitherControlsTheTerminalNorForgesALine(t *testing.T) {
	const nasty = "GET /\x1b]0;mine\x07\u009b2J\u202e\x7f\x9b\n2026-01-01T00:00:00.000Z INFO    all is well"
	for _, asJSON := range []bool{false, true} {
		var out bytes.Buffer
		loggers, err := New(&out, asJSON, config.Logging{})
		if err != nil {
			t.Fatal(err)
		}
		loggers.GetLogger("interrex").Warningf("%s", nasty)
		written := out.String()
		if at := strings.IndexFunc(written, func(r rune) bool { return r != '\n' && r != '\t' && limits.IsControl(r) }); at >= 0 || strings.Contains(written, "\x9b2") {
			t.Errorf("JSON %v: a control character is written: %q", asJSON, written)
		}
		if strings.Contains(written, "\n2026") {
			t.Errorf("JSON %v: a line of its own: %q", asJSON, written)
		}
		var line struct{ Message string }
		if asJSON && (json.Unmarshal(out.Bytes(), &line) != nil || line.Message != strings.ToValidUTF8(nasty, "\ufffd")) {
			t.Errorf("its JSON is of %q", line.Message)
		}
	}
}
