package apiserver

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/services"
	"github.com/interrex/interrex/state"
)

// writes are the requests of LeaseService that write, each with all its fields
// and with the command that it becomes.
func writes(t *testing.T) map[string]struct {
	request proto.Message
	command state.Command
} {
	t.Helper()
	k, second := parse("a/b"), durationpb.New(time.Second)
	metadata, err := codec.NewMetadata(map[string]string{"x": "y"})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]struct {
		request proto.Message
		command state.Command
	}{
		interrexv1.LeaseServiceClaimProcedure: {
			&interrexv1.ClaimRequest{Key: "a/b", Holder: "ann", Ttl: second, Takeover: true, Metadata: map[string]string{"x": "y"}},
			&lease.Claim{Key: k, Holder: "ann", TTL: time.Second, Takeover: true, Metadata: metadata},
		},
		interrexv1.LeaseServiceExtendProcedure: {
			&interrexv1.ExtendRequest{Key: "a/b", Token: 4, Ttl: second}, &lease.Extend{Key: k, Token: 4, TTL: time.Second},
		},
		interrexv1.LeaseServiceRevokeProcedure: {
			&interrexv1.RevokeRequest{Key: "a/b", Token: 4, Force: true}, &lease.Revoke{Key: k, Token: 4, Force: true},
		},
		interrexv1.LeaseServiceTransferProcedure: {
			&interrexv1.TransferRequest{Key: "a/b", Token: 4, To: "bob", Ttl: second}, &lease.Transfer{Key: k, Token: 4, To: "bob", TTL: time.Second},
		},
		interrexv1.LeaseServicePinProcedure: {
			&interrexv1.PinRequest{Key: "a/b", Owner: "ops", Reason: "disk", For: second}, &lease.Pin{Key: k, Owner: "ops", Reason: "disk", For: time.Second},
		},
		interrexv1.LeaseServiceUnpinProcedure: {
			&interrexv1.UnpinRequest{Key: "a/b", Owner: "ops"}, &lease.Unpin{Key: k, Owner: "ops"},
		},
	}
}

func TestEveryFieldOfARequestIsInItsCommand(t *testing.T) {
	nd := cluster(t, 1)[0]
	for procedure, w := range writes(t) {
		r, err := nd.opened(admission.Caller{Operator: true}, op(1, procedure, w.request), time.Now())
		if err != nil {
			t.Errorf("%s: %v", procedure, err)
			continue
		}
		made := r.Operation(time.Now(), nil, nil)
		if !reflect.DeepEqual(made.Command, w.command) {
			t.Errorf("%s: %+v, want %+v", procedure, made.Command, w.command)
		}
		if made.Table != machine.LeaseTable || string(made.Data) != string(w.command.Append(nil)) {
			t.Errorf("%s: the log gets %+v", procedure, r.Addressed())
		}
		unset := 0
		w.request.ProtoReflect().Range(func(protoreflect.FieldDescriptor, protoreflect.Value) bool { unset--; return true })
		fields := w.request.ProtoReflect().Descriptor().Fields()
		for i := range fields.Len() {
			if !isLifted(string(fields.Get(i).Name())) {
				unset++
			}
		}
		if unset != 0 {
			t.Errorf("%s: the test leaves %d fields out", procedure, unset)
		}
	}
}

func isLifted(name string) bool {
	return slices.Contains([]string{"request_id", "attempt", "wait", "fence"}, name)
}

func TestWhatARequestLeavesOutIsTheDefault(t *testing.T) {
	nd := cluster(t, 1)[0]
	r, err := nd.opened(admission.Caller{}, claimOp(1, "a", "ann"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	want := &lease.Claim{Key: parse("default/a"), Holder: "ann", TTL: interrex.DefaultTTL}
	if made := r.Operation(time.Now(), nil, nil).Command; !reflect.DeepEqual(made, want) {
		t.Errorf("%+v, want %+v", made, want)
	}
}

func TestAMalformedFieldIsNamed(t *testing.T) {
	nd := cluster(t, 1)[0]
	bad := &durationpb.Duration{Seconds: 1, Nanos: -1}
	for _, c := range []struct {
		text, procedure string
		m               proto.Message
	}{
		{"namespace", interrexv1.LeaseServiceClaimProcedure, &interrexv1.ClaimRequest{Key: "Bad/key", Holder: "ann"}},
		{"holder: 1 to", interrexv1.LeaseServiceClaimProcedure, &interrexv1.ClaimRequest{Key: "a/b"}},
		{"ttl: 0s", interrexv1.LeaseServiceClaimProcedure, &interrexv1.ClaimRequest{Key: "a/b", Holder: "ann", Ttl: durationpb.New(0)}},
		{"ttl: 200 ms to", interrexv1.LeaseServiceClaimProcedure, &interrexv1.ClaimRequest{Key: "a/b", Holder: "ann", Ttl: durationpb.New(1)}},
		{"metadata: a key", interrexv1.LeaseServiceClaimProcedure, &interrexv1.ClaimRequest{Key: "a/b", Holder: "ann", Metadata: map[string]string{"": ""}}},
		{"ttl: -1s", interrexv1.LeaseServiceExtendProcedure, &interrexv1.ExtendRequest{Key: "a/b", Token: 1, Ttl: durationpb.New(-time.Second)}},
		{"token: missing", interrexv1.LeaseServiceExtendProcedure, &interrexv1.ExtendRequest{Key: "a/b"}},
		{"token: missing", interrexv1.LeaseServiceRevokeProcedure, &interrexv1.RevokeRequest{Key: "a/b"}},
		{"key: name: 1 to", interrexv1.LeaseServiceRevokeProcedure, &interrexv1.RevokeRequest{Token: 1}},
		{"ttl: ", interrexv1.LeaseServiceTransferProcedure, &interrexv1.TransferRequest{Key: "a/b", Token: 1, To: "x", Ttl: bad}},
		{"to: 1 to", interrexv1.LeaseServiceTransferProcedure, &interrexv1.TransferRequest{Key: "a/b", Token: 1}},
		{"for: 0s", interrexv1.LeaseServicePinProcedure, &interrexv1.PinRequest{Key: "a/b", Owner: "ops", For: durationpb.New(0)}},
		{"owner: 1 to", interrexv1.LeaseServicePinProcedure, &interrexv1.PinRequest{Key: "a/b"}},
		{"owner: 1 to", interrexv1.LeaseServiceUnpinProcedure, &interrexv1.UnpinRequest{Key: "a/b"}},
		{"consistency: 7", interrexv1.LeaseServiceListProcedure, &interrexv1.ListRequest{Consistency: 7}},
	} {
		_, err := nd.opened(admission.Caller{Operator: true}, op(1, c.procedure, c.m), time.Now())
		if kind := interrex.KindOf(err); kind != interrex.ErrInvalid || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", c.text, err)
		}
	}
}

func TestAPageHasSoManyLeasesAndNoMore(t *testing.T) {
	nd := cluster(t, 1)[0]
	for size, fits := range map[uint32]bool{0: true, services.MaxPage: true, services.MaxPage + 1: false} {
		if _, err := nd.call(t.Context(), op(0, interrexv1.LeaseServiceListProcedure, &interrexv1.ListRequest{PageSize: size})); (err == nil) != fits {
			t.Errorf("%d: %v", size, err)
		}
	}
}

func TestOnlyWhatIsTakenFromAHolderIsHeldUntilItsExpiry(t *testing.T) {
	nd := cluster(t, 1)[0]
	token := nd.claimed("jobs/one", "ann")
	for _, c := range []struct {
		m     *interrexv1.RevokeRequest
		until bool
	}{{&interrexv1.RevokeRequest{Key: "jobs/one", Token: token}, false}, {&interrexv1.RevokeRequest{Key: "jobs/two", Force: true}, true}} {
		if c.until {
			nd.claimed(c.m.GetKey(), "ann")
		}
		a, err := nd.call(t.Context(), op(0, interrexv1.LeaseServiceRevokeProcedure, c.m))
		nd.must(err)
		if until := as[interrexv1.RevokeResponse](t, a).GetHolderUntil(); (until != nil) != c.until {
			t.Errorf("%v: the holder may go on until %v", c.m, until)
		}
	}
}

// A page ends with the lease that fills it, and the next begins after that one.
func TestAPageOfLargeLeasesEndsEarly(t *testing.T) {
	nd := cluster(t, 1)[0]
	large := map[string]string{"m": strings.Repeat("x", 4000)}
	claimed := 0
	claim := func() {
		m := &interrexv1.ClaimRequest{Key: fmt.Sprintf("large/%03d", claimed), Holder: "ann", Metadata: large}
		_, err := nd.call(t.Context(), op(0, interrexv1.LeaseServiceClaimProcedure, m))
		nd.must(err)
		claimed++
	}
	list := func(token string) (page *interrexv1.ListResponse, bytes int) {
		a, err := nd.call(t.Context(), op(0, interrexv1.LeaseServiceListProcedure, &interrexv1.ListRequest{PageToken: token}))
		nd.must(err)
		page = as[interrexv1.ListResponse](t, a)
		for _, l := range page.GetItems() {
			bytes += proto.Size(l)
		}
		return page, bytes
	}
	for claimed < services.MaxPageBytes/4300 {
		claim()
	}
	page, bytes := list("")
	for ; bytes < services.MaxPageBytes; page, bytes = list("") {
		if claim(); claimed > services.MaxPage {
			t.Fatal("no page is ever full")
		}
	}
	if n := len(page.GetItems()); n != claimed || page.GetNextPageToken() != "" {
		t.Errorf("of %d leases, which just fill a page, it has %d, and then %q", claimed, n, page.GetNextPageToken())
	}
	for range 3 {
		claim()
	}
	first, bytes := list("")
	if bytes < services.MaxPageBytes || bytes > services.MaxPageBytes+8192 || first.GetNextPageToken() == "" {
		t.Fatalf("a page has %d bytes, and then %q", bytes, first.GetNextPageToken())
	}
	second, _ := list(first.GetNextPageToken())
	all := append(first.GetItems(), second.GetItems()...)
	for i, l := range all {
		if want := fmt.Sprintf("large/%03d", i); l.GetKey() != want {
			t.Fatalf("number %d is %s, want %s", i, l.GetKey(), want)
		}
	}
	if len(all) != claimed || second.GetNextPageToken() != "" {
		t.Errorf("two pages have %d of %d leases, and then %q", len(all), claimed, second.GetNextPageToken())
	}
}
