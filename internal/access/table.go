// Package access owns the table of access tokens: who may do what on the API.
package access

import (
	"context"
	"crypto/subtle"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/accesstoken"
	"github.com/interrex/interrex/internal/capacity"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/state"
)

// Token is what is kept of an access token. It is immutable.
type Token struct {
	Hash     accesstoken.Hash
	Name     string
	Operator bool
	Rules    []interrex.AccessRule
	Expires  state.Time // 0: it has no end
	Created  interrex.Revision
}

// ID returns the token's name in lists.
func (t *Token) ID() string { return t.Hash.ID() }

// The limits of the table.
const (
	MaxTokens = 1024
	MaxBytes  = 1 << 20 // of all tokens, as a snapshot encodes them: mostly their names and rules
)

// Table is the replicated table of access tokens. It implements state.Table.
//
// Lock and Unlock are for State, which takes the lock once an entry. The reads need
// no lock.
type Table struct {
	mu         sync.Mutex
	rows       atomic.Pointer[rows]
	live       atomic.Pointer[live]
	maxSilence atomic.Int64
}

// rows is what is replicated; it is immutable.
type rows struct {
	closed bool     // there has been a token
	tokens []*Token // by ID
	bytes  int      // of all of them, as weight counts
}

// live is what callers have of rows on this agent; it is immutable.
type live struct {
	open   context.Context // done at the first token
	end    context.CancelCauseFunc
	byID   map[string]*granted
	names  map[string]*granted // of the tokens of one name together
	nobody *granted            // of all other names
}

// granted is a grant that can be ended.
type granted struct {
	accesstoken.Grant
	token *Token
	end   context.CancelCauseFunc
}

var _ state.Table = (*Table)(nil)

// New makes an empty table.
func New() *Table {
	t := &Table{}
	t.rows.Store(&rows{})
	l := &live{byID: map[string]*granted{}, names: map[string]*granted{}, nobody: newGranted(&Token{})}
	l.open, l.end = context.WithCancelCause(context.Background())
	t.live.Store(l)
	t.maxSilence.Store(int64(defaultSilence))
	return t
}

// Name is the table's name in reports and snapshots.
func (t *Table) Name() string { return "access" }

// ID is machine.AccessTable.
func (t *Table) ID() state.TableID { return machine.AccessTable }

// Version is the version of the commands' and the snapshot's encoding.
func (t *Table) Version() uint16 { return 1 }

// Lock takes the table for writing.
func (t *Table) Lock() { t.mu.Lock() }

// Unlock releases the table.
func (t *Table) Unlock() { t.mu.Unlock() }

// Tokens returns the tokens that have not ended, by ID. The slice must not be modified.
func (t *Table) Tokens() []*Token { return t.rows.Load().tokens }

// Open reports whether there has not been a token yet. The context is done at the
// first one.
func (t *Table) Open() (context.Context, bool) { return t.live.Load().open, !t.rows.Load().closed }

// Grant returns what a token allows, by its text. The error is ErrUnauthenticated.
func (t *Table) Grant(text string) (*accesstoken.Grant, error) {
	_, hash, err := accesstoken.Parse(text)
	if err != nil {
		return nil, interrex.Errorf(interrex.ErrUnauthenticated, "%v", err)
	}
	g := t.live.Load().byID[hash.ID()]
	if g == nil || subtle.ConstantTimeCompare(g.token.Hash[:], hash[:]) == 0 {
		return nil, interrex.Errorf(interrex.ErrUnauthenticated, "access token %s does not exist: it has ended, was revoked, or belongs to another cluster", hash.ID())
	}
	return &g.Grant, nil
}

// Named returns what the tokens of a name allow together, for a caller that has shown
// in another way that it has this name. Without such a token it allows nothing. A further
// token of the name changes that without an end; where one is dropped, the grant ends.
func (t *Table) Named(name string) *accesstoken.Grant {
	l := t.live.Load()
	if g := l.names[name]; g != nil {
		return &g.Grant
	}
	return &accesstoken.Grant{Name: name, Valid: l.nobody.Valid}
}

// find returns the index of a token, or where it would be.
func (r *rows) find(id string) (int, bool) {
	return slices.BinarySearchFunc(r.tokens, id, func(t *Token, id string) int { return strings.Compare(t.ID(), id) })
}

// put adds a token.
func (t *Table) put(token *Token) {
	now := t.rows.Load()
	i, _ := now.find(token.ID())
	t.replace(&rows{closed: true, tokens: slices.Insert(slices.Clone(now.tokens), i, token), bytes: now.bytes + token.weight()}, nil)
}

// drop removes tokens that are there, all at once: what callers have of the table is
// made anew each time. why is for those who use one of them.
func (t *Table) drop(gone []*Token, why func(*Token) error) {
	now := t.rows.Load()
	next := &rows{closed: true, bytes: now.bytes}
	for _, token := range now.tokens {
		if slices.Contains(gone, token) {
			next.bytes -= token.weight()
			continue
		}
		next.tokens = append(next.tokens, token)
	}
	t.replace(next, why)
}

// replace replaces the content, and ends the grants of tokens that are not in the next
// one, and of the names that have lost one.
func (t *Table) replace(next *rows, why func(*Token) error) {
	was := t.live.Load()
	now := &live{open: was.open, end: was.end, nobody: was.nobody, byID: make(map[string]*granted, len(next.tokens))}
	lost, changed := maps.Clone(was.byID), map[string]bool{}
	for _, token := range next.tokens {
		g := was.byID[token.ID()]
		if g == nil || !g.token.same(token) {
			g, changed[token.Name] = newGranted(token), false
		} else {
			delete(lost, token.ID())
		}
		now.byID[token.ID()] = g
	}
	for _, g := range lost {
		changed[g.token.Name] = true
	}
	if !next.closed && now.open.Err() != nil {
		now.open, now.end = context.WithCancelCause(context.Background())
	}
	ended := now.nameAll(next.tokens, was, changed)
	t.rows.Store(next)
	t.live.Store(now)
	for _, g := range lost {
		g.end(why(g.token))
	}
	for _, g := range ended {
		g.end(interrex.Errorf(interrex.ErrUnavailable, "what the owner of this certificate may do has changed: try again"))
	}
	if next.closed {
		now.end(interrex.Errorf(interrex.ErrUnauthenticated, "this cluster's API needs an access token from now on"))
	}
}

// nameAll sets the grants of names, and returns those that end. changed has the names
// whose tokens are others, and whether one of them was lost: where none was, the name's
// grant goes on. That of nobody ends for the name that has one from now on.
func (l *live) nameAll(tokens []*Token, was *live, changed map[string]bool) (ended []*granted) {
	l.names = maps.Clone(was.names)
	next := unions(tokens, changed)
	for name, less := range changed {
		before, of := was.names[name], next[name]
		if less {
			ended = append(ended, before)
		}
		if of == nil {
			delete(l.names, name)
			continue
		}
		g := newGranted(of)
		if before != nil && !less {
			g.Valid, g.end = before.Valid, before.end
		}
		if before == nil && l.nobody == was.nobody {
			ended, l.nobody = append(ended, was.nobody), newGranted(&Token{})
		}
		l.names[name] = g
	}
	return ended
}

func (t *Token) same(o *Token) bool {
	return t == o || t.Hash == o.Hash && t.Name == o.Name && t.Operator == o.Operator && slices.EqualFunc(t.Rules, o.Rules, sameRule)
}

func sameRule(a, b interrex.AccessRule) bool { return a.String() == b.String() }

func newGranted(token *Token) *granted {
	g := &granted{token: token, Grant: accesstoken.Grant{Name: token.Name, Operator: token.Operator, Rules: token.Rules}}
	g.Valid, g.end = context.WithCancelCause(context.Background())
	return g
}

// weight is the number of bytes that MaxBytes counts.
func (t *Token) weight() int { return len(appendToken(nil, t)) }

// unions returns what the tokens of each of some names are together.
func unions(tokens []*Token, names map[string]bool) map[string]*Token {
	all := map[string]*Token{}
	for _, token := range tokens {
		if _, is := names[token.Name]; !is {
			continue
		}
		if of := all[token.Name]; of != nil {
			of.Operator = of.Operator || token.Operator
			of.Rules = append(of.Rules, token.Rules...)
			continue
		}
		copied := *token
		copied.Rules = slices.Clone(token.Rules)
		all[token.Name] = &copied
	}
	return all
}

// Usage returns how much of its limits the table uses.
func (t *Table) Usage() capacity.Usage {
	now := t.rows.Load()
	return capacity.Usage{Count: int64(len(now.tokens)), MaxCount: MaxTokens, Bytes: int64(now.bytes), MaxBytes: MaxBytes}
}
