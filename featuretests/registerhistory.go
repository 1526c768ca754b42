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
	Write(ctx context.Context, r interrex.WriteResourceRequest) (interrex.WriteResourceAnswer, error)
	Delete(ctx context.Context, r interrex.DeleteResourceRequest) (interrex.DeleteResourceAnswer, error)
}

// RegisterRecorder is one caller whose calls go into a history.
type RegisterRecorder struct {
	Registers Registers
	History   *History
	Client    int
}

// registerID is the resource that is the register of a name.
func registerID(name string) interrex.ResourceID {
	return interrex.ResourceID{Type: interrex.ResourceType{Group: "register", GroupVersion: "v1", Kind: "Register"}, Name: name}
}

// Get reads a register, strongly.
func (r RegisterRecorder) Get(ctx context.Context, name string) (version string, err error) {
	done := r.begin(registerRequest{verb: get, name: name})
	got, _, err := r.Registers.Read(ctx, registerID(name), interrex.ReadOptions{Consistency: interrex.Strong})
	done(told(err), got)
	return got.Version, err
}

// Put writes a register: where it has a version, noVersion, or anyVersion.
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
	done(told(err), a.Resource)
	return a.Resource.Version, err
}

// Remove deletes a register: where it has a version, or anyVersion.
func (r RegisterRecorder) Remove(ctx context.Context, name, version string) error {
	done := r.begin(registerRequest{verb: remove, name: name, version: version})
	_, err := r.Registers.Delete(ctx, interrex.DeleteResourceRequest{ID: registerID(name), Version: version})
	done(told(err), interrex.Resource{})
	return err
}

// begin records the beginning of a call; the function that it returns records its end.
func (r RegisterRecorder) begin(in registerRequest) func(outcome, interrex.Resource) {
	sent := r.History.now()
	return func(told outcome, stored interrex.Resource) {
		answered := r.History.now()
		// A create that was refused after long may have been asked twice, and a
		// late copy may still create: every other version comes once.
		if told == refused && in.version == noVersion && answered-sent > slow {
			told = unknown
		}
		out := registerAnswer{told: told, value: stored.Metadata["value"]}
		out.version, _ = strconv.ParseUint(stored.Version, 10, 64) // 0 is below every floor
		kept := told
		if told == unknown && in.verb == get {
			kept = nothing
		}
		r.History.keep(kept, porcupine.Operation{ClientId: r.Client, Input: in, Output: out, Call: int64(sent), Return: int64(answered)})
	}
}
