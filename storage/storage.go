// Package storage offers resources as a storage backend: a store with
// compare-and-set that its embedder replicates, with local reads, lists and
// watches. It uses the table of resources, and the terms of such stores: Backend,
// Handle, Snapshot, Restoration.
package storage

import (
	"context"
	"fmt"

	"github.com/interrex/interrex"
)

// GroupVersionMismatchError is returned by a Read of a resource that is stored in
// another group version. It carries the stored resource, for the caller to
// translate.
type GroupVersionMismatchError struct {
	RequestedType interrex.ResourceType
	Stored        interrex.Resource
}

// Error names both group versions.
func (e GroupVersionMismatchError) Error() string {
	return fmt.Sprintf("resource %s was requested in group version %q, but is stored in %q",
		e.Stored.ID.Name, e.RequestedType.GroupVersion, e.Stored.ID.Type.GroupVersion)
}

// Is reports whether target is the sentinel of the kind.
func (e GroupVersionMismatchError) Is(target error) bool {
	return target == error(interrex.ErrGroupVersionMismatch)
}

// ReadConsistency is what a Read or a List promises.
type ReadConsistency int

// The consistencies.
const (
	// EventualConsistency reads what this replica has. It never goes back on one
	// replica, and needs neither leader nor quorum.
	EventualConsistency ReadConsistency = iota
	// StrongConsistency is linearizable.
	StrongConsistency
)

// String names the consistency.
func (c ReadConsistency) String() string {
	switch c {
	case EventualConsistency:
		return "Eventual Consistency"
	case StrongConsistency:
		return "Strong Consistency"
	}
	return fmt.Sprintf("ReadConsistency(%d)", int(c))
}

// Validate returns interrex.ErrInconsistent for an unknown value.
func (c ReadConsistency) Validate() error {
	if c == EventualConsistency || c == StrongConsistency {
		return nil
	}
	return interrex.Errorf(interrex.ErrInconsistent, "%v is not valid: give EventualConsistency or StrongConsistency", c)
}

// UnversionedType names a type in all its group versions.
type UnversionedType struct{ Group, Kind string }

// UnversionedTypeFrom leaves out the group version.
func UnversionedTypeFrom(t interrex.ResourceType) UnversionedType {
	return UnversionedType{t.Group, t.Kind}
}

// Store keeps resources. Its results belong to the caller, and its arguments are
// not modified.
//
// An empty uid or version differs from every stored one; an empty tenancy is not
// defaulted. That is stricter than interrex.Resources.
//
// Errors are of interrex's kinds. ErrInconsistent means that the requested
// consistency is not available now: there is no leader or no quorum, this agent is
// stopping, or the consistency is unknown. A write may have happened if the error is
// interrex.ErrOutcomeUnknown too.
type Store interface {
	// Read returns a resource. The uid of id may be empty: any.
	//
	// Errors: interrex.ErrNotFound, also if the uid differs; then GroupVersionMismatchError;
	// interrex.ErrInconsistent for a strong read.
	Read(ctx context.Context, consistency ReadConsistency, id interrex.ResourceID) (interrex.Resource, error)
	// WriteCAS creates a resource, when res.Version is empty, or replaces the one
	// with that version, and returns it with its new version.
	//
	// Errors: interrex.ErrCASFailure when nothing is stored and a version is given;
	// interrex.ErrWrongUID when the uid is not the stored one; interrex.ErrCASFailure when the
	// version is not; interrex.ErrInconsistent.
	WriteCAS(ctx context.Context, res interrex.Resource) (interrex.Resource, error)
	// DeleteCAS deletes a resource. If it does not exist, or has another uid,
	// nothing is deleted, and there is no error.
	//
	// Errors: interrex.ErrCASFailure when the version is not the stored one;
	// interrex.ErrInconsistent.
	DeleteCAS(ctx context.Context, id interrex.ResourceID, version string) error
	// List returns the resources of a type, in the order of their keys, as they
	// were at one moment. Partition and namespace may each be interrex.Wildcard. The
	// result is never nil.
	List(ctx context.Context, consistency ReadConsistency, t UnversionedType, tenancy interrex.Tenancy, namePrefix string) ([]interrex.Resource, error)
	// ListByOwner returns what id owns; the owner's uid must match, its group
	// version is ignored. The result is eventual, but never older than an event
	// that a watch of this replica has returned.
	ListByOwner(ctx context.Context, id interrex.ResourceID) ([]interrex.Resource, error)
	// WatchList begins with an event for each existing resource, and continues with
	// each change, in order. It watches this replica.
	WatchList(ctx context.Context, t UnversionedType, tenancy interrex.Tenancy, namePrefix string) (Watch, error)
}

// Watch yields events. Next must be called from one goroutine at a time; Close
// may be called from any, and repeatedly.
type Watch interface {
	// Next waits for an event. The error is that of ctx, interrex.ErrWatchClosed after a
	// restore, or another one after Close or the end of the store.
	Next(ctx context.Context) (interrex.ResourceEvent, error)
	Close()
}
