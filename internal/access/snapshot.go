package access

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/accesstoken"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/state"
)

func appendRules(b []byte, rules []interrex.AccessRule) []byte {
	b = binary.AppendUvarint(b, uint64(len(rules)))
	for _, r := range rules {
		b = codec.AppendText(b, r.Table)
		b = binary.AppendUvarint(b, uint64(len(r.Verbs)))
		for _, verb := range r.Verbs {
			b = codec.AppendText(b, verb)
		}
		b = codec.AppendBool(codec.AppendText(b, r.Prefix), r.Own)
	}
	return b
}

func appendToken(b []byte, t *Token) []byte {
	b = append(b, t.Hash[:]...)
	b = appendRules(codec.AppendBool(codec.AppendText(b, t.Name), t.Operator), t.Rules)
	return binary.AppendUvarint(binary.AppendUvarint(b, uint64(t.Expires)), uint64(t.Created))
}

// decoder reads what the append functions wrote.
type decoder struct{ codec.Decoder }

func newDecoder(b string) *decoder { return &decoder{codec.NewDecoder(b)} }

// count reads a length of at most most.
func (d *decoder) count(most int) int {
	n := d.Uvarint()
	if n > uint64(most) {
		d.Fail()
		return 0
	}
	return int(n)
}

func (d *decoder) hash() (h accesstoken.Hash) {
	copy(h[:], d.Bytes(len(h)))
	return h
}

func (d *decoder) rules() (all []interrex.AccessRule) {
	for n := d.count(maxRules); n > 0 && !d.Failed(); n-- {
		r := interrex.AccessRule{Table: d.Text()}
		for verbs := d.count(32); verbs > 0 && !d.Failed(); verbs-- {
			r.Verbs = append(r.Verbs, d.Text())
		}
		r.Prefix, r.Own = d.Text(), d.Bool()
		all = append(all, r)
	}
	return all
}

func (d *decoder) token() *Token {
	return &Token{
		Hash: d.hash(), Name: d.Text(), Operator: d.Bool(), Rules: d.rules(),
		Expires: state.Time(d.Uvarint()), Created: interrex.Revision(d.Uvarint()),
	}
}

// Reply is the reply to an applied command; *Reply is the table's state.Reply. It is
// immutable.
type Reply struct {
	Token *Token // that was created or revoked
}

// AppendReply encodes a *Reply for the records of request ids.
func (t *Table) AppendReply(b []byte, r state.Reply) []byte {
	return appendToken(b, r.(*Reply).Token)
}

// DecodeReply reads what AppendReply wrote; the error is of kind ErrInvalid.
func (t *Table) DecodeReply(b []byte) (state.Reply, error) {
	d := newDecoder(string(b))
	reply := &Reply{Token: d.token()}
	if !d.Done() {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot decode access reply: it is malformed")
	}
	return reply, nil
}

// view is the frozen content.
type view struct{ *rows }

// Freeze returns a view of the current content.
func (t *Table) Freeze() state.View { return &view{t.rows.Load()} }

// Release drops the content.
func (v *view) Release() { v.rows = nil }

// Write writes whether there has been a token, and the tokens by ID.
func (v *view) Write(w io.Writer) error {
	b := binary.AppendUvarint(codec.AppendBool(nil, v.closed), uint64(len(v.tokens)))
	for _, t := range v.tokens {
		b = appendToken(b, t)
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("cannot write access tokens: %w", err)
	}
	return nil
}

// maxSnapshot is more than the bytes of everything.
const maxSnapshot = 512 << 20

// Restore replaces the table by what a View wrote, and ends what was granted by others.
// After an error the table is as it was.
func (t *Table) Restore(version uint16, r io.Reader) error {
	if version != t.Version() {
		return fmt.Errorf("cannot restore access tokens: unknown version %d, this build reads version %d", version, t.Version())
	}
	b, err := io.ReadAll(io.LimitReader(r, maxSnapshot+1))
	if err != nil {
		return fmt.Errorf("cannot restore access tokens: %w", err)
	}
	next, err := readRows(newDecoder(string(b)))
	if err != nil {
		return fmt.Errorf("cannot restore access tokens: %w", err)
	}
	t.replace(next, func(*Token) error { return interrex.Errorf(interrex.ErrUnauthenticated, "the access token has ended") })
	return nil
}

func readRows(d *decoder) (*rows, error) {
	r := &rows{closed: d.Bool()}
	for n := d.count(MaxTokens); n > 0 && !d.Failed(); n-- {
		t := d.token()
		if last := len(r.tokens) - 1; last >= 0 && r.tokens[last].ID() >= t.ID() {
			return nil, fmt.Errorf("access token %q is out of order", t.ID())
		}
		r.tokens, r.bytes = append(r.tokens, t), r.bytes+t.weight()
	}
	if !d.Done() {
		return nil, errors.New("an item is malformed")
	}
	return r, nil
}
