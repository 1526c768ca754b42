package machine

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// Limits of settings.
const (
	maxSettings     = 64      // values of one SetSettings
	maxSettingName  = 64      // bytes
	maxSettingValue = 4 << 10 // bytes
)

// validSettings checks the declarations of the settings of a table of that name.
func validSettings(name string, user any) error {
	c, is := user.(state.Configurable)
	if !is {
		return nil
	}
	for _, s := range c.Settings() {
		if !strings.HasPrefix(s.Name, name+".") || len(s.Name) > maxSettingName {
			return interrex.Errorf(interrex.ErrInvalid, "setting %q: its name does not begin with %q, or has more than %d bytes", s.Name, name+".", maxSettingName)
		}
		if err := s.Check(s.Default); err != nil {
			return interrex.Errorf(interrex.ErrInvalid, "setting %q: its default is not allowed: %v", s.Name, err)
		}
	}
	return nil
}

// settings are the values of all settings.
type settings struct {
	declared []state.Setting // by name
	users    []state.Configurable
	// set has the values that differ from their defaults. It is never modified,
	// because a frozen view may read it.
	set map[string]string
}

// declare collects the settings of all tables. newSystem adds those of the state.
func declare(tables tableSet) *settings {
	s := &settings{}
	for _, t := range tables {
		if c, is := t.(state.Configurable); is {
			s.add(c)
		}
	}
	return s
}

func (s *settings) add(c state.Configurable) {
	s.users = append(s.users, c)
	s.declared = append(s.declared, c.Settings()...)
	slices.SortFunc(s.declared, func(a, b state.Setting) int { return strings.Compare(a.Name, b.Name) })
}

// find returns a declared setting.
func (s *settings) find(name string) (state.Setting, bool) {
	i, found := slices.BinarySearchFunc(s.declared, name, func(d state.Setting, name string) int { return strings.Compare(d.Name, name) })
	if !found {
		return state.Setting{}, false
	}
	return s.declared[i], true
}

// value returns a setting's value; empty if it is not declared.
func (s *settings) value(name string) string {
	if v, is := s.set[name]; is {
		return v
	}
	d, _ := s.find(name)
	return d.Default
}

// configure passes the values to all tables. Their locks are held.
func (s *settings) configure() {
	for _, c := range s.users {
		c.Configure(s.value)
	}
}

// check returns why a value may not be set.
func (s *settings) check(name, value string) error {
	d, known := s.find(name)
	if !known {
		return interrex.Errorf(interrex.ErrInvalid, "setting %q: unknown: the names are %s", name, strings.Join(s.names(), ", "))
	}
	if value == "" {
		return nil
	}
	return d.Check(value)
}

func (s *settings) names() []string {
	var all []string
	for _, d := range s.declared {
		all = append(all, d.Name)
	}
	return all
}

// SetSettings sets replicated settings. An empty value restores the default. If
// nothing changes, it takes no revision.
type SetSettings struct {
	Values map[string]string // by name
}

// About is part of Command.
func (c *SetSettings) About() state.About { return state.About{Name: "set_settings", Privileged: true} }

// Validate is part of Command. Names and values are checked when it is applied.
func (c *SetSettings) Validate() error {
	if n := len(c.Values); n == 0 || n > maxSettings {
		return interrex.Errorf(interrex.ErrInvalid, "settings: 1 to %d at once are allowed, not %d", maxSettings, n)
	}
	for name, value := range c.Values {
		if len(name) > maxSettingName || len(value) > maxSettingValue {
			return interrex.Errorf(interrex.ErrTooLarge, "settings: a name has at most %d bytes and a value %d, not %d and %d", maxSettingName, maxSettingValue, len(name), len(value))
		}
	}
	return nil
}

// Append is part of Command.
func (c *SetSettings) Append(b []byte) []byte {
	return appendTexts(append(b, commandVersion, commandSetSettings), c.Values)
}

func (c *SetSettings) decode(args []byte) error {
	d := decoder{b: args}
	c.Values = d.texts()
	if err := d.end(); err != nil {
		return interrex.Errorf(interrex.ErrInvalid, "settings: %v", err)
	}
	return nil
}

func (c *SetSettings) check(sys *system, _ *state.Turn, _ *state.Operation) error {
	for _, name := range slices.Sorted(maps.Keys(c.Values)) {
		if err := sys.settings.check(name, c.Values[name]); err != nil {
			return err
		}
	}
	return nil
}

func (c *SetSettings) apply(s *State, t *state.Turn, _ *state.Operation) (state.Reply, error) {
	sys := s.system
	next := maps.Clone(sys.settings.set)
	if next == nil {
		next = map[string]string{}
	}
	for name, value := range c.Values {
		if d, _ := sys.settings.find(name); value == "" || value == d.Default {
			delete(next, name)
			continue
		}
		next[name] = value
	}
	if !maps.Equal(next, sys.settings.set) {
		t.Next()
		sys.settings.set = next
		sys.settings.configure()
	}
	return nil, nil
}

// appendTexts appends names and values, in the order of the names.
func appendTexts(b []byte, texts map[string]string) []byte {
	b = binary.AppendUvarint(b, uint64(len(texts)))
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		b = appendBytes(appendBytes(b, name), texts[name])
	}
	return b
}

// texts reads and copies names and values.
func (d *decoder) texts() map[string]string {
	texts := map[string]string{}
	for n := d.count(); n > 0 && d.err == nil; n-- {
		name := strings.Clone(d.text())
		texts[name] = strings.Clone(d.text())
	}
	return texts
}

// Settings returns all settings, by name.
func (s *State) Settings() []interrex.Setting {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var all []interrex.Setting
	for _, d := range s.system.settings.declared {
		all = append(all, interrex.Setting{Name: d.Name, Value: s.system.settings.value(d.Name), Default: d.Default, About: d.About})
	}
	return all
}
