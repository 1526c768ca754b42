package featuretests

import (
	"context"
	"strconv"

	"github.com/anishathalye/porcupine"

	"github.com/interrex/interrex"
)

// Registers reads and writes resources, as interrex.Resources does.
type Registers interface {
	Read(ctx context.Context, id interrex.ResourceID, o interrex.ReadOptions) (interrex.Resource, interrex.Revision, error)
	Write(ctx context.Context, r interrex.WriteResourceRequest) (interrex.Answer[interrex.Resource], error)
	Delete(ctx context.Context, r interrex.DeleteResourceRequest) (interrex.Answer[struct{}], error)
}

// RegisterRecorder is one caller whose calls are recorded in a history.
type RegisterRecorder struct {
	Registers Registers
	History   *History
	Client    int
}

// registerID returns the ID of the resource that is the register of a name.
func registerID(name string) interrex.ResourceID {
	return interrex.ResourceID{Type: interrex.ResourceType{Group: "register", GroupVersion: "v1", Kind: "Register"}, Name: name}
}

// Get reads a register with a strong read.
func (r RegisterRecorder) Get(ctx context.Context, name string) (version string, err error) {
	done := r.begin(registerRequest{verb: get, name: name})
	got, _, err := r.Registers.Read(ctx, registerID(name), interrex.ReadOptions{Consistency: interrex.Strong})
	done(outcomeOf(err), got)
	return got.Version, err
}

// Put writes a register if it has a version, with noVersion if it does not exist,
// with anyVersion unconditionally.
func (r RegisterRecorder) Put(ctx context.Context, name, version, value string) (string, error) {
	done := r.begin(registerRequest{verb: store, name: name, version: version, value: value})
	q := interrex.WriteResourceRequest{
		Resource:  interrex.Resource{ID: registerID(name), Metadata: map[string]string{"value": value}},
		Overwrite: version == anyVersion,
	}
	if version != noVersion {
		q.Resource.Version = version
	}
	a, err := r.Registers.Write(ctx, q)
	done(outcomeOf(err), a.Value)
	return a.Value.Version, err
}

// Remove deletes a register if it has a version, or with anyVersion unconditionally.
func (r RegisterRecorder) Remove(ctx context.Context, name, version string) error {
	done := r.begin(registerRequest{verb: remove, name: name, version: version})
	_, err := r.Registers.Delete(ctx, interrex.DeleteResourceRequest{ID: registerID(name), Version: version})
	done(outcomeOf(err), interrex.Resource{})
	return err
}

// begin records the start of a call; the function that it returns records its end.
func (r RegisterRecorder) begin(in registerRequest) func(outcome, interrex.Resource) {
	sent := r.History.now()
	return func(result outcome, stored interrex.Resource) {
		answered := r.History.now()
		// A create that was refused late may have been sent twice, and a late copy may
		// still create: every other version occurs once.
		if result == refused && in.version == noVersion && answered-sent > slow {
			result = unknown
		}
		out := registerAnswer{result: result, value: stored.Metadata["value"]}
		out.version, _ = strconv.ParseUint(stored.Version, 10, 64) // 0 is below every floor
		recorded := result
		if result == unknown && in.verb == get {
			recorded = nothing
		}
		r.History.record(recorded, porcupine.Operation{ClientId: r.Client, Input: in, Output: out, Call: int64(sent), Return: int64(answered)})
	}
}
