package pipe_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"

	"github.com/interrex/interrex/internal/pipe"
)

func TestItIsAConnection(t *testing.T) {
	nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
		a, b := pipe.New()
		return a, b, func() { a.Close(); b.Close() }, nil
	})
}

func TestWhatWasWrittenIsReadAfterTheClose(t *testing.T) {
	a, b := pipe.New()
	if n, err := a.Write([]byte("hello")); n != 5 || err != nil { // nobody reads yet
		t.Fatal(n, err)
	}
	a.Close()
	if text, err := io.ReadAll(b); string(text) != "hello" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := b.Write([]byte("x")); err == nil {
		t.Error("it is written to nobody")
	}
}

func TestABufferHasAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := pipe.New()
		start := time.Now()
		a.SetWriteDeadline(start.Add(time.Hour))
		n, err := a.Write(make([]byte, 1<<20))
		if n != 64<<10 || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Hour {
			t.Errorf("%d, %v after %s", n, err, time.Since(start))
		}
	})
}

func TestADeadlineMovesUnderWhoeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := pipe.New()
		start := time.Now()
		a.SetReadDeadline(start.Add(time.Minute))
		go func() {
			time.Sleep(time.Second)
			a.SetReadDeadline(start.Add(time.Hour))
		}()
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Hour {
			t.Errorf("%v after %s", err, time.Since(start))
		}
	})
}

func TestAListenerThatIsClosedRefuses(t *testing.T) {
	l := pipe.Listen()
	go func() {
		c, err := l.Accept()
		if err == nil {
			c.Close()
		}
	}()
	if c, err := l.Dial(t.Context(), "", ""); err != nil || c == nil {
		t.Fatal(err)
	}
	late, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Dial(late, "", ""); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	l.Close()
	if _, err := l.Dial(t.Context(), "", ""); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}
