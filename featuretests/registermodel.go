package featuretests

import (
	"fmt"

	"github.com/anishathalye/porcupine"
)

// The verbs of registers besides get.
const (
	store  verb = "store"
	remove verb = "remove"
)

// The versions, besides numbers, that a write or a remove may require.
const (
	anyVersion = ""
	noVersion  = "none"
)

// registerRequest is what a caller requests of a register, which is a resource.
type registerRequest struct {
	verb    verb
	name    string
	version string // that is demanded: anyVersion, noVersion, or a number
	value   string // of a write; each is written once
}

// registerAnswer is what a caller is answered.
type registerAnswer struct {
	result  outcome
	value   string // of a get
	version uint64 // as it is stored
}

// registerState is one register in the model.
type registerState struct {
	there   bool
	secret  bool // the answer to its write is unknown, and with it the version
	value   string
	version uint64
	floor   uint64 // every later version is greater
}

// registerModel is the contract of a register with versions, name by name. A
// write of unknown outcome may have happened or not: the model follows both.
func registerModel() porcupine.Model {
	return (&porcupine.NondeterministicModel{
		Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
			return partition(history, func(in any) string { return in.(registerRequest).name })
		},
		Init: func() []any { return []any{registerState{}} },
		Step: func(state, input, output any) []any {
			var next []any
			for _, s := range state.(registerState).step(input.(registerRequest), output.(registerAnswer)) {
				next = append(next, s)
			}
			return next
		},
		DescribeOperation: func(input, output any) string {
			in, out := input.(registerRequest), output.(registerAnswer)
			return fmt.Sprintf("%s %s %s %s: %s %s %d", in.verb, in.name, in.version, in.value, out.result, out.value, out.version)
		},
	}).ToModel()
}

// step returns the states in which an operation may leave the register; none if the
// caller's answer is impossible.
func (s registerState) step(in registerRequest, out registerAnswer) []registerState {
	if in.verb == get {
		return s.get(out)
	}
	after := registerState{floor: s.floor}
	if in.verb == store {
		after = registerState{there: true, value: in.value, version: out.version, floor: out.version}
	}
	switch matches := s.matches(in); {
	case out.result == refused && matches, out.result == granted && !matches:
		return nil
	case out.result == granted && in.verb == store && out.version <= s.floor:
		return nil
	case out.result == granted:
		return []registerState{after}
	case out.result == unknown && matches:
		after.secret, after.version, after.floor = after.there, 0, s.floor
		return []registerState{s, after}
	}
	return []registerState{s}
}

// matches reports whether the register has the required version. No caller can
// require a secret version: one that has read it has revealed it.
func (s registerState) matches(in registerRequest) bool {
	switch {
	case in.version == anyVersion, in.verb == remove && !s.there:
		return true
	case in.version == noVersion:
		return !s.there
	}
	return s.there && !s.secret && fmt.Sprint(s.version) == in.version
}

// get reads the register, including a version that no caller knows.
func (s registerState) get(out registerAnswer) []registerState {
	switch {
	case out.result == refused && !s.there:
		return []registerState{s}
	case out.result == refused || !s.there || s.value != out.value:
		return nil
	case s.secret && out.version > s.floor:
		s.secret, s.version, s.floor = false, out.version, out.version
	}
	if s.secret || s.version != out.version {
		return nil
	}
	return []registerState{s}
}
