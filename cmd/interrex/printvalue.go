package main

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/internal/wording"
)

// valueDocument is a key with its value as JSON.
type valueDocument struct {
	Key       string  `json:"key"`
	Namespace string  `json:"namespace"`
	Value     *string `json:"value,omitempty"`
	Base64    []byte  `json:"value_base64,omitempty"` // of one that is no UTF-8
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

// keyCells name a key in a row: with its namespace, where all of them are shown.
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

// printValues prints a whole list, of one namespace or of all.
func (a *app) printValues(values []client.Value, all bool, revision interrex.Revision) error {
	list := listing{revision: revision}
	t := table{header: append(keyCells(all, "NAMESPACE", "KEY"), "VERSION", "VALUE")}
	var names []string
	for _, v := range values {
		list.items = append(list.items, documentOf(v))
		t.rows = append(t.rows, valueRow(all, v))
		names = append(names, v.Key)
	}
	return a.print(list, t, names...)
}

func (a *app) printDeleted(key string) error {
	document := struct {
		Key string `json:"key"`
	}{key}
	return a.print(document, table{header: []string{"DELETED"}, rows: [][]string{{key}}}, key)
}

// printCleared prints how many keys were deleted.
func (a *app) printCleared(n int) error {
	document := struct {
		Deleted int `json:"deleted"`
	}{n}
	return a.print(document, table{header: []string{"DELETED"}, rows: [][]string{{strconv.Itoa(n)}}}, strconv.Itoa(n))
}

func valueEventHeader(all bool) []string {
	return slices.Concat([]string{"REVISION", "TIME", "OPERATION"}, keyCells(all, "NAMESPACE", "KEY"), []string{"VALUE"})
}

// valueEvent prints one event of keys.
func (a *app) valueEvent(e interrex.ResourceEvent, all bool) error {
	document := struct {
		Operation string `json:"operation"`
		*valueDocument
		Revision interrex.Revision `json:"revision,string"`
		Time     *time.Time        `json:"time,omitempty"`
	}{Operation: e.Operation, Revision: e.Revision}
	if !e.Time.IsZero() {
		document.Time = &e.Time
	}
	begin := []string{e.Revision.String(), stamp(e.Time), e.Operation}
	if e.Operation == interrex.EndOfSnapshot {
		return a.printEvent(document, "", begin...)
	}
	v, err := client.ValueOf(e.Resource)
	if err != nil {
		return err
	}
	d := documentOf(v)
	document.valueDocument = &d
	return a.printEvent(document, v.Key, slices.Concat(begin, keyCells(all, v.Namespace, v.Key), []string{onLine(v.Value)})...)
}
