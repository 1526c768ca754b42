package change

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/state"
)

// User is the Value of the event of a user's change. It is immutable.
type User struct {
	Data string // JSON
	Tags []string
}

// EventTags is part of interest.Tagged.
func (u *User) EventTags() []string { return u.Tags }

// Append appends a user's change: see NewAppend.
type Append struct {
	Data string // JSON, without white space around it
	Tags []string
}

// Limits of a user's change.
const (
	MaxTags  = 16
	MaxTag   = 128 // bytes
	MaxDepth = 100 // nesting of lists and objects
)

// opAppend is the first byte of the one command.
const opAppend byte = 1

// About is part of state.Command.
func (c *Append) About() state.About { return state.About{Name: "append"} }

// Announce is part of state.Announcer.
func (c *Append) Announce() state.Announcement {
	return state.Announcement{Kinds: []string{interrex.UserChange}}
}

// NewAppend returns the operation that appends JSON, without the white space in it, with
// tags. The JSON is parsed here, and by no agent that applies the operation: it is what
// costs the most of a large change.
func NewAppend(data string, tags []string) (*Append, error) {
	c, err := NewEncoded(data, tags)
	if err == nil && (!utf8.ValidString(data) || !json.Valid([]byte(data))) {
		err = interrex.Errorf(interrex.ErrInvalid, "data: it is not JSON")
	}
	return c, err
}

// NewEncoded is NewAppend of JSON that an encoder has made, and that is not parsed again.
func NewEncoded(data string, tags []string) (*Append, error) {
	compact, deepest := strip(data)
	c := &Append{Data: compact, Tags: tags}
	switch {
	case len(compact) > interrex.MaxData:
		return c, c.Validate()
	case deepest > MaxDepth:
		return c, interrex.Errorf(interrex.ErrInvalid, "data: lists and objects may be nested at most %d deep", MaxDepth)
	}
	return c, nil
}

// Validate checks the tags, and that the data has at most interrex.MaxData bytes.
func (c *Append) Validate() error {
	if len(c.Data) > interrex.MaxData {
		return interrex.Errorf(interrex.ErrTooLarge, "data: at most %d bytes are allowed, not %d", interrex.MaxData, len(c.Data))
	}
	return ValidateTags(c.Tags)
}

// strip returns JSON without the white space that means nothing, and how deep its lists
// and objects are nested.
func strip(data string) (compact string, deepest int) {
	var b strings.Builder
	b.Grow(len(data))
	depth := 0
	for i := 0; i < len(data); i++ {
		switch c := data[i]; c {
		case ' ', '\t', '\n', '\r':
			continue
		case '"':
			n := quoted(data[i:])
			b.WriteString(data[i : i+n])
			i += n - 1
			continue
		case '{', '[':
			depth++
			deepest = max(deepest, depth)
		case '}', ']':
			depth--
		}
		b.WriteByte(data[i])
	}
	return b.String(), deepest
}

// quoted returns the length of the string with which s begins, with both quotes; all of s
// if it does not end. Most strings are long, and have no escapes.
func quoted(s string) int {
	quote := 0
	for i := 1; i < len(s); {
		if quote < i {
			n := strings.IndexByte(s[i:], '"')
			if n < 0 {
				break
			}
			quote = i + n
		}
		escape := strings.IndexByte(s[i:quote], '\\')
		if escape < 0 {
			return quote + 1
		}
		i += escape + 2
	}
	return len(s)
}

// ValidateTags checks that there are at most MaxTags, each of 1 to MaxTag bytes of
// UTF-8.
func ValidateTags(tags []string) error {
	if len(tags) > MaxTags {
		return interrex.Errorf(interrex.ErrInvalid, "tags: at most %d are allowed, not %d", MaxTags, len(tags))
	}
	for _, tag := range tags {
		if err := ValidateTag(tag); err != nil {
			return err
		}
	}
	return nil
}

// ValidateTag checks that a tag has 1 to MaxTag bytes of UTF-8.
func ValidateTag(tag string) error {
	if len(tag) == 0 || len(tag) > MaxTag || !utf8.ValidString(tag) {
		return interrex.Errorf(interrex.ErrInvalid, "tags: each has 1 to %d bytes of UTF-8: %.80q has %d", MaxTag, tag, len(tag))
	}
	return nil
}

// Append encodes the command.
func (c *Append) Append(b []byte) []byte {
	return appendUser(append(b, opAppend), &User{c.Data, c.Tags})
}

// Decode reads a command, an *Append. The error is of kind ErrInvalid or
// ErrTooLarge.
func (t *Table) Decode(data []byte) (state.Command, error) {
	if len(data) == 0 {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot decode change command: it is empty")
	}
	if !t.Knows(data) {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot decode change command: unknown operation %d", data[0])
	}
	d := codec.NewDecoder(string(data[1:]))
	u := readUser(&d)
	if !d.Done() {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot decode change command: it is malformed")
	}
	c := &Append{u.Data, u.Tags}
	return c, c.Validate()
}

// Knows implements state.Knower.
func (t *Table) Knows(data []byte) bool { return len(data) > 0 && data[0] == opAppend }

// Check is part of state.Table: a command that Decode returned can always be applied.
func (t *Table) Check(_ state.Time, c state.Command) error {
	if _, is := c.(*Append); !is {
		return interrex.Errorf(interrex.ErrInvalid, "cannot check change command: %T is not a change command", c)
	}
	return nil
}

// Reply is the reply to an append; *Reply is the table's state.Reply.
type Reply struct{ Time int64 } // the leader's wall clock, in nanoseconds

// Apply publishes the change. The feed receives it like every other event.
func (t *Table) Apply(turn *state.Turn, c state.Command) state.Reply {
	const fixed, tagged = 200, 128 // a tag is a place in the index
	a := c.(*Append)
	u := &User{Data: strings.Clone(a.Data), Tags: cloneTags(a.Tags)}
	size := fixed + len(u.Data)
	for _, tag := range u.Tags {
		size += len(tag) + tagged
	}
	turn.Emit(interrex.UserChange, "", u, size)
	return &Reply{turn.Wall.UnixNano()}
}

func cloneTags(tags []string) []string {
	var own []string
	for _, tag := range tags {
		own = append(own, strings.Clone(tag))
	}
	return own
}
