package wire

import (
	"runtime"
	"strings"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
)

// What is refused costs no more than its bytes.
func TestTooManyOperationsCostNothing(t *testing.T) {
	for _, m := range []any{&interrexv1.OperateRequest{}, &interrexv1.StreamServiceWatchRequest{}} {
		data := []byte(strings.Repeat("\x0a\x00", 2<<20))
		if _, is := m.(*interrexv1.StreamServiceWatchRequest); is {
			data = []byte(strings.Repeat("\x12\x00", 2<<20))
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := StreamCodec{}.Unmarshal(data, m)
		runtime.ReadMemStats(&after)
		if interrex.KindOf(err) != interrex.KindTooLarge {
			t.Errorf("%T: got %v", m, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 16<<20 {
			t.Errorf("%T: %d MiB were taken for a message of 4", m, n>>20)
		}
	}
}
