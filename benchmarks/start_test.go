package benchmarks

import (
	"fmt"
	"net"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
)

// starts is how many times dev is started.
const starts = 10

// BenchmarkDevStart measures the time from the start of `interrex dev` to its first
// answered claim.
func BenchmarkDevStart(b *testing.B) {
	for _, nodes := range []int{1, 3} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				for range starts {
					took = append(took, startDev(b, nodes))
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(ms(median(took)), "median-ms")
			b.ReportMetric(ms(slices.Max(took)), "max-ms")
		})
	}
}

func startDev(b *testing.B, nodes int) time.Duration {
	b.Helper()
	path, err := binary()
	if err != nil {
		b.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", devPort)
	cmd := exec.Command(path, "dev", "--nodes", fmt.Sprint(nodes), "--data-dir", shortDir(b), "--api", address)
	cmd.Env = environ()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // ending by a signal is no failure
	}()
	listens(b, address)
	leases := dial(b, client.Config{Addresses: []string{"http://" + address}}).Leases()
	if _, err := leases.Claim(b.Context(), interrex.ClaimRequest{Key: numbered("first", 1), Holder: holder}); err != nil {
		b.Fatal(err)
	}
	took := time.Since(start)
	progress(b, "%v", took.Round(time.Millisecond))
	return took
}

// devPort is the first port that dev listens on.
const devPort = 17400

// listens waits, with shorter pauses than a client's, until the port is open.
func listens(b *testing.B, address string) {
	b.Helper()
	for deadline := time.Now().Add(patience); ; {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			b.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}
