package admission

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wording"
)

// auditRate is how many lines an Audit logs a second, auditBurst how many at once,
// auditPath how many bytes of a path, and auditText of a key or a reason: anyone may
// send a request.
const (
	auditRate  = 20
	auditBurst = 100
	auditPath  = 256
	auditText  = 1024
)

// Audit logs refused calls and what operators do, as a JSON object a line. nil logs
// nothing.
type Audit struct {
	logger interrex.Logger
	clock  clock.Clock

	mu sync.Mutex
	// Callers that are not known have a share of their own: they cannot hide what
	// the others do.
	known, strangers auditShare
}

// auditShare limits lines.
type auditShare struct {
	left    float64 // lines that may be logged at once
	at      time.Time
	dropped int // since the last line
}

// NewAudit returns an Audit that logs to a logger.
func NewAudit(to interrex.Logger, by clock.Clock) *Audit {
	full := auditShare{left: auditBurst, at: by.Now()}
	return &Audit{logger: to, clock: by, known: full, strangers: full}
}

// auditLine is one line.
type auditLine struct {
	Caller   string `json:"caller"` // empty: it is not known
	Operator bool   `json:"operator"`
	Door     string `json:"door"`
	Remote   string `json:"remote"`
	Call     string `json:"call"`
	Key      string `json:"key,omitempty"`
	Result   string `json:"result"` // allowed, or the kind of the refusal
	Reason   string `json:"reason,omitempty"`
	Dropped  int    `json:"dropped,omitempty"` // lines that were too many, before this one
}

var doors = [...]string{Public: "api", Socket: "socket", Peer: "peer", Inside: "inside", Forwarded: "forwarded"}

// Judged logs a call's refusal, or that an operator's act was admitted.
func (a *Audit) Judged(c Caller, call, key string, act bool, err error) {
	kind := interrex.KindOf(err)
	refused := kind == interrex.ErrDenied || kind == interrex.ErrUnauthenticated
	if a == nil || c.Door == Peer || c.Door == Inside || !refused && (err != nil || !act) {
		return
	}
	line := auditLine{Caller: c.Name, Operator: c.Operator, Door: doors[c.Door], Remote: c.Remote, Call: call, Key: wording.Line(key, auditText), Result: "allowed"}
	if refused {
		line.Result, line.Reason = string(kind), wording.Line(err.Error(), auditText)
	}
	a.log(line)
}

// Refuse answers a request at a door with an error, and logs that.
func (a *Audit) Refuse(w http.ResponseWriter, r *http.Request, d Door, err error) {
	a.refused(Caller{Door: d, Remote: RemoteOf(d, r)}, r.URL.Path, err)
	Refuse(w, r, err)
}

// refused logs the refusal of a request whose caller is not known.
func (a *Audit) refused(c Caller, path string, err error) {
	a.Judged(c, wording.Line(path, auditPath), "", false, err)
}

func (a *Audit) log(line auditLine) {
	a.mu.Lock()
	share := &a.known
	if line.Caller == "" && !line.Operator {
		share = &a.strangers
	}
	dropped, may := share.take(a.clock.Now())
	a.mu.Unlock()
	if !may {
		return
	}
	line.Dropped = dropped
	text, err := json.Marshal(line)
	if err != nil {
		return // only strings: it cannot fail
	}
	a.logger.Infof("%s", text)
}

// take takes a line, and returns how many were dropped before it. The lock is held.
func (s *auditShare) take(now time.Time) (dropped int, may bool) {
	s.left = min(auditBurst, s.left+now.Sub(s.at).Seconds()*auditRate)
	s.at = now
	if s.left < 1 {
		s.dropped++
		return 0, false
	}
	s.left--
	dropped, s.dropped = s.dropped, 0
	return dropped, true
}
