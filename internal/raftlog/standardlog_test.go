package raftlog

import (
	"log"
	"os"
	"testing"
)

func TestTheStandardLoggerStaysTheProgramsOwn(t *testing.T) {
	if log.Writer() != os.Stderr || log.Flags() != log.LstdFlags {
		t.Errorf("the standard logger writes to %T with the flags %d", log.Writer(), log.Flags())
	}
}
