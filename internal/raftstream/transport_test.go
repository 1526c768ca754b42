package raftstream

import (
	"errors"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"
	"go.uber.org/goleak"

	"github.com/interrex/interrex/internal/inbound"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lives is a memory of one other agent.
type lives struct{ now string }

func (l *lives) Life(string) string { return l.now }
func (l *lives) HearRequest(any)    {}
func (l *lives) HearAnswer(_, life string, _, _ any) error {
	if life != l.now {
		return inbound.ErrEarlierLife
	}
	return nil
}

// unruly are no rules.
type unruly struct{}

func (unruly) MaySend(any) error             { return nil }
func (unruly) Answer(any) (any, error, bool) { return nil, nil, false }
func (unruly) Handing(any) func()            { return nil }

// An answer that comes when another life of raft has begun at the other agent was
// for the one before.
func TestAnAnswerAcrossTwoLivesDoesNotCount(t *testing.T) {
	l := &lives{now: "1"}
	r := New(Config{ID: "a", Incoming: inbound.NewInlet(inbound.IDAddr("a")), Clock: clock.WallClock, Rules: unruly{}, Memory: l})
	defer r.Close()
	if r.streams != nil {
		t.Error("an agent alone has streams")
	}
	request, answer := &raft.TimeoutNowRequest{}, &raft.TimeoutNowResponse{}
	if _, err := r.sameLife("b", request, answer, func() error { return nil }); err != nil {
		t.Errorf("within one life: %v", err)
	}
	_, err := r.sameLife("b", request, answer, func() error { l.now = "2"; return nil })
	if !errors.Is(err, inbound.ErrEarlierLife) {
		t.Errorf("across two: %v", err)
	}
}

func TestASnapshotThatIsCutShortIsNotTaken(t *testing.T) {
	req := &raft.InstallSnapshotRequest{Term: 4, Size: 10}
	for _, sent := range []int{9, 10} {
		answer := make(chan raft.RPCResponse, 1)
		drain(raft.RPC{Command: req, Reader: strings.NewReader(strings.Repeat("x", sent)), RespChan: answer}, &raft.InstallSnapshotResponse{Success: true}, nil)
		if a := <-answer; (a.Error == nil) != (sent == 10) {
			t.Errorf("of %d bytes of 10: %v", sent, a.Error)
		}
	}
}
