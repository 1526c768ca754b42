package interest

import (
	"slices"
	"strconv"
	"strings"
)

// Scope is the events that may interest a reader: those that fulfil all that it says.
// The zero Scope is all events.
type Scope struct {
	Table  uint16   // of the event; 0: any
	Kinds  []string // any of them; empty: any kind
	Tags   []string // any of them; empty: tagged or not. Then Kinds are not looked at
	Skip   int      // parts of the event's key, each with the / after it, that may be any
	Key    string   // the rest of the key; empty: any
	Prefix string   // of the rest of the key; not looked at with Key
}

// String returns the same string for equal scopes only.
func (s Scope) String() string {
	parts := slices.Concat([]string{strconv.Itoa(int(s.Table)), strconv.Itoa(s.Skip), s.Key, s.Prefix, strconv.Itoa(len(s.Kinds))}, s.Kinds, s.Tags)
	for i, part := range parts {
		parts[i] = strconv.Quote(part)
	}
	return strings.Join(parts, " ")
}

// Event is what an Index has to know of an event.
type Event struct {
	Table     uint16
	Kind, Key string
	Tags      []string
}

// Tagged is what the value of an event implements that has tags.
type Tagged interface{ EventTags() []string }

// Mark returns what an Index has to know of an event.
func Mark(table uint16, kind, key string, value any) Event {
	e := Event{Table: table, Kind: kind, Key: key}
	if t, is := value.(Tagged); is {
		e.Tags = t.EventTags()
	}
	return e
}

// maxSubjects is how many subjects a scope has in an index. One with more is indexed
// by its table only, so that a long list of tags costs its own reader.
const maxSubjects = 16

// subject is a part of a scope by which an index finds its readers.
type subject struct {
	family
	by   byte
	text string
}

// family is the events of one table and kind, by what follows some parts of their keys;
// 0 and empty are any.
type family struct {
	table uint16
	skip  int
	kind  string
}

// MaxSkip is the most parts of a key that a scope may skip.
const MaxSkip = 3

const (
	byNothing byte = iota
	byKey
	byPrefix
	byTag
)

// subjects returns the subjects of a scope. They may cover more than the scope does.
func (s Scope) subjects() (all []subject) {
	any := family{table: s.Table}
	if max(len(s.Tags), len(s.Kinds)) > maxSubjects || s.Skip < 0 || s.Skip > MaxSkip {
		return []subject{{family: any}}
	}
	for _, tag := range s.Tags {
		all = append(all, subject{any, byTag, tag})
	}
	if len(s.Tags) > 0 {
		return all
	}
	for _, kind := range s.Kinds {
		all = append(all, s.of(family{table: s.Table, kind: kind}))
	}
	if len(s.Kinds) == 0 {
		all = append(all, s.of(any))
	}
	return all
}

func (s Scope) of(f family) subject {
	switch {
	case s.Key != "":
		f.skip = s.Skip
		return subject{f, byKey, s.Key}
	case s.Prefix != "":
		f.skip = s.Skip
		return subject{f, byPrefix, s.Prefix}
	}
	return subject{family: f}
}
