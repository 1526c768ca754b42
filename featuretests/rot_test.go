package featuretests

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft-wal/segment"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/config"
)

// Disks are damaged in a random sample of ways, or in all of them.
var (
	rotAll  = flag.Bool("rot-all", false, "damage disks in every way: some minutes; a sample otherwise")
	rotOnly = flag.String("rot-only", "", "damage disks only in the ways whose names match this regular expression")
	rotSeed = flag.Uint64("rot-seed", 0, "seed of the sample, and of where a disk is damaged; 0: a random one")
)

// rotting is a fleet whose disks are damaged, and what it has granted.
type rotting struct {
	*fleet
	random  *rand.Rand
	granted map[interrex.Key]interrex.Token
	unsure  map[interrex.Key]bool // its claim may have happened
	newest  interrex.Token
	n       int
	dialled map[string]*client.Client
}

// through returns the leases through the given members.
func (r *rotting) through(members ...int) interrex.Leases {
	r.t.Helper()
	name := fmt.Sprint(members)
	if r.dialled[name] == nil {
		r.dialled[name] = r.client(members...)
	}
	return r.dialled[name].Leases()
}

func newRotting(t *testing.T, n int) *rotting {
	t.Helper()
	seed := *rotSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("again with -rot-seed %d", seed)
	r := &rotting{
		fleet: newFleet(t, n, func(_ int, c *config.Config) {
			c.Raft.SnapshotThreshold, c.Raft.SnapshotInterval = 64, time.Second
		}),
		random: rand.New(rand.NewPCG(seed, uint64(n))), granted: map[interrex.Key]interrex.Token{}, unsure: map[interrex.Key]bool{},
		dialled: map[string]*client.Client{},
	}
	return r
}

// chosen are the classes of damage of this run.
func (r *rotting) chosen(of func(rot) string, sample int) (all []rot) {
	only := regexp.MustCompile(*rotOnly)
	for _, c := range rots() {
		if of(c) != "" && only.MatchString(c.name) {
			all = append(all, c)
		}
	}
	if len(all) == 0 {
		r.t.Fatalf("no way to damage a disk matches %q", *rotOnly)
	}
	r.random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if !*rotAll && *rotOnly == "" {
		all = all[:sample]
	}
	return all
}

func (r *rotting) disk(i int) *disk {
	return &disk{t: r.t, dir: r.members[i].config.Agent.DataDir, random: r.random}
}

// claim claims one more name through the members, within a time, and checks that its
// token is higher than all that were granted before.
func (r *rotting) claim(within time.Duration, members ...int) error {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), within)
	defer cancel()
	r.n++
	k := key(fmt.Sprintf("rot/%05d", r.n))
	got, err := r.through(members...).Claim(ctx, interrex.ClaimRequest{Key: k, Holder: "ann", TTL: 12 * time.Hour})
	if err != nil {
		r.unsure[k] = true
		return err
	}
	if got.Lease.Token <= r.newest {
		r.t.Fatalf("token %s is granted, and %s was granted before", got.Lease.Token, r.newest)
	}
	r.granted[k], r.newest = got.Lease.Token, got.Lease.Token
	return nil
}

// write claims n names.
func (r *rotting) write(n int, members ...int) {
	r.t.Helper()
	for range n {
		if err := r.claim(patience, members...); err != nil {
			r.t.Fatal(err)
		}
	}
}

// whole checks that each of the members has all that was granted, and grants more.
func (r *rotting) whole(members ...int) {
	r.t.Helper()
	for _, i := range members {
		r.answers(i)
		r.write(1, i)
	}
	for _, i := range members {
		r.same(i)
	}
}

// same compares what a member reads strongly with what was granted.
func (r *rotting) same(i int) {
	r.t.Helper()
	ask := interrex.ListRequest{Namespace: "rot", PageSize: 500, ReadOptions: interrex.ReadOptions{Consistency: interrex.Strong}}
	leases, there := r.through(i), map[interrex.Key]interrex.Token{}
	for {
		page, err := leases.List(r.t.Context(), ask)
		if err != nil {
			r.t.Fatalf("%s: %v", r.id(i), err)
		}
		for _, l := range page.Items {
			if !r.unsure[l.Key] {
				there[l.Key] = l.Token
			}
		}
		if ask.PageToken = page.NextPageToken; ask.PageToken == "" {
			break
		}
	}
	if maps.Equal(there, r.granted) {
		return
	}
	for k, token := range r.granted {
		if there[k] != token {
			r.t.Errorf("%s: %s was granted under token %s, and there is %s", r.id(i), k, token, there[k])
		}
	}
	r.t.Fatalf("%s has %d leases, and %d were granted", r.id(i), len(there), len(r.granted))
}

// fresh kills a member when enough of its log is above its newest snapshot, and it
// has more than that snapshot for what is below.
func (r *rotting) fresh(i int, through ...int) *disk {
	r.t.Helper()
	for range 20 {
		for r.disk(i).snapshot().index == 0 {
			r.write(40, through...)
			pause(r.t.Context(), time.Second) // the period of a look whether one is due
		}
		r.write(12, through...)
		r.kill(i)
		d := r.disk(i)
		if begin := d.frames()[0].index; len(d.entries(true)) > 8 && len(d.entries(false)) > 8 && d.checked() && (begin == 1 || d.olderSnapshot() >= begin) {
			return d
		}
		r.start(i)
		r.answers(i)
		before := r.disk(i).snapshot().index
		eventually(r.t, "another snapshot", func() error {
			if r.disk(i).snapshot().index == before {
				r.write(10, through...)
				return errors.New("there is no other snapshot")
			}
			return nil
		})
	}
	r.t.Fatal("each snapshot covers the log")
	return nil
}

// damaged damages a member that does not run, and starts it. says reads what it logs
// from then on.
func (r *rotting) damaged(i int, c rot, d *disk) (from int) {
	r.t.Helper()
	c.do(d)
	r.t.Logf("%s, %s: %s", c.name, r.id(i), d.did)
	from = len(r.log(i))
	r.start(i)
	return from
}

func (r *rotting) log(i int) []byte {
	b, _ := os.ReadFile(r.members[i].log)
	return b
}

// says waits until a member has logged what is wrong.
func (r *rotting) says(i int, from int, c rot) {
	r.t.Helper()
	if c.says == "" {
		return
	}
	eventually(r.t, fmt.Sprintf("%s says %q", r.id(i), c.says), func() error {
		if !regexp.MustCompile(c.says).Match(r.log(i)[from:]) {
			return fmt.Errorf("it does not")
		}
		return nil
	})
}

// undo restores a refused member's disk.
func (r *rotting) undo(i int, d *disk, kept string) {
	r.t.Helper()
	if err := r.members[i].cmd.Process.Signal(syscall.SIGKILL); err == nil {
		r.exit(i)
	}
	<-r.members[i].gone
	d.putBack(kept)
	r.start(i)
}

// TestRotOfAnAgentAlone damages the disk of an agent that is a cluster of one. No
// other agent has what it has lost: it starts with all that it had, or not at all.
func TestRotOfAnAgentAlone(t *testing.T) {
	r := newRotting(t, 1)
	for _, c := range r.chosen(func(c rot) string { return c.one }, 8) {
		d := r.fresh(0)
		before, kept := d.promised(), filepath.Join(r.dir, "kept")
		d.keep(kept)
		from := r.damaged(0, c, d)
		if c.one == isRefused {
			if err := r.claim(2*time.Second, 0); err == nil {
				t.Fatalf("%s: the agent grants leases", c.name)
			}
			r.says(0, from, c)
			r.undo(0, d, kept)
		} else {
			r.whole(0)
			r.says(0, from, c)
			d.must(os.RemoveAll(kept))
		}
		r.whole(0)
		r.kept(0, before)
	}
}

// kept checks that a member knows all that it has promised.
func (r *rotting) kept(i int, before promised) {
	r.t.Helper()
	now := r.disk(i).promised()
	if now.term < before.term || slices.Compare(now.floor[:], before.floor[:]) < 0 || now.incarnation != before.incarnation {
		r.t.Fatalf("%s had promised %+v, and knows %+v", r.id(i), before, now)
	}
}

// TestRotOfOneOfThree damages the disk of one of three agents, when only it and one
// other have stored what was granted last, and that other one is off.
func TestRotOfOneOfThree(t *testing.T) {
	r := newRotting(t, 3)
	for _, c := range r.chosen(func(c rot) string { return c.three }, 4) {
		r.trial(c)
	}
}

func (r *rotting) trial(c rot) {
	r.t.Helper()
	order := r.random.Perm(3)
	if leader := r.leader(); r.random.IntN(2) == 0 { // the former leader's disk too
		order = append([]int{leader}, r.others(leader)...)
	}
	bad, rest, away := order[0], order[1], order[2]
	r.kill(away)
	d := r.fresh(bad, bad, rest)
	before, kept := d.promised(), filepath.Join(r.dir, "kept")
	d.keep(kept)
	r.kill(rest)
	from := r.damaged(bad, c, d)
	r.start(away)
	r.alone(bad, away, c)
	r.says(bad, from, c)
	r.start(rest)
	if c.three == isRefused {
		r.whole(rest, away)
		r.undo(bad, d, kept)
	} else {
		d.must(os.RemoveAll(kept))
	}
	r.whole(0, 1, 2)
	r.kept(bad, before)
	for i := range r.members { // what was brought back is on disk
		r.kill(i)
	}
	r.start(bad)
	r.start(away)
	r.whole(bad, away)
	r.start(rest)
	r.whole(0, 1, 2)
}

// alone checks the damaged member together with one that was away when the last
// leases were granted.
func (r *rotting) alone(bad, away int, c rot) {
	r.t.Helper()
	if c.three == isUnharmed || c.three == isNoted && !c.copied {
		r.whole(bad, away)
		return
	}
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
		if err := r.claim(time.Second, bad, away); err == nil {
			r.t.Fatalf("%s: two agents that lack leases that were granted go on", c.name)
		}
	}
}

// TestRotUnderARunningLeader damages entries in the leader's file that it reads only
// for an agent that was off: all later ones are in its memory.
func TestRotUnderARunningLeader(t *testing.T) {
	r := newRotting(t, 3)
	leader := r.leader()
	away, rest := r.others(leader)[0], r.others(leader)[1]
	r.write(20)
	r.kill(away)
	r.write(80, leader, rest)
	d := r.disk(leader)
	var all []frame
	for _, f := range d.frames() {
		if f.kind == segment.FrameEntry {
			all = append(all, f)
		}
	}
	e := all[len(all)-60]
	d.flip(e.file, e.at+8, e.at+24)
	t.Logf("%s leads: %s", r.id(leader), d.did)
	before, from := d.promised(), len(r.log(leader))
	r.start(away)
	r.says(leader, from, rot{says: fmt.Sprintf("cannot read log entry %d: damaged on disk", e.index)})
	r.whole(0, 1, 2)
	r.kept(leader, before)
	r.lives(leader)
	for i := range r.members {
		r.kill(i)
	}
	r.start(leader)
	r.start(away)
	r.whole(leader, away)
}

// TestALogThatNobodyHasIsSaidByEachMember damages two of three agents while the
// third is off: neither may lead, since each has stored more than both still have.
func TestALogThatNobodyHasIsSaidByEachMember(t *testing.T) {
	if !*rotAll {
		t.Log("it takes more than a minute: only with -rot-all")
		return
	}
	r := newRotting(t, 3)
	r.fresh(0, 0, 1, 2)
	r.kill(1)
	r.kill(2) // it has all of it
	for i := range 2 {
		d := r.disk(i)
		d.cut(d.tail(), d.commit().end)
		r.start(i)
	}
	ends := regexp.MustCompile(`no member may lead: the log of n. ends at index \d+ of term \d+, and it had stored entries up to index \d+ of term \d+; the log of n. ends at`)
	for i := range 2 {
		said := ""
		for end := time.Now().Add(4 * patience); !ends.MatchString(said); pause(t.Context(), time.Second) {
			if time.Now().After(end) {
				t.Fatalf("%s does not report that no member has the log: %q", r.id(i), said)
			}
			said = ""
			if s, err := r.status(i); err == nil {
				for _, a := range s.GetAlarms() {
					if a.GetName() == "log-lost" {
						said = a.GetText()
					}
				}
			}
		}
		t.Logf("%s: %s", r.id(i), said)
	}
	if err := r.claim(2*time.Second, 0, 1); err == nil {
		t.Fatal("two damaged agents grant leases")
	}
	r.start(2)
	for i := range 2 {
		eventually(t, r.id(i)+" has no alarm", func() error {
			s, err := r.status(i)
			if err == nil && len(s.GetAlarms()) > 0 {
				err = fmt.Errorf("it has %v", s.GetAlarms())
			}
			return err
		})
	}
}
