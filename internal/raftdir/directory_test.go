package raftdir

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestADirectoryThatIsNotOursIsRefused(t *testing.T) {
	for name, c := range map[string]struct{ file, content, says string }{
		"of another program": {"raft.db", "bolt", "holds raft.db but no VERSION file, so it is not interrex's"},
		"of a newer version": {"VERSION", "interrex raft directory, version 3\n", "it is of version 3, and this interrex reads at most version 2"},
		"of an older one":    {"VERSION", "interrex raft directory, version 1\n", "it is of version 1, and this interrex reads only version 2"},
		"with a strange one": {"VERSION", "8.1", "its VERSION file is not interrex's"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, c.file), []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		before := Usable(dir)
		_, err := Open(dir, Config{})
		if before == nil || err == nil || before.Error() != err.Error() {
			t.Errorf("%s: it said %v, and then %v", name, before, err)
		}
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if left, _ := os.ReadDir(dir); len(left) != 1 {
			t.Errorf("%s: it was written into: %v", name, left)
		}
	}
}
