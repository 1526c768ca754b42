package raftlog

import (
	"testing"

	"github.com/hashicorp/raft-wal/types"
)

func TestAnEntryIsOfItsIndex(t *testing.T) {
	e := Seal(types.LogEntry{Index: 5, Data: []byte("entry")})
	for index, want := range map[uint64]bool{4: false, 5: true, 6: false} {
		if _, ok := Unseal(index, e.Data); ok != want {
			t.Errorf("as entry %d: %v", index, ok)
		}
	}
}
