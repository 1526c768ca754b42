package assembly

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/interrex/interrex/internal/accesstoken"
)

func TestTheTokenOfAnAgentWithoutRaftIsThatOfTheFileConfiguredNow(t *testing.T) {
	dir, path := t.TempDir(), ""
	c := &configuredToken{path: func() string { return path }}
	for _, name := range []string{"", "one", "two", "one", ""} {
		path = ""
		want := ""
		if name != "" {
			path, want = filepath.Join(dir, name), accesstoken.New().String()
			if err := os.WriteFile(path, []byte(want+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := c.token(); got != want || err != nil {
			t.Errorf("with the file %q the token is %q, not %q (%v)", path, got, want, err)
		}
	}
	path = filepath.Join(dir, "none")
	if got, err := c.token(); got != "" || err == nil {
		t.Errorf("without its file the token is %q (%v)", got, err)
	}
}
