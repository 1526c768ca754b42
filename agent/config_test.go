package agent

import (
	"net"
	"reflect"
	"testing"
	"time"

	"github.com/juju/clock"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/hold"
)

func TestWhatAnOperatorSetsReachesTheAgentWhole(t *testing.T) {
	var c config.Config
	fill(reflect.ValueOf(&c).Elem())
	a := FromFile(c).assembled()
	got := config.Config{
		Agent: config.Agent{ID: a.ID, DataDir: a.DataDir}, API: a.API, Cluster: a.Cluster, Raft: a.Raft, Compare: a.Compare,
		Features: a.Features, Backstop: a.Backstop, Notify: a.Notify, Backup: a.Backup, Logging: a.Logging,
	}
	if !reflect.DeepEqual(got, c) {
		t.Errorf("%+v, want %+v", got, c)
	}
}

func TestWhatOnlyGoCanSetReachesTheWorkersWhole(t *testing.T) {
	c := Config{
		Clock: clock.WallClock, Registry: prometheus.NewRegistry(), TLS: &certificates.Files{},
		Dialer: &net.Dialer{}, HoldClock: hold.Since(time.Now()),
	}
	fill(reflect.ValueOf(&c).Elem())
	a := reflect.ValueOf(c.assembled())
	for i := range reflect.TypeFor[Config]().NumField() {
		name := reflect.TypeFor[Config]().Field(i).Name
		if reflect.ValueOf(c).Field(i).IsZero() {
			t.Errorf("the test leaves %s out", name)
		}
		if f := a.FieldByName(name); !f.IsValid() || f.IsZero() {
			t.Errorf("%s is lost", name)
		}
	}
}

// fill sets all that is zero, but for interfaces.
func fill(v reflect.Value) {
	switch {
	case !v.CanSet() || v.Kind() != reflect.Struct && !v.IsZero():
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case v.Kind() == reflect.String:
		v.SetString("x")
	case v.CanInt():
		v.SetInt(1)
	case v.CanUint():
		v.SetUint(1)
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	case v.Kind() == reflect.Func:
		v.Set(reflect.MakeFunc(v.Type(), nil))
	}
}
