package machine_test

import (
	"encoding/hex"
	"reflect"
	"strings"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/state"
)

const cluster, elsewhere = "000102030405060708090a0b0c0d0e0f", "ffffffffffffffffffffffffffffffff"

func identity(clusterID string) machine.Identity {
	return machine.Identity{
		ClusterID: clusterID, Epoch: interrex.Epoch{Number: 1, Bits: 0xfeed},
		Incarnations: map[string]string{"one": "i1", "two": "i2", "three": "i3"},
	}
}

func setIdentity(id machine.Identity) state.Operation {
	return state.Operation{Table: machine.SystemTable, Data: (&machine.SetIdentity{Identity: id}).Append(nil)}
}

// systemBytes are the state's own operations as they are in logs.
var systemBytes = map[string]state.Command{
	"010120303030313032303330343035303630373038303930613062306330643065306601edfd0303036f6e650269310574687265650269330374776f026932": &machine.SetIdentity{Identity: identity(cluster)},
	"010209322d30303030303030303030303030303031": &machine.Retire{Name: cliName, Mark: 9},
	"0105000000000000feed":                       &machine.OpenName{Bits: 0xfeed},
	"01063d616e6e":                               &machine.DropRequests{User: machine.RequestUser{Caller: "ann"}},
	"01064031302e302e302e37":                     &machine.DropRequests{User: machine.RequestUser{Address: "10.0.0.7"}},
	"010a":                                       &machine.Compare{},
	"0103020161013101620132":                     &machine.SetSettings{Values: map[string]string{"a": "1", "b": "2"}},
	"010420303030313032303330343035303630373038303930613062306330643065306600effd020374776f026932": recovery(),
}

func TestEncodingOfTheStatesOwnOperationsStays(t *testing.T) {
	s := testreplica.New(t, register).State
	for want, c := range systemBytes {
		b := c.Append(nil)
		if got := hex.EncodeToString(b); got != want {
			t.Errorf("%s is %s, and was %s", c.About().Name, got, want)
		}
		if back, err := s.Decode(machine.SystemTable, b); err != nil || !reflect.DeepEqual(back, c) {
			t.Errorf("%+v comes back as %+v, %v", c, back, err)
		}
	}
}

func TestDecodeFindsTheTable(t *testing.T) {
	s := testreplica.New(t, register).State
	c, err := s.Decode(testtable.RegisterTable, testtable.Delete("a"))
	if err != nil || c.About().Name != "delete" || c.About().Key.Name != "a" {
		t.Errorf("%+v, %v", c, err)
	}
	cut := (&machine.SetIdentity{Identity: identity(cluster)}).Append(nil)
	for why, op := range map[string]state.Operation{
		"unknown table 77":          {Table: 77, Data: testtable.Delete("a")},
		"malformed":                 {Table: testtable.RegisterTable, Data: []byte{9}},
		"unknown command":           {Table: machine.SystemTable, Data: []byte{1, 99}},
		"unknown command of the":    {Table: machine.SystemTable, Data: []byte{2, 1}},
		"identity: it has a malfor": {Table: machine.SystemTable, Data: []byte{1, 1}},
		"identity: a count is la":   {Table: machine.SystemTable, Data: cut[:len(cut)-1]},
		`cluster ID "short"`:        setIdentity(identity("short")),
	} {
		c, err := s.Decode(op.Table, op.Data)
		if c != nil || interrex.KindOf(err) != interrex.ErrInvalid || !strings.Contains(err.Error(), why) {
			t.Errorf("%v, %v, want an error with %q", c, err, why)
		}
	}
	for _, data := range [][]byte{nil, {1}, {1, 0}, {1, 7}} { // too short, and beside the numbers
		if c, err := s.Decode(machine.SystemTable, data); c != nil || interrex.KindOf(err) != interrex.ErrInvalid {
			t.Errorf("%v is %v, %v", data, c, err)
		}
	}
	if s.Waitable() != nil {
		t.Error("operations of a register may wait")
	}
}

func TestAClusterIsNamedOnce(t *testing.T) {
	r := testreplica.New(t, register)
	second := setIdentity(identity(cluster))
	second.Attempt = 2
	results := r.Do(1, setIdentity(identity(cluster)), second, setIdentity(identity(elsewhere)))
	wantKinds(t, results, "", "", interrex.ErrConflict)
	if results[1].Attempt != 2 || results[1].Revision != 1 {
		t.Errorf("the second is answered %+v", results[1])
	}
	r.Restart()
	if got := r.State.Identity(); !reflect.DeepEqual(got, identity(cluster)) {
		t.Errorf("identity: %+v", got)
	}
	if r.State.Revision() != 1 {
		t.Errorf("revision %d", r.State.Revision())
	}
}

func TestAnIdentityIsWholeOrRefused(t *testing.T) {
	r := testreplica.New(t, register)
	cut := setIdentity(identity(cluster))
	cut.Data = cut.Data[:len(cut.Data)-1]
	results := r.Do(1, cut, setIdentity(identity("short")), setIdentity(identity("")), setIdentity(identity(cluster+"10")))
	wantKinds(t, results, interrex.ErrInvalid, interrex.ErrInvalid, interrex.ErrInvalid, interrex.ErrInvalid)
	if got := r.State.Identity(); got.ClusterID != "" || r.State.Revision() != 0 {
		t.Errorf("identity: %+v", got)
	}
}

func TestOnlyAnOperatorNamesACluster(t *testing.T) {
	if about := (&machine.SetIdentity{}).About(); !about.Privileged {
		t.Errorf("naming a cluster: %+v", about)
	}
	if about := (&machine.Recover{}).About(); !about.Privileged {
		t.Errorf("a recovery: %+v", about)
	}
	if about := (&machine.Retire{}).About(); about.Privileged {
		t.Errorf("giving back a name: %+v", about)
	}
}

func TestIdentityIsACopy(t *testing.T) {
	r := testreplica.New(t, register)
	r.Do(1, setIdentity(identity(cluster)))
	r.State.Identity().Incarnations["four"] = "i4"
	if len(r.State.Identity().Incarnations) != 3 {
		t.Error("the state's own map was changed")
	}
}
