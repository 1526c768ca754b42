package main

import (
	"bytes"
	"encoding/json"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/internal/wording"
)

// shownData is how many bytes of data a row of a list shows.
const shownData = 60

// resourceDocument is a resource as JSON. A plain document is shown as it is, without
// its Protobuf type.
type resourceDocument interrex.Resource

// MarshalJSON implements json.Marshaler.
func (d resourceDocument) MarshalJSON() ([]byte, error) {
	r := interrex.Resource(d)
	plain, is := plainData(r.Data)
	if is {
		r.Data = interrex.ResourceData{}
	}
	text, err := wire.AppendJSON(nil, wire.Resource(r))
	if err != nil || !is {
		return text, err
	}
	text = append(bytes.TrimSuffix(bytes.TrimSpace(text), []byte("}")), `,"data":`...)
	return append(append(text, plain...), '}'), nil
}

// plainData returns the JSON of a plain document. One with a field "@type" does not
// count: it would be read as another type.
func plainData(d interrex.ResourceData) ([]byte, bool) {
	fields, is := client.Document(d)
	if _, typed := fields["@type"]; !is || typed {
		return nil, false
	}
	text, err := json.Marshal(fields)
	return text, err == nil
}

// dataText returns the data on one line; empty if there is none.
func dataText(d interrex.ResourceData) string {
	if text, is := plainData(d); is {
		return string(text)
	}
	m := wire.Resource(interrex.Resource{Data: d}).GetData()
	if m == nil {
		return ""
	}
	text, err := jsonOf(m)
	if err != nil {
		return d.TypeURL
	}
	return string(text)
}

// printResource prints one resource: `-q` its version, `-o name` its name.
func (a *app) printResource(r interrex.Resource) error {
	name := r.ID.Name
	if a.quiet {
		name = r.Version
	}
	t := table{header: resourceHeader, rows: [][]string{append(resourceRow(r), dataText(r.Data))}}
	return a.print(resourceDocument(r), t, name)
}

var resourceHeader = []string{"TYPE", "PARTITION", "NAMESPACE", "NAME", "VERSION", "DATA"}

func resourceRow(r interrex.Resource) []string {
	return []string{r.ID.Type.String(), r.ID.Tenancy.Partition, r.ID.Tenancy.Namespace, r.ID.Name, r.Version}
}

// printResources prints a whole list.
func (a *app) printResources(all []interrex.Resource, revision interrex.Revision) error {
	list := listing{revision: revision}
	t := table{header: resourceHeader}
	var names []string
	for _, r := range all {
		list.items = append(list.items, resourceDocument(r))
		t.rows = append(t.rows, append(resourceRow(r), wording.Excerpt(dataText(r.Data), shownData)))
		names = append(names, r.ID.Name)
	}
	return a.print(list, t, names...)
}
