package apiserver

import (
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wire"
)

// Nothing more is read from a peer that does not read: the number of its pending
// refusals is bounded.
func TestRefusalsHaveALimit(t *testing.T) {
	nd := cluster(t, 1)[0]
	s := nd.stream(t.Context(), nd.url, connect.WithAcceptCompression("gzip", nil, nil))
	const most = 400
	sent := make(chan int, most)
	go func() {
		defer close(sent)
		id := uint64(0)
		for n := range most {
			var ops []*interrexv1.Operation
			for range wire.MaxOperations {
				id++
				ops = append(ops, &interrexv1.Operation{Id: id, Method: 9})
			}
			if err := s.conn.Send(&interrexv1.OperateRequest{Operations: ops}); err != nil {
				return
			}
			sent <- n
		}
	}()
	n := 0
	for quiet := time.After(2 * time.Second); ; {
		select {
		case _, more := <-sent:
			if !more {
				t.Fatalf("all %d messages were taken in, and none of their answers read", most)
			}
			n++
			continue
		case <-quiet:
		}
		break
	}
	t.Logf("%d messages were taken in", n)
	got := 0
	for got < n*wire.MaxOperations {
		m, err := s.conn.Receive()
		nd.must(err)
		got += len(m.GetAnswers())
	}
	_ = s.conn.CloseRequest()
}
