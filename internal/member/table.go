// Package member owns the table of members: which agents were admitted to the
// cluster, with which key and on which disk, the tokens with which others may join,
// and the certificate of the cluster's CA.
//
// It says who may be a member. Who is one, with a vote or without, is raft's
// configuration; the leader brings that in line with this table.
package member

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/state"
)

// Table is the replicated table of members. It implements state.Table,
// state.EventCodec, state.Idler and state.Grouper.
//
// Lock and Unlock are for State, which takes the lock once an entry. The reads need
// no lock.
type Table struct {
	mu      sync.Mutex
	content atomic.Pointer[content]

	watching sync.Mutex
	watched  map[string]watched // by ID: members that have a log, for as long as they are that
}

// watched is a context that is done once the agent is no longer a member with a log.
type watched struct {
	context.Context
	end context.CancelCauseFunc
}

// content is everything in the table; it is immutable.
type content struct {
	ca      string       // the CA's certificate, in DER; empty: certificates come from elsewhere
	members []*Member    // by ID
	tokens  []*JoinToken // by ID
	removed []Tombstone  // the oldest first

	rotation *Rotation         // of the CA; nil: none is under way
	since    interrex.Revision // at which the present CA followed another
	gone     []string          // the pins of CAs that are not trusted any more, the oldest first
}

var (
	_ state.Table      = (*Table)(nil)
	_ state.EventCodec = (*Table)(nil)
	_ state.Idler      = (*Table)(nil)
	_ state.Grouper    = (*Table)(nil)
)

// New makes an empty table.
func New() *Table {
	t := &Table{}
	t.content.Store(&content{})
	return t
}

// Name is the table's name in reports and snapshots.
func (t *Table) Name() string { return tableName }

const tableName = "members"

// ID is machine.MemberTable.
func (t *Table) ID() state.TableID { return machine.MemberTable }

// Version is the version of the commands' and the snapshot's encoding.
func (t *Table) Version() uint16 { return rotatable }

// Lock takes the table for writing.
func (t *Table) Lock() { t.mu.Lock() }

// Unlock releases the table.
func (t *Table) Unlock() { t.mu.Unlock() }

// CA returns the certificate of the cluster's CA, which issues those of its agents, in
// DER; empty: the certificates of
// this cluster's agents come from elsewhere.
func (t *Table) CA() string { return t.content.Load().ca }

// Members returns all members, by ID. The slice must not be modified.
func (t *Table) Members() []*Member { return t.content.Load().members }

// Member returns a member; nil: there is none.
func (t *Table) Member(id string) *Member { return t.content.Load().member(id) }

// Present returns a context that is done once an agent is not a member with a log any
// more; nil: it is not one.
func (t *Table) Present(id string) context.Context {
	t.watching.Lock()
	defer t.watching.Unlock()
	if !t.content.Load().hasLog(id) {
		return nil
	}
	w, known := t.watched[id]
	if !known {
		w.Context, w.end = context.WithCancelCause(context.Background())
		if t.watched == nil {
			t.watched = map[string]watched{}
		}
		t.watched[id] = w
	}
	return w.Context
}

// Addresses returns the cluster addresses of the members that have one, by ID.
func (t *Table) Addresses() map[string]string {
	all := map[string]string{}
	for _, m := range t.Members() {
		if m.ClusterAddress != "" {
			all[m.ID] = m.ClusterAddress
		}
	}
	return all
}

// Disks returns the incarnations of the members whose disk is recorded, by ID.
func (t *Table) Disks() map[string]string {
	all := map[string]string{}
	for _, m := range t.Members() {
		if m.Incarnation != "" {
			all[m.ID] = m.Incarnation
		}
	}
	return all
}

// JoinTokens returns the tokens that have not ended, by ID. The slice must not be
// modified.
func (t *Table) JoinTokens() []*JoinToken { return t.content.Load().tokens }

// JoinToken returns a token; nil: there is none.
func (t *Table) JoinToken(id string) *JoinToken { return t.content.Load().token(id) }

// Removed reports whether the agent on a disk was removed from the cluster.
func (t *Table) Removed(id, incarnation string) bool {
	return slices.ContainsFunc(t.content.Load().removed, func(r Tombstone) bool {
		return r.ID == id && r.Incarnation == incarnation
	})
}

// WasRemoved reports whether an agent of that ID was removed, on any disk.
func (t *Table) WasRemoved(id string) bool {
	return slices.ContainsFunc(t.content.Load().removed, func(r Tombstone) bool { return r.ID == id })
}

func (c *content) member(id string) *Member {
	if i, found := c.findMember(id); found {
		return c.members[i]
	}
	return nil
}

func (c *content) hasLog(id string) bool {
	m := c.member(id)
	return m != nil && !m.Forwards
}

func (c *content) token(id string) *JoinToken {
	if i, found := c.findToken(id); found {
		return c.tokens[i]
	}
	return nil
}

func (c *content) findMember(id string) (int, bool) {
	return slices.BinarySearchFunc(c.members, id, func(m *Member, id string) int { return strings.Compare(m.ID, id) })
}

func (c *content) findToken(id string) (int, bool) {
	return slices.BinarySearchFunc(c.tokens, id, func(t *JoinToken, id string) int { return strings.Compare(t.ID, id) })
}

// change replaces the content by a changed copy.
func (t *Table) change(do func(c *content)) {
	next := *t.content.Load()
	do(&next)
	t.replace(&next)
}

// replace replaces the content, and ends the contexts of those who are no members with
// a log any more.
func (t *Table) replace(next *content) {
	t.content.Store(next)
	t.watching.Lock()
	defer t.watching.Unlock()
	for id, w := range t.watched {
		if !next.hasLog(id) {
			delete(t.watched, id)
			w.end(interrex.Errorf(interrex.ErrUnauthenticated, "agent %s is not a member of the cluster any more, or has no log: use an access token", id))
		}
	}
}

// put adds a member, or replaces the one of its ID.
func (c *content) put(m *Member) {
	i, found := c.findMember(m.ID)
	c.members = slices.Clone(c.members)
	if found {
		c.members[i] = m
		return
	}
	c.members = slices.Insert(c.members, i, m)
}

// putToken adds a token, or replaces the one of its ID.
func (c *content) putToken(t *JoinToken) {
	i, found := c.findToken(t.ID)
	c.tokens = slices.Clone(c.tokens)
	if found {
		c.tokens[i] = t
		return
	}
	c.tokens = slices.Insert(c.tokens, i, t)
}

// dropToken removes a token that is there.
func (c *content) dropToken(id string) {
	i, _ := c.findToken(id)
	c.tokens = slices.Delete(slices.Clone(c.tokens), i, i+1)
}

func emit(turn *state.Turn, kind string, m *Member) { turn.Emit(kind, m.ID, m, m.size()) }

func tooMany(now *content) *interrex.Error {
	return interrex.Errorf(interrex.ErrConflict, "there are %d members, which is the limit: remove one first", len(now.members))
}

func notFound(id string) *interrex.Error {
	return interrex.Errorf(interrex.ErrNotFound, "member %q does not exist: 'interrex member list' shows the members", id)
}
