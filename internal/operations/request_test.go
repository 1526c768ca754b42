package operations

import (
	"testing"
)

func TestWhoHasGoneIsTakenBackOnceFromWhereverItIs(t *testing.T) {
	r := &request{stop: make(chan struct{})}
	taken := ""
	r.onCancel(r.another(), func() { taken += "a" })
	r.cancel()
	r.cancel()
	if taken != "a" || !r.isGone() {
		t.Errorf("taken back: %q, gone: %v", taken, r.isGone())
	}
	<-r.stop
	r.onCancel(r.another(), func() { taken += "b" }) // it had been on its way there
	if taken != "ab" {
		t.Errorf("taken back: %q", taken)
	}
	read := &request{}
	read.cancel()
	if !read.isGone() {
		t.Error("a read cannot be taken back")
	}
}
