package listener

import (
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestAConnectionIsReadSlowlyForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		c := &limitedConn{Conn: here, of: &limitedListener{}, address: from, from: &peers{}}
		go func() {
			for err := error(nil); err == nil; {
				_, err = there.Write(make([]byte, 4<<10))
			}
		}()
		read := func() (int, time.Duration) {
			t.Helper()
			began := time.Now()
			n, err := c.Read(make([]byte, 1<<10))
			if err != nil {
				t.Fatal(err)
			}
			return n, time.Since(began)
		}
		if n, took := read(); took != 0 || n != 1<<10 {
			t.Errorf("a read takes %s, and returns %d bytes", took, n)
		}
		for range wasteBurst + wasteRate {
			NoteWaste(&clearConn{below: c})
		}
		if n, took := read(); took != slowRead || n != slowBytes {
			t.Errorf("a slow read takes %s, want %s, and returns %d bytes, want %d", took, slowRead, n, slowBytes)
		}
		time.Sleep(time.Second)
		if n, took := read(); took != 0 || n <= slowBytes {
			t.Errorf("a read takes %s after that, and returns %d bytes", took, n)
		}
		_ = here.Close()
		NoteWaste(here) // no Listener has accepted it
	})
}

func TestSlowConnectionsOfOneAddressTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for limited, want := range map[bool]time.Duration{true: 3 * slowRead, false: slowRead} {
			all := &peers{}
			if limited {
				all.turns = make(chan struct{}, slowAtOnce)
			}
			var waiting sync.WaitGroup
			began := time.Now()
			for range 2*slowAtOnce + 1 {
				waiting.Go((&limitedConn{from: all}).pause)
			}
			waiting.Wait()
			if took := time.Since(began); took != want {
				t.Errorf("limited %v: they take %s, want %s", limited, took, want)
			}
		}
	})
}
