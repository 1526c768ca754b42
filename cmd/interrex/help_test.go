package main

import (
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
)

// every returns all commands below c that are listed, and c.
func every(c *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{c}
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			all = append(all, every(sub)...)
		}
	}
	return all
}

func TestEveryCommandThatTakesAKeySaysItsForm(t *testing.T) {
	keys := 0
	for _, c := range every(newRoot(io.Discard, io.Discard)) {
		if strings.Contains(c.Use, "KEY") {
			keys++
			form := keyForm
			switch {
			case strings.Contains(c.Use, "NAMESPACE"):
				form = eitherForm
			case c.Parent().Name() == "kv":
				form = valueForm
			}
			if !strings.Contains(c.UsageString(), form) {
				t.Errorf("%s --help does not say what a KEY is", c.CommandPath())
			}
		}
		if c.Runnable() && c.ValidArgsFunction == nil && len(c.ValidArgs) == 0 {
			t.Errorf("%s completes its arguments with files", c.CommandPath())
		}
	}
	if keys < 9 {
		t.Errorf("only %d commands take a KEY", keys)
	}
}

// The form in the help is the one that is checked.
func TestTheFormOfAKeyIsTheOneThatIsChecked(t *testing.T) {
	for key, allowed := range map[string]bool{
		"mine/nightly": true, "nightly": true, "mine/a/b": true, "mine/a b": true, "0/x": true, "a.b_c-d/x": true,
		"-a/x": false, "Mine/x": false, "my space/x": false, "mine/": false, "mine/a\tb": false,
		strings.Repeat("n", 63) + "/" + strings.Repeat("x", 512): true, strings.Repeat("n", 64) + "/x": false, "mine/" + strings.Repeat("x", 513): false,
	} {
		if _, err := interrex.ParseKey(key); (err == nil) != allowed {
			t.Errorf("%q: %v", key, err)
		}
	}
}
