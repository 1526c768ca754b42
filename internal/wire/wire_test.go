package wire_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wire"
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

// travel encodes and decodes a message.
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

// same checks that a value comes back unchanged.
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
	then := interrex.Lease{Key: lease.Key, Holder: "ann", Token: 3, AcquiredAt: when, Metadata: map[string]string{"k": "v"}}
	same(t, then, wire.Lease, wire.FromLease)
	if m := wire.Lease(then); m.Ttl != nil || m.Remaining != nil || m.ExpiresAt != nil {
		t.Errorf("a lease as it was has %v", m)
	}
	same(t, interrex.LeaseDifference{Key: lease.Key, Before: &then}, wire.LeaseDifference, wire.FromLeaseDifference)
	same(t, interrex.LeaseDifference{Key: lease.Key, After: &then}, wire.LeaseDifference, wire.FromLeaseDifference)
	same(t, interrex.LeaseEvent{Kind: interrex.LeaseClaimed, Lease: lease, Revision: 7, Time: time.Unix(1, 2).UTC()}, wire.LeaseEvent, wire.FromLeaseEvent)
	same(t, interrex.LeaseEvent{Kind: interrex.EndOfSnapshot, Revision: 7}, wire.LeaseEvent, wire.FromLeaseEvent)
}

func TestResourcesComeBackAsTheyWent(t *testing.T) {
	owner := interrex.ResourceID{Type: interrex.ResourceType{Group: "g", GroupVersion: "v1", Kind: "Owner"}, Name: "o", UID: "u"}.WithDefaults()
	bare := interrex.Resource{ID: interrex.ResourceID{Type: interrex.ResourceType{Group: "g", GroupVersion: "v1", Kind: "K"}, Name: "n"}.WithDefaults()}
	full := bare
	full.ID.UID, full.ID.Tenancy = "w", interrex.Tenancy{Partition: "p", Namespace: "ns"}
	full.Owner, full.OwnerLease = owner, interrex.Fence{Key: key, Token: 7}
	full.Version, full.Generation, full.Metadata = "3", "gen", map[string]string{"a": "b"}
	full.Data = interrex.ResourceData{TypeURL: "t", Value: []byte("x")}
	for _, r := range []interrex.Resource{bare, full} {
		same(t, r, wire.Resource, wire.FromResource)
		same(t, interrex.ResourceEvent{Operation: interrex.ResourceDelete, Resource: r, Revision: 7, Time: when}, wire.ResourceEvent, wire.FromResourceEvent)
	}
	same(t, interrex.ResourceEvent{Operation: interrex.EndOfSnapshot, Revision: 7}, wire.ResourceEvent, wire.FromResourceEvent)
	if m := wire.Resource(bare); m.Owner != nil || m.OwnerLease != nil || m.Data != nil {
		t.Errorf("a bare resource has %v", m)
	}
	if m := wire.ResourceEvent(interrex.ResourceEvent{Operation: interrex.EndOfSnapshot}); m.Resource != nil {
		t.Errorf("the end of a snapshot has %v", m.Resource)
	}
	if got := wire.FromResourceID(&interrexv1.ResourceID{Name: "n"}).Tenancy; got != bare.ID.Tenancy {
		t.Errorf("an absent tenancy is %v", got)
	}
}

func TestWebhooksComeBackAsTheyWent(t *testing.T) {
	w := interrex.WebhookState{
		Webhook: interrex.Webhook{
			Name: "n", URL: "http://x", When: "after", Kinds: []string{"k"}, Prefixes: []string{"p"}, Headers: map[string]string{"A": ""},
			Timeout: time.Second, OnFailure: "allow", DryRun: true,
		},
		Revision: 1, Position: 2, SkippedFrom: 3, SkippedTo: 4, Skipped: 5,
		Health: &interrex.WebhookHealth{Breaker: "open", Failures: 6, Error: "e", Since: when},
	}
	same(t, w, wire.Webhook, wire.FromWebhook)
	same(t, interrex.WebhookState{Webhook: interrex.Webhook{Name: "n"}}, wire.Webhook, wire.FromWebhook)
	if m := wire.WebhookSpec(interrex.Webhook{Name: "n"}); m.Timeout != nil {
		t.Errorf("a timeout that is left out is %v", m.Timeout)
	}
}

func TestValuesAndDocumentsComeBackAsTheyWent(t *testing.T) {
	for _, b := range []string{"", "text", "\xff\x00"} {
		d, err := wire.Value([]byte(b))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := wire.FromValue(d); err != nil || string(got) != b {
			t.Errorf("%q comes back as %q, %v", b, got, err)
		}
		d.TypeURL = "type.googleapis.com/other"
		if _, err := wire.FromValue(d); !errors.Is(err, interrex.ErrInvalid) {
			t.Errorf("of another type: %v", err)
		}
		if _, is := wire.FromDocument(d); is {
			t.Error("it is a document")
		}
	}
	text, _ := wire.Value([]byte("text"))
	m := &interrexv1.Value{}
	if err := proto.Unmarshal(text.Value, m); err != nil || m.GetText() != "text" {
		t.Errorf("UTF-8 goes as %v, %v", m, err)
	}
	s, err := structpb.NewStruct(map[string]any{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6})
	if err != nil {
		t.Fatal(err)
	}
	first, _ := wire.Document(s)
	for range 10 {
		again, err := wire.Document(s)
		if err != nil || !reflect.DeepEqual(first, again) {
			t.Fatalf("the same document is other bytes, %v", err)
		}
	}
	if back, is := wire.FromDocument(first); !is || !proto.Equal(back, s) {
		t.Errorf("%v comes back as %v", s, back)
	}
	want := interrex.ResourceID{Type: interrex.ValueType, Tenancy: interrex.Tenancy{Partition: "default", Namespace: "default"}, Name: "k"}
	if id := wire.ValueID("", "k"); id != want {
		t.Errorf("%+v", id)
	}
}

func TestNumbersFitTheWire(t *testing.T) {
	for d, want := range map[time.Duration]uint32{0: 1, 1: 1, time.Millisecond: 1, time.Millisecond + 1: 2, time.Second: 1000} {
		if got := wire.Millis(d); got != want {
			t.Errorf("%v is %d ms, want %d", d, got, want)
		}
	}
	if n := wire.Count(-1); n != 0 {
		t.Errorf("below zero is %d", n)
	}
	for _, c := range []interrex.Consistency{interrex.Default, interrex.Eventual, interrex.Strong} {
		var r wire.Reader
		if got := r.Consistency(wire.Consistency(c)); got != c || r.Err != nil {
			t.Errorf("%v comes back as %v, %v", c, got, r.Err)
		}
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

func TestATimeThatIsNotKnownIsLeftOut(t *testing.T) {
	l := wire.Lease(interrex.Lease{Key: key, TTL: time.Second, Pins: []interrex.Pin{{Owner: "me"}}})
	for what, got := range map[string]*timestamppb.Timestamp{
		"since when it is held": l.AcquiredAt, "until when it is pinned": l.Pins[0].Until,
		"when it ends":  wire.Lease(interrex.Lease{Key: key, TTL: time.Second}).ExpiresAt,
		"when it ended": wire.PastLease(interrex.PastLease{Holder: "ann"}).EndedAt,
	} {
		if got != nil {
			t.Errorf("%s: %v", what, got.AsTime())
		}
	}
}

func TestMalformedFieldsAreNamed(t *testing.T) {
	bad := &durationpb.Duration{Seconds: 1, Nanos: -1}
	for field, read := range map[string]func(*wire.Reader){
		"namespace":       func(r *wire.Reader) { r.Key("Bad/key") },
		"ttl: 0s":         func(r *wire.Reader) { r.Positive("ttl", durationpb.New(0)) },
		"ttl: -1s":        func(r *wire.Reader) { r.Positive("ttl", durationpb.New(-time.Second)) },
		"ttl: ":           func(r *wire.Reader) { r.Duration("ttl", bad) },
		"wait: -1s":       func(r *wire.Reader) { r.Duration("wait", durationpb.New(-time.Second)) },
		"fence: key":      func(r *wire.Reader) { r.Fence(&interrexv1.Fence{Key: "/", Token: 1}) },
		"fence: token":    func(r *wire.Reader) { r.Fence(&interrexv1.Fence{Key: "a/b"}) },
		"consistency: 7":  func(r *wire.Reader) { r.Consistency(7) },
		"a namespace has": func(r *wire.Reader) { r.Namespace(string(make([]byte, 64))) },
		"acquired_at: ": func(r *wire.Reader) {
			r.Fail(second(wire.FromLease(&interrexv1.Lease{Key: "a/b", AcquiredAt: &timestamppb.Timestamp{Nanos: -1}})))
		},
		"ended_at: ": func(r *wire.Reader) {
			r.Fail(second(wire.FromPastLease(&interrexv1.HistoryItem{EndedAt: &timestamppb.Timestamp{Nanos: -1}})))
		},
		"expires_at: ": func(r *wire.Reader) {
			r.Fail(second(wire.FromLeaseDifference(&interrexv1.DiffItem{Key: "a/b", After: &interrexv1.Lease{Key: "a/b", ExpiresAt: &timestamppb.Timestamp{Nanos: -1}}})))
		},
		"remaining: ": func(r *wire.Reader) {
			r.Fail(second(wire.FromLeaseEvent(&interrexv1.LeaseEvent{Lease: &interrexv1.Lease{Key: "a/b", Remaining: bad}})))
		},
		"time: ": func(r *wire.Reader) {
			r.Fail(second(wire.FromLeaseEvent(&interrexv1.LeaseEvent{Time: &timestamppb.Timestamp{Nanos: -1}})))
		},
		"key: name: 1 to 5": func(r *wire.Reader) { r.Key("") },
	} {
		var r wire.Reader
		read(&r)
		if !errors.Is(r.Err, interrex.ErrInvalid) || !contains(r.Err, field) {
			t.Errorf("%s: %v", field, r.Err)
		}
		first := r.Err
		if r.Key("//"); r.Err != first {
			t.Errorf("%s: a later error took its place: %v", field, r.Err)
		}
	}
}

func TestAbsentFieldsAreTheirDefaults(t *testing.T) {
	var r wire.Reader
	if d := r.Positive("ttl", nil); d != 0 {
		t.Errorf("ttl %v", d)
	}
	if f := r.Fence(nil); f != (interrex.Fence{}) || wire.Fence(f) != nil {
		t.Errorf("fence %v", f)
	}
	if c := r.Consistency(0); c != interrex.Default {
		t.Errorf("consistency %v", c)
	}
	if r.Err != nil {
		t.Error(r.Err)
	}
}

func TestMethodsAreThoseOfTheirProto(t *testing.T) {
	m, err := wire.MethodOf(interrexv1.LeaseServiceUnpinProcedure)
	if err != nil || m.Number != 262 || m.Class != interrexv1.Class_CLASS_RECORDED || m.Name() != "Unpin" || m.Service() != interrexv1.LeaseServiceName || !m.Writes() {
		t.Errorf("%+v, %v", m, err)
	}
	for _, procedure := range []string{"", "/nobody.v1.Service/Method", "/interrex.v1.LeaseService/Nothing", interrexv1.EngineServiceStatusProcedure} {
		if _, err := wire.MethodOf(procedure); err == nil {
			t.Errorf("%q is a method", procedure)
		}
	}
}

func TestWhatIsNoMethodIsRefused(t *testing.T) {
	if _, err := wire.MethodOf("/interrex.v1/LeaseService"); !contains(err, "not a method") {
		t.Errorf("a service: %v", err)
	}
}

func TestEveryMethodOfAServiceIsDeclared(t *testing.T) {
	all, err := wire.MethodsOf(interrexv1.LeaseServiceClaimProcedure)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{} // by name, whether it writes
	for _, m := range all {
		got[m.Name()] = m.Writes()
	}
	want := map[string]bool{
		"Claim": true, "Extend": true, "Revoke": true, "Transfer": true, "Pin": true, "Unpin": true,
		"Get": false, "List": false, "Diff": false, "History": false, "Watch": false,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for procedure, why := range map[string]string{
		interrexv1.EngineServiceStatusProcedure: "number or class is missing",
		"/interrex.v1.ClaimRequest/Claim":       "not a service",
		"/nobody.v1.Service/Method":             "not found",
	} {
		if all, err := wire.MethodsOf(procedure); all != nil || !contains(err, why) {
			t.Errorf("%s: %v, %v, want an error with %q", procedure, all, err, why)
		}
	}
}

func TestAMethodTakesTheMessagesOfItsProto(t *testing.T) {
	m := wire.Method{Procedure: interrexv1.LeaseServiceClaimProcedure}
	if err := m.Takes(&interrexv1.ClaimRequest{}, &interrexv1.ClaimResponse{}); err != nil {
		t.Error(err)
	}
	if err := m.Takes(&interrexv1.PinRequest{}, &interrexv1.ClaimResponse{}); !contains(err, "not interrex.v1.PinRequest") {
		t.Errorf("another request: %v", err)
	}
	if err := m.Takes(&interrexv1.ClaimRequest{}, &interrexv1.PinResponse{}); !contains(err, "and interrex.v1.PinResponse") {
		t.Errorf("another answer: %v", err)
	}
	m.Procedure = "/nobody.v1.Service/Method"
	if err := m.Takes(&interrexv1.ClaimRequest{}, &interrexv1.ClaimResponse{}); !contains(err, "no linked .proto") {
		t.Errorf("nobody's method: %v", err)
	}
}

func second[V any](_ V, err error) error { return err }

func TestAnUnknownConsistencyIsRefused(t *testing.T) {
	for _, c := range []interrex.Consistency{-1, 3, 17, 1 << 32} {
		var in wire.Reader
		if in.Consistency(wire.Consistency(c)); interrex.KindOf(in.Err) != interrex.ErrInvalid {
			t.Errorf("%d: %v", c, in.Err)
		}
	}
}
