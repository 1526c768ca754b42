package execution

import "time"

// order is what the reaper is told: to start a command, to kill it at its end,
// which replaces the end before, or to end itself and leave everything running.
type order struct {
	Path string   `json:"path,omitempty"`
	Args []string `json:"args,omitempty"`
	Env  []string `json:"env,omitempty"`
	// Front is the group that leaves the foreground of the terminal to the
	// command; 0 if there is none.
	Front int           `json:"front,omitempty"`
	End   time.Duration `json:"end,omitempty"` // see sinceBoot
	Done  bool          `json:"done,omitempty"`
}

// report is what the reaper reports.
type report struct {
	Event  string        `json:"event"`
	Number uint32        `json:"number,omitempty"`
	At     time.Duration `json:"at"` // see sinceBoot
}

// The events of a report, and its number.
const (
	reaperReady    = "ready"
	commandStarted = "started" // its pid, which is its group
	commandFailed  = "failed"  // to start: an errno
	commandStopped = "stopped" // by a signal: its number
	commandExited  = "exited"  // a wait status
	endPassed      = "late"    // everything is killed, or nothing was started
	nothingLeft    = "empty"   // no process that came of the command is left
)
