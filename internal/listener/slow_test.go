package listener

import (
	"crypto/tls"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestAConnectionIsReadSlowlyForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		c := &limitedConn{Conn: here, of: &limitedListener{}, address: from}
		go func() {
			for err := error(nil); err == nil; {
				_, err = there.Write([]byte{1})
			}
		}()
		read := func() time.Duration {
			t.Helper()
			began := time.Now()
			if _, err := c.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			return time.Since(began)
		}
		if took := read(); took != 0 {
			t.Errorf("a read takes %s", took)
		}
		for range resetBurst + resetRate {
			NoteReset(tls.Server(c, nil))
		}
		if took := read(); took != slowRead {
			t.Errorf("a slow read takes %s, want %s", took, slowRead)
		}
		time.Sleep(time.Second)
		if took := read(); took != 0 {
			t.Errorf("a read takes %s after that", took)
		}
		_ = here.Close()
		NoteReset(here) // is none of a Listener
	})
}
