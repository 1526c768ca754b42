package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wire"
)

func TestEventsOfKeysAreKeysAndValues(t *testing.T) {
	data, err := wire.Value([]byte("80\n81"))
	if err != nil {
		t.Fatal(err)
	}
	e := interrex.ResourceEvent{
		Operation: interrex.ResourceUpsert, Revision: 7, Time: time.Unix(0, 0).UTC(),
		Resource: interrex.Resource{ID: wire.ValueID("web", "config/port"), Version: "7", Data: data},
	}
	end := interrex.ResourceEvent{Operation: interrex.EndOfSnapshot, Revision: 8}
	for _, c := range []struct {
		output string
		all    bool
		event  interrex.ResourceEvent
		want   string
	}{
		{"table", false, e, "7                     1970-01-01T00:00:00Z  upsert                config/port           80 81\n"},
		{"table", true, e, "7                     1970-01-01T00:00:00Z  upsert                web                   config/port           80 81\n"},
		{"json", false, e, `{"operation":"upsert","key":"config/port","namespace":"web","value":"80\n81","version":"7","revision":"7","time":"1970-01-01T00:00:00Z"}` + "\n"},
		{"name", false, e, "config/port\n"},
		{"json", false, end, `{"operation":"end_of_snapshot","revision":"8"}` + "\n"},
		{"name", false, end, ""},
	} {
		var out bytes.Buffer
		a := &app{out: &out, output: c.output}
		if err := a.valueEvent(c.event, c.all); err != nil || out.String() != c.want {
			t.Errorf("%s: %v\n%s\nwant\n%s", c.output, err, out.String(), c.want)
		}
	}
}
