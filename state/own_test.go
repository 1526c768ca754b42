package state_test

import (
	"reflect"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/state/statetest"
)

const cluster, elsewhere = "000102030405060708090a0b0c0d0e0f", "ffffffffffffffffffffffffffffffff"

func identity(clusterID string) state.Identity {
	return state.Identity{
		ClusterID: clusterID, Epoch: state.Epoch{Number: 1, Bits: 0xfeed},
		Incarnations: map[string]string{"one": "i1", "two": "i2", "three": "i3"},
	}
}

func setIdentity(id state.Identity) state.Operation {
	return state.Operation{Table: state.OwnTable, Data: state.AppendSetIdentity(nil, id)}
}

func TestAClusterIsNamedOnce(t *testing.T) {
	r := statetest.NewReplica(t, register)
	results := r.Do(1, setIdentity(identity(cluster)), setIdentity(identity(cluster)), setIdentity(identity(elsewhere)))
	wantKinds(t, results, "", "", interrex.KindConflict)
	r.Restart()
	if got := r.State.Identity(); !reflect.DeepEqual(got, identity(cluster)) {
		t.Errorf("identity: %+v", got)
	}
	if r.State.Revision() != 1 {
		t.Errorf("revision %d", r.State.Revision())
	}
}

func TestAnIdentityIsWholeOrRefused(t *testing.T) {
	r := statetest.NewReplica(t, register)
	cut := setIdentity(identity(cluster))
	cut.Data = cut.Data[:len(cut.Data)-1]
	wantKinds(t, r.Do(1, cut, setIdentity(identity("short")), setIdentity(identity(""))), interrex.KindInvalid, interrex.KindInvalid, interrex.KindInvalid)
	if got := r.State.Identity(); got.ClusterID != "" || r.State.Revision() != 0 {
		t.Errorf("identity: %+v", got)
	}
}

func TestIdentityIsACopy(t *testing.T) {
	r := statetest.NewReplica(t, register)
	r.Do(1, setIdentity(identity(cluster)))
	r.State.Identity().Incarnations["four"] = "i4"
	if len(r.State.Identity().Incarnations) != 3 {
		t.Error("the state's own map was changed")
	}
}
