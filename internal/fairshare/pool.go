package fairshare

import (
	"strings"
	"sync"
)

// A caller may have 1/part of what the others leave, so a quarter while it is by itself,
// and less the more others want. The last 1/kept of a Pool is for those that have little,
// at most 1/little of it.
const (
	part   = 4
	kept   = 8
	little = 1024
)

// Terms are on what a caller may take of a Pool.
type Terms struct {
	Most  int64 // that may be used in all
	Part  int64 // a caller may have one of so many parts of what the others leave; 0: all
	Least int64 // which a caller may have in any case
}

// Usual returns the terms of Take.
func (p *Pool) Usual() Terms { return Terms{Most: p.size, Part: part, Least: p.size / little} }

// Pool is an amount that callers share. It keeps nothing of a caller that has nothing.
type Pool struct {
	size int64

	mu      sync.Mutex
	used    int64
	refused uint64
	of      map[string]int64
}

// New returns a Pool of which nothing is used.
func New(size int64) *Pool { return &Pool{size: size, of: map[string]int64{}} }

// Take takes n for a caller, and reports whether the caller may have as much.
func (p *Pool) Take(who string, n int64) bool { return p.TakeOn(p.Usual(), who, n) }

// TakeOn is Take on other terms.
func (p *Pool) TakeOn(t Terms, who string, n int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used+n > t.Most || !p.fits(t, p.of[who]+n, p.used-p.of[who]) {
		p.refused++
		return false
	}
	p.add(who, n)
	return true
}

// fits reports whether a caller may have n beside what others have.
func (p *Pool) fits(t Terms, n, others int64) bool {
	return t.Part == 0 || n <= t.Least || t.Part*n <= p.size-others && n+others <= p.size-p.size/kept
}

// Force takes n for a caller, whatever the caller may have.
func (p *Pool) Force(who string, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.add(who, n)
}

// add adds n to what a caller has. The lock is held.
func (p *Pool) add(who string, n int64) {
	has, known := p.of[who]
	if !known {
		who = strings.Clone(who) // it may be a part of something larger
	}
	p.used += n
	p.set(who, has+n)
}

// set sets what a caller has. The lock is held.
func (p *Pool) set(who string, n int64) {
	if n == 0 {
		delete(p.of, who)
		return
	}
	p.of[who] = n
}

// Give gives n of what a caller has back.
func (p *Pool) Give(who string, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used -= n
	p.set(who, p.of[who]-n)
}

// Used returns how much is used.
func (p *Pool) Used() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}

// Use is what is used of a Pool.
type Use struct {
	Size, Used int64
	Refused    uint64 // how often something was
	// Most is the caller that has most, Has what it has, and May what it may have.
	Most     string
	Has, May int64
}

// Use returns what is used of the Pool.
func (p *Pool) Use() Use {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := Use{Size: p.size, Used: p.used, Refused: p.refused}
	for who, has := range p.of {
		if has > u.Has || has == u.Has && who < u.Most {
			u.Most, u.Has = who, has
		}
	}
	u.May = (p.size - (p.used - u.Has)) / part
	return u
}
