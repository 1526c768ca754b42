package config

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Switch is a feature's setting. The zero value means the feature's default.
type Switch int8

// The positions of a Switch.
const (
	unset Switch = iota
	On
	Off
)

// On reports whether the feature runs.
func (s Switch) On() bool { return s == On }

// MarshalYAML writes true or false.
func (s Switch) MarshalYAML() (any, error) { return s.On(), nil }

// UnmarshalYAML reads true or false.
func (s *Switch) UnmarshalYAML(n *yaml.Node) error {
	var on bool
	if err := n.Decode(&on); err != nil {
		return fmt.Errorf("line %d: %q is neither true nor false", n.Line, n.Value)
	}
	*s = Off
	if on {
		*s = On
	}
	return nil
}
