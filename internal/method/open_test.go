package method_test

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/services"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

var operator = admission.Caller{Operator: true}

// registry returns the methods of leases and changes, and those of the state.
func registry(t *testing.T, more ...method.Service) *method.Registry {
	t.Helper()
	leases, changes := lease.New(), change.New()
	s, err := machine.New(machine.Config{Tables: []state.Table{leases, changes}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	r, err := method.NewRegistry("a", s, method.NewSwitches(), append([]method.Service{
		services.State(), services.Leases{Table: leases}.Service(), services.Changes{Table: changes}.Service(),
	}, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// open opens a call; e is nil if it does not arrive on a stream.
func open(in *method.Registry, c admission.Caller, procedure string, e *interrexv1.Operation, q proto.Message, now time.Time) (*method.Call, error) {
	r := &method.Call{}
	return r, r.Open(in, c, in.Method(procedure), e, q, now)
}

// group returns a request with the requests of several methods.
func group(t *testing.T, all ...proto.Message) *interrexv1.GroupRequest {
	t.Helper()
	m := &interrexv1.GroupRequest{}
	for _, q := range all {
		packed, err := anypb.New(q)
		if err != nil {
			t.Fatal(err)
		}
		m.Operations = append(m.Operations, packed)
	}
	return m
}

func claim(holder string) *interrexv1.ClaimRequest {
	return &interrexv1.ClaimRequest{Key: "a/b", Holder: holder}
}

func TestWhatACallMayAsk(t *testing.T) {
	in := registry(t)
	const (
		claims, extends = interrexv1.LeaseServiceClaimProcedure, interrexv1.LeaseServiceExtendProcedure
		gets, groups    = interrexv1.LeaseServiceGetProcedure, interrexv1.StateServiceGroupProcedure
	)
	extend := &interrexv1.ExtendRequest{Key: "a/b", Token: 1}
	fence, force := &interrexv1.Fence{Key: "a/c", Token: 1}, &interrexv1.RevokeRequest{Key: "a/b", Force: true}
	anybody := admission.Caller{}
	for what, c := range map[string]struct {
		caller    admission.Caller
		procedure string
		envelope  *interrexv1.Operation
		request   proto.Message
		want      interrex.Kind
	}{
		"a claim":                               {anybody, claims, &interrexv1.Operation{RequestId: "1", Fence: fence, WaitMs: 1000}, claim("ann"), ""},
		"a request id that is too long":         {anybody, claims, &interrexv1.Operation{RequestId: strings.Repeat("x", 65)}, claim("ann"), interrex.ErrInvalid},
		"a request id without a record":         {anybody, extends, &interrexv1.Operation{RequestId: "1"}, extend, interrex.ErrInvalid},
		"a mark without a record":               {anybody, extends, &interrexv1.Operation{Mark: 1}, extend, interrex.ErrInvalid},
		"a read with a request id":              {anybody, gets, &interrexv1.Operation{RequestId: "1"}, &interrexv1.GetRequest{}, interrex.ErrInvalid},
		"a read with a fence":                   {anybody, gets, &interrexv1.Operation{Fence: fence}, &interrexv1.GetRequest{}, interrex.ErrInvalid},
		"a read that waits":                     {anybody, gets, &interrexv1.Operation{WaitMs: 1}, &interrexv1.GetRequest{}, interrex.ErrInvalid},
		"a malformed fence":                     {anybody, claims, &interrexv1.Operation{Fence: &interrexv1.Fence{Key: "//"}}, claim("ann"), interrex.ErrInvalid},
		"a retirement with a fence":             {operator, interrexv1.StateServiceRetireProcedure, &interrexv1.Operation{Fence: fence}, &interrexv1.RetireRequest{Name: "ann"}, interrex.ErrInvalid},
		"an extend that waits":                  {anybody, extends, &interrexv1.Operation{WaitMs: 1}, extend, interrex.ErrInvalid},
		"a claim that waits too long":           {anybody, claims, &interrexv1.Operation{WaitMs: uint32((interrex.MaxWait + time.Second) / time.Millisecond)}, claim("ann"), interrex.ErrInvalid},
		"the same outside a stream":             {anybody, claims, nil, &interrexv1.ClaimRequest{Key: "a/b", Holder: "ann", Wait: durationpb.New(interrex.MaxWait + 1)}, interrex.ErrInvalid},
		"a large claim that waits":              {anybody, claims, &interrexv1.Operation{WaitMs: 1}, large(), interrex.ErrTooLarge},
		"a claim that is not valid":             {anybody, claims, nil, claim(""), interrex.ErrInvalid},
		"an operator who forces a revoke":       {operator, interrexv1.LeaseServiceRevokeProcedure, nil, force, ""},
		"anybody who forces a revoke":           {anybody, interrexv1.LeaseServiceRevokeProcedure, nil, force, interrex.ErrDenied},
		"anybody's group that forces a revoke":  {anybody, groups, nil, group(t, force), interrex.ErrDenied},
		"a group":                               {anybody, groups, &interrexv1.Operation{RequestId: "1"}, group(t, claim("ann"), &interrexv1.ChangeServiceAppendRequest{Json: "1"}), ""},
		"a group that waits":                    {anybody, groups, &interrexv1.Operation{WaitMs: 1}, group(t, claim("ann")), interrex.ErrInvalid},
		"an empty group":                        {anybody, groups, nil, group(t), interrex.ErrInvalid},
		"a group that is too large":             {anybody, groups, nil, group(t, manyClaims()...), interrex.ErrInvalid},
		"a group in a group":                    {anybody, groups, nil, group(t, group(t, claim("ann"))), interrex.ErrInvalid},
		"a group with an extend":                {anybody, groups, nil, group(t, extend), interrex.ErrInvalid},
		"a group with a retirement":             {operator, groups, nil, group(t, &interrexv1.RetireRequest{Name: "ann"}), interrex.ErrInvalid},
		"a group with a read":                   {anybody, groups, nil, group(t, &interrexv1.GetRequest{Key: "a/b"}), interrex.ErrInvalid},
		"a group without types":                 {anybody, groups, nil, &interrexv1.GroupRequest{Operations: []*anypb.Any{{}}}, interrex.ErrInvalid},
		"a group with one that is not valid":    {anybody, groups, nil, group(t, claim("ann"), claim("")), interrex.ErrInvalid},
		"a group with a request id in it":       {anybody, groups, nil, group(t, &interrexv1.ClaimRequest{Key: "a/b", Holder: "ann", RequestId: "1"}), interrex.ErrInvalid},
		"a group with an attempt in it":         {anybody, groups, nil, group(t, &interrexv1.ClaimRequest{Key: "a/b", Holder: "ann", Attempt: 1}), interrex.ErrInvalid},
		"a group with a fence in it":            {anybody, groups, nil, group(t, &interrexv1.ClaimRequest{Key: "a/b", Holder: "ann", Fence: fence}), interrex.ErrInvalid},
		"a group with a claim in it that waits": {anybody, groups, nil, group(t, &interrexv1.ClaimRequest{Key: "a/b", Holder: "ann", Wait: durationpb.New(1)}), interrex.ErrInvalid},
	} {
		if _, err := open(in, c.caller, c.procedure, c.envelope, c.request, time.Now()); interrex.KindOf(err) != c.want || (err == nil) != (c.want == "") {
			t.Errorf("%s: got %v, want %q", what, err, c.want)
		}
	}
}

// large returns a claim whose unknown fields make it too large to wait.
func large() *interrexv1.ClaimRequest {
	m := claim("ann")
	m.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, 999, protowire.BytesType), make([]byte, 32<<10)))
	return m
}

func manyClaims() (all []proto.Message) {
	for range limits.MaxGroup + 1 {
		all = append(all, claim("ann"))
	}
	return all
}

func TestACallThatWaitsIsSentAgainWithTimeForTheLog(t *testing.T) {
	in, now := registry(t), time.Unix(1000, 0)
	late := now.Add(time.Minute)
	for _, test := range []struct {
		waitMs uint32
		at     time.Time
		left   time.Duration // for the log
	}{
		{0, now, queue.Timeout(false)},
		{0, late, queue.Timeout(false) - time.Minute},
		{3_600_000, now, queue.Timeout(false)},
		{3_600_000, late, queue.Timeout(false)},
	} {
		for _, again := range []bool{false, true} {
			e := &interrexv1.Operation{WaitMs: test.waitMs, AsksAgain: again, RequestId: "1", Attempt: 2, Mark: 3}
			r, err := open(in, operator, interrexv1.LeaseServiceClaimProcedure, e, claim("ann"), now)
			if err != nil {
				t.Fatal(err)
			}
			op := r.Operation(test.at, nil, nil)
			if got := op.Deadline.Sub(test.at); got != test.left {
				t.Errorf("a wait of %d ms, at %v: the operation has %v, want %v", test.waitMs, test.at, got, test.left)
			}
			if op.RequestID != "1" || op.Attempt != 2 || op.Mark != 3 {
				t.Errorf("the operation is of another request: %+v", op.Operation)
			}
			if op.Wait != nil && (op.Wait.Every > 0) != again {
				t.Errorf("its caller retries (%v), and is expected every %v", again, op.Wait.Every)
			}
			hop, err := r.Hop(test.at)
			left := uint32(max(test.left, 0) / time.Millisecond)
			if err != nil || hop.GetTimeoutMs() != max(left, 1) && test.left > 0 || hop.GetAsksAgain() != again || hop.GetRequestId() != "1" || hop.GetAttempt() != 2 || hop.GetMark() != 3 {
				t.Errorf("a wait of %d ms, at %v: forwarded is %v, %v", test.waitMs, test.at, hop, err)
			}
		}
	}
}

func TestACallThatWaitsHasItsOwnEnvelope(t *testing.T) {
	e := &interrexv1.Operation{WaitMs: 1000, RequestId: "1", Share: "10.0.0.1:5"}
	r, err := open(registry(t), admission.Caller{Operator: true, Door: admission.Peer, Remote: "n2", Via: "n2"}, interrexv1.LeaseServiceClaimProcedure, e, claim("ann"), time.Now())
	if err != nil || r.Envelope == e || r.Envelope.GetShare() != "" || r.Caller.Share() != "10.0.0.1:5" || r.Caller.Via != "n2" {
		t.Errorf("it keeps the message that it came in: %v, in the share %q", err, r.Caller.Share())
	}
}

// A mark does not make an id one of a name's: without a name its record counts for the
// address that it came from.
func TestWhatMayLeaveARecordHasItsOrigin(t *testing.T) {
	for _, test := range []struct {
		id   string
		mark uint64
		want string
	}{{"1", 0, "10.0.0.1"}, {"1", 3, "10.0.0.1"}, {"a.1", 0, "10.0.0.1"}, {"a.1", 1, ""}, {"a.01", 1, "10.0.0.1"}} {
		e := &interrexv1.Operation{RequestId: test.id, Mark: test.mark}
		r, err := open(registry(t), admission.Caller{Operator: true, Origin: "10.0.0.1"}, interrexv1.LeaseServiceClaimProcedure, e, claim("ann"), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Addressed().Origin; got != test.want {
			t.Errorf("%q with the mark %d: %q", test.id, test.mark, got)
		}
	}
}

func TestWhatIsForwardedHasItsEnvelopeOnce(t *testing.T) {
	q := &interrexv1.ClaimRequest{Key: "a/b", Holder: "ann", RequestId: "mine", Fence: &interrexv1.Fence{Key: "a/c", Token: 1}}
	r, err := open(registry(t), operator, interrexv1.LeaseServiceClaimProcedure, nil, q, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range r.Announces() { // shown to webhooks, before it is forwarded
		if text, err := one.JSON(); err != nil || strings.Contains(string(text), "mine") || strings.Contains(string(text), "a/c") {
			t.Errorf("webhooks are shown %s, %v", text, err)
		}
	}
	hop, err := r.Hop(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	m, err := r.Method.Decode(hop.GetBody())
	if err != nil || method.Unlifted(m) != nil || hop.GetRequestId() != "mine" || hop.GetFence().GetToken() != 1 {
		t.Errorf("forwarded is %v with the body %v, %v", hop, m, err)
	}
}

// minting is a command with data from outside the log.
type minting struct {
	state.Command
	bytes int
	calls *int
}

func (c minting) Mint(io.Reader) ([]byte, error) {
	*c.calls++
	return make([]byte, c.bytes), nil
}

// mints returns a service whose method writes such a command to a table.
func mints(table state.TableID, bytes int, calls *int) method.Service {
	return method.ServiceOf(api.Service{Methods: []api.Method{api.Write(interrexv1.LeaseServiceClaimProcedure, table,
		func(*interrexv1.ClaimRequest) (state.Command, error) {
			return minting{&lease.Claim{Key: interrex.Key{Namespace: "a", Name: "b"}, Holder: "ann", TTL: time.Minute}, bytes, calls}, nil
		},
		func(state.Result, state.State) (*interrexv1.ClaimResponse, error) { return nil, nil })}})
}

// small returns the methods of one service, for a state with leases.
func small(t *testing.T, s method.Service) *method.Registry {
	t.Helper()
	st, err := machine.New(machine.Config{Tables: []state.Table{lease.New()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(st.Close)
	r, err := method.NewRegistry("a", st, method.NewSwitches(), s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestWhatACommandNeedsFromOutsideIsMadeOnce(t *testing.T) {
	for bytes, want := range map[int]interrex.Kind{limits.MaxMinted: "", limits.MaxMinted + 1: interrex.ErrUnavailable} {
		calls := 0
		r, err := open(small(t, mints(machine.LeaseTable, bytes, &calls)), operator, interrexv1.LeaseServiceClaimProcedure, nil, claim("ann"), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		first := r.Mint()
		if _ = r.Mint(); interrex.KindOf(first) != want || want == "" && calls != 1 {
			t.Errorf("%d bytes, made %d times: %v", bytes, calls, first)
		}
	}
}

func TestACommandOfATableThatIsNotHereIsInvalid(t *testing.T) {
	in := small(t, mints(machine.ChangeTable, 1, new(int)))
	if _, err := open(in, operator, interrexv1.LeaseServiceClaimProcedure, nil, claim("ann"), time.Now()); interrex.KindOf(err) != interrex.ErrInvalid {
		t.Errorf("got %v", err)
	}
}

func TestAServiceThatIsOffServesOnlyOtherAgents(t *testing.T) {
	in := registry(t)
	changed := in.Switches.UntilChanged().Done()
	in.Switches.Switch(method.LeasesSetting, true) // it is on
	select {
	case <-changed:
		t.Error("nothing has changed")
	default:
	}
	in.Switches.Switch(method.LeasesSetting, false)
	select {
	case <-changed:
	default:
		t.Error("the change is not told")
	}
	in.Switches.Switch(method.LeasesSetting, false)
	if off := in.Switches.Off(); len(off) != 1 {
		t.Errorf("off are %q", off)
	}
	peer := admission.Caller{Door: admission.Peer}
	for _, c := range []struct {
		caller  admission.Caller
		request proto.Message
		want    interrex.Kind
	}{
		{operator, claim("ann"), interrex.ErrDisabled},
		{peer, claim("ann"), ""},
		{operator, group(t, claim("ann")), interrex.ErrDisabled},
		{peer, group(t, claim("ann")), ""},
		{operator, &interrexv1.ChangeServiceAppendRequest{Json: "1"}, ""},
	} {
		procedure := map[string]string{
			"ClaimRequest": interrexv1.LeaseServiceClaimProcedure, "GroupRequest": interrexv1.StateServiceGroupProcedure,
			"ChangeServiceAppendRequest": interrexv1.ChangeServiceAppendProcedure,
		}[string(c.request.ProtoReflect().Descriptor().Name())]
		if _, err := open(in, c.caller, procedure, nil, c.request, time.Now()); interrex.KindOf(err) != c.want || (err == nil) != (c.want == "") {
			t.Errorf("%s through door %d: got %v, want %q", procedure, c.caller.Door, err, c.want)
		}
	}
}

func TestAnActionIsForOperators(t *testing.T) {
	act := method.Act(interrexv1.LeaseServiceGetProcedure, "look", func(context.Context, *interrexv1.GetRequest, state.State) (*interrexv1.GetResponse, error) {
		return nil, nil
	})
	in, q := registry(t), &interrexv1.GetRequest{Key: "a/b"}
	for c, want := range map[*admission.Caller]interrex.Kind{&operator: "", {Name: "ann"}: interrex.ErrDenied} {
		err := (&method.Call{}).Open(in, *c, &act, nil, q, time.Now())
		if interrex.KindOf(err) != want || err != nil && !strings.Contains(err.Error(), "only an operator may look this way") {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
}

func TestAnActionDoesNotWaitForOtherReads(t *testing.T) {
	act := method.Act(interrexv1.LeaseServiceGetProcedure, "look", func(context.Context, *interrexv1.GetRequest, state.State) (*interrexv1.GetResponse, error) {
		return nil, nil
	})
	r, err := open(small(t, method.Service{Methods: []method.Method{act}}), operator, interrexv1.LeaseServiceGetProcedure, nil, &interrexv1.GetRequest{}, time.Now())
	if err != nil || !r.Read.Eventual {
		t.Errorf("it waits with the strong reads: %v", err)
	}
}

func TestAServiceFitsItsTable(t *testing.T) {
	leases := services.Leases{Table: lease.New()}.Service()
	without := leases
	without.Methods = leases.Methods[1:]
	elsewhere := leases
	elsewhere.Methods = slices.Clone(leases.Methods)
	elsewhere.Methods[0].Declared.Table = machine.ChangeTable
	for what, c := range map[string]struct {
		service method.Service
		table   state.TableID
		want    interrex.Kind
	}{
		"its own":                      {leases, machine.LeaseTable, ""},
		"the numbers of another table": {leases, machine.ChangeTable, interrex.ErrInvalid},
		"a write to another table":     {elsewhere, machine.LeaseTable, interrex.ErrInvalid},
		"a method is missing":          {without, machine.LeaseTable, interrex.ErrInvalid},
	} {
		if err := c.service.Validate(c.table); interrex.KindOf(err) != c.want || (err == nil) != (c.want == "") {
			t.Errorf("%s: got %v, want %q", what, err, c.want)
		}
	}
	if _, err := method.NewRegistry("a", nil, method.NewSwitches(), leases, leases); interrex.KindOf(err) != interrex.ErrInvalid {
		t.Errorf("numbers that are used twice: %v", err)
	}
}

func TestARequestThatSeveralMethodsTakeIsInNoGroup(t *testing.T) {
	var twice method.Service
	for _, procedure := range []string{interrexv1.ChangeServiceAppendProcedure, interrexv1.LeaseServiceRevokeProcedure} {
		m := method.Write(interrexv1.LeaseServiceClaimProcedure, machine.LeaseTable,
			func(*interrexv1.ClaimRequest) (state.Command, error) {
				return &lease.Claim{Key: interrex.Key{Namespace: "a", Name: "b"}, Holder: "ann", TTL: time.Minute}, nil
			},
			func(state.Result, state.State) (*interrexv1.ClaimResponse, error) { return nil, nil })
		other, err := wire.MethodOf(procedure)
		if err != nil {
			t.Fatal(err)
		}
		m.Number = other.Number
		twice.Methods = append(twice.Methods, m)
	}
	twice.Methods = append(twice.Methods, method.Group())
	if _, err := open(small(t, twice), operator, interrexv1.StateServiceGroupProcedure, nil, group(t, claim("ann")), time.Now()); interrex.KindOf(err) != interrex.ErrInvalid {
		t.Errorf("got %v", err)
	}
}
