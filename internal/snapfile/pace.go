package snapfile

import "time"

// maxRest bounds one pause of a Pace.
const maxRest = 20 * time.Millisecond

// Pace slows down who reads or writes a snapshot while others work: it takes at most half
// of a processor.
type Pace struct{ began time.Time }

// NewPace returns a Pace that begins now.
func NewPace() *Pace { return &Pace{began: time.Now()} }

// Rest pauses for as long as the work since the last Rest took.
func (p *Pace) Rest() {
	time.Sleep(min(time.Since(p.began), maxRest))
	p.began = time.Now()
}
