package admission

import (
	"encoding/json"
	"sync"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
)

// auditRate is how many lines an Audit logs a second, and auditBurst how many at once.
const (
	auditRate  = 20
	auditBurst = 100
)

// Audit logs refused calls and what operators do, as a JSON object a line. nil logs
// nothing.
type Audit struct {
	logger interrex.Logger
	clock  clock.Clock

	mu      sync.Mutex
	left    float64 // lines that may be logged at once
	at      time.Time
	dropped int // since the last line
}

// NewAudit returns an Audit that logs to a logger.
func NewAudit(to interrex.Logger, by clock.Clock) *Audit {
	return &Audit{logger: to, clock: by, left: auditBurst, at: by.Now()}
}

// auditLine is one line.
type auditLine struct {
	Caller   string `json:"caller"` // empty: it is not known
	Operator bool   `json:"operator"`
	Door     string `json:"door"`
	Call     string `json:"call"`
	Key      string `json:"key,omitempty"`
	Result   string `json:"result"` // allowed, or the kind of the refusal
	Reason   string `json:"reason,omitempty"`
	Dropped  int    `json:"dropped,omitempty"` // lines that were too many, before this one
}

var doors = [...]string{Public: "api", Socket: "socket", Peer: "peer", Inside: "inside"}

// Judged logs a call's refusal, or that an operator's act was admitted.
func (a *Audit) Judged(c Caller, call, key string, act bool, err error) {
	kind := interrex.KindOf(err)
	refused := kind == interrex.ErrDenied || kind == interrex.ErrUnauthenticated
	if a == nil || c.Door == Peer || c.Door == Inside || !refused && (err != nil || !act) {
		return
	}
	line := auditLine{Caller: c.Name, Operator: c.Operator, Door: doors[c.Door], Call: call, Key: key, Result: "allowed"}
	if refused {
		line.Result, line.Reason = string(kind), err.Error()
	}
	a.log(line)
}

// refused logs the refusal of a request whose caller is not known.
func (a *Audit) refused(c Caller, path string, err error) { a.Judged(c, path, "", false, err) }

func (a *Audit) log(line auditLine) {
	a.mu.Lock()
	now := a.clock.Now()
	a.left = min(auditBurst, a.left+now.Sub(a.at).Seconds()*auditRate)
	a.at = now
	if a.left < 1 {
		a.dropped++
		a.mu.Unlock()
		return
	}
	a.left--
	line.Dropped, a.dropped = a.dropped, 0
	a.mu.Unlock()
	text, err := json.Marshal(line)
	if err != nil {
		return // only strings: it cannot fail
	}
	a.logger.Infof("%s", text)
}
