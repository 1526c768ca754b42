package wording

import (
	"fmt"
	"strconv"
	"time"
)

// Rounded formats a duration for people: "150 ms", "1.5 s", "59 s", "1 h
// 30 min", "3 d 4 h". It rounds, so the result cannot be parsed back.
func Rounded(d time.Duration) string {
	if d < 0 {
		return "-" + Rounded(-max(d, -1<<63+1))
	}
	const day = 24 * time.Hour
	switch {
	case d == 0:
		return "0 s"
	case d < 5*time.Microsecond:
		return "less than 0.01 ms"
	case d < 10*time.Millisecond:
		return decimal(d, 10*time.Microsecond, time.Millisecond) + " ms"
	case d.Round(time.Millisecond) < time.Second:
		return decimal(d, time.Millisecond, time.Millisecond) + " ms"
	case d.Round(100*time.Millisecond) < 10*time.Second:
		return decimal(d, 100*time.Millisecond, time.Second) + " s"
	case d.Round(time.Second) < time.Minute:
		return decimal(d, time.Second, time.Second) + " s"
	case d.Round(time.Second) < time.Hour:
		return two(d.Round(time.Second), time.Minute, "min", time.Second, "s")
	case d.Round(time.Minute) < 2*day:
		return two(d.Round(time.Minute), time.Hour, "h", time.Minute, "min")
	}
	return two(d.Round(time.Hour), day, "d", time.Hour, "h")
}

// decimal writes d, rounded to step, in units.
func decimal(d, step, unit time.Duration) string {
	return strconv.FormatFloat(float64(d.Round(step))/float64(unit), 'f', -1, 64)
}

// two writes d in two units, without the smaller one if it is zero.
func two(d, large time.Duration, largeName string, small time.Duration, smallName string) string {
	text := fmt.Sprintf("%d %s", d/large, largeName)
	if rest := d % large / small; rest > 0 {
		text += fmt.Sprintf(" %d %s", rest, smallName)
	}
	return text
}
