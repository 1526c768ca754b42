package featuretests

import (
	"os"
	"path/filepath"
)

// What happens to an agent whose disk is damaged.
const (
	isUnharmed = "unharmed" // nothing is missing, and it continues
	isNoted    = "noted"    // the same, and it logs what is damaged
	isHealed   = "healed"   // what is missing was brought back by the others
	isRefused  = "refused"  // it does not take part, and logs why
)

// rot is one way in which a disk is damaged, and what happens to the agent.
type rot struct {
	name       string
	do         func(d *disk)
	one, three string // for an agent alone, and for one of three; "": not tried there
	says       string // in the agent's log; a regular expression
	copied     bool   // the agent must connect to all others first
}

const stored = `has stored more, up to`

// rots are the classes of damage.
func rots() []rot {
	all := []rot{
		{name: "log/header flipped", do: func(d *disk) { d.flip(d.tail(), 8, 32) }, one: isNoted, three: isNoted, says: "log segment .* is damaged"},
		{name: "log/head of an entry flipped", do: func(d *disk) { e := d.entry(true); d.flip(e.file, e.at, e.at+8) }, one: isRefused, three: isHealed, says: stored},
		{name: "log/entry flipped", do: func(d *disk) { e := d.entry(true); d.flip(e.file, e.at+8, e.at+24) }, one: isRefused, three: isHealed, says: stored},
		{name: "log/last entry flipped", do: func(d *disk) {
			all := d.entries(true)
			e := all[len(all)-1]
			d.flip(e.file, e.at+8, e.at+24)
		}, one: isRefused, three: isHealed, says: stored},
		{name: "log/head of an entry below the snapshot flipped", do: func(d *disk) { e := d.entry(false); d.flip(e.file, e.at, e.at+8) }, one: isNoted, three: isNoted, says: "log segment .* is damaged"},
		{name: "log/entry below the snapshot flipped", do: func(d *disk) { e := d.entry(false); d.flip(e.file, e.at+8, e.at+24) }, one: isNoted, three: isNoted, says: "log segment .* is damaged"},
		{name: "log/commit flipped", do: func(d *disk) { c := d.commit(); d.flip(c.file, c.at, c.at+8) }, one: isNoted, three: isNoted, says: "log segment .* is damaged"},
		{name: "log/last commit flipped", do: func(d *disk) { d.flip(d.tail(), d.end()-8, d.end()) }, one: isNoted, three: isNoted, says: "log segment .* is damaged"},
		{name: "log/block zeroed", do: func(d *disk) { d.block(d.entry(true)) }, one: isRefused, three: isHealed, says: stored},
		{name: "log/block at a commit zeroed", do: func(d *disk) { d.block(d.commit()) }, one: isRefused, three: isHealed, says: stored},
		{name: "log/block below the snapshot zeroed", do: func(d *disk) { d.block(d.entries(false)[0]) }, one: isNoted, three: isNoted, says: "log segment .* is damaged"},
		{name: "log/cut", do: func(d *disk) { e := d.entry(true); d.cut(e.file, e.at+1+d.random.IntN(e.end-e.at-1)) }, one: isRefused, three: isHealed, says: stored},
		{name: "log/cut at a commit", do: func(d *disk) { d.cut(d.tail(), d.commit().end) }, one: isRefused, three: isHealed, says: stored},
		{name: "log/cut to its header", do: func(d *disk) { d.cut(d.tail(), 32) }, one: isRefused, three: isHealed, says: "log segment .* holds nothing from index"},
		{name: "log/removed", do: func(d *disk) { d.remove(d.tail()) }, one: isRefused, three: isHealed, says: "log segment .* is missing"},
		{name: "log/behind the end flipped", do: func(d *disk) { d.flip(d.tail(), d.end()+64, d.end()+4096) }, one: isUnharmed, three: isUnharmed},
		{name: "floor/one copy flipped", do: func(d *disk) { d.flip(floorFile, 0, 40) }, one: isUnharmed, three: isUnharmed},
		{name: "floor/block zeroed", do: func(d *disk) { d.zero(floorFile, 4096, 4608) }, one: isUnharmed, three: isUnharmed},
		{name: "floor/both copies flipped", do: func(d *disk) { d.flip(floorFile, 4096, 4136); d.flip(floorFile, 4608, 4648) }, one: isRefused, three: isRefused, says: "promised is lost"},
		{name: "floor and log/removed and cut", do: func(d *disk) { d.remove(floorFile); d.cut(d.tail(), d.commit().end) }, one: isRefused, three: isRefused, says: "promised is lost"},
		{name: "log and list/cut and removed", do: func(d *disk) { d.cut(d.tail(), d.commit().end); d.remove(segmentsFile) }, one: isRefused, three: isHealed, says: stored},
		{name: "log and snapshot/both flipped", do: func(d *disk) {
			e := d.entry(true)
			d.flip(e.file, e.at, e.at+8)
			d.flipIn(filepath.Join(d.snapshot().name, "state.bin"))
		}, one: isRefused, three: isHealed, says: stored},
		{name: "log and snapshots/all removed", do: func(d *disk) {
			for _, name := range d.segments() {
				d.remove(name)
			}
			d.remove("raft/snapshots")
		}, one: isRefused, three: isHealed, says: "is intact up to index 0, and this agent has stored more, up to"},
		{name: "raft/removed", do: func(d *disk) { d.remove("raft") }, one: isRefused, three: isRefused, says: "raft's directory is missing or empty"},
		{name: "raft/emptied", do: func(d *disk) { d.remove("raft"); d.must(os.Mkdir(d.path("raft"), 0o700)) }, one: isRefused, three: isRefused, says: "raft's directory is missing or empty"},
		{name: "snapshot/removed", do: func(d *disk) { d.remove(d.snapshot().name) }, one: isUnharmed, three: isUnharmed},
		{name: "snapshot/check removed", do: func(d *disk) { d.remove(filepath.Join(d.snapshot().name, "check")) }, one: isUnharmed, three: isUnharmed},
		{name: "VERSION/version flipped", do: func(d *disk) { d.flip(stampFile, 0, 34) }, one: isRefused, three: isRefused, says: "cannot use raft directory"},
		{name: "VERSION/file flipped", do: func(d *disk) { d.flip(stampFile, 40, 42) }, one: isNoted, three: isNoted, says: "was copied or moved", copied: true},
		{name: "VERSION/removed", do: func(d *disk) { d.remove(stampFile) }, one: isRefused, three: isRefused, says: "no VERSION file"},
		{name: "peers/removed", do: func(d *disk) { d.remove(peersFile) }, three: isUnharmed},
		{name: "peers/flipped", do: func(d *disk) { d.flipIn(peersFile) }, three: isNoted, says: "the memory is rebuilt as they are met"},
		{name: "peers/cut", do: func(d *disk) { d.cut(peersFile, 9) }, three: isNoted, says: "the memory is rebuilt as they are met"},
	}
	for _, f := range []struct {
		kind, what string
		file       func(d *disk) string
		becomes    string
		says       string
	}{
		{"floor", "whole file ", named(floorFile), isRefused, "promised is lost"},
		{"vote", "", named(voteFile), isRefused, "promised is lost"},
		{"list", "", named(segmentsFile), isNoted, "list of log segments.* rebuilt from"},
		{"identity", "", named(identityFile), isRefused, "cannot read identity"},
		{"snapshot", "state ", ofSnapshot("state.bin"), isNoted, "snapshot .* is damaged"},
		{"snapshot", "meta ", ofSnapshot("meta.json"), isNoted, "snapshot .* is damaged"},
		{"snapshot", "check ", ofSnapshot("check"), isNoted, "snapshot .* is damaged"},
	} {
		add := func(how string, do func(d *disk, name string)) {
			all = append(all, rot{name: f.kind + "/" + f.what + how, do: func(d *disk) { do(d, f.file(d)) }, one: f.becomes, three: f.becomes, says: f.says})
		}
		if f.kind != "floor" {
			add("flipped", (*disk).flipIn)
		}
		add("zeroed", func(d *disk, name string) { d.zero(name, 0, 1<<20) })
		add("cut", func(d *disk, name string) { d.cut(name, len(d.read(name))/2) })
		if f.what != "check " {
			add("removed", (*disk).remove)
		}
	}
	return all
}

func named(name string) func(*disk) string { return func(*disk) string { return name } }

func ofSnapshot(name string) func(*disk) string {
	return func(d *disk) string { return filepath.Join(d.snapshot().name, name) }
}

func (d *disk) flipIn(name string) { d.flip(name, 0, len(d.read(name))) }

// block zeroes the disk block in which a frame begins.
func (d *disk) block(f frame) { at := f.at / 512 * 512; d.zero(f.file, at, at+512) }
