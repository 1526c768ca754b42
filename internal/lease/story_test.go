package lease_test

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/state"
)

// TestStories tells the rules of leases in text files. Each directive takes
// at=TIME (cluster time, which stays until the next at), and @N in a value
// stands for N letters x:
//
//	claim key= holder= [ttl=] [wait=] [takeover] [meta=K:V,...] [id=]
//	extend key= token= [ttl=]
//	revoke key= [token=] [force]
//	transfer key= token= to= [ttl=]
//	pin key= owner= [reason=] [for=]
//	unpin key= owner=
//	repeat n=             the lines below it, n times, with # counting from 1; says the last answer
//	tick [limit=]         what time ends
//	due                   when time ends something next
//	get key=              the lease as users see it
//	list [ns=] [prefix=] [after=] [limit=]
//	history key=
//	events                since the last time
//	fence key= token=     what a fence finds
//	free key=             what the leader guesses
//	frees ...             a command: what the leader guesses that it frees
//	counts                leases by namespace
//	replay                the reply of the last command, once more
//	restart               everything through a snapshot
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata/stories", func(t *testing.T, path string) {
		s := &story{world: newWorld(t)}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.t = t
			return s.directive(d)
		})
	})
}

type story struct {
	*world
	did  command
	last *lease.Reply
}

// arguments of one directive, with @N replaced.
type arguments map[string]string

var letters = regexp.MustCompile(`@(\d+)`)

func parse(args []datadriven.CmdArg) arguments {
	a := arguments{}
	for _, arg := range args {
		v := ""
		if len(arg.Vals) > 0 {
			v = strings.Join(arg.Vals, ",")
		}
		a[arg.Key] = letters.ReplaceAllStringFunc(v, func(m string) string {
			n, _ := strconv.Atoi(m[1:])
			return strings.Repeat("x", n)
		})
	}
	return a
}

func (a arguments) has(name string) bool { _, ok := a[name]; return ok }

func (a arguments) duration(name string) time.Duration {
	if !a.has(name) {
		return 0
	}
	return must(time.ParseDuration(a[name]))
}

func (a arguments) number(name string) int {
	if !a.has(name) {
		return 0
	}
	return must(strconv.Atoi(a[name]))
}

// key returns the key as written, valid or not.
func (a arguments) key(name string) interrex.Key {
	k, _ := interrex.ParseKey(a[name])
	return k
}

func (a arguments) token() interrex.Token { return interrex.Token(a.number("token")) }

var manyLetters = regexp.MustCompile(`x{32,}`)

func (s *story) directive(d *datadriven.TestData) string {
	out := s.run(d.Cmd, d.CmdArgs, d.Input)
	return manyLetters.ReplaceAllStringFunc(out, func(m string) string { return fmt.Sprintf("@%d", len(m)) })
}

func (s *story) run(verb string, args []datadriven.CmdArg, input string) string {
	a := parse(args)
	if a.has("at") {
		s.now = state.Time(a.duration("at"))
	}
	if c, err := request(verb, a); c != nil || err != nil {
		return s.command(c, err)
	}
	if verb == "repeat" {
		return s.repeat(a.number("n"), input)
	}
	if verb == "frees" {
		return s.frees(input)
	}
	return s.look(verb, a)
}

// request makes a command; neither result: the verb is not a command.
func request(verb string, a arguments) (command, error) {
	k, ttl := a.key("key"), a.duration("ttl")
	pin := interrex.PinRequest{Key: k, Owner: a["owner"], Reason: a["reason"], For: a.duration("for"), RequestID: a["id"]}
	switch verb {
	case "claim":
		return lease.FromClaim(interrex.ClaimRequest{
			Key: k, Holder: a["holder"], TTL: ttl, Wait: a.duration("wait"), Takeover: a.has("takeover"),
			Metadata: a.metadata(), RequestID: a["id"], Fence: a.fence(),
		})
	case "extend":
		return lease.FromExtend(interrex.ExtendRequest{Key: k, Token: a.token(), TTL: ttl})
	case "revoke":
		return lease.FromRevoke(interrex.RevokeRequest{Key: k, Token: a.token(), Force: a.has("force"), RequestID: a["id"]})
	case "transfer":
		return lease.FromTransfer(interrex.TransferRequest{Key: k, Token: a.token(), To: a["to"], TTL: ttl, RequestID: a["id"]})
	case "pin":
		return lease.FromPin(pin)
	case "unpin":
		return lease.FromUnpin(pin)
	}
	return nil, nil
}

func (a arguments) metadata() map[string]string {
	if !a.has("meta") {
		return nil
	}
	m := map[string]string{}
	for _, pair := range strings.Split(a["meta"], ",") {
		k, v, _ := strings.Cut(pair, ":")
		m[k] = v
	}
	return m
}

func (a arguments) fence() interrex.Fence {
	if !a.has("fence") {
		return interrex.Fence{}
	}
	return interrex.Fence{Key: a.key("fence"), Token: a.token()}
}

// command applies and tells the answer.
func (s *story) command(c command, err error) string {
	if err == nil {
		s.did = c
		s.last, err = s.do(c)
	}
	if err != nil {
		return tellError(err)
	}
	out := s.tell(s.last.Lease)
	if s.last.Ended {
		out = "ended: " + out
	}
	if s.last.HolderUntil != 0 {
		out += fmt.Sprintf(", the holder may go on until %v", time.Duration(s.last.HolderUntil))
	}
	return out
}

func (s *story) repeat(n int, input string) (out string) {
	for i := 1; i <= n; i++ {
		for _, line := range strings.Split(input, "\n") {
			verb, args, err := datadriven.ParseLine(strings.ReplaceAll(line, "#", strconv.Itoa(i)))
			must(verb, err)
			out = s.run(verb, args, "")
		}
	}
	return out
}

func (s *story) frees(input string) string {
	verb, args, err := datadriven.ParseLine(input)
	must(verb, err)
	c := must(request(verb, parse(args)))
	decoded := must(decode(c.Append(nil)))
	if s.table.Frees(nil, decoded, s.now) {
		return "frees " + decoded.About().Key.String()
	}
	return "frees nothing"
}

// tell shows a record in terms of the rules.
func (s *story) tell(r lease.Record) string {
	out := fmt.Sprintf("%v held by %s until %v, ttl %v, token %d", r.Key, r.Holder, time.Duration(r.Expiry), r.TTL, r.Token)
	if m := r.Metadata.Map(); m != nil {
		out += fmt.Sprintf(", %v", m)
	}
	for _, p := range r.Pins {
		out += ", pinned by " + p.Owner
		if p.Reason != "" {
			out += " (" + p.Reason + ")"
		}
		if p.Until != 0 {
			out += fmt.Sprintf(" until %v", time.Duration(p.Until))
		}
	}
	return out
}

func tellError(err error) string {
	out := err.Error()
	var e *interrex.Error
	if errors.As(err, &e) && e.Holder != "" {
		out += fmt.Sprintf("\nholder %s since %v, remaining %v", e.Holder, e.HeldSince.Sub(epoch), e.Remaining)
	}
	return out
}
