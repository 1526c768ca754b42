package featuretests

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/interrextest"
)

// A request gets the same answer by every way and from every agent.
func TestEveryWayGivesTheSameAnswers(t *testing.T) {
	t.Parallel()
	c := interrextest.StartCluster(t, interrextest.ClusterConfig{Size: 3})
	var first []result
	var by string
	n := 0
	for _, role := range []string{"leader", "follower"} {
		for i := range 5 {
			name, lines := askEverything(t, c, role, i, &n)
			twins(t, name, lines)
			if first == nil {
				first, by = lines, name
				continue
			}
			for j, l := range lines {
				if l != first[j] && (role == "leader" || notInForce(l.answer) == "" || notInForce(l.answer) != notInForce(first[j].answer)) {
					t.Errorf("%s: by %s the answer is\n%s\nand by %s\n%s", l.step, name, l.answer, by, first[j].answer)
				}
			}
		}
	}
}

// notInForce returns what of a token that is not in force any agent says: it may be of a
// state before the leader's, and describes the lease as it is there. Empty: it is another
// answer.
func notInForce(answer string) string {
	if parts := strings.SplitN(answer, ": ", 3); parts[0] == "not held" && len(parts) == 3 {
		return parts[1]
	}
	return ""
}

// twins checks that steps of one name have the same answer, with a consistency that
// is given and with the default.
func twins(t *testing.T, name string, lines []result) {
	t.Helper()
	answers := map[string]string{}
	for _, l := range lines {
		if first, found := answers[l.step]; found && first != l.answer {
			t.Errorf("%s: by %s the answer is\n%s\nand\n%s", l.step, name, first, l.answer)
		}
		answers[l.step] = l.answer
	}
}

// result is a step and its answer.
type result struct{ step, answer string }

// askEverything makes all steps by one way, in its own namespace. If the leader
// changes meanwhile, which answers may show, it starts over.
func askEverything(t *testing.T, c *interrextest.Cluster, role string, i int, n *int) (name string, lines []result) {
	t.Helper()
	eventually(t, "the leader stays", func() error {
		leader := c.Leader()
		before, _ := term(c, leader)
		at := leader
		if role == "follower" {
			at = (leader + 1) % len(c.Agents())
		}
		w := ways(t, c.Agent(at))[i]
		name = w.name + " at the " + role
		p := &patron{t: t, leases: w.leases, namespace: fmt.Sprintf("w%02d", *n), leads: role == "leader"}
		*n++
		// A client's first write takes a name for its request ids, and with it a revision;
		// so does the first claim that waits.
		for i, wait := range []time.Duration{0, time.Second} {
			claim := interrex.ClaimRequest{Key: key(fmt.Sprint("named/", p.namespace, i)), Holder: "x", TTL: time.Minute, Wait: wait}
			if _, err := w.leases.Claim(t.Context(), claim); err != nil {
				return err
			}
		}
		lines = p.askEverything(c.Agent(leader).Leases())
		if after, leads := term(c, leader); !leads || after != before {
			return errors.New("it has changed")
		}
		return nil
	})
	return name, lines
}

// term returns the term in which an agent leads.
func term(c *interrextest.Cluster, i int) (uint64, bool) {
	watch, err := c.Agent(i).Leadership()
	if err != nil {
		return 0, false
	}
	now, err := watch.Next(context.Background()) // the first is the current leadership
	return now.Term, err == nil && now.Leader
}

// patron sends requests to one agent by one way.
type patron struct {
	t         *testing.T
	leases    interrex.Leases
	namespace string
	leads     bool // whether that agent leads
	base      uint64
	last      interrex.Revision
	tokens    map[string]interrex.Token // of the last grant, by key
}

func (p *patron) key(name string) interrex.Key {
	return interrex.Key{Namespace: p.namespace, Name: name}
}

func (p *patron) askEverything(leader interrex.Leases) []result {
	p.t.Helper()
	page, err := leader.List(p.t.Context(), interrex.ListRequest{Namespace: p.namespace})
	if err != nil {
		p.t.Fatal(err)
	}
	p.base, p.tokens = uint64(page.Revision), map[string]interrex.Token{}
	var lines []result
	for _, s := range steps() {
		lines = append(lines, result{s.name, p.steady(s.take(p.t.Context(), p))})
	}
	return lines
}

// numbered are the numbers that count from a patron's start.
var numbered = regexp.MustCompile(`(token|revision|stands at|is at|held under) (\d+)`)

// steady replaces what differs from way to way by words.
func (p *patron) steady(s string) string {
	s = strings.ReplaceAll(steady(s), p.namespace, "NAMESPACE")
	return numbered.ReplaceAllStringFunc(s, func(m string) string {
		part := numbered.FindStringSubmatch(m)
		n, err := strconv.ParseUint(part[2], 10, 64)
		if err != nil || n <= p.base || n > p.base+1000 {
			return m
		}
		return fmt.Sprintf("%s base+%d", part[1], n-p.base)
	})
}

// lease returns a lease as text, and remembers its token.
func (p *patron) lease(l interrex.Lease) string {
	if l.Token == 0 {
		return fmt.Sprintf("no lease %+v", l)
	}
	p.tokens[l.Key.Name] = l.Token
	return fmt.Sprintf("%s of %q, token %d, ttl %s, metadata %v, acquired %v, remaining %v of %v, %s", l.Key, l.Holder, l.Token, l.TTL,
		l.Metadata, !l.AcquiredAt.IsZero(), l.Remaining > 0, !l.ExpiresAt.IsZero(), pins(l.Pins))
}

func pins(all []interrex.Pin) string {
	text := "pins:"
	for _, p := range all {
		text += fmt.Sprintf(" %q for %q, ends %v;", p.Owner, p.Reason, !p.Until.IsZero())
	}
	return text
}

// read is lease for one that was read: only the leader knows how many wait.
func (p *patron) read(l interrex.Lease) string {
	if p.leads != (l.Waiting != nil) {
		p.t.Logf("the agent leads: %v, but says that so many wait: %v", p.leads, l.Waiting)
		return "somebody else says how many wait"
	}
	return p.lease(l)
}

func (p *patron) leaseAnswer(a interrex.LeaseAnswer, err error) string {
	if err != nil {
		return failure(err)
	}
	p.last = a.Revision
	waiting := "unknown"
	if a.Lease.Waiting != nil {
		waiting = fmt.Sprint(*a.Lease.Waiting)
	}
	return fmt.Sprintf("%s, waiting %s, attempt %d, replayed %v, revision %d", p.lease(a.Lease), waiting, a.Attempt, a.Replayed, a.Revision)
}

func (p *patron) revokeAnswer(a interrex.RevokeAnswer, err error) string {
	if err != nil {
		return failure(err)
	}
	p.last = a.Revision
	return fmt.Sprintf("until %v, replayed %v, revision %d", !a.HolderUntil.IsZero(), a.Replayed, a.Revision)
}

func (p *patron) get(ctx context.Context, name string, o interrex.ReadOptions) string {
	l, revision, err := p.leases.Get(ctx, p.key(name), o)
	if err != nil {
		return failure(err)
	}
	return fmt.Sprintf("%s, revision %d", p.read(l), revision)
}

func (p *patron) list(ctx context.Context, r interrex.ListRequest) string {
	page, err := p.leases.List(ctx, r)
	if err != nil {
		return failure(err)
	}
	text := fmt.Sprintf("revision %d, more %v:", page.Revision, page.NextPageToken != "")
	for _, l := range page.Items {
		text += "\n" + p.read(l)
	}
	return text
}

func (p *patron) history(ctx context.Context, name string) string {
	past, revision, err := p.leases.History(ctx, p.key(name))
	if err != nil {
		return failure(err)
	}
	text := fmt.Sprintf("revision %d:", revision)
	for _, l := range past {
		text += fmt.Sprintf("\n%q, token %d, %v to %v, %q", l.Holder, l.Token, !l.AcquiredAt.IsZero(), !l.EndedAt.IsZero(), l.How)
	}
	return text
}

// failure returns an error as text, with all its fields.
func failure(err error) string {
	var e *interrex.Error
	if !errors.As(err, &e) {
		return fmt.Sprintf("an error without a kind: %v", err)
	}
	return fmt.Sprintf("%s: leader %q %q, holder %q since %v, remaining %v, waiting %d, first %d, after %s",
		err, e.LeaderID, e.LeaderAddress, e.Holder, !e.HeldSince.IsZero(), e.Remaining > 0, e.Waiting, e.FirstRevision, e.RetryAfter)
}

// step is one request, and its answer as text.
type step struct {
	name string
	take func(context.Context, *patron) string
}

func steps() []step {
	var all []step
	add := func(name string, take func(context.Context, *patron) string) { all = append(all, step{name, take}) }
	claim := func(name, key, holder string, edit func(*patron, *interrex.ClaimRequest)) {
		add("claim "+name, func(ctx context.Context, p *patron) string {
			r := interrex.ClaimRequest{Key: p.key(key), Holder: holder, TTL: time.Hour}
			if edit != nil {
				edit(p, &r)
			}
			return p.leaseAnswer(p.leases.Claim(ctx, r))
		})
	}
	once := func(attempt uint32) func(*patron, *interrex.ClaimRequest) {
		return func(p *patron, r *interrex.ClaimRequest) {
			r.RequestID, r.Attempt, r.Metadata = p.namespace+" once", attempt, map[string]string{"address": "db1:80"}
		}
	}
	claim("under an id", "a", "ann", once(2))
	claim("that is repeated", "a", "ann", once(3))
	claim("under the id of another", "b", "ann", once(4))
	claim("without an id", "b", "ann", nil)
	claim("of what is held", "a", "bob", nil)
	claim("of what the caller holds", "a", "ann", nil)
	claim("whose wait runs out", "a", "bob", func(p *patron, r *interrex.ClaimRequest) {
		r.RequestID, r.Wait = p.namespace+" waits", 50*time.Millisecond
	})
	claim("of a free name with a wait", "w", "ann", func(_ *patron, r *interrex.ClaimRequest) { r.Wait = time.Minute })
	claim("of a taken name with a wait", "w", "bob", func(_ *patron, r *interrex.ClaimRequest) { r.Wait = 50 * time.Millisecond })
	claim("with takeover", "a", "ann", func(_ *patron, r *interrex.ClaimRequest) { r.Takeover = true })
	claim("with takeover of another's", "a", "bob", func(_ *patron, r *interrex.ClaimRequest) { r.Takeover = true })
	claim("behind a fence", "f", "ann", func(p *patron, r *interrex.ClaimRequest) {
		r.Fence = interrex.Fence{Key: p.key("a"), Token: p.tokens["a"]}
	})
	claim("behind a fence that is down", "g", "ann", func(p *patron, r *interrex.ClaimRequest) {
		r.Fence = interrex.Fence{Key: p.key("a"), Token: p.tokens["a"] + 5}
	})
	claim("behind a fence without a token", "g", "ann", func(p *patron, r *interrex.ClaimRequest) {
		r.Fence = interrex.Fence{Key: p.key("a")}
	})
	claim("of a malformed key", "\a", "ann", nil)
	claim("with a long holder", "g", strings.Repeat("x", 257), nil)
	claim("with a short ttl", "g", "ann", func(_ *patron, r *interrex.ClaimRequest) { r.TTL = time.Millisecond })
	claim("with a negative ttl", "g", "ann", func(_ *patron, r *interrex.ClaimRequest) { r.TTL = -time.Second })
	claim("with a long request id", "g", "ann", func(_ *patron, r *interrex.ClaimRequest) { r.RequestID = strings.Repeat("x", 65) })
	claim("with much metadata", "g", "ann", func(_ *patron, r *interrex.ClaimRequest) {
		r.Metadata = map[string]string{"m": strings.Repeat("x", 4096)}
	})

	extend := func(name, key string, old interrex.Token, ttl time.Duration) {
		add("extend "+name, func(ctx context.Context, p *patron) string {
			token := p.tokens[key]
			if old > 0 {
				token = old
			}
			return p.leaseAnswer(p.leases.Extend(ctx, interrex.ExtendRequest{Key: p.key(key), Token: token, TTL: ttl}))
		})
	}
	extend("by two hours", "a", 0, 2*time.Hour)
	extend("by its own ttl", "a", 0, 0)
	extend("under an old token", "a", 1, 0)
	extend("of what nobody holds", "free", 1, 0)
	extend("without a token", "free", 0, 0)
	extend("by a short ttl", "a", 0, time.Millisecond)

	for _, attempt := range []uint32{0, 1} {
		add(fmt.Sprint("transfer, attempt ", attempt), func(ctx context.Context, p *patron) string {
			if attempt == 0 {
				p.tokens["first"] = p.tokens["b"]
			}
			return p.leaseAnswer(p.leases.Transfer(ctx, interrex.TransferRequest{
				Key: p.key("b"), Token: p.tokens["first"], To: "bob", TTL: 2 * time.Hour, RequestID: p.namespace + " to bob", Attempt: attempt,
			}))
		})
	}
	add("transfer without an id", func(ctx context.Context, p *patron) string {
		return p.leaseAnswer(p.leases.Transfer(ctx, interrex.TransferRequest{Key: p.key("b"), Token: p.tokens["b"], To: "cat"}))
	})
	add("transfer under an old token", func(ctx context.Context, p *patron) string {
		return p.leaseAnswer(p.leases.Transfer(ctx, interrex.TransferRequest{Key: p.key("b"), Token: 1, To: "cat"}))
	})
	add("transfer to nobody", func(ctx context.Context, p *patron) string {
		return p.leaseAnswer(p.leases.Transfer(ctx, interrex.TransferRequest{Key: p.key("b"), Token: p.tokens["b"]}))
	})

	pin := func(name, key string, r interrex.PinRequest) {
		add("pin "+name, func(ctx context.Context, p *patron) string {
			r.Key = p.key(key)
			return p.leaseAnswer(p.leases.Pin(ctx, r))
		})
	}
	pin("for good", "a", interrex.PinRequest{Owner: "ops", Reason: "upgrade"})
	pin("for a while", "a", interrex.PinRequest{Owner: "dba", For: time.Hour})
	claim("of what is pinned", "a", "bob", nil)
	pin("of what nobody holds", "free", interrex.PinRequest{Owner: "ops"})
	pin("with a long reason", "a", interrex.PinRequest{Owner: "ops", Reason: strings.Repeat("x", 1025)})
	pin("without an owner", "a", interrex.PinRequest{})
	for _, owner := range []string{"ops", "nobody", ""} {
		add("unpin of "+owner, func(ctx context.Context, p *patron) string {
			return p.leaseAnswer(p.leases.Unpin(ctx, interrex.PinRequest{Key: p.key("a"), Owner: owner}))
		})
	}

	for _, c := range []interrex.Consistency{interrex.Default, interrex.Strong} {
		add("get that is strong", func(ctx context.Context, p *patron) string {
			return p.get(ctx, "a", interrex.ReadOptions{Consistency: c})
		})
	}
	add("get of the last revision", func(ctx context.Context, p *patron) string {
		return p.get(ctx, "a", interrex.ReadOptions{Consistency: interrex.Eventual, MinRevision: p.last})
	})
	for _, c := range []interrex.Consistency{interrex.Default, interrex.Strong, interrex.Eventual} {
		add("get of a revision to come", func(ctx context.Context, p *patron) string {
			return p.get(ctx, "a", interrex.ReadOptions{Consistency: c, MinRevision: 1 << 40})
		})
	}
	add("get of what nobody holds", func(ctx context.Context, p *patron) string { return p.get(ctx, "free", interrex.ReadOptions{}) })
	add("get of a malformed key", func(ctx context.Context, p *patron) string { return p.get(ctx, "", interrex.ReadOptions{}) })
	list := func(name string, r interrex.ListRequest) {
		add("list "+name, func(ctx context.Context, p *patron) string {
			r.Namespace = p.namespace
			return p.list(ctx, r)
		})
	}
	for _, c := range []interrex.Consistency{interrex.Default, interrex.Strong} {
		list("that is strong", interrex.ListRequest{ReadOptions: interrex.ReadOptions{Consistency: c}})
	}
	list("of a page", interrex.ListRequest{PageSize: 2})
	list("of a prefix", interrex.ListRequest{Prefix: "w"})
	list("with too large a page", interrex.ListRequest{PageSize: 1001})
	list("with a page token that is none", interrex.ListRequest{PageToken: "?"})
	for _, name := range []string{"b", "free", ""} {
		add("history of "+name, func(ctx context.Context, p *patron) string { return p.history(ctx, name) })
	}

	for _, attempt := range []uint32{0, 1} {
		add(fmt.Sprint("revoke, attempt ", attempt), func(ctx context.Context, p *patron) string {
			return p.revokeAnswer(p.leases.Revoke(ctx, interrex.RevokeRequest{
				Key: p.key("b"), Token: p.tokens["b"], RequestID: p.namespace + " end", Attempt: attempt,
			}))
		})
	}
	revoke := func(name, key string, token interrex.Token, force bool) {
		add("revoke "+name, func(ctx context.Context, p *patron) string {
			return p.revokeAnswer(p.leases.Revoke(ctx, interrex.RevokeRequest{Key: p.key(key), Token: token, Force: force}))
		})
	}
	revoke("under an old token", "a", 1, false)
	revoke("without a token", "a", 0, false)
	revoke("by force", "a", 0, true)
	revoke("by force of what nobody holds", "a", 0, true)
	revoke("of what nobody holds", "a", 1, false)
	// It is ended at once: its expiry would take a revision of the next way.
	claim("with the default ttl", "d", "ann", func(_ *patron, r *interrex.ClaimRequest) { r.TTL = 0 })
	add("revoke", func(ctx context.Context, p *patron) string {
		return p.revokeAnswer(p.leases.Revoke(ctx, interrex.RevokeRequest{Key: p.key("d"), Token: p.tokens["d"]}))
	})
	return all
}
