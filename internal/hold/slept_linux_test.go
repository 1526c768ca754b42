package hold_test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/interrex/interrex/internal/hold"
)

// In a time namespace whose machine has slept for a day, the system's clock has
// counted that day.
func TestTheSystemsClockCountsSleep(t *testing.T) {
	const within, day = "INTERREX_TEST_HAS_SLEPT", 24 * time.Hour
	if os.Getenv(within) != "" {
		fmt.Printf("it is %d\n", hold.SystemClock().Now())
		return
	}
	if os.Getuid() != 0 {
		t.Skip("only root may make a time namespace")
	}
	before := hold.SystemClock().Now()
	cmd := exec.Command("unshare", "--time", "--boottime", "86400", os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), within+"=yes")
	out, err := cmd.CombinedOutput()
	m := regexp.MustCompile(`it is (\d+)`).FindSubmatch(out)
	if err != nil || m == nil {
		t.Fatalf("%v\n%s", err, out)
	}
	n, _ := strconv.ParseInt(string(m[1]), 10, 64)
	if slept := time.Duration(n) - before; slept < day || slept > day+time.Hour {
		t.Errorf("it counts %s of a day's sleep", slept)
	}
}
