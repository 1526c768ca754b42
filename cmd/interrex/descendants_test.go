package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
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
	found := map[int]descendant{}
	for _, p := range descendants(os.Getpid()) {
		found[p.pid] = p
	}
	if p := found[grandchild]; p.parent != c.Process.Pid || p.name != "sh" || found[c.Process.Pid].parent != os.Getpid() {
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
	err := eventually(func() error {
		text, err := os.ReadFile(file)
		if err == nil && !strings.Contains(string(text), ") Z ") {
			err = fmt.Errorf("it runs: %s", text)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range descendants(os.Getpid()) {
		if p.pid == c.Process.Pid {
			t.Errorf("%s is taken for alive", p)
		}
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}
