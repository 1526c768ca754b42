package storage

import (
	"context"
	"errors"
	"sync"

	"github.com/interrex/interrex"
)

// The methods of a Backend with an agent's Handle: each calls a method of the agent's
// Resources, with the strict rules of a Store.

func options(c ReadConsistency) interrex.ReadOptions {
	if c == EventualConsistency {
		return interrex.ReadOptions{Consistency: interrex.Eventual}
	}
	return interrex.ReadOptions{Consistency: interrex.Strong}
}

func (b *Backend) readAgent(ctx context.Context, c ReadConsistency, id interrex.ResourceID) (interrex.Resource, error) {
	res, _, err := b.agent.Read(ctx, id, options(c))
	if err == nil {
		return owned(res), nil
	}
	return interrex.Resource{}, mismatch(id.Type, stored(inconsistent(ctx, err)))
}

func (b *Backend) writeAgent(ctx context.Context, res interrex.Resource) (interrex.Resource, error) {
	a, err := b.agent.Write(ctx, interrex.WriteResourceRequest{Resource: res, Strict: true})
	if err != nil {
		return interrex.Resource{}, inconsistent(ctx, err)
	}
	return owned(a.Value), nil
}

func (b *Backend) deleteAgent(ctx context.Context, id interrex.ResourceID, version string) error {
	_, err := b.agent.Delete(ctx, interrex.DeleteResourceRequest{ID: id, Version: version, Strict: true})
	if err != nil {
		return inconsistent(ctx, err)
	}
	return nil
}

// listAgent reads page after page: each is as of one moment.
func (b *Backend) listAgent(ctx context.Context, c ReadConsistency, s interrex.ResourceSelection) ([]interrex.Resource, error) {
	r := interrex.ListResourcesRequest{ResourceSelection: s, ReadOptions: options(c)}
	return pages(ctx, &r.PageToken, func() (interrex.Page[interrex.Resource], error) { return b.agent.List(ctx, r) })
}

func (b *Backend) ownedAgent(ctx context.Context, id interrex.ResourceID) ([]interrex.Resource, error) {
	if id.UID == "" {
		return []interrex.Resource{}, nil
	}
	r := interrex.ListOwnedRequest{Owner: id, ReadOptions: options(EventualConsistency)}
	return pages(ctx, &r.PageToken, func() (interrex.Page[interrex.Resource], error) { return b.agent.ListByOwner(ctx, r) })
}

// pages collects a list.
func pages(ctx context.Context, token *string, read func() (interrex.Page[interrex.Resource], error)) ([]interrex.Resource, error) {
	all := []interrex.Resource{}
	for {
		p, err := read()
		if err != nil {
			return nil, inconsistent(ctx, err)
		}
		for _, res := range p.Items {
			all = append(all, owned(res))
		}
		if *token = p.NextPageToken; *token == "" {
			return all, nil
		}
	}
}

// agentWatch is a Watch of an agent's resources.
type agentWatch struct {
	interrex.Watch[interrex.ResourceEvent]
	marked bool

	mu     sync.Mutex
	closed bool
}

func (b *Backend) watchAgent(ctx context.Context, s interrex.ResourceSelection, marked bool) (Watch, error) {
	w, err := b.agent.Watch(ctx, interrex.WatchResourcesRequest{ResourceSelection: s})
	if err != nil {
		return nil, inconsistent(ctx, err)
	}
	return &agentWatch{Watch: w, marked: marked}, nil
}

// Next implements Watch.
func (w *agentWatch) Next(ctx context.Context) (interrex.ResourceEvent, error) {
	for {
		e, err := w.Watch.Next(ctx)
		switch {
		case w.isClosed():
			return interrex.ResourceEvent{}, errClosed
		case err != nil && ctx.Err() != nil:
			return interrex.ResourceEvent{}, context.Cause(ctx)
		case errors.Is(err, interrex.ErrCompacted):
			return interrex.ResourceEvent{}, interrex.Errorf(interrex.ErrWatchClosed, "storage: watch again: %v", err).WithCause(err)
		case err != nil:
			return interrex.ResourceEvent{}, err
		case e.Operation != interrex.EndOfSnapshot || w.marked:
			e.Resource = owned(e.Resource)
			return e, nil
		}
	}
}

// Close implements Watch.
func (w *agentWatch) Close() {
	w.mu.Lock()
	again := w.closed
	w.closed = true
	w.mu.Unlock()
	if !again {
		_ = w.Watch.Close() // the watch is no longer needed
	}
}

func (w *agentWatch) isClosed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closed
}
