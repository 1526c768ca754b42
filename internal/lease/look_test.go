package lease_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/lease"
)

// look runs the verbs that are no commands.
func (s *story) look(verb string, a arguments) string {
	switch verb {
	case "tick":
		limit := 1000
		if a.has("limit") {
			limit = a.number("limit")
		}
		return fmt.Sprintf("%d ended, revision %d", s.tick(limit), s.revision)
	case "due":
		return s.tellDue()
	case "get":
		return s.tellLease(a.key("key"))
	case "list":
		return s.tellList(a)
	case "history":
		return s.tellHistory(a.key("key"))
	case "events":
		return s.tellEvents()
	case "fence":
		if s.table.Holds(a.key("key"), a.token()) {
			return "held"
		}
		return "not held"
	case "free":
		free, _ := s.table.Free(a.key("key"), s.now)
		return fmt.Sprint(free)
	case "counts":
		return fmt.Sprintf("%d: %v", s.table.Count(), s.table.Counts())
	case "replay":
		again, err := s.table.Kept(s.did, s.table.Keep(s.last))
		if err != nil {
			return tellError(err)
		}
		if reply := again.(*lease.Reply); reply.Ended {
			return fmt.Sprintf("done: token %d, the holder may go on until %v", reply.Lease.Token, time.Duration(reply.HolderUntil))
		}
		return "the same: " + s.tell(again.(*lease.Reply).Lease)
	case "restart":
		s.restart()
		return "ok"
	}
	return "no such verb"
}

func (s *story) tellDue() string {
	due, ok := s.table.Due()
	if ok != s.table.CanExpire() {
		return fmt.Sprintf("Due says %v and CanExpire %v", ok, !ok)
	}
	if !ok {
		return "never"
	}
	return time.Duration(due).String()
}

func (s *story) tellLease(k interrex.Key) string {
	r, ok := s.table.Get(k)
	if !ok {
		return "nobody"
	}
	l := r.Lease(s.now, epoch.Add(time.Duration(s.now)))
	out := fmt.Sprintf("%v holder=%s token=%d ttl=%v acquired=%v", l.Key, l.Holder, l.Token, l.TTL, l.AcquiredAt.Sub(epoch))
	if l.Pinned() {
		out += fmt.Sprintf(" remaining=%v expires=%t", l.Remaining, !l.ExpiresAt.IsZero())
	} else {
		out += fmt.Sprintf(" remaining=%v expires=%v", l.Remaining, l.ExpiresAt.Sub(epoch))
	}
	for _, p := range l.Pins {
		out += " pin=" + p.Owner
		if !p.Until.IsZero() {
			out += fmt.Sprintf("@%v", p.Until.Sub(epoch))
		}
	}
	return out
}

func (s *story) tellList(a arguments) string {
	var after interrex.Key
	if a.has("after") {
		after = a.key("after")
	}
	items, more := s.table.List(a["ns"], a["prefix"], after, a.number("limit"))
	var b strings.Builder
	for _, r := range items {
		fmt.Fprintln(&b, r.Key)
	}
	if more {
		fmt.Fprintln(&b, "...")
	}
	return b.String()
}

func (s *story) tellHistory(k interrex.Key) string {
	past := s.table.History(k)
	if len(past) == 0 {
		return "none"
	}
	var b strings.Builder
	for _, p := range past {
		fmt.Fprintf(&b, "%s token %d from %v", p.Holder, p.Token, p.AcquiredAt.Sub(epoch))
		if p.How != "" {
			fmt.Fprintf(&b, " to %v: %s", p.EndedAt.Sub(epoch), p.How)
		}
		fmt.Fprintln(&b)
	}
	return b.String()
}

func (s *story) tellEvents() string {
	var b strings.Builder
	for _, e := range s.events {
		r := e.Value.(lease.Record)
		fmt.Fprintf(&b, "%d %s %s\n", e.Revision, e.Kind, s.tell(r))
		if e.Key != r.Key.String() || e.Size <= 0 || e.Table != s.table.ID() {
			fmt.Fprintf(&b, "malformed: %+v\n", e)
		}
	}
	s.events = nil
	if b.Len() == 0 {
		return "none"
	}
	return b.String()
}
