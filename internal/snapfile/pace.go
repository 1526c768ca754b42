package snapfile

import (
	"io"
	"time"
)

// maxRest bounds one pause of a Pace.
const maxRest = 40 * time.Millisecond

// Pace slows down who reads or writes a snapshot while others work: it takes at most a
// third of a processor, or of a disk.
type Pace struct{ began time.Time }

// NewPace returns a Pace that begins now.
func NewPace() *Pace { return &Pace{began: time.Now()} }

// Rest pauses for twice as long as the work since the last Rest took.
func (p *Pace) Rest() {
	time.Sleep(min(2*time.Since(p.began), maxRest))
	p.began = time.Now()
}

// Paced returns a writer to w that rests after each write.
func Paced(w io.Writer) io.Writer { return paced{w, NewPace()} }

type paced struct {
	to   io.Writer
	pace *Pace
}

func (p paced) Write(b []byte) (int, error) {
	n, err := p.to.Write(b)
	p.pace.Rest()
	return n, err
}
