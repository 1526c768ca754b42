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
func (p *Pool) Take(who string, n int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	has, known := p.of[who]
	if !p.fits(has+n, p.used-has) {
		p.refused++
		return false
	}
	if !known {
		who = strings.Clone(who) // it may be a part of something larger
	}
	p.of[who] = has + n
	p.used += n
	return true
}

// fits reports whether a caller may have n beside what others have.
func (p *Pool) fits(n, others int64) bool {
	if n <= p.size/little {
		return n+others <= p.size
	}
	return part*n <= p.size-others && n+others <= p.size-p.size/kept
}

// Give gives n of what a caller has back.
func (p *Pool) Give(who string, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used -= n
	if left := p.of[who] - n; left != 0 {
		p.of[who] = left
		return
	}
	delete(p.of, who)
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
