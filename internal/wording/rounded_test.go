package wording

import (
	"math"
	"testing"
	"time"
)

func TestDurationsAreWrittenForPeople(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                             "0 s",
		300:                           "less than 0.01 ms",
		1234 * time.Microsecond:       "1.23 ms",
		150400 * time.Microsecond:     "150 ms",
		999600 * time.Microsecond:     "1 s",
		1500 * time.Millisecond:       "1.5 s",
		9960 * time.Millisecond:       "10 s",
		59962116035:                   "1 min",
		59362116035:                   "59 s",
		90 * time.Second:              "1 min 30 s",
		3599600 * time.Millisecond:    "1 h",
		90 * time.Minute:              "1 h 30 min",
		24 * time.Hour:                "24 h",
		48*time.Hour - time.Second:    "2 d",
		76*time.Hour + 20*time.Minute: "3 d 4 h",
		-1500 * time.Millisecond:      "-1.5 s",
		math.MinInt64:                 "-106751 d 23 h",
		10 * 365 * 24 * time.Hour:     "3650 d",
	} {
		if got := Rounded(d); got != want {
			t.Errorf("%v is written %q, not %q", d, got, want)
		}
	}
}
