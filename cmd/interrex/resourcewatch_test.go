package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

func TestAWatchOfResourcesPrintsWhatIsThereAndWhatHappens(t *testing.T) {
	b := newBench(t)
	run := func(args ...string) {
		t.Helper()
		if out, err := program(append(args, "--addr", "http://"+b.addr)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	file := filepath.Join(t.TempDir(), "web.yaml")
	if err := os.WriteFile(file, []byte("id: {type: {group: demo, group_version: v1, kind: Server}, name: web}\ndata: {port: 80}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run("resource", "write", "-f", file)
	table := startProgram(t, "resource", "watch", "demo.v1.Server", "--addr", "http://"+b.addr)
	inJSON := startProgram(t, "resource", "watch", "demo.v1.Server", "-o", "json", "--addr", "http://"+b.addr)
	table.shows(&table.out, "end_of_snapshot")
	inJSON.shows(&inJSON.out, `{"operation":"end_of_snapshot","revision":"`)
	run("resource", "delete", "demo.v1.Server", "web")
	table.shows(&table.out, " delete ")
	inJSON.shows(&inJSON.out, `{"operation":"delete"`)
	for text, line := range map[string]string{
		table.out.String():  `(?m)^\d+ +- +upsert +default/default +web +\{"port":80\} *$`,
		inJSON.out.String(): `(?m)^\{"operation":"upsert","resource":\{.*"name":"web".*"data":\{"port":80\}\},"revision":"\d+"\}$`,
	} {
		if !regexp.MustCompile(line).MatchString(text) {
			t.Errorf("no line %s in\n%s", line, text)
		}
	}
	if line := regexp.MustCompile(`(?m)^\d+ +20\S+Z +delete +default/default +web `); !line.MatchString(table.out.String()) {
		t.Errorf("it prints\n%s", table.out.String())
	}
}
