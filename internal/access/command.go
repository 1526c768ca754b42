package access

import (
	"encoding/binary"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/accesstoken"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/wording"
	"github.com/interrex/interrex/state"
)

// command is an operation of this table.
type command interface {
	state.Command
	// decode reads what Append wrote after the number.
	decode(d *decoder)
	// check returns why the command cannot be applied; nil: apply may follow.
	check(r *rows) *interrex.Error
	// apply executes a command that check has allowed; it cannot fail.
	apply(t *Table, turn *state.Turn) *Reply
}

// The first byte of an encoded command. A number is never reused.
const (
	opCreate byte = iota + 1
	opRevoke
)

// operations has the constructors of the commands, by number.
var operations = [...]func() command{
	opCreate: func() command { return new(Create) },
	opRevoke: func() command { return new(Revoke) },
}

// Decode reads a command. The error is of kind ErrInvalid or ErrTooLarge.
func (t *Table) Decode(data []byte) (state.Command, error) {
	if len(data) == 0 {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot decode access command: it is empty")
	}
	op := data[0]
	if !t.Knows(data) {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot decode access command: unknown operation %d", op)
	}
	c, d := operations[op](), newDecoder(string(data[1:])) // a copy: parts of it are stored
	if c.decode(d); !d.Done() {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot decode access command: operation %d is malformed", op)
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return c, nil
}

// Knows implements state.Knower.
func (t *Table) Knows(data []byte) bool {
	return len(data) > 0 && int(data[0]) < len(operations) && operations[data[0]] != nil
}

// Check returns why a command that Decode returned cannot be applied.
func (t *Table) Check(_ state.Time, c state.Command) error {
	own, is := c.(command)
	if !is {
		return interrex.Errorf(interrex.ErrInvalid, "cannot check access command: %T is not an access command", c)
	}
	if refusal := own.check(t.rows.Load()); refusal != nil {
		return refusal
	}
	return nil
}

// Apply executes a command that Check has allowed, and returns a *Reply.
func (t *Table) Apply(turn *state.Turn, c state.Command) state.Reply {
	return c.(command).apply(t, turn)
}

// Due returns when the next token ends.
func (t *Table) Due() (due state.Time, some bool) {
	for _, token := range t.Tokens() {
		if token.Expires != 0 && (!some || token.Expires < due) {
			due, some = token.Expires, true
		}
	}
	return due, some
}

// Tick removes at most limit tokens that have ended.
func (t *Table) Tick(turn *state.Turn, limit int) int {
	var over []*Token
	for _, token := range t.Tokens() {
		if len(over) < limit && token.Expires != 0 && token.Expires <= turn.Now {
			turn.Next()
			over = append(over, token)
		}
	}
	if len(over) > 0 {
		t.drop(over, func(token *Token) error {
			return interrex.Errorf(interrex.ErrUnauthenticated, "access token %s (%s) has expired", token.ID(), token.Name)
		})
	}
	return len(over)
}

// Create creates a token, whose secret never leaves the one who made it.
type Create struct {
	Hash     accesstoken.Hash
	Name     string
	Operator bool
	Rules    []interrex.AccessRule
	TTL      time.Duration // of cluster time; 0: it has no end
}

const (
	maxRules = 64
	maxName  = 64
)

// About is part of state.Command.
func (c *Create) About() state.About { return state.About{Name: "create", Privileged: true} }

// Validate reports which field is not allowed.
func (c *Create) Validate() error {
	switch {
	case c.Hash == (accesstoken.Hash{}):
		return interrex.Errorf(interrex.ErrInvalid, "hash: it is missing")
	case !isName(c.Name):
		return interrex.Errorf(interrex.ErrInvalid, "name: %.80q is not valid: give 1 to %d of a-z A-Z 0-9 . _ - / @ :", c.Name, maxName)
	case c.Operator && len(c.Rules) > 0:
		return interrex.Errorf(interrex.ErrInvalid, "rules: an operator may do everything: leave them out")
	case !c.Operator && len(c.Rules) == 0:
		return interrex.Errorf(interrex.ErrInvalid, "rules: a token without any allows nothing: give one, or make it an operator's")
	case len(c.Rules) > maxRules:
		return interrex.Errorf(interrex.ErrInvalid, "rules: %d are more than %d", len(c.Rules), maxRules)
	case c.TTL != 0 && (c.TTL < limits.MinAccessTTL || c.TTL > limits.MaxAccessTTL):
		return interrex.Errorf(interrex.ErrInvalid, "ttl: %s is not valid: give %s to %s, or none",
			wording.Rounded(c.TTL), wording.Rounded(limits.MinAccessTTL), wording.Rounded(limits.MaxAccessTTL))
	}
	for _, r := range c.Rules {
		if err := r.Validate(); err != nil {
			return err
		}
	}
	return nil
}

func isName(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '.', c == '_', c == '-', c == '/', c == '@', c == ':':
		default:
			return false
		}
	}
	return s != "" && len(s) <= maxName
}

// Append encodes the command.
func (c *Create) Append(b []byte) []byte {
	b = append(append(b, opCreate), c.Hash[:]...)
	b = codec.AppendBool(codec.AppendText(b, c.Name), c.Operator)
	return binary.AppendUvarint(appendRules(b, c.Rules), uint64(c.TTL))
}

func (c *Create) decode(d *decoder) {
	*c = Create{Hash: d.hash(), Name: d.Text(), Operator: d.Bool(), Rules: d.rules(), TTL: d.Duration()}
}

func (c *Create) check(r *rows) *interrex.Error {
	if _, exists := r.find(c.Hash.ID()); exists {
		return interrex.Errorf(interrex.ErrConflict, "access token %s exists already", c.Hash.ID())
	}
	if n := len(r.tokens); n >= MaxTokens {
		return interrex.Errorf(interrex.ErrConflict, "there are %d access tokens, which is the limit: revoke one first", n)
	}
	if n := (&Token{Hash: c.Hash, Name: c.Name, Operator: c.Operator, Rules: c.Rules}).weight(); r.bytes+n > MaxBytes {
		return interrex.Errorf(interrex.ErrConflict, "the access tokens have %d bytes, and with %d more they would have more than %d, the limit: revoke one first, or give fewer rules, with shorter prefixes", r.bytes, n, MaxBytes)
	}
	return nil
}

func (c *Create) apply(t *Table, turn *state.Turn) *Reply {
	token := &Token{Hash: c.Hash, Name: c.Name, Operator: c.Operator, Rules: c.Rules, Created: turn.Revision}
	if c.TTL != 0 {
		token.Expires = turn.Now.Add(c.TTL)
	}
	t.put(token)
	return &Reply{Token: token}
}

// Revoke ends a token.
type Revoke struct{ ID string }

// About is part of state.Command.
func (c *Revoke) About() state.About { return state.About{Name: "revoke", Privileged: true} }

// Validate reports which field is not allowed.
func (c *Revoke) Validate() error {
	if c.ID == "" || len(c.ID) > 64 {
		return interrex.Errorf(interrex.ErrInvalid, "id: %.80q is not the ID of an access token: 'interrex token list' shows them", c.ID)
	}
	return nil
}

// Append encodes the command.
func (c *Revoke) Append(b []byte) []byte { return codec.AppendText(append(b, opRevoke), c.ID) }

func (c *Revoke) decode(d *decoder) { c.ID = d.Text() }

func (c *Revoke) check(r *rows) *interrex.Error {
	if _, exists := r.find(c.ID); !exists {
		return interrex.Errorf(interrex.ErrNotFound, "access token %q does not exist: it has ended or was revoked: 'interrex token list' shows those that are left", c.ID)
	}
	return nil
}

func (c *Revoke) apply(t *Table, _ *state.Turn) *Reply {
	r := t.rows.Load()
	i, _ := r.find(c.ID)
	token := r.tokens[i]
	t.drop([]*Token{token}, func(*Token) error {
		return interrex.Errorf(interrex.ErrUnauthenticated, "access token %s (%s) was revoked", c.ID, token.Name)
	})
	return &Reply{Token: token}
}
