package change

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func FuzzStripIsCompact(f *testing.F) {
	for _, text := range []string{`[ 1 ,"a \" b\\" ,{ "\\\"" : "" } ]`, `"`, `"\`, `"\"`, "", `"` + strings.Repeat(`\"`, 100) + `"`, ` "x" "y" `} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, _ := strip(text)
		if len(got) > len(text) {
			t.Fatalf("%q is longer than %q", got, text)
		}
		if !json.Valid([]byte(text)) {
			return
		}
		var want bytes.Buffer
		if err := json.Compact(&want, []byte(text)); err != nil || got != want.String() {
			t.Errorf("%q, want %q", got, want.String())
		}
	})
}
