package services

import (
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/fsm"
	"github.com/interrex/interrex/state"
)

func TestAnAppendThatReadersCannotBeShownIsRefused(t *testing.T) {
	for _, text := range []string{`1e999`, `"\ud800"`, `{"a":1,"a":2}`, `[{"a":{"b":1,"b":1}}]`} {
		_, err := appendChange(&interrexv1.ChangeServiceAppendRequest{Json: text})
		if interrex.KindOf(err) != interrex.ErrInvalid {
			t.Errorf("%s: %v, want it refused as invalid", text, err)
		}
		// A change that entered the log in another way does not hide others.
		m, err := Changes{}.message(&state.Event{Revision: 1, Kind: interrex.UserChange, Value: &change.User{Data: text}}, nil)
		if err != nil || m.GetData() == nil {
			t.Errorf("%s: shown as %v, %v, want null", text, m, err)
		}
	}
	for _, text := range []string{`null`, `9007199254740993`, `"\u0000"`, `{"a":{"a":1}}`} {
		if _, err := appendChange(&interrexv1.ChangeServiceAppendRequest{Json: text}); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// What the feed has can be selected.
func TestTheFeedIsFilteredByEachOfItsKinds(t *testing.T) {
	for _, kind := range []string{
		interrex.LeaseClaimed, interrex.LeaseTakenOver, interrex.LeaseTransferred, interrex.LeaseReleased, interrex.LeaseForced,
		interrex.LeaseExpired, interrex.LeasePinned, interrex.LeaseUnpinned, interrex.ResourceWritten, interrex.ResourceDeleted,
		interrex.MemberAdded, interrex.MemberRemoved, interrex.MemberChanged, interrex.WebhookSet, interrex.WebhookDeleted,
		interrex.UserChange, fsm.Applied, interrex.Wildcard,
	} {
		if err := (Changes{}).validFilter(&interrexv1.ChangeServiceListRequest{Kinds: []string{kind}}); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	for _, others := range []bool{false, true} {
		err := (Changes{Others: others}).validFilter(&interrexv1.ChangeServiceListRequest{Kinds: []string{"member.nope"}})
		if interrex.KindOf(err) != interrex.ErrInvalid {
			t.Errorf("member.nope: %v, want it refused as invalid", err)
		}
	}
}
