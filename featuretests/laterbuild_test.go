package featuretests

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
)

// edit is one change of a source file for a later build.
type edit struct{ file, before, after string }

// The versions of a later release.
var (
	laterEntries = machine.EntryVersion + 1
	laterLeases  = lease.New().Version() + 1
)

// laterEdits are what a later release may do: it writes log entries of the next version,
// and operations of the state itself that need them; it has the next version of a table,
// whose former snapshots it reads, and a command that older builds do not know.
var laterEdits = []edit{
	{"internal/machine/entry.go", fmt.Sprintf("EntryVersion = %d", machine.EntryVersion), fmt.Sprintf("EntryVersion = %d", laterEntries)},
	{"internal/machine/stage.go", "sinceFiles = 4", fmt.Sprintf("sinceFiles = %d", laterEntries)},
	{"internal/lease/table.go", fmt.Sprintf("Version() uint16 { return %d }", laterLeases-1), fmt.Sprintf("Version() uint16 { return %d }", laterLeases)},
	{"internal/lease/restore.go", "if version != t.Version() {", "if version != t.Version() && version != t.Version()-1 {"},
	{"internal/lease/command.go", "\topUnpin\n)", "\topUnpin\n\topLaterPin\n)"},
	{"internal/lease/command.go", "\topUnpin:    func()", "\topLaterPin: func() command { return new(Pin) },\n\topUnpin:    func()"},
	{"internal/lease/pin.go", "append(b, opPin)", "append(b, opLaterPin)"},
	{"internal/lease/pin.go", `About{Name: "pin", Key: c.Key}`, `About{Name: "pin", Key: c.Key, Since: ` + fmt.Sprint(laterLeases) + `}`},
}

// laterBinary builds interrex as a later release might be, from the same sources.
var laterBinary = sync.OnceValues(func() (string, error) { return buildLater(laterEdits) })

func buildLater(edits []edit) (string, error) {
	dir, err := os.MkdirTemp(scratch, "later-")
	if err != nil {
		return "", err
	}
	overlay, err := overlayOf(dir, edits)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "interrex")
	out, err := exec.Command("go", "build", "-overlay", overlay, "-o", path, "../cmd/interrex").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("cannot build the later interrex: %w\n%s", err, out)
	}
	return path, nil
}

// overlayOf writes the changed files, and the list by which go takes them in place of the
// sources.
func overlayOf(dir string, edits []edit) (string, error) {
	texts, list := map[string]string{}, struct{ Replace map[string]string }{map[string]string{}}
	for i, e := range edits {
		source, err := filepath.Abs(filepath.Join("..", e.file))
		if err != nil {
			return "", err
		}
		if texts[source] == "" {
			text, err := os.ReadFile(source)
			if err != nil {
				return "", err
			}
			texts[source] = string(text)
			list.Replace[source] = filepath.Join(dir, fmt.Sprintf("%d.go", i))
		}
		if strings.Count(texts[source], e.before) != 1 {
			return "", fmt.Errorf("%s does not have %q once: change what the later build changes", e.file, e.before)
		}
		texts[source] = strings.Replace(texts[source], e.before, e.after, 1)
		if err := os.WriteFile(list.Replace[source], []byte(texts[source]), 0o600); err != nil {
			return "", err
		}
	}
	text, err := json.Marshal(list)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, text, 0o600)
}
