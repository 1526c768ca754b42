package main

import (
	"testing"
)

func TestEachStartCounts(t *testing.T) {
	dir := t.TempDir()
	for want := range uint64(2) {
		if got, err := count(t.Context(), dir); err != nil || got != want+1 {
			t.Errorf("start %d counts as %d, %v", want+1, got, err)
		}
	}
}
