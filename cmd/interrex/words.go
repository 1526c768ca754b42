package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex/config"
)

// otherWords are the words of other tools, and the commands that do here what
// they do there.
var otherWords = map[string]string{
	"acquire":   "lease claim",
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
	"ls":        "lease list",
	"member":    "status",
	"members":   "status",
	"put":       "kv put",
	"refresh":   "lease extend",
	"release":   "lease revoke",
	"renew":     "lease extend",
	"rm":        "lease revoke",
	"run":       "agent run",
	"serve":     "agent run",
	"server":    "agent run",
	"set":       "lease claim",
	"show":      "lease get",
	"start":     "agent run",
	"steal":     "lease revoke",
	"stop":      "agent drain",
	"subscribe": "lease watch",
	"unlock":    "lease revoke",
}

// resourceWords are such words below resource.
var resourceWords = map[string]string{
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
}

// kvWords are such words below kv.
var kvWords = map[string]string{
	"clear":  "kv delete",
	"del":    "kv delete",
	"ls":     "kv list",
	"read":   "kv get",
	"remove": "kv delete",
	"rm":     "kv delete",
	"set":    "kv put",
	"show":   "kv get",
	"write":  "kv put",
}

// noSuchCommand is the error of a word below c that is no command.
func noSuchCommand(c *cobra.Command, word string) error {
	hint := ""
	if meant := meantBy(c, word); meant != "" {
		hint = fmt.Sprintf(" did you mean '%s'?", meant)
	}
	path := strings.TrimPrefix(c.CommandPath()+" "+word, c.Root().Name()+" ")
	return usageError{fmt.Errorf("%s: there is no such command:%s see '%s --help'", path, hint, c.CommandPath())}
}

// meantBy finds the command that was meant: what another tool calls so, one of
// c's with nearly this name, one that stands elsewhere under this name.
func meantBy(c *cobra.Command, word string) string {
	words := otherWords
	switch c.Name() {
	case "resource":
		words = resourceWords
	case "kv":
		words = kvWords
	}
	if path, known := words[strings.ToLower(word)]; known {
		return c.Root().Name() + " " + path
	}
	var names []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	if near := config.Nearest(word, names); near != "" {
		return c.CommandPath() + " " + near
	}
	for _, group := range c.Root().Commands() {
		for _, sub := range append(group.Commands(), group) {
			if sub.Name() == word {
				return sub.CommandPath()
			}
		}
	}
	return ""
}
