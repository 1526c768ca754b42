package main

import (
	"strings"
	"unicode/utf8"

	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/internal/wording"
)

// valueDocument is a key with its value as JSON.
type valueDocument struct {
	Key       string  `json:"key"`
	Namespace string  `json:"namespace"`
	Value     *string `json:"value,omitempty"`
	Base64    []byte  `json:"value_base64,omitempty"` // of a value that is not UTF-8
	Version   string  `json:"version"`
}

func documentOf(v client.Value) valueDocument {
	d := valueDocument{Key: v.Key, Namespace: v.Namespace, Version: v.Version}
	if text := string(v.Value); utf8.ValidString(text) {
		d.Value = &text
	} else {
		d.Base64 = v.Value
	}
	return d
}

// keyCells returns the cells of a key: with its namespace if all are listed.
func keyCells(all bool, namespace, key string) []string {
	if all {
		return []string{namespace, key}
	}
	return []string{key}
}

func valueRow(all bool, v client.Value) []string {
	return append(keyCells(all, v.Namespace, v.Key), v.Version, onLine(v.Value))
}

func onLine(value []byte) string {
	return wording.Excerpt(strings.ReplaceAll(strings.ToValidUTF8(string(value), "?"), "\n", " "), shownData)
}

// printValue prints one key: `-q` its version, `-o name` its name.
func (a *app) printValue(v client.Value) error {
	name := v.Key
	if a.quiet {
		name = v.Version
	}
	return a.print(documentOf(v), table{header: []string{"KEY", "VERSION", "VALUE"}, rows: [][]string{valueRow(false, v)}}, name)
}
