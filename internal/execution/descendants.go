package execution

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

// Killing takes rounds: what forks in one round is killed in the next.
const (
	killRounds = 50
	killPause  = 20 * time.Millisecond
)

// Process is a running process.
type Process struct {
	PID, Parent, Group int
	Name               string
}

// String returns the name and the pid.
func (p Process) String() string { return fmt.Sprintf("%s (pid %d)", p.Name, p.PID) }

// Descendants lists the running children of a process, their children, and so on,
// except the processes except and their descendants. If the process inherits
// orphans, that is everything that came of it.
func Descendants(root int, except ...int) (all []Process) {
	children := map[int][]Process{}
	files, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well formed
	for _, file := range files {
		if p, ok := readProcess(file); ok {
			children[p.Parent] = append(children[p.Parent], p)
		}
	}
	for next := []int{root}; len(next) > 0; next = next[1:] {
		for _, p := range children[next[0]] {
			if slices.Contains(except, p.PID) {
				continue
			}
			all = append(all, p)
			next = append(next, p.PID)
		}
	}
	return all
}

// readProcess reads a stat file of /proc: the pid, the name in parentheses, which
// may contain parentheses, then the state, the parent and the group. A zombie is
// not running.
func readProcess(file string) (p Process, ok bool) {
	text, err := os.ReadFile(file)
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if err != nil || open < 0 || end < open { // it has ended meanwhile
		return p, false
	}
	fields := bytes.Fields(text[end+1:])
	if len(fields) < 3 || fields[0][0] == 'Z' || fields[0][0] == 'X' {
		return p, false
	}
	p.Name = string(text[open+1 : end])
	p.PID, _ = strconv.Atoi(string(bytes.TrimSpace(text[:open])))
	p.Parent, _ = strconv.Atoi(string(fields[1]))
	p.Group, _ = strconv.Atoi(string(fields[2]))
	return p, p.PID > 0
}

// killAll kills processes. A process that has already ended is not an error.
func killAll(all []Process) {
	for _, p := range all {
		_ = syscall.Kill(p.PID, syscall.SIGKILL)
	}
}

// extinguish kills what list returns until it returns nothing, or the rounds are over.
func extinguish(list func() []Process) {
	for range killRounds {
		all := list()
		if len(all) == 0 {
			return
		}
		killAll(all)
		time.Sleep(killPause)
	}
}
