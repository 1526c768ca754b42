package featuretests

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"

	"connectrpc.com/connect"

	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/interrextest"
)

var update = flag.Bool("update", false, "write the golden files; that is a change for everybody who speaks to an agent")

// golden compares a text with a file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := "testdata/" + name + ".golden"
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	have, old := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	title := ""
	for i := range min(len(have), len(old)) {
		if strings.HasPrefix(old[i], "== ") {
			title = old[i]
		}
		if have[i] != old[i] {
			t.Fatalf("%s:%d: %s\nis now\n%s\nand was\n%s", path, i+1, title, strings.Join(have[i:min(i+2, len(have))], "\n"), old[i])
		}
	}
	if len(have) != len(old) {
		t.Fatalf("%s has %d lines, and there are %d now", path, len(old), len(have))
	}
}

// apiOf returns the URL of an agent's API port.
func apiOf(a *agent.Agent) string { return "http://" + a.Addrs()["api"] }

// withAPI is the configuration of an agent in memory with an API port.
func withAPI(edit func(*agent.Config)) agent.Config {
	c := agent.Config{ID: "n1", API: config.API{Listen: "127.0.0.1:0", Advertise: "n1.example:7400"}}
	if edit != nil {
		edit(&c)
	}
	return c
}

// What goes over the wire stays as it is recorded: the JSON, the protobuf, the
// status and the details of every error, over Connect and gRPC.
func TestRequestsAndAnswersOnTheWireStay(t *testing.T) {
	t.Parallel()
	stays(t, "wire", leaseExchanges())
}

// stays makes exchanges over every protocol, each with its own agent, and compares
// them with a golden file.
func stays(t *testing.T, name string, asked []exchange) {
	t.Helper()
	var answers [3][]response
	var running sync.WaitGroup
	for p := range answers {
		k := newTalker(t, apiOf(interrextest.Start(t, withAPI(nil))), protocol(p))
		running.Go(func() { answers[p] = k.all(asked) })
	}
	running.Wait()
	var out strings.Builder
	for i, x := range asked {
		write(t, &out, x, answers[overJSON][i], answers[overProto][i], answers[overGRPC][i])
	}
	golden(t, name, out.String())
}

// all makes exchanges one after the other, the unusual ones only as plain HTTP.
func (k *talker) all(asked []exchange) []response {
	answers := make([]response, len(asked))
	for i, x := range asked {
		if k.protocol == overJSON || x.edit == nil && x.known() != nil {
			answers[i] = k.ask(x)
		}
	}
	return answers
}

// write records an exchange. What is equal over all protocols is there once: an
// error, except for its status.
func write(t *testing.T, out *strings.Builder, x exchange, inJSON, inProto, inGRPC response) {
	t.Helper()
	format := "%s"
	if strings.ContainsFunc(inJSON.sent, unicode.IsControl) {
		format = "%x"
	}
	fmt.Fprintf(out, "== %s\n> %s\n> %s\n", x.name, x.method, shorten(inJSON.sent, format))
	if inProto.status != "" {
		fmt.Fprintf(out, "> %s\n", shorten(inProto.sent, "%x"))
	}
	fmt.Fprintf(out, "< %s %s\n", inJSON.status, contentType(inJSON))
	if inJSON.body != "" {
		fmt.Fprintf(out, "< %s\n", inJSON.body)
	}
	headers(t, x, inJSON)
	if inProto.status != "" {
		headers(t, x, inProto)
		headers(t, x, inGRPC)
		writeProto(t, out, inJSON, inProto, inGRPC)
	}
	fmt.Fprintln(out)
}

func writeProto(t *testing.T, out *strings.Builder, inJSON, inProto, inGRPC response) {
	t.Helper()
	if inProto.code == "" {
		fmt.Fprintf(out, "< %x\n", inProto.body)
		if inGRPC.status != "200" || inGRPC.code != "0" || inGRPC.body != inProto.body {
			t.Errorf("over gRPC the answer is %s %s %x, and over Connect %x", inGRPC.code, inGRPC.text, inGRPC.body, inProto.body)
		}
		return
	}
	if inProto.status != inJSON.status || inProto.body != inJSON.body {
		fmt.Fprintf(out, "< protobuf: %s %s\n", inProto.status, inProto.body)
	}
	var code connect.Code
	if err := code.UnmarshalText([]byte(inProto.code)); err != nil {
		t.Error(err)
	}
	fmt.Fprintf(out, "< gRPC: %s\n", inGRPC.code)
	if inGRPC.code != fmt.Sprint(uint32(code)) || inGRPC.text != inProto.text || inGRPC.detail != inProto.detail {
		fmt.Fprintf(out, "< gRPC: %s %x\n", inGRPC.text, inGRPC.detail)
	}
}

func contentType(a response) string {
	return strings.TrimSpace(a.header.Get("Content-Type") + " " + a.header.Get("Content-Encoding"))
}

var (
	anEpoch = regexp.MustCompile(`^\d+-[0-9a-f]{16}$`)
	aNumber = regexp.MustCompile(`^\d+$`)
)

// headers checks what every answer carries.
func headers(t *testing.T, x exchange, a response) {
	t.Helper()
	h, leader := a.header, "n1"
	if x.leaderless {
		leader = ""
	}
	if !anEpoch.MatchString(h.Get("Interrex-Epoch")) || !aNumber.MatchString(h.Get("Interrex-Term")) || !slices.Contains(h["Interrex-Leader-Id"], leader) {
		t.Errorf("%s: the headers are %v", x.name, h)
	}
}

// shorten replaces long runs of one byte in a text by their length.
func shorten(s, format string) string {
	const long = 40
	var out strings.Builder
	for len(s) > 0 {
		run := len(s) - len(strings.TrimLeft(s, s[:1]))
		fmt.Fprintf(&out, format, s[:1])
		if run > long {
			fmt.Fprintf(&out, "{%d}", run)
		} else {
			run = 1
		}
		s = s[run:]
	}
	return out.String()
}

// header returns an edit that sets a header.
func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}
