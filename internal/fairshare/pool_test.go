package fairshare

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// fill takes ones for a caller until no more may be taken, and returns how many it took.
func fill(p *Pool, who string) (n int64) {
	for p.Take(who, 1) {
		n++
	}
	return n
}

func TestOneCallerHasAQuarter(t *testing.T) {
	p := New(400)
	if n := fill(p, "flood"); n != 100 || p.Take("flood", 1) {
		t.Errorf("it has %d of 400", n)
	}
	if u := p.Use(); u.Used != 100 || u.Refused != 2 || u.Most != "flood" || u.Has != 100 || u.May != 100 {
		t.Errorf("used is %+v", u)
	}
	p.Give("flood", 60)
	if p.Take("flood", 61) || !p.Take("flood", 60) {
		t.Error("what was given back is not what may be taken")
	}
}

// However many take all that they may, one that comes later gets a little, and all is for
// those that have no more.
func TestManyCallersLeaveRoomForAnother(t *testing.T) {
	p := New(8192)
	for i := range 50 {
		fill(p, fmt.Sprint("flood", i))
	}
	if n := fill(p, "late"); n != 8 {
		t.Errorf("the late one got %d, and %+v is used", n, p.Use())
	}
	for i := range 128 {
		fill(p, fmt.Sprint("another", i))
	}
	if u := p.Use(); u.Used != u.Size {
		t.Errorf("used is %+v", u)
	}
}

// Callers that go on taking what they may come to have the same.
func TestCallersThatTakeAllHaveTheSame(t *testing.T) {
	p := New(7000)
	for range 40 { // until nobody may take more, and nobody has too much
		for i := range 4 {
			who := fmt.Sprint("caller", i)
			if over := p.of[who] - (p.size-(p.used-p.of[who]))/part; over > 0 {
				p.Give(who, over)
			}
			fill(p, who)
		}
	}
	for who, n := range p.of {
		if n < 998 || n > 1002 {
			t.Errorf("%s has %d: four callers have a seventh each", who, n)
		}
	}
}

func TestAPoolKeepsNothingOfThoseThatHaveNothing(t *testing.T) {
	p, has := New(1000), map[string]int64{}
	for range 10_000 {
		who, n := fmt.Sprint(rand.IntN(20)), rand.Int64N(40)
		if rand.IntN(2) == 0 && has[who] > 0 {
			n = min(n, has[who])
			p.Give(who, n)
			has[who] -= n
		} else if p.Take(who, n) {
			has[who] += n
		}
		if u := p.Use(); u.Used < 0 || u.Used > u.Size {
			t.Fatalf("used is %+v", u)
		}
	}
	for who, n := range has {
		p.Give(who, n)
	}
	if u := p.Use(); u.Used != 0 || len(p.of) != 0 {
		t.Errorf("in the end %d callers have %d", len(p.of), u.Used)
	}
}

// What exists already is taken whatever there is, and counts.
func TestWhatExistsIsTakenWhateverThereIs(t *testing.T) {
	p := New(400)
	p.Force("ann", 300)
	p.Force("bob", 200)
	if u := p.Use(); u.Used != 500 || u.Has != 300 || p.Take("other", 1) {
		t.Errorf("used is %+v", u)
	}
	p.Give("ann", 300)
	p.Give("bob", 200)
	if p.Used() != 0 || len(p.of) != 0 {
		t.Errorf("in the end %d are used", p.Used())
	}
}

// Of those that have as much, the first by name is shown.
func TestTheOneThatHasMostIsShown(t *testing.T) {
	for range 20 { // the order of a map differs
		p := New(4000)
		for who, n := range map[string]int64{"ann": 1, "bob": 7, "cid": 7, "dan": 3} {
			p.Force(who, n)
		}
		if u := p.Use(); u.Most != "bob" || u.Has != 7 {
			t.Fatalf("it shows %+v", u)
		}
	}
}
