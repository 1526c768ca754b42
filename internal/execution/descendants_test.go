package execution

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestDescendantsAreTheChildrensChildrenToo(t *testing.T) {
	c := exec.Command("sh", "-c", `sh -c 'echo $$; read x'; true`)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	grandchild, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	found := map[int]Process{}
	for _, p := range Descendants(os.Getpid()) {
		found[p.PID] = p
	}
	if p := found[grandchild]; p.Parent != c.Process.Pid || p.Name != "sh" || found[c.Process.Pid].Parent != os.Getpid() {
		t.Errorf("%d of %d is not among %v", grandchild, c.Process.Pid, found)
	}
	_ = in.Close()
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}

func TestAZombieDoesNotLive(t *testing.T) {
	c := exec.Command("true")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	file := fmt.Sprintf("/proc/%d/stat", c.Process.Pid)
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		text, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(text), ") Z ") {
			break
		}
		if err != nil || time.Now().After(end) {
			t.Fatalf("it runs: %s, %v", text, err)
		}
	}
	for _, p := range Descendants(os.Getpid()) {
		if p.PID == c.Process.Pid {
			t.Errorf("%s is taken for alive", p)
		}
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}
