package fsm

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
)

// Reply is the table's reply to a command. Only the revision is encoded, and stored
// in the records of request ids: the machine's answers may differ between agents.
type Reply struct {
	Revision interrex.Revision
	answer   *answer // nil: the machine is stopped here, or the answer was dropped
	missing  error   // why there is no answer
}

// Answer returns the machine's reply: a result or an error. missing is why this
// agent does not have it, as ErrOutcomeUnknown.
func (r *Reply) Answer() (result []byte, refused *interrex.Error, missing error) {
	switch {
	case r.answer == nil:
		return nil, nil, r.missing
	case r.answer.kind != "":
		return nil, interrex.Errorf(r.answer.kind, "%s", r.answer.text), nil
	}
	return r.answer.result, nil, nil
}

// answer is the machine's answer to one command. It is immutable.
type answer struct {
	revision interrex.Revision
	result   []byte
	kind     interrex.Kind // of a refusal; empty: the command succeeded
	text     string
}

// answerOf returns the answer for what a machine returned. Its text is part of the
// digest and of snapshots.
func answerOf(r interrex.Revision, result []byte, err error) *answer {
	if e, is := err.(*interrex.Error); is && e == nil {
		err = nil // a nil *interrex.Error is no error
	}
	switch {
	case err != nil:
		kind, text := refusal(err)
		return &answer{revision: r, kind: kind, text: text}
	case len(result) > MaxResult:
		return &answer{revision: r, kind: interrex.ErrTooLarge,
			text: fmt.Sprintf("result: the state machine gave %d bytes, at most %d are allowed", len(result), MaxResult)}
	}
	return &answer{revision: r, result: append([]byte(nil), result...)}
}

// refusal returns the kind and the text of a machine's error. Kinds that say that
// nothing has happened, or that the outcome is unknown, would be untrue.
func refusal(err error) (interrex.Kind, string) {
	kind, text := interrex.ErrConflict, err.Error()
	if e := (*interrex.Error)(nil); errors.As(err, &e) && !e.Kind.Retryable() && e.Kind.RPC() != interrex.ErrOutcomeUnknown.RPC() {
		kind, text = e.Kind, e.Message
	}
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) > MaxError {
		text = strings.ToValidUTF8(text[:MaxError], "") // drops a character cut in half
	}
	return kind, text
}

func (a *answer) size() int { return len(a.result) + len(a.text) }

func (a *answer) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(a.revision))
	b = codec.AppendText(codec.AppendText(b, string(a.kind)), a.text)
	return append(binary.AppendUvarint(b, uint64(len(a.result))), a.result...)
}

func readAnswer(d *codec.Decoder) *answer {
	return &answer{
		revision: interrex.Revision(d.Uvarint()), kind: interrex.Kind(strings.Clone(d.Text())),
		text: strings.Clone(d.Text()), result: []byte(d.Text()),
	}
}

// digest is a hash chain over all answers up to one.
type digest [sha256.Size]byte

// next returns the digest with one more answer.
func (d digest) next(a *answer) digest {
	return sha256.Sum256(a.append(d[:]))
}

// mark is a machine's position: the digest of its answers up to a revision.
type mark struct {
	revision interrex.Revision // of the newest command; 0 if there was none
	digest   digest
}

func (m mark) append(b []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(m.revision)), m.digest[:]...)
}

// readMark reads what append wrote; false if it is malformed.
func readMark(b []byte) (m mark, ok bool) {
	revision, n := binary.Uvarint(b)
	if n <= 0 || len(b) != n+len(m.digest) {
		return m, false
	}
	m.revision = interrex.Revision(revision)
	copy(m.digest[:], b[n:])
	return m, true
}
