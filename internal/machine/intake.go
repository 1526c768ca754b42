package machine

import (
	"errors"
	"fmt"
	"io"
	"iter"
)

// intake reads a file while its parts arrive, on a coroutine: a part costs only its own
// reading, and an error comes with the part that has the damage.
type intake struct {
	resume func() (struct{}, bool)
	cancel func()
	yield  func(struct{}) bool
	rest   []byte // what has arrived and is not read yet
	ended  bool   // nothing else arrives
	read   *content
	err    error
}

// errStopped ends the reading of a file that is dropped.
var errStopped = errors.New("it is not read any further")

func newIntake(read func(io.Reader) (*content, error)) *intake {
	in := &intake{}
	in.resume, in.cancel = iter.Pull(func(yield func(struct{}) bool) {
		in.yield = yield
		defer func() {
			if p := recover(); p != nil {
				in.err = fmt.Errorf("a table cannot read its section, and panicked: %v", p)
			}
		}()
		in.read, in.err = read(in)
	})
	return in
}

// Read is called by the coroutine, which waits in it for the next part.
func (in *intake) Read(p []byte) (int, error) {
	for len(in.rest) == 0 {
		if in.ended {
			return 0, io.EOF
		}
		if !in.yield(struct{}{}) {
			return 0, errStopped
		}
	}
	n := copy(p, in.rest)
	in.rest = in.rest[n:]
	return n, nil
}

// feed reads a part.
func (in *intake) feed(part []byte) error {
	in.rest = part
	in.resume()
	return in.err
}

// finish returns what was read once all parts have arrived.
func (in *intake) finish() (*content, error) {
	in.ended = true
	in.resume()
	return in.read, in.err
}

// stop ends the coroutine, and drops what was read.
func (in *intake) stop() {
	in.cancel()
	in.read = nil
}
