package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/limits"
)

// What an older log has may control a terminal, or be what YAML does not allow.
func TestControlCharactersAreEscapedInEveryForm(t *testing.T) {
	const nasty = "a\x1b[31mb\x7f\u0085\u202ec\td\ne"
	held := &interrexv1.Lease{Key: "default/a", Holder: nasty, Metadata: map[string]string{"k": nasty}}
	for _, form := range []string{"json", "yaml", "table"} {
		var out, messages bytes.Buffer
		a := &app{out: &out, messages: &messages, output: form}
		if err := a.print(held, table{header: []string{"HOLDER"}, rows: [][]string{{nasty, "x"}}}); err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		a.say("held by %s", nasty)
		names := &app{out: &messages, output: "name"}
		if err := names.print(held, table{}, nasty); err != nil {
			t.Fatal(err)
		}
		if err := names.printEvent(held, nasty); err != nil {
			t.Fatal(err)
		}
		for _, printed := range []string{out.String(), messages.String()} {
			if at := strings.IndexFunc(printed, func(r rune) bool { return r != '\n' && r != '\t' && limits.IsControl(r) }); at >= 0 {
				t.Errorf("%s: a control character is printed: %q", form, printed)
			}
		}
		var back struct{ Holder string }
		switch form {
		case "json":
			if err := json.Unmarshal(out.Bytes(), &back); err != nil || back.Holder != nasty {
				t.Errorf("json: got %q, %v", back.Holder, err)
			}
		case "yaml":
			if err := yaml.Unmarshal(out.Bytes(), &back); err != nil || back.Holder != nasty {
				t.Errorf("yaml: got %q, %v from %s", back.Holder, err, &out)
			}
		default:
			if want := "HOLDER\na\\u001b[31mb\\u007f\\u0085\\u202ec\\u0009d\\u000ae  x\n"; out.String() != want {
				t.Errorf("got %q instead of %q", out.String(), want)
			}
		}
	}
}
