package raftlog

import (
	"fmt"
	"log"
	"os"
)

// raft-wal links coreos/pkg/capnslog, which takes over the standard logger of every
// program that imports it. This gives the logger back to programs that embed an
// agent, as it was before anyone has configured it.
func init() {
	if fmt.Sprintf("%T", log.Writer()) == "capnslog.packageWriter" {
		log.SetOutput(os.Stderr)
		log.SetFlags(log.LstdFlags)
	}
}
