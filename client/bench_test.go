package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
)

// noop is a server that answers every message immediately with one of its own.
type noop struct {
	interrexv1.UnimplementedStreamServiceHandler
}

func (noop) Operate(_ context.Context, conn *connect.BidiStream[interrexv1.OperateRequest, interrexv1.OperateResponse]) error {
	if err := conn.Send(nil); err != nil { // the headers go ahead
		return err
	}
	body := granted(&operation{request: &interrexv1.ExtendRequest{}}).Result
	for {
		m, err := conn.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		out := &interrexv1.OperateResponse{Answers: make([]*interrexv1.Answer, len(m.Operations))}
		for i, op := range m.Operations {
			out.Answers[i] = &interrexv1.Answer{Id: op.Id, Result: body}
		}
		if err := conn.Send(out); err != nil {
			return err
		}
	}
}

func noopServer(b *testing.B) string {
	mux := http.NewServeMux()
	mux.Handle(interrexv1.NewStreamServiceHandler(noop{}))
	s := httptest.NewUnstartedServer(mux)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	b.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.URL
}

// share lets callers make b.N calls together.
func share(b *testing.B, callers int, call func() error) {
	b.ReportAllocs()
	b.ResetTimer()
	var all sync.WaitGroup
	for i := range callers {
		n := b.N / callers
		if i < b.N%callers {
			n++
		}
		all.Go(func() {
			for range n {
				if err := call(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}

func BenchmarkStream(b *testing.B) {
	for _, callers := range []int{1, 64, 256, 1024} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			s := newStream(b, noopServer(b), nil)
			share(b, callers, func() error {
				_, err := s.Call(b.Context(), revoke(1))
				return err
			})
		})
	}
}

func BenchmarkClaim(b *testing.B) {
	for _, callers := range []int{1, 64, 256} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			c := dial(b, client.Config{Addresses: []string{noopServer(b)}})
			leases := c.Leases()
			share(b, callers, func() error {
				_, err := leases.Claim(b.Context(), interrex.ClaimRequest{Key: key, Holder: "me"})
				return err
			})
		})
	}
}
