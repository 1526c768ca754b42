package joining

import (
	"testing"
	"time"
)

func TestAJoinerPausesLongerEachTime(t *testing.T) {
	for rounds, most := range map[int]time.Duration{
		1: 500 * time.Millisecond, 2: time.Second, 3: 2 * time.Second, 4: 4 * time.Second, 5: 5 * time.Second, 6: 5 * time.Second, 1000: 5 * time.Second,
	} {
		for range 20 {
			if got := Pause(rounds); got < most/2 || got > most {
				t.Errorf("after %d rounds: %s, want %s to %s", rounds, got, most/2, most)
			}
		}
	}
}
