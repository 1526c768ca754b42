package main

import (
	"io"
	"testing"
)

func TestWordsOfOtherToolsLeadToCommandsThatAreThere(t *testing.T) {
	root := newRoot(io.Discard, io.Discard)
	names := map[string]bool{}
	for _, c := range every(root) {
		names[c.CommandPath()] = true
	}
	for group, words := range otherWords {
		c := root
		if group != "" {
			c, _, _ = root.Find([]string{group}) // it is the root when there is none
			if c == root {
				t.Fatalf("there is no %q", group)
			}
		}
		for word, path := range words {
			if !names["interrex "+path] {
				t.Errorf("%s %s leads to %q, which is not there", group, word, path)
			}
			if names[c.CommandPath()+" "+word] {
				t.Errorf("%s %s is a command", group, word)
			}
			if got := meantBy(c, word); got != "interrex "+path {
				t.Errorf("%s %s leads to %q, not to %q", group, word, got, path)
			}
		}
	}
}

func TestAWordOfSeveralOtherGroupsLeadsNowhere(t *testing.T) {
	root := newRoot(io.Discard, io.Discard)
	for _, c := range []struct{ group, word, want string }{
		{"settings", "list", "interrex settings get"},
		{"settings", "append", "interrex change append"},
		{"webhook", "watch", ""},
		{"lease", "put", "interrex kv put"},
		{"change", "rm", ""},
	} {
		group, _, err := root.Find([]string{c.group})
		if got := meantBy(group, c.word); err != nil || got != c.want {
			t.Errorf("%s %s leads to %q, %v, not to %q", c.group, c.word, got, err, c.want)
		}
	}
}
