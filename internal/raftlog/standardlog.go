package raftlog

import (
	"fmt"
	"log"
	"os"
)

// raft-wal links coreos/pkg/capnslog, which takes over the standard logger of every
// program that imports it. This gives the logger back to programs that embed an
// agent, as it was before anyone has configured it. Only an init runs after capnslog's
// and before the program's main, which may configure the logger: a later call would
// undo that.
func init() {
	if fmt.Sprintf("%T", log.Writer()) == "capnslog.packageWriter" {
		log.SetOutput(os.Stderr)
		log.SetFlags(log.LstdFlags)
	}
}
