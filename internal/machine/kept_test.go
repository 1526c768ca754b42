package machine

import (
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// The content that a request id identifies is a checksum, which a caller can forge.
func TestARecordIsNotRepeatedForAnotherGroup(t *testing.T) {
	record := GroupReply{{Table: 7, Revision: 2}, {Table: 8, Revision: 3}}
	for what, c := range map[string]struct {
		parts []state.Part
		want  interrex.Kind
	}{
		"the same":      {[]state.Part{{Table: 7}, {Table: 8}}, ""},
		"fewer":         {[]state.Part{{Table: 7}}, interrex.ErrInvalid},
		"more":          {[]state.Part{{Table: 7}, {Table: 8}, {Table: 8}}, interrex.ErrInvalid},
		"another table": {[]state.Part{{Table: 7}, {Table: 9}}, interrex.ErrInvalid},
	} {
		reply, err := (tableSet{}).kept(&state.Operation{Group: c.parts}, record)
		if interrex.KindOf(err) != c.want || (err == nil) != (reply != nil) {
			t.Errorf("%s: %v, %v", what, reply, err)
		}
	}
}
