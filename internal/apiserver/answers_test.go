package apiserver

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wire"
)

// Large answers are sent in several messages.
func TestAnswersHaveALimitOfBytes(t *testing.T) {
	nd := cluster(t, 1)[0]
	for i := range 128 {
		c := op(0, interrexv1.LeaseServiceClaimProcedure, &interrexv1.ClaimRequest{Key: fmt.Sprintf("large/%d", i), Holder: "h", Metadata: map[string]string{"m": strings.Repeat("x", 4000)}})
		_, err := nd.call(t.Context(), c)
		nd.must(err)
	}
	s := nd.stream(t.Context(), nd.url)
	var ops []*interrexv1.Operation
	const n = 64
	for id := range uint64(n) {
		ops = append(ops, op(id+1, interrexv1.LeaseServiceListProcedure, &interrexv1.ListRequest{}))
	}
	s.send(ops...)
	for got := 0; got < n; {
		m, err := s.conn.Receive()
		nd.must(err)
		got += len(m.GetAnswers())
		if size := proto.Size(m); size > wire.MaxMessage {
			t.Errorf("a message of %d bytes with %d answers", size, len(m.GetAnswers()))
		}
	}
}
