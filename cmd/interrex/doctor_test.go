package main

import (
	"bytes"
	"testing"

	"github.com/interrex/interrex/config"
)

func TestTheDoctorSaysThatThereIsNoConfiguration(t *testing.T) {
	var out bytes.Buffer
	(&app{messages: &out}).sayConfiguration(config.Source{Path: "none.yaml", Optional: true})
	if got, want := out.String(), "without a configuration file: --config names one\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
