package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex/internal/wording"
)

// otherWords maps the commands of other tools to ours: below each group, and, under
// "", at the root, below lease and below agent.
var otherWords = map[string]map[string]string{
	"": {
		"acquire":   "lease claim",
		"alarm":     "status",
		"alarms":    "status",
		"backup":    "snapshot save",
		"campaign":  "lock",
		"create":    "lease claim",
		"del":       "lease revoke",
		"delete":    "lease revoke",
		"drop":      "lease revoke",
		"elect":     "lock",
		"exec":      "lock",
		"get":       "kv get",
		"grant":     "lease claim",
		"health":    "status",
		"info":      "status",
		"keepalive": "lease extend",
		"leader":    "status",
		"leases":    "lease list",
		"list":      "lease list",
		"ls":        "lease list",
		"members":   "member list",
		"put":       "kv put",
		"refresh":   "lease extend",
		"release":   "lease revoke",
		"renew":     "lease extend",
		"rm":        "lease revoke",
		"run":       "agent run",
		"serve":     "agent run",
		"server":    "agent run",
		"set":       "kv put",
		"show":      "lease get",
		"start":     "agent run",
		"steal":     "lease revoke",
		"stop":      "agent drain",
		"subscribe": "change watch",
		"unlock":    "lease revoke",
		"watch":     "change watch",
	},
	"change": {
		"add":       "change append",
		"create":    "change append",
		"follow":    "change watch",
		"ls":        "change list",
		"post":      "change append",
		"publish":   "change append",
		"put":       "change append",
		"read":      "change get",
		"show":      "change get",
		"subscribe": "change watch",
		"tail":      "change watch",
		"write":     "change append",
	},
	"kv": {
		"clear":  "kv delete",
		"del":    "kv delete",
		"ls":     "kv list",
		"read":   "kv get",
		"remove": "kv delete",
		"rm":     "kv delete",
		"set":    "kv put",
		"show":   "kv get",
		"write":  "kv put",
	},
	"lease": {
		"set":       "lease claim",
		"subscribe": "lease watch",
	},
	"resource": {
		"add":    "resource write",
		"apply":  "resource write",
		"create": "resource write",
		"del":    "resource delete",
		"get":    "resource read",
		"ls":     "resource list",
		"put":    "resource write",
		"remove": "resource delete",
		"rm":     "resource delete",
		"set":    "resource write",
		"show":   "resource read",
		"update": "resource write",
	},
	"settings": {
		"list":   "settings get",
		"ls":     "settings get",
		"put":    "settings set",
		"read":   "settings get",
		"show":   "settings get",
		"update": "settings set",
		"write":  "settings set",
	},
	"webhook": {
		"add":    "webhook set",
		"check":  "webhook test",
		"create": "webhook set",
		"del":    "webhook delete",
		"get":    "webhook list",
		"ls":     "webhook list",
		"ping":   "webhook test",
		"put":    "webhook set",
		"read":   "webhook list",
		"remove": "webhook delete",
		"rm":     "webhook delete",
		"show":   "webhook list",
		"unset":  "webhook delete",
		"update": "webhook set",
		"write":  "webhook set",
	},
}

// noSuchCommand returns the error for a word below c that is not a command.
func noSuchCommand(c *cobra.Command, word string) error {
	hint := ""
	if meant := meantBy(c, word); meant != "" {
		hint = fmt.Sprintf(" did you mean '%s'?", meant)
	}
	path := strings.TrimPrefix(c.CommandPath()+" "+word, c.Root().Name()+" ")
	return usageError{fmt.Errorf("%s: unknown command:%s see '%s --help'", path, hint, c.CommandPath())}
}

// meantBy returns the command that was probably meant: that of another tool's word, a
// command of c with a similar name, or the only command elsewhere with this name.
func meantBy(c *cobra.Command, word string) string {
	path, known := otherWords[c.Name()][strings.ToLower(word)]
	if !known && (!c.HasParent() || c.Name() == "lease" || c.Name() == "agent") {
		path, known = otherWords[""][strings.ToLower(word)]
	}
	if known {
		return c.Root().Name() + " " + path
	}
	var names []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	if near := wording.Nearest(word, names); near != "" {
		return c.CommandPath() + " " + near
	}
	var elsewhere []string
	for _, group := range c.Root().Commands() {
		for _, sub := range append(group.Commands(), group) {
			if sub.Name() == word {
				elsewhere = append(elsewhere, sub.CommandPath())
			}
		}
	}
	if len(elsewhere) != 1 {
		return ""
	}
	return elsewhere[0]
}
