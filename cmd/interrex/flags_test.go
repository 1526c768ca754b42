package main

import (
	"testing"
	"time"
)

func TestDurationFlagAllowsItsBoundsAndNothingBeyond(t *testing.T) {
	var to time.Duration
	d := duration{to: &to, least: time.Second, most: time.Hour}
	for text, allowed := range map[string]bool{
		"1s": true, "1h": true, "999ms": false, "1h1ns": false, "0s": false, "-5s": false, "5": false, "": false,
	} {
		if err := d.Set(text); (err == nil) != allowed {
			t.Errorf("%q: %v", text, err)
		}
	}
}
