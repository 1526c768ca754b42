package state

import (
	"testing"

	"github.com/interrex/interrex"
)

// The content that a request id identifies is a checksum, which a caller can forge.
func TestARecordIsNotRepeatedForAnotherGroup(t *testing.T) {
	record := GroupReply{{Table: 7, Revision: 2}, {Table: 8, Revision: 3}}
	for what, c := range map[string]struct {
		parts []Part
		want  interrex.Kind
	}{
		"the same":      {[]Part{{Table: 7}, {Table: 8}}, ""},
		"fewer":         {[]Part{{Table: 7}}, interrex.ErrInvalid},
		"more":          {[]Part{{Table: 7}, {Table: 8}, {Table: 8}}, interrex.ErrInvalid},
		"another table": {[]Part{{Table: 7}, {Table: 9}}, interrex.ErrInvalid},
	} {
		reply, err := (tableSet{}).kept(&Operation{Group: c.parts}, record)
		if interrex.KindOf(err) != c.want || (err == nil) != (reply != nil) {
			t.Errorf("%s: %v, %v", what, reply, err)
		}
	}
}
