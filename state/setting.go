package state

import (
	"strconv"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wording"
)

// Setting is one replicated setting: a parameter of Apply. Every agent has the
// same value.
type Setting struct {
	Name    string // the table's name, a dot and its own: "changes.keep-count"
	About   string // one line for users, with the unit
	Default string // of a new cluster; it never changes
	// Check returns why a value is not allowed, as ErrInvalid.
	Check func(value string) error
}

// IntSetting is a whole number from low to high.
func IntSetting(name, about string, standard, low, high int64) Setting {
	return Setting{Name: name, About: about, Default: strconv.FormatInt(standard, 10), Check: func(value string) error {
		if v, err := strconv.ParseInt(value, 10, 64); err != nil || v < low || v > high {
			return interrex.Errorf(interrex.ErrInvalid, "%s: whole numbers from %d to %d are allowed, not %q", name, low, high, value)
		}
		return nil
	}}
}

// DurationSetting is a duration from low to high.
func DurationSetting(name, about string, standard, low, high time.Duration) Setting {
	return Setting{Name: name, About: about, Default: wording.Duration(standard), Check: func(value string) error {
		v, err := time.ParseDuration(value)
		if err == nil && v >= low && v <= high {
			return nil
		}
		if _, err := strconv.ParseFloat(value, 64); err == nil {
			return interrex.Errorf(interrex.ErrInvalid, "%s: %q has no unit: use %ss, %sm or %sh; %s to %s are allowed", name, value, value, value, value, wording.Duration(low), wording.Duration(high))
		}
		return interrex.Errorf(interrex.ErrInvalid, "%s: %s to %s are allowed, with the unit s, m or h, and not %q", name, wording.Duration(low), wording.Duration(high), value)
	}}
}

// SettingInt reads a value that the Check of an IntSetting has allowed.
func SettingInt(value string) int64 {
	v, _ := strconv.ParseInt(value, 10, 64)
	return v
}

// SettingDuration reads a value that the Check of a DurationSetting has allowed.
func SettingDuration(value string) time.Duration {
	v, _ := time.ParseDuration(value)
	return v
}

// Configurable is an optional interface of a table with settings. Configure is
// called with the table's lock held: at the beginning, after each change, and
// after a Restore. value returns a setting of any table.
type Configurable interface {
	Settings() []Setting
	Configure(value func(name string) string)
}
