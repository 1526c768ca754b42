// Package golden owns the comparison of encodings with files, in the tests of tables.
package golden

import (
	"encoding/hex"
	"flag"
	"os"
	"testing"
)

// update is a flag of the test binaries of tables.
var update = flag.Bool("update", false, "write the golden files; that is a new version of the encoding")

// Check compares an encoding with testdata/golden/NAME.hex.
func Check(t *testing.T, name string, got []byte) {
	t.Helper()
	path := "testdata/golden/" + name + ".hex"
	text := hex.Dump(got)
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || string(want) != text {
		t.Errorf("%s is (%v)\n%s, and the encoding now\n%s", path, err, want, text)
	}
}
