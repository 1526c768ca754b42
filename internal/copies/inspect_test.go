package copies_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/access"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/copies"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/internal/snapfile"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/internal/webhook"
	"github.com/interrex/interrex/state"
)

func own() []state.Table {
	return []state.Table{lease.New(), resource.New(), change.New(), webhook.New(), member.New(), access.New()}
}

// replica is one with leases in two namespaces, a resource, and an embedder's table.
func replica(t testing.TB) *testreplica.Replica {
	r := testreplica.New(t, func() []state.Table { return append(own(), testtable.NewRegister()) })
	put := func(c state.Command, table state.TableID, id string) {
		r.Do(state.Time(time.Second), state.Operation{Table: table, Data: c.Append(nil), RequestID: id})
	}
	for _, name := range []string{"a", "b"} {
		put(&lease.Claim{Key: interrex.Key{Namespace: "jobs", Name: name}, Holder: "ann", TTL: time.Minute}, machine.LeaseTable, name)
	}
	put(&lease.Claim{Key: interrex.Key{Namespace: "web", Name: "a"}, Holder: strings.Repeat("x", 200), TTL: time.Minute}, machine.LeaseTable, "")
	value := make([]byte, 150<<10)
	for i := range value {
		value[i] = byte(i * i >> 7)
	}
	put(&resource.Write{ID: interrex.ResourceID{
		Type: interrex.ResourceType{Group: "g", GroupVersion: "v1", Kind: "K"}, Tenancy: interrex.Tenancy{Partition: "default", Namespace: "jobs"}, Name: "r",
	}, Data: interrex.ResourceData{TypeURL: "x/y", Value: value}}, machine.ResourceTable, "")
	r.Do(state.Time(time.Second), state.Operation{Table: testtable.RegisterTable, Data: testtable.Set("k", "v", time.Minute), RequestID: "of-another-table"})
	return r
}

func TestAnInspectionShowsWhatIsInASnapshot(t *testing.T) {
	r := replica(t)
	file := r.Snapshot()
	c, err := copies.Inspect(bytes.NewReader(file), own)
	if err != nil {
		t.Fatal(err)
	}
	if c.Bytes != int64(len(file)) || c.Revision != r.State.Revision() || c.ClusterTime != time.Second {
		t.Errorf("it shows %+v", c.Snapshot)
	}
	counts := map[string]int{}
	var sum int64
	for _, one := range c.Tables {
		counts[one.Name] = one.Count
		sum += one.Bytes
	}
	want := map[string]int{"state": -1, "leases": 3, "resources": 1, "changes": 5, "webhooks": 0, "members": 0, "access": 0, "register-256": -1}
	for name, n := range want {
		if got, there := counts[name]; !there || got != n {
			t.Errorf("table %s has %d rows (there: %v), want %d", name, got, there, n)
		}
	}
	if len(counts) != len(want) || sum >= c.Bytes || sum < 150<<10 {
		t.Errorf("tables: %+v", c.Tables)
	}
	if len(c.Namespaces) != 2 || c.Namespaces[0].Name != "jobs" || c.Namespaces[0].Leases != 2 || c.Namespaces[0].Resources != 1 || c.Namespaces[0].Bytes < 150<<10 ||
		c.Namespaces[1].Name != "web" || c.Namespaces[1].Leases != 1 || c.Namespaces[1].Bytes < 200 {
		t.Errorf("namespaces: %+v", c.Namespaces)
	}
}

// refused checks that a file is refused in words, and returns these.
func refused(t *testing.T, what string, file []byte) string {
	t.Helper()
	_, err := copies.Inspect(bytes.NewReader(file), own)
	if err == nil {
		t.Errorf("%s: it is taken for whole", what)
		return ""
	}
	return err.Error()
}

// frames returns where the frames of a file begin, and its end.
func frames(file []byte) (at []int) {
	for n := 9; n < len(file); {
		at = append(at, n)
		n += 9 + int(file[n+1])<<24 + int(file[n+2])<<16 + int(file[n+3])<<8 + int(file[n+4])
	}
	return append(at, len(file))
}

// cutShort names the section, but for the first bytes, and the byte.
var cutShort = regexp.MustCompile(`^(section "[a-z0-9-]+": )?it is cut short, after byte \d+$`)

func TestADamagedFileIsRefusedInWords(t *testing.T) {
	file := replica(t).Snapshot()
	at := frames(file)
	if len(at) < 20 {
		t.Fatalf("the file has only %d frames", len(at)-1)
	}
	draw := rand.New(rand.NewPCG(1, 2))
	for i, begin := range at[:len(at)-1] {
		end := at[i+1]
		for _, n := range []int{begin, begin + 1, begin + 4, begin + 5, begin + draw.IntN(end-begin), end - 4, end - 1} {
			flipped := bytes.Clone(file)
			flipped[n] ^= 1 << draw.IntN(8)
			text := refused(t, "a flipped bit", flipped)
			if !strings.Contains(text, "damaged") && !strings.Contains(text, "cut short") {
				t.Errorf("a bit of byte %d: %s", n, text)
			}
		}
		for _, n := range []int{begin, begin + 3, begin + 7, end - 1} {
			if text := refused(t, "a cut", file[:n]); !cutShort.MatchString(text) {
				t.Errorf("cut at byte %d: %s", n, text)
			}
		}
		if i+2 < len(at) {
			refused(t, "two parts that were swapped", slices.Concat(file[:begin], file[end:at[i+2]], file[begin:end], file[at[i+2]:]))
		}
		refused(t, "a missing part", slices.Concat(file[:begin], file[end:]))
		refused(t, "a part that is there twice", slices.Concat(file[:end], file[begin:end], file[end:]))
	}
	for n := range 9 {
		flipped := bytes.Clone(file)
		flipped[n] ^= 4
		refused(t, "the first bytes", flipped)
	}
	for what, broken := range map[string][]byte{
		"bytes after its end": append(bytes.Clone(file), 0), "twice": slices.Concat(file, file), "empty": nil, "text": []byte(strings.Repeat("text ", 1000)),
		"newer": append([]byte("interrex\x02"), file[9:]...),
	} {
		t.Logf("%s: %s", what, refused(t, what, broken))
	}
}

func TestPartsOfTwoFilesAreRefused(t *testing.T) {
	r := replica(t)
	one := r.Snapshot()
	r.Do(state.Time(2*time.Second), state.Operation{Table: machine.LeaseTable, Data: (&lease.Claim{Key: interrex.Key{Namespace: "jobs", Name: "c"}, Holder: "ann", TTL: time.Minute}).Append(nil)})
	two := r.Snapshot()
	a, b := frames(one), frames(two)
	for i := 1; i < len(a)-1; i++ {
		for j := 1; j < len(b)-1; j++ {
			if spliced := slices.Concat(one[:a[i]], two[b[j]:]); !bytes.Equal(spliced, one) && !bytes.Equal(spliced, two) {
				refused(t, "a splice", spliced)
			}
		}
	}
}

// reframed returns a file with other sections, whose checksums are right.
func reframed(t *testing.T, file []byte, edit func(n int, s *snapfile.Section, content []byte) []byte) []byte {
	t.Helper()
	in, err := snapfile.Open(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	out := snapfile.NewWriter(&b, in.Header)
	for n := 0; ; n++ {
		s, err := in.Next()
		if err == io.EOF {
			break
		}
		content, _ := io.ReadAll(in)
		if content = edit(n, &s, content); content != nil {
			_ = out.Begin(s)
			_, _ = out.Write(content)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAFileOfANewerVersionIsRefused(t *testing.T) {
	file := replica(t).Snapshot()
	for what, edit := range map[string]func(s *snapfile.Section){
		"version 99":  func(s *snapfile.Section) { s.Version = 99 },
		"is unknown":  func(s *snapfile.Section) { s.Table = 99 },
		"\"other\"":   func(s *snapfile.Section) { s.Name = "other" },
		"system sect": func(s *snapfile.Section) { s.Table = 0 },
	} {
		text := refused(t, what, reframed(t, file, func(_ int, s *snapfile.Section, content []byte) []byte {
			if s.Name == "leases" {
				edit(s)
			}
			return content
		}))
		if !strings.Contains(text, what) {
			t.Errorf("%s: %s", what, text)
		}
	}
	if text := refused(t, "without the state itself", reframed(t, file, func(n int, _ *snapfile.Section, content []byte) []byte {
		if n == 0 {
			return nil
		}
		return content
	})); !strings.Contains(text, "does not begin with") {
		t.Error(text)
	}
}

func TestAHeaderOfAnotherClusterIsRefused(t *testing.T) {
	in, err := snapfile.Open(bytes.NewReader(replica(t).Snapshot()))
	if err != nil {
		t.Fatal(err)
	}
	in.Header.ClusterID = "another"
	var b bytes.Buffer
	out := snapfile.NewWriter(&b, in.Header)
	for s, err := in.Next(); err == nil; s, err = in.Next() {
		_ = out.Begin(s)
		_, _ = io.Copy(out, in)
	}
	_ = out.Close()
	if text := refused(t, "another header", b.Bytes()); !strings.Contains(text, "different histories") {
		t.Error(text)
	}
}

// What the checksums cannot show, a table's own reader does.
func TestMalformedContentIsRefusedWithTheNameOfItsTable(t *testing.T) {
	file := replica(t).Snapshot()
	draw := rand.New(rand.NewPCG(3, 4))
	for _, name := range []string{"state", "leases", "resources", "changes"} {
		for range 12 {
			at := draw.IntN(1 << 20)
			broken := reframed(t, file, func(_ int, s *snapfile.Section, content []byte) []byte {
				if s.Name != name {
					return content
				}
				return content[:at%len(content)]
			})
			if text := refused(t, "a section that is cut", broken); !strings.Contains(text, `section "`+name+`"`) {
				t.Errorf("%s: %s", name, text)
			}
		}
	}
}

func FuzzInspect(f *testing.F) {
	f.Add(replica(f).Snapshot(), 100, byte(1))
	f.Fuzz(func(t *testing.T, file []byte, at int, with byte) {
		if len(file) > 0 {
			file = bytes.Clone(file)
			file[uint(at)%uint(len(file))] ^= with
		}
		_, _ = copies.Inspect(bytes.NewReader(file), own)
	})
}
