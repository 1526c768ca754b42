package featuretests

import (
	"fmt"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/interrex/interrex"
)

// verb is what a caller requests.
type verb string

const (
	claim  verb = "claim"
	extend verb = "extend"
	revoke verb = "revoke"
	get    verb = "get"
)

// request is what a caller requests, and when.
type request struct {
	verb           verb
	key            interrex.Key
	holder         string
	token          interrex.Token
	ttl            time.Duration
	sent, answered time.Duration // since the history began
}

// outcome is what a caller knows after a call.
type outcome string

const (
	granted outcome = "granted"         // done; of a get: there is a lease
	refused outcome = "refused"         // held, not held; of a get: not found
	unknown outcome = "outcome unknown" // done or not, now or later
	nothing outcome = "nothing"         // not done
)

// answer is what a caller is answered.
type answer struct {
	result outcome
	holder string
	token  interrex.Token
}

// leaseState is one key's lease in the model.
type leaseState struct {
	held   bool
	secret bool // the grant's answer is unknown, and with it the token
	holder string
	token  interrex.Token
	floor  interrex.Token // every later token is greater
	// until is the earliest time at which the lease may expire: a ttl after the last
	// call that extended it was sent.
	until time.Duration
}

// leaseModel is the contract of a lease, key by key. An operation of unknown
// outcome, and time, may both change the state or not: the model follows both.
func leaseModel() porcupine.Model {
	return (&porcupine.NondeterministicModel{
		Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
			return partition(history, func(in any) interrex.Key { return in.(request).key })
		},
		Init: func() []any { return []any{leaseState{}} },
		Step: func(state, input, output any) []any {
			var next []any
			for _, s := range state.(leaseState).aged(input.(request)) {
				for _, n := range s.step(input.(request), output.(answer)) {
					next = append(next, n)
				}
			}
			return next
		},
		DescribeOperation: func(input, output any) string {
			in, out := input.(request), output.(answer)
			return fmt.Sprintf("%s %s %s %d: %s %s %d", in.verb, in.key, in.holder, in.token, out.result, out.holder, out.token)
		},
	}).ToModel()
}

// partition splits a history by key.
func partition[K comparable](history []porcupine.Operation, about func(in any) K) (parts [][]porcupine.Operation) {
	by := map[K][]porcupine.Operation{}
	for _, o := range history {
		k := about(o.Input)
		by[k] = append(by[k], o)
	}
	for _, part := range by {
		parts = append(parts, part)
	}
	return parts
}

// aged returns the states that only the passing of time may have led to before the
// operation was answered.
func (s leaseState) aged(in request) []leaseState {
	if !s.held || in.answered < s.until {
		return []leaseState{s}
	}
	return []leaseState{s, s.free()}
}

func (s leaseState) free() leaseState { return leaseState{floor: s.floor} }

// step returns the states in which the operation may leave the lease; none if the
// caller's answer is impossible.
func (s leaseState) step(in request, out answer) []leaseState {
	switch {
	case in.verb == claim:
		return s.claim(in, out)
	case in.verb == get:
		return s.get(out)
	}
	mine := s.held && !s.secret && s.token == in.token
	switch {
	case out.result == refused && !mine, out.result == unknown && !mine:
		return []leaseState{s}
	case out.result == unknown: // of a revoke
		return []leaseState{s, s.free()}
	case out.result == refused || !mine:
		return nil
	case in.verb == revoke:
		return []leaseState{s.free()}
	}
	s.until = max(s.until, in.sent+in.ttl)
	return []leaseState{s}
}

func (s leaseState) claim(in request, out answer) []leaseState {
	switch {
	case out.result == refused && !s.held, out.result == granted && (s.held || out.token <= s.floor):
		return nil
	case out.result == refused, out.result == unknown && s.held:
		return []leaseState{s}
	}
	won := leaseState{held: true, holder: in.holder, token: out.token, floor: out.token, until: in.sent + in.ttl}
	if out.result == granted {
		return []leaseState{won}
	}
	won.secret, won.token, won.floor = true, 0, s.floor+1
	return []leaseState{s, won}
}

// get reads the lease, including a token that no caller knows.
func (s leaseState) get(out answer) []leaseState {
	switch {
	case out.result == refused && !s.held:
		return []leaseState{s}
	case out.result == refused || !s.held || s.holder != out.holder:
		return nil
	case !s.secret && s.token != out.token, s.secret && out.token < s.floor:
		return nil
	}
	s.secret, s.token, s.floor = false, out.token, out.token
	return []leaseState{s}
}
