package wire_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/wire"
)

var (
	key   = interrex.Key{Namespace: "mine", Name: "a/b"}
	when  = time.Date(2026, 3, 4, 5, 6, 7, 8, time.UTC)
	two   = 2
	lease = interrex.Lease{
		Key: key, Holder: "ann", Token: 7, TTL: 1500 * time.Millisecond, AcquiredAt: when,
		Remaining: time.Second, ExpiresAt: when.Add(time.Second), Metadata: map[string]string{"a": "b"}, Waiting: &two,
	}
	pinned = interrex.Lease{
		Key: key, Holder: "ann", Token: 7, TTL: time.Second, AcquiredAt: when,
		Pins: []interrex.Pin{{Owner: "ops", Reason: "disk", Until: when}, {Owner: "me"}},
	}
)

// travel sends a message over the wire.
func travel[M proto.Message](t *testing.T, m M) M {
	t.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	out := m.ProtoReflect().New().Interface().(M)
	if err := proto.Unmarshal(data, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// same demands that a value comes back as it went.
func same[V any, M proto.Message](t *testing.T, v V, to func(V) M, from func(M) (V, error)) {
	t.Helper()
	back, err := from(travel(t, to(v)))
	if err != nil {
		t.Errorf("%+v: %v", v, err)
	}
	if !reflect.DeepEqual(back, v) {
		t.Errorf("went as  %+v\ncame as %+v", v, back)
	}
}

func TestValuesComeBackAsTheyWent(t *testing.T) {
	same(t, lease, wire.Lease, wire.FromLease)
	same(t, pinned, wire.Lease, wire.FromLease)
	same(t, interrex.PastLease{Holder: "ann", Token: 3, AcquiredAt: when, EndedAt: when, How: interrex.EndForced}, wire.PastLease, wire.FromPastLease)
	same(t, interrex.PastLease{Holder: "ann", Token: 3, AcquiredAt: when}, wire.PastLease, wire.FromPastLease)
	same(t, interrex.LeaseEvent{Kind: interrex.LeaseClaimed, Lease: lease, Revision: 7}, wire.LeaseEvent, wire.FromLeaseEvent)
	same(t, interrex.LeaseEvent{Kind: interrex.EndOfSnapshot, Revision: 7}, wire.LeaseEvent, wire.FromLeaseEvent)
}

func TestRequestsComeBackAsTheyWent(t *testing.T) {
	same(t, interrex.ClaimRequest{
		Key: key, Holder: "ann", TTL: time.Second, Wait: time.Minute, Takeover: true, Metadata: map[string]string{"a": "b"},
		RequestID: "N.1", Attempt: 3, Fence: interrex.Fence{Key: key, Token: 5},
	}, wire.Claim, wire.FromClaim)
	same(t, interrex.ClaimRequest{Key: key}, wire.Claim, wire.FromClaim)
	same(t, interrex.ExtendRequest{Key: key, Token: 4, TTL: time.Second}, wire.Extend, wire.FromExtend)
	same(t, interrex.RevokeRequest{Key: key, Token: 4, Force: true, RequestID: "N.2", Attempt: 1}, wire.Revoke, wire.FromRevoke)
	same(t, interrex.TransferRequest{Key: key, Token: 4, To: "bob", TTL: time.Second, RequestID: "N.3", Attempt: 2}, wire.Transfer, wire.FromTransfer)
	same(t, interrex.PinRequest{Key: key, Owner: "ops", Reason: "disk", For: time.Hour, RequestID: "N.4", Attempt: 2}, wire.Pin, wire.FromPin)
	same(t, interrex.PinRequest{Key: key, Owner: "ops", RequestID: "N.5", Attempt: 2}, wire.Unpin, wire.FromUnpin)
	same(t, interrex.ListRequest{Namespace: "mine", Prefix: "a", PageSize: 3, PageToken: "x", ReadOptions: interrex.ReadOptions{Consistency: interrex.Eventual, MinRevision: 9}}, wire.List, wire.FromList)
	same(t, interrex.ListRequest{ReadOptions: interrex.ReadOptions{Consistency: interrex.Strong}}, wire.List, wire.FromList)
	same(t, key, wire.History, wire.FromHistory)
	same(t, interrex.WatchRequest{Namespace: "mine", Prefix: "a", Since: 8}, wire.Watch, wire.FromWatch)
	k, o, err := wire.FromGet(travel(t, wire.Get(key, interrex.ReadOptions{Consistency: interrex.Strong, MinRevision: 4})))
	if k != key || err != nil || o != (interrex.ReadOptions{Consistency: interrex.Strong, MinRevision: 4}) {
		t.Errorf("get came as %v %v %v", k, o, err)
	}
}

func TestAnswersComeBackAsTheyWent(t *testing.T) {
	answer := interrex.LeaseAnswer{Lease: lease, Replayed: true, Revision: 9}
	granted := answer
	granted.Attempt = 4
	same(t, granted, wire.ClaimAnswer, wire.FromClaimAnswer)
	same(t, interrex.LeaseAnswer{Lease: lease, Revision: 9}, wire.ExtendAnswer, wire.FromExtendAnswer)
	same(t, answer, wire.TransferAnswer, wire.FromTransferAnswer)
	same(t, answer, wire.PinAnswer, wire.FromPinAnswer)
	same(t, answer, wire.UnpinAnswer, wire.FromUnpinAnswer)
	same(t, interrex.LeaseAnswer{Revision: 9}, wire.UnpinAnswer, wire.FromUnpinAnswer)
	same(t, interrex.RevokeAnswer{HolderUntil: when, Replayed: true, Revision: 9}, wire.RevokeAnswer, wire.FromRevokeAnswer)
	same(t, interrex.RevokeAnswer{Revision: 9}, wire.RevokeAnswer, wire.FromRevokeAnswer)
	same(t, interrex.LeasePage{Items: []interrex.Lease{lease, pinned}, NextPageToken: "x", Revision: 9}, wire.ListAnswer, wire.FromListAnswer)
	l, r, err := wire.FromGetAnswer(travel(t, wire.GetAnswer(lease, 9)))
	if !reflect.DeepEqual(l, lease) || r != 9 || err != nil {
		t.Errorf("get was answered %v %v %v", l, r, err)
	}
	past := []interrex.PastLease{{Holder: "ann", Token: 3, AcquiredAt: when, EndedAt: when, How: interrex.EndExpired}}
	items, r, err := wire.FromHistoryAnswer(travel(t, wire.HistoryAnswer(past, 9)))
	if !reflect.DeepEqual(items, past) || r != 9 || err != nil {
		t.Errorf("history was answered %v %v %v", items, r, err)
	}
}

func TestAPinnedLeaseHasNoEndOnTheWire(t *testing.T) {
	l := lease
	l.Pins = pinned.Pins
	if m := wire.Lease(l); m.ExpiresAt != nil || m.Remaining != nil {
		t.Errorf("a pinned lease says when it ends: %v", m)
	}
}

func TestAnUnknownNumberOfWaitersIsLeftOut(t *testing.T) {
	l := lease
	l.Waiting = nil
	if m := wire.Lease(l); m.Waiting != nil {
		t.Errorf("waiting is %d", *m.Waiting)
	}
}

func TestMalformedFieldsAreNamed(t *testing.T) {
	bad := &durationpb.Duration{Seconds: 1, Nanos: -1}
	for field, err := range map[string]error{
		"namespace":         second(wire.FromClaim(&interrexv1.ClaimRequest{Key: "Bad/key"})),
		"ttl: 0s":           second(wire.FromClaim(&interrexv1.ClaimRequest{Key: "a/b", Ttl: durationpb.New(0)})),
		"ttl: -1s":          second(wire.FromExtend(&interrexv1.ExtendRequest{Key: "a/b", Ttl: durationpb.New(-time.Second)})),
		"ttl: ":             second(wire.FromTransfer(&interrexv1.TransferRequest{Key: "a/b", Ttl: bad})),
		"wait: -1s":         second(wire.FromClaim(&interrexv1.ClaimRequest{Key: "a/b", Wait: durationpb.New(-time.Second)})),
		"for: 0s":           second(wire.FromPin(&interrexv1.PinRequest{Key: "a/b", For: durationpb.New(0)})),
		"fence: key":        second(wire.FromClaim(&interrexv1.ClaimRequest{Key: "a/b", Fence: &interrexv1.Fence{Key: "/", Token: 1}})),
		"fence: token":      second(wire.FromClaim(&interrexv1.ClaimRequest{Key: "a/b", Fence: &interrexv1.Fence{Key: "a/b"}})),
		"consistency: 7":    second(wire.FromList(&interrexv1.ListRequest{Consistency: 7})),
		"a namespace has":   second(wire.FromWatch(&interrexv1.WatchRequest{Namespace: string(make([]byte, 64))})),
		"acquired_at: ":     second(wire.FromLease(&interrexv1.Lease{Key: "a/b", AcquiredAt: &timestamppb.Timestamp{Nanos: -1}})),
		"key: name: 1 to 5": second(wire.FromRevoke(&interrexv1.RevokeRequest{})),
	} {
		if !errors.Is(err, interrex.ErrInvalid) || !contains(err, field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestAZeroWaitIsNone(t *testing.T) {
	if r, err := wire.FromClaim(&interrexv1.ClaimRequest{Key: "a/b", Wait: durationpb.New(0)}); err != nil || r.Wait != 0 {
		t.Errorf("got %v, %v", r, err)
	}
}

func second[V any](_ V, err error) error { return err }
