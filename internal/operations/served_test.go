package operations

import (
	"bytes"
	"encoding/binary"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/juju/clock"
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/consistency"
	"github.com/interrex/interrex/internal/method"
)

// served serves the streams of a server, and returns a client for them.
func served(t *testing.T, s *Server) (client *http.Client, url string) {
	t.Helper()
	get := s.methods.Method(interrexv1.LeaseServiceGetProcedure)
	get.Latency = method.NewMetrics().Latency(get.Procedure)
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	at := httptest.NewUnstartedServer(s.OperateHandler())
	at.Config.Protocols = protocols
	at.Start()
	t.Cleanup(at.Close)
	transport := &http.Transport{Protocols: protocols}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}, at.URL
}

// pausing is a clock whose pauses are told, and end at once.
type pausing struct {
	clock.Clock
	pauses chan time.Duration
}

func (c pausing) After(d time.Duration) <-chan time.Time {
	c.pauses <- d
	return c.Clock.After(0)
}

func TestAStreamPausesAfterWhatWasOverloaded(t *testing.T) {
	by := pausing{clock.WallClock, make(chan time.Duration, 9)}
	client, url := served(t, newServer(t, func(c *Config, _ *consistency.Config) { c.Clock, c.MaxOpen, c.SendWait = by, 0, time.Minute }))
	conn := interrexv1.NewStreamServiceClient(client, url).Operate(t.Context())
	defer func() { _ = conn.CloseRequest(); _ = conn.CloseResponse() }()
	if err := conn.Send(&interrexv1.OperateRequest{Operations: []*interrexv1.Operation{gets(t, 1), gets(t, 2)}}); err != nil {
		t.Fatal(err)
	}
	select {
	case d := <-by.pauses:
		if d != 2*excessPause {
			t.Errorf("after two it pauses for %v", d)
		}
	case <-time.After(30 * time.Second):
		t.Error("it receives on")
	}
}

// To compress a list takes longer than to make it.
func TestTheAnswersOfAStreamAreNotCompressed(t *testing.T) {
	client, url := served(t, newServer(t, func(c *Config, _ *consistency.Config) { c.SendWait = time.Minute }))
	message, err := proto.Marshal(&interrexv1.OperateRequest{Operations: []*interrexv1.Operation{gets(t, 1)}})
	if err != nil {
		t.Fatal(err)
	}
	body := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+interrexv1.StreamServiceOperateProcedure, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/connect+proto")
	r.Header.Set("Connect-Accept-Encoding", "gzip")
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if all, err := io.ReadAll(answer.Body); err != nil || len(all) < 5 || all[0] != 0 {
		t.Errorf("the first message is compressed: %v %.40q, %v", answer.Status, all, err)
	}
}
