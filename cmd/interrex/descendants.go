package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// Killing takes rounds: what is forked in one of them is killed in the next.
const (
	killRounds = 50
	killPause  = 20 * time.Millisecond
)

// descendant is a process that lives.
type descendant struct {
	pid, parent, group int
	name               string
}

// String names it as people do.
func (p descendant) String() string { return fmt.Sprintf("%s (pid %d)", p.name, p.pid) }

// descendants lists the living children of a process, their children, and so on,
// without those that come of the processes except. It is all that came of the
// process if that inherits orphans.
func descendants(root int, except ...int) (all []descendant) {
	children := map[int][]descendant{}
	files, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well formed
	for _, file := range files {
		if p, ok := readProcess(file); ok {
			children[p.parent] = append(children[p.parent], p)
		}
	}
	for next := []int{root}; len(next) > 0; next = next[1:] {
		for _, p := range children[next[0]] {
			if slices.Contains(except, p.pid) {
				continue
			}
			all = append(all, p)
			next = append(next, p.pid)
		}
	}
	return all
}

// readProcess reads a stat file of /proc: the pid, the name in parentheses, which
// may contain any, then the state, the parent and the group. A zombie does not
// live.
func readProcess(file string) (p descendant, ok bool) {
	text, err := os.ReadFile(file)
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if err != nil || open < 0 || end < open { // it has ended meanwhile
		return p, false
	}
	fields := bytes.Fields(text[end+1:])
	if len(fields) < 3 || fields[0][0] == 'Z' || fields[0][0] == 'X' {
		return p, false
	}
	p.name = string(text[open+1 : end])
	p.pid, _ = strconv.Atoi(string(bytes.TrimSpace(text[:open])))
	p.parent, _ = strconv.Atoi(string(fields[1]))
	p.group, _ = strconv.Atoi(string(fields[2]))
	return p, p.pid > 0
}

// killAll kills processes. That one has gone already is no error.
func killAll(all []descendant) {
	for _, p := range all {
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
	}
}

// extinguish kills what list lists until that is nothing, or the rounds are over.
func extinguish(list func() []descendant) {
	for range killRounds {
		all := list()
		if len(all) == 0 {
			return
		}
		killAll(all)
		time.Sleep(killPause)
	}
}
