package watch_test

import (
	"runtime"
	"testing"

	"github.com/interrex/interrex/internal/watch"
)

// A watcher is a position, and runs on its reader's goroutine: what costs one
// goroutine each runs away under load.
func TestAWatcherHasNoGoroutine(t *testing.T) {
	r := watch.New(watch.Config{})
	defer r.Close()
	before := runtime.NumGoroutine()
	var last *watch.Watcher
	for range 1000 {
		last = open(t, r, 0, nil)
	}
	publish(r, 1, 10)
	read(t, last, 1, 10)
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("1 000 watchers run %d goroutines", after-before)
	}
}
